/* Input and DummyData: blobs that the caller or a filler fills. */
#include "layers/input/proto_shape.h"

#include <string.h>

static qf_status nothing(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

qf_status qf_shape_from_proto(qf_layer *layer, const Caffe__BlobShape *proto, qf_shape *out)
{
    *out = (qf_shape){0};
    if (proto->n_dim > QF_MAX_AXES)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "a shape has %zu dimensions, at most %d are possible", proto->n_dim,
                       QF_MAX_AXES);
    for (size_t i = 0; i < proto->n_dim; i++) {
        if (proto->dim[i] < 0 || proto->dim[i] > INT32_MAX)
            return qf_fail(layer->context, QF_E_SHAPE, "dimension %zu is %lld, expected 0 or more",
                           i, (long long)proto->dim[i]);
        out->dim[out->axes++] = (int)proto->dim[i];
    }
    return QF_OK;
}

static qf_status input_setup(qf_layer *layer)
{
    const Caffe__InputParameter *p = QF_LAYER_PARAM(layer, input_param, INPUT_, Input);
    qf_shape shape;
    if (p->n_shape && p->n_shape != 1 && p->n_shape != (size_t)layer->top_count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "input_param has %zu shapes for %d tops; give one for all or one for each",
                       p->n_shape, layer->top_count);
    for (int t = 0; p->n_shape && t < layer->top_count; t++) {
        QF_TRY(qf_shape_from_proto(layer, p->shape[p->n_shape == 1 ? 0 : t], &shape));
        QF_TRY(qf_blob_reshape_to(layer->top[t], &shape));
    }
    return QF_OK;
}

const qf_layer_type qf_input_layer = {
    .name = "Input",
    QF_BOTTOMS(0, 0),
    QF_TOPS(1, -1),
    .no_backward = true,
    .source = true,
    .setup = input_setup,
    .reshape = nothing,
    .forward = nothing,
};

/* ---- DummyData ---- */

typedef struct state {
    bool filled; /* constants are filled once, random values at every pass */
} state;

static const Caffe__DummyDataParameter *dummy_param(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, dummy_data_param, DUMMY_DATA_, DummyData);
}

static int old_dimension(size_t count, const uint32_t *values, int top)
{
    return count == 0 ? 0 : (int)values[count == 1 ? 0 : top];
}

static qf_status dummy_setup(qf_layer *layer)
{
    const Caffe__DummyDataParameter *p = dummy_param(layer);
    const size_t tops = (size_t)layer->top_count;
    const size_t counts[] = {p->n_num, p->n_channels, p->n_height, p->n_width};
    bool old = counts[0] || counts[1] || counts[2] || counts[3];
    if (p->n_data_filler > 1 && p->n_data_filler != tops)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "dummy_data_param has %zu data_filler for %zu tops; "
                       "give none, one, or one for each",
                       p->n_data_filler, tops);
    if (old == (p->n_shape > 0))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "dummy_data_param needs either shape or num, channels, height and width");
    for (int i = 0; i < 4; i++)
        if (old && counts[i] != 1 && counts[i] != tops)
            return qf_fail(layer->context, QF_E_FORMAT,
                           "dummy_data_param needs num, channels, height "
                           "and width once, or once for each top");
    if (!old && p->n_shape != 1 && p->n_shape != tops)
        return qf_fail(
            layer->context, QF_E_FORMAT,
            "dummy_data_param has %zu shapes for %zu tops; give one for all or one for each",
            p->n_shape, tops);
    for (int t = 0; t < layer->top_count; t++) {
        qf_shape shape;
        if (old) {
            const int dims[] = {
                old_dimension(p->n_num, p->num, t), old_dimension(p->n_channels, p->channels, t),
                old_dimension(p->n_height, p->height, t), old_dimension(p->n_width, p->width, t)};
            shape = qf_shape_make(4, dims);
        } else {
            QF_TRY(qf_shape_from_proto(layer, p->shape[p->n_shape == 1 ? 0 : t], &shape));
        }
        QF_TRY(qf_blob_reshape_to(layer->top[t], &shape));
    }
    return QF_OK;
}

static qf_status dummy_forward(qf_layer *layer)
{
    const Caffe__DummyDataParameter *p = dummy_param(layer);
    state *s = layer->state;
    for (int t = 0; t < layer->top_count; t++) {
        const Caffe__FillerParameter *filler =
            p->n_data_filler == 0 ? NULL : p->data_filler[p->n_data_filler == 1 ? 0 : t];
        bool constant = !filler || strcmp(filler->type, "constant") == 0;
        if (!s->filled || !constant)
            QF_TRY(qf_fill(layer->top[t], filler));
    }
    s->filled = true;
    return QF_OK;
}

const qf_layer_type qf_dummy_data_layer = {
    .name = "DummyData",
    .state_size = sizeof(state),
    QF_BOTTOMS(0, 0),
    QF_TOPS(1, -1),
    .no_backward = true,
    .lasting_tops = true,
    .source = true,
    .setup = dummy_setup,
    .reshape = nothing,
    .forward = dummy_forward,
};
