/* DumpData: writes the first batches of its bottom to files, for automatic calibration
 * (toolkit/auto), which looks at the inputs of single layers of a net that somebody else runs. A
 * sink: it changes nothing. */
#include "layers/quantised/dump_data.h"

#include "base/file.h"
#include "base/memory.h"
#include "layers/layer.h"

#include <string.h>

/* What the header says of the values. */
enum { DUMP_FLOAT = 0, HEADER = 2 }; /* type and number of axes, then the axes */

typedef struct state {
    unsigned written;
} state;

static const Caffe__DumpDataParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, dump_data_param, DUMP_DATA_, DumpData);
}

char *qf_dump_file(const char *prefix, unsigned batch)
{
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s_%u.bin", prefix, batch);
    if (!name.failed)
        return name.data; /* of the allocator that qf_free() serves */
    qf_buffer_release(&name);
    return NULL;
}

/* ---- writing ---- */

static qf_status setup(qf_layer *layer)
{
    return param_of(layer)->file_prefix
               ? QF_OK
               : qf_fail(layer->context, QF_E_FORMAT, "dump_data_param names no file_prefix");
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

/* The first items of the batch that have room; one has. */
static qf_shape part_of(const qf_shape *shape, uint64_t room)
{
    qf_shape part = *shape;
    if (!shape->axes || !shape->dim[0])
        return part;
    const uint64_t item = qf_shape_count_range(shape, 1, shape->axes) * sizeof(float);
    const uint64_t most = item && room / item ? room / item : 1;
    if (most < (uint64_t)part.dim[0])
        part.dim[0] = (int)most;
    return part;
}

static void put_number(qf_buffer *out, int number)
{
    const float value = (float)number;
    qf_buffer_append(out, &value, sizeof value);
}

static qf_status write_batch(qf_layer *layer, const char *path)
{
    const qf_shape part = part_of(qf_blob_shape(layer->bottom[0]), param_of(layer)->max_bytes);
    const float *values;
    qf_buffer out = {0};
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &values));
    put_number(&out, DUMP_FLOAT);
    put_number(&out, part.axes);
    for (int i = 0; i < part.axes; i++)
        put_number(&out, part.dim[i]);
    qf_buffer_append(&out, values, qf_shape_count(&part) * sizeof *values);
    qf_status status = qf_buffer_whole(layer->context, &out);
    if (status == QF_OK)
        status = qf_file_write(layer->context, path, out.data, out.size, 0640);
    qf_buffer_release(&out);
    return status;
}

static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    if (s->written >= param_of(layer)->batch_num)
        return QF_OK;
    char *path = qf_dump_file(param_of(layer)->file_prefix, s->written);
    if (!path)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a file name");
    const qf_status status = write_batch(layer, path);
    qf_free(path);
    s->written += status == QF_OK;
    return status;
}

/* ---- reading ---- */

/* An integer of the header, from 0 to `most`; −1: it is none. */
static int take_number(const qf_buffer *file, size_t index, int most)
{
    float value;
    if (file->size < (index + 1) * sizeof value)
        return -1;
    memcpy(&value, file->data + index * sizeof value, sizeof value);
    return value >= 0 && value <= (float)most && value == (float)(int)value ? (int)value : -1;
}

static qf_status take_shape(qf_context *context, const qf_buffer *file, const char *path,
                            qf_dump *out)
{
    const int axes = take_number(file, 1, QF_MAX_AXES);
    size_t count = 1;
    bool good = take_number(file, 0, 0) == DUMP_FLOAT && axes >= 0;
    out->shape.axes = good ? axes : 0;
    for (int i = 0; good && i < axes; i++) {
        out->shape.dim[i] = take_number(file, (size_t)(HEADER + i), 1 << 30);
        good = out->shape.dim[i] >= 0 && qf_multiply(count, (size_t)out->shape.dim[i], &count);
    }
    out->values = good ? (float *)file->data + HEADER + axes : NULL;
    if (good && file->size / sizeof(float) == (size_t)(HEADER + axes) + count)
        return QF_OK;
    return qf_fail(context, QF_E_FORMAT, "%s is not what a DumpData layer writes", path);
}

qf_status qf_dump_read(qf_context *context, const char *path, qf_dump *out)
{
    qf_buffer file = {0};
    *out = (qf_dump){0};
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK)
        status = take_shape(context, &file, path, out);
    out->bytes = file.data;
    return status;
}

void qf_dump_release(qf_dump *dump)
{
    qf_free(dump->bytes);
    *dump = (qf_dump){0};
}

const qf_layer_type qf_dump_data_layer = {
    .name = "DumpData",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 1),
    QF_TOPS(0, 0),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .conclude = conclude,
};
