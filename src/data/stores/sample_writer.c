/* Writing new databases item by item, complete or absent. */
#include "data/stores/sample_store.h"

#include "base/buffer.h"
#include "base/disk.h"
#include "base/memory.h"
#include "base/output.h"
#include "data/stores/store_type.h"

#include <string.h>

struct qf_sample_writer {
    const qf_store_type *type;
    void *state;
    qf_output output;
    qf_buffer packed;
};

static qf_status within(qf_context *context, const qf_sample_writer *writer, qf_status status)
{
    return qf_within(context, status, "the %s '%s'", writer->type->title, writer->output.path);
}

static qf_status create_state(qf_context *context, qf_sample_writer *writer)
{
    const qf_size_guard guard = qf_size_guard_begin();
    qf_status status = writer->type->create(context, writer->output.temporary, &writer->state);
    qf_size_guard_end(&guard);
    return within(context, writer, status);
}

qf_status qf_sample_writer_create(qf_context *context, const char *path, qf_store_format format,
                                  qf_sample_writer **out)
{
    *out = NULL;
    qf_sample_writer *writer = qf_alloc(1, sizeof *writer);
    if (!writer)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    writer->type = qf_store_types[format];
    qf_status status = qf_output_open(context, path, true, 0755, &writer->output);
    if (status != QF_OK) {
        qf_free(writer);
        return status;
    }
    status = create_state(context, writer);
    if (status == QF_OK)
        *out = writer;
    else
        (void)qf_sample_writer_finish(context, writer, false);
    return status;
}

qf_status qf_sample_writer_put(qf_context *context, qf_sample_writer *writer, const char *key,
                               const void *value, size_t size)
{
    const qf_sample sample = {key, value, strlen(key), size};
    const qf_size_guard guard = qf_size_guard_begin();
    qf_status status = writer->type->put(context, writer->state, &sample);
    qf_size_guard_end(&guard);
    return within(context, writer, status);
}

qf_status qf_sample_writer_put_message(qf_context *context, qf_sample_writer *writer,
                                       const char *key, const ProtobufCMessage *message)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    if (!qf_grow(&writer->packed.data, &writer->packed.capacity, size + 1, 1))
        return qf_fail(context, QF_E_MEMORY, "no memory for a datum of %zu bytes", size);
    protobuf_c_message_pack(message, (uint8_t *)writer->packed.data);
    return qf_sample_writer_put(context, writer, key, writer->packed.data, size);
}

qf_status qf_sample_writer_finish(qf_context *context, qf_sample_writer *writer, bool keep)
{
    if (!writer)
        return QF_OK;
    qf_status status = QF_OK;
    if (writer->state) {
        const qf_size_guard guard = qf_size_guard_begin();
        status = within(context, writer, writer->type->finish(context, writer->state, keep));
        qf_size_guard_end(&guard);
    }
    const qf_status named =
        qf_output_finish(context, &writer->output, keep ? status : QF_E_STOPPED);
    qf_buffer_release(&writer->packed);
    qf_free(writer);
    return keep ? named : status;
}
