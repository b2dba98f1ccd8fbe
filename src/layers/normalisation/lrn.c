/* LRN: local response normalisation, across channels or within one. */
#include "layers/layer.h"

typedef struct state {
    bool within; /* within a channel: over a square of pixels instead of over channels */
    qf_lrn_shape shape;
    qf_pooling *average;
    qf_tensor *scale, *squares, *kept, *input;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__LRNParameter *p = QF_LAYER_PARAM(layer, lrn_param, LRN, LRN);
    state *s = layer->state;
    if (p->local_size % 2 == 0)
        return qf_fail(layer->context, QF_E_VALUE,
                       "lrn_param.local_size is %u, expected an odd number", p->local_size);
    s->within = p->norm_region == CAFFE__LRNPARAMETER__NORM_REGION__WITHIN_CHANNEL;
    /* Within a channel Caffe averages (so alpha is not divided again) and ignores k. */
    s->shape = (qf_lrn_shape){(int)p->local_size, p->alpha, p->beta, s->within ? 1 : p->k};
    QF_TRY(qf_tensor_create(layer->context, &s->scale));
    return qf_tensor_create(layer->context, &s->squares);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes != 4)
        return qf_fail(layer->context, QF_E_SHAPE, "LRN needs a bottom of 4 axes, '%s' has %d",
                       layer->bottom[0]->name, bottom->axes);
    QF_TRY(qf_blob_reshape_like(layer->top[0], layer->bottom[0]));
    QF_TRY(qf_tensor_reshape(layer->context, s->scale, bottom));
    if (!s->within)
        return QF_OK;
    QF_TRY(qf_tensor_reshape(layer->context, s->squares, bottom));
    const int size = s->shape.local_size, pad = (size - 1) / 2, h = bottom->dim[2],
              w = bottom->dim[3];
    const qf_pooling_shape shape = {.average = true,
                                    .batch = bottom->dim[0],
                                    .channels = bottom->dim[1],
                                    .in = {h, w},
                                    .out = {h, w},
                                    .kernel = {size, size},
                                    .stride = {1, 1},
                                    .pad = {pad, pad},
                                    .pad_end = {pad, pad}};
    layer->device->pool->destroy(s->average);
    s->average = NULL;
    return layer->device->pool->create(layer->context, &shape, &s->average);
}

/* scale = 1 + alpha · mean of squares around, y = x · scale^−beta. */
static qf_status forward_within(qf_layer *layer)
{
    state *s = layer->state;
    const qf_normalise_family *run = layer->device->normalise;
    QF_TRY(run->lrn_terms(layer->context, s->input, s->input, NULL, s->squares));
    QF_TRY(layer->device->pool->forward(layer->context, s->average, s->squares, s->scale, NULL,
                                        false));
    return run->lrn_apply(layer->context, &s->shape, s->input, s->scale, layer->top[0]->data);
}

/* dx = dy · scale^−beta − 2 alpha beta · x · (dy · y / scale averaged over the windows x is in). */
static qf_status backward_within(qf_layer *layer)
{
    state *s = layer->state;
    const qf_normalise_family *run = layer->device->normalise;
    qf_tensor *dy = layer->top[0]->diff, *around;
    QF_TRY(run->lrn_terms(layer->context, dy, layer->top[0]->data, s->scale, s->squares));
    QF_TRY(qf_tensor_create(layer->context, &around));
    qf_status status = qf_tensor_reshape(layer->context, around, &s->input->shape);
    if (status == QF_OK)
        status = layer->device->pool->backward(layer->context, s->average, s->squares, around);
    if (status == QF_OK)
        status = run->lrn_apply_backward(layer->context, &s->shape, s->input, s->scale, around, dy,
                                         layer->bottom[0]->diff);
    qf_tensor_release(around);
    return status;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    return s->within ? forward_within(layer)
                     : layer->device->normalise->lrn_forward(layer->context, &s->shape, s->input,
                                                             s->scale, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    return s->within ? backward_within(layer)
                     : layer->device->normalise->lrn_backward(
                           layer->context, &s->shape, s->input, s->scale, layer->top[0]->data,
                           layer->top[0]->diff, layer->bottom[0]->diff);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->pool->destroy(s->average);
    qf_tensor_release(s->scale);
    qf_tensor_release(s->squares);
    qf_tensor_release(s->kept);
}

const qf_layer_type qf_lrn_layer = {
    .name = "LRN",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
