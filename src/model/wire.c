/* Messages from and to protobuf's wire format. */
#include "base/file.h"
#include "base/file_writer.h"
#include "base/memory.h"
#include "model/allowance.h"
#include "model/field.h"
#include "model/file_type.h"
#include "model/model.h"
#include "model/raw_blobs.h"
#include "model/wire_field.h"

#include <stdlib.h>
#include <string.h>

typedef struct budget {
    size_t left;
    bool exhausted; /* more was asked for than a file of this size may */
    bool no_memory;
} budget;

static void *budget_alloc(void *data, size_t size)
{
    budget *b = data;
    if (size > b->left) {
        b->exhausted = true;
        return NULL;
    }
    b->left -= size;
    void *memory = malloc(size);
    b->no_memory = b->no_memory || !memory;
    return memory;
}

static void budget_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

/* Walks the outermost fields; the offset of the one that is damaged, or `size`. */
static size_t damaged_at(const uint8_t *bytes, size_t size)
{
    qf_wire_field field = {0};
    while (field.end < size)
        if (!qf_wire_field_read(bytes, size, size, field.end, &field))
            return field.end;
    return size;
}

/* ---- parameters of forks ----
 * Forks of Caffe use the same numbers of LayerParameter for different messages, and weights files
 * carry them along although nobody needs them there. protobuf-c refuses a whole file for one such
 * message, so those that are not what they should be get a number that nobody has: in the same
 * space, since its tag has as many bytes. */

enum { LAYER = 100, FIRST_PARAMETERS = 100 };

/* The largest number whose tag has as many bytes. */
static void rename_field(uint8_t *tag)
{
    size_t last = 0;
    while (tag[last] & 0x80)
        last++;
    tag[0] = (uint8_t)((tag[0] & 7) | 0xf8);
    for (size_t i = 1; i <= last; i++)
        tag[i] = i < last ? 0xff : 0x7f;
}

static bool is_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size)
{
    budget left = {.left = QF_ALLOWANCE_BASE};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &left};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, bytes);
    protobuf_c_message_free_unpacked(message, &allocator);
    return message || left.no_memory; /* then whoever reads it again will say so */
}

/* The parameters of one layer; how many were renamed. */
static size_t rename_strangers(uint8_t *layer, size_t size)
{
    const ProtobufCMessageDescriptor *type = &caffe__layer_parameter__descriptor;
    size_t renamed = 0;
    qf_wire_field field = {0};
    while (field.end < size && qf_wire_field_read(layer, size, size, field.end, &field)) {
        const ProtobufCFieldDescriptor *known =
            field.number >= FIRST_PARAMETERS && field.number <= UINT32_MAX
                ? protobuf_c_message_descriptor_get_field(type, (unsigned)field.number)
                : NULL;
        if (!known || known->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (field.type == 2 &&
            is_message(known->descriptor, layer + field.value, field.end - field.value))
            continue;
        rename_field(layer + field.start);
        renamed++;
    }
    return renamed;
}

static size_t rename_strangers_of_net(uint8_t *net, size_t size)
{
    size_t renamed = 0;
    qf_wire_field field = {0};
    while (field.end < size && qf_wire_field_read(net, size, size, field.end, &field))
        if (field.number == LAYER && field.type == 2)
            renamed += rename_strangers(net + field.value, field.end - field.value);
    return renamed;
}

qf_status qf_wire_parse(qf_context *context, const char *name, const void *bytes, size_t size,
                        const ProtobufCMessageDescriptor *type, void *out)
{
    budget left = {.left = qf_message_allowance(context, size)};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &left};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, bytes);
    memcpy(out, &message, sizeof message);
    if (message)
        return QF_OK;
    if (left.exhausted)
        return qf_message_exceeds(context, name, size, type);
    if (left.no_memory)
        return qf_fail(context, QF_E_MEMORY, "%s: no memory for a %s of %zu bytes", name,
                       type->short_name, size);
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

