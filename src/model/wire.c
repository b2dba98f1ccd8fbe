#include "base/file.h"
#include "base/memory.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* What reading a file may allocate: an empty layer takes 2 bytes in a file and a thousand in
 * memory, so a small hostile file could ask for everything. Real files need little more than their
 * size. */
enum { ALLOWANCE_PER_BYTE = 24 };
#define ALLOWANCE_BASE ((size_t)64 << 20)

typedef struct budget {
    size_t left;
    bool exhausted;
} budget;

static void *budget_alloc(void *data, size_t size)
{
    budget *b = data;
    if (size > b->left) {
        b->exhausted = true;
        return NULL;
    }
    b->left -= size;
    return malloc(size);
}

static void budget_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

/* Walks the outermost fields; the offset of the one that is damaged, or `size`. */
static size_t damaged_at(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        size_t start = at;
        uint64_t numbers[2] = {0, 0}; /* tag, then value or length */
        int wire_type = 0;
        for (int k = 0; k < 2; k++) {
            if (k == 1 && wire_type != 0 && wire_type != 2)
                break;
            int shift = 0;
            for (;; shift += 7) {
                if (at == size || shift > 63)
                    return start;
                numbers[k] |= (uint64_t)(bytes[at] & 0x7f) << shift;
                if (!(bytes[at++] & 0x80))
                    break;
            }
            wire_type = (int)(numbers[0] & 7);
        }
        uint64_t skip = wire_type == 1 ? 8 : wire_type == 5 ? 4 : wire_type == 2 ? numbers[1] : 0;
        if (wire_type == 3 || wire_type == 4 || wire_type > 5 || skip > size - at)
            return start;
        at += skip;
    }
    return size;
}

qf_status qf_wire_parse(qf_context *context, const char *name, const void *bytes, size_t size,
                        const ProtobufCMessageDescriptor *type, void *out)
{
    budget left = {.left = ALLOWANCE_BASE};
    size_t allowance;
    if (qf_multiply(size, ALLOWANCE_PER_BYTE, &allowance))
        left.left += allowance;
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &left};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, bytes);
    memcpy(out, &message, sizeof message);
    if (message)
        return QF_OK;
    if (left.exhausted)
        return qf_fail(context, QF_E_FORMAT,
                       "%s: a file of %zu bytes asks for more memory than any real %s needs; it is "
                       "damaged or not what it seems",
                       name, size, type->short_name);
    size_t where = damaged_at(bytes, size);
    if (where < size)
        return qf_fail(context, QF_E_FORMAT,
                       "%s: not a complete %s: damaged or cut off in the field that starts at byte "
                       "%zu of %zu; fetch or write the file again",
                       name, type->short_name, where, size);
    return qf_fail(
        context, QF_E_FORMAT,
        "%s: not a %s: a nested message is damaged (%zu bytes in all); fetch or write the "
        "file again",
        name, type->short_name, size);
}

qf_status qf_wire_read(qf_context *context, const char *path,
                       const ProtobufCMessageDescriptor *type, void *out)
{
    memset(out, 0, sizeof(void *));
    qf_buffer file = {0};
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK)
        status = qf_wire_parse(context, path, qf_buffer_text(&file), file.size, type, out);
    qf_buffer_release(&file);
    return status;
}

qf_status qf_wire_write(qf_context *context, const char *path, const void *message, unsigned mode)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > QF_FILE_MAX)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "%s would take %zu bytes; protobuf files end at %zu bytes", path, size,
                       QF_FILE_MAX);
    uint8_t *bytes = qf_alloc_raw(size + 1, 1);
    if (!bytes)
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s (%zu bytes)", path, size);
    protobuf_c_message_pack(message, bytes);
    qf_status status = qf_file_write(context, path, bytes, size, mode);
    qf_free(bytes);
    return status;
}
