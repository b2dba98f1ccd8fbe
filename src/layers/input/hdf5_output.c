/* HDF5Output: writes its bottoms as the data sets "data" and "label". Each pass adds its rows
 * (Caffe aborts in the second). The file is complete under its name when the net goes. */
#include "data/stores/hdf5_writer.h"
#include "layers/layer.h"

#include <string.h>

enum { AXES = 4, SETS = 2 };

typedef struct state {
    qf_hdf5_writer writer;
    qf_status status; /* of the writing so far */
} state;

static const char *file_name(const qf_layer *layer)
{
    const Caffe__HDF5OutputParameter *p = layer->param->hdf5_output_param;
    return p ? p->file_name : NULL;
}

static qf_status setup(qf_layer *layer)
{
    if (!file_name(layer))
        return qf_fail(layer->context, QF_E_FORMAT, "hdf5_output_param names no file_name");
    return qf_output_probe(layer->context, file_name(layer));
}

/* The four axes that Caffe writes whatever the blob has. */
static qf_status four_axes(const qf_layer *layer, const qf_blob *blob, int dimensions[AXES])
{
    const qf_shape *shape = qf_blob_shape(blob);
    if (shape->axes > AXES || qf_blob_count(blob) == 0)
        return qf_fail(
            layer->context, QF_E_SHAPE,
            "HDF5Output writes blobs that are not empty and have at most %d axes; %s has "
            "%d axes and %zu elements",
            AXES, blob->name, shape->axes, qf_blob_count(blob));
    for (int i = 0; i < AXES; i++)
        dimensions[i] = i < shape->axes ? shape->dim[i] : 1;
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    int data[AXES], label[AXES];
    QF_TRY(four_axes(layer, layer->bottom[0], data));
    QF_TRY(four_axes(layer, layer->bottom[1], label));
    return data[0] == label[0]
               ? QF_OK
               : qf_fail(layer->context, QF_E_SHAPE, "%s has %d rows, %s has %d",
                         layer->bottom[0]->name, data[0], layer->bottom[1]->name, label[0]);
}

static qf_status forward(qf_layer *layer)
{
    static const char *const names[SETS] = {"data", "label"};
    state *s = layer->state;
    if (!s->writer.path)
        s->status = qf_hdf5_create(layer->context, file_name(layer), &s->writer);
    QF_TRY(s->status);
    for (int i = 0; i < SETS; i++) {
        const float *values;
        int dimensions[AXES];
        QF_TRY(four_axes(layer, layer->bottom[i], dimensions));
        QF_TRY(qf_read(layer->context, layer->bottom[i]->data, QF_PLAIN, &values));
        s->status = qf_hdf5_append_floats(&s->writer, names[i], dimensions, AXES, values);
        QF_TRY(s->status);
    }
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    char kept[QF_ERROR_TEXT_SIZE]; /* nets are also destroyed behind failures, whose sentence stays
                                    */
    memcpy(kept, layer->context->error, sizeof kept);
    if (s->writer.path && qf_hdf5_finish(&s->writer, s->status) != QF_OK)
        qf_problem(layer->context, "%s", qf_error_text(layer->context));
    memcpy(layer->context->error, kept, sizeof kept);
}

const qf_layer_type qf_hdf5_output_layer = {
    .name = "HDF5Output",
    .state_size = sizeof(state),
    QF_BOTTOMS(SETS, SETS),
    QF_TOPS(0, 0),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