/* Once more, as the file of a fork of Caffe; `failed` if it is not one. */
static qf_status translate_fork(qf_context *context, const char *path, qf_buffer *file,
                                qf_status failed, void *out)
{
    const size_t raw = qf_raw_blobs_translate((uint8_t *)file->data, file->size);
    const size_t renamed = rename_strangers_of_net((uint8_t *)file->data, file->size);
    if (!raw && !renamed)
        return failed;
    if (renamed)
        qf_warning(context,
                   "%s: %zu parameters of layers are those of another fork of Caffe and are passed "
                   "over; the weights are read all the same",
                   path, renamed);
    QF_TRY(qf_wire_parse(context, path, qf_buffer_text(file), file->size,
                         &caffe__net_parameter__descriptor, out));
    Caffe__NetParameter *net;
    memcpy(&net, out, sizeof net);
    const qf_status status = qf_raw_blobs_widen(context, net);
    if (status != QF_OK) {
        qf_message_free(net);
        memset(out, 0, sizeof net);
    }
    return status;
}

static qf_status read_as_fork(qf_context *context, const char *name, const void *bytes, size_t size,
                              qf_status failed, void *out)
{
    qf_buffer copy = {0};
    qf_buffer_append(&copy, bytes, size);
    qf_status status = qf_buffer_whole(context, &copy);
    if (status == QF_OK)
        status = translate_fork(context, name, &copy, failed, out);
    qf_buffer_release(&copy);
    return status;
}

/* None of the fields that the message has: what was read is another message. */
static bool is_void(const ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        if (qf_field_is_set(message, &message->descriptor->fields[i]))
            return false;
    return true;
}

/* What was read without complaint may be another message all the same. */
static qf_status refuse_stranger(qf_context *context, const char *path, size_t size,
                                 const ProtobufCMessageDescriptor *type, void *out)
{
    ProtobufCMessage *message;
    memcpy(&message, out, sizeof message);
    if (!size ||
        !(is_void(message) || (message->n_unknown_fields &&
                               qf_file_is_other(path, qf_file_type_of_message(type, false)))))
        return QF_OK;
    qf_message_free(message);
    memset(out, 0, sizeof message);
    return qf_fail(context, QF_E_FORMAT, "%s: not a %s: its fields are others", path,
                   type->short_name);
}

qf_status qf_wire_read_bytes(qf_context *context, const char *name, const void *bytes, size_t size,
                             const ProtobufCMessageDescriptor *type, void *out)
{
    qf_status status = qf_wire_parse(context, name, bytes, size, type, out);
    if (status == QF_E_FORMAT && type == &caffe__net_parameter__descriptor)
        status = read_as_fork(context, name, bytes, size, status, out);
    return status == QF_OK ? refuse_stranger(context, name, size, type, out) : status;
}

qf_status qf_wire_read(qf_context *context, const char *path,
                       const ProtobufCMessageDescriptor *type, void *out)
{
    memset(out, 0, sizeof(void *));
    qf_buffer file = {0};
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK)
        status = qf_wire_read_bytes(context, path, qf_buffer_text(&file), file.size, type, out);
    qf_buffer_release(&file);
    return qf_wrong_file(context, status, path, qf_file_type_of_message(type, false));
}

static qf_status packed_size(qf_context *context, const char *name, const void *message,
                             size_t *size)
{
    *size = protobuf_c_message_get_packed_size(message);
    return *size <= QF_FILE_MAX
               ? QF_OK
               : qf_fail(context, QF_E_UNSUPPORTED,
                         "%s would take %zu bytes; protobuf files end at %zu bytes", name, *size,
                         QF_FILE_MAX);
}

qf_status qf_wire_pack(qf_context *context, const char *name, const void *message, void **bytes,
                       size_t *size)
{
    *bytes = NULL;
    QF_TRY(packed_size(context, name, message, size));
    *bytes = qf_alloc_raw(*size + 1, 1);
    if (!*bytes)
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s (%zu bytes)", name, *size);
    protobuf_c_message_pack(message, *bytes);
    return QF_OK;
}

typedef struct packing {
    ProtobufCBuffer base; /* first, so that one is the other */
    qf_file_writer file;
} packing;

static void append(ProtobufCBuffer *buffer, size_t size, const uint8_t *bytes)
{
    qf_file_writer_put(&((packing *)buffer)->file, bytes, size);
}

/* Without a second copy of all weights in memory. */
qf_status qf_wire_write(qf_context *context, const char *path, const void *message, unsigned mode)
{
    packing p = {.base = {.append = append}};
    size_t size;
    QF_TRY(packed_size(context, path, message, &size));
    QF_TRY(qf_file_writer_open(context, path, size, mode, &p.file));
    protobuf_c_message_pack_to_buffer(message, &p.base);
    return qf_file_writer_finish(&p.file);
}
