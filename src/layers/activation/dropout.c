/* Dropout: in TRAIN each value is 0 with probability dropout_ratio, else scaled so that the mean
 * stays; with scale_train: false (caffe-fast-rcnn) they are not, but all are scaled in TEST. With
 * sample_weights_test: true (Bayesian SegNet) TEST is as TRAIN. */
#include "layers/layer.h"

typedef struct state {
    qf_tensor *keep; /* in codes: 1 where a value stays */
    float scale, test_scale;
} state;

static float ratio_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, dropout_param, DROPOUT_, Dropout)->dropout_ratio;
}

static bool drops(const qf_layer *layer)
{
    return layer->phase == QF_TRAIN ||
           QF_LAYER_PARAM(layer, dropout_param, DROPOUT_, Dropout)->sample_weights_test;
}

static qf_status setup(qf_layer *layer)
{
    float ratio = ratio_of(layer);
    if (!(ratio >= 0 && ratio < 1))
        return qf_fail(layer->context, QF_E_VALUE, "dropout_ratio is %g, expected 0 <= ratio < 1",
                       (double)ratio);
    const bool scale_train = QF_LAYER_PARAM(layer, dropout_param, DROPOUT_, Dropout)->scale_train;
    state *s = layer->state;
    s->scale = scale_train ? 1 / (1 - ratio) : 1;
    s->test_scale = scale_train ? 1 : 1 - ratio;
    return qf_tensor_create(layer->context, &s->keep);
}

static qf_status scale_all(qf_layer *layer, qf_tensor *to, qf_tensor *from)
{
    const float scale = ((const state *)layer->state)->test_scale;
    if (scale == 1)
        return to == from ? QF_OK : qf_tensor_copy(layer->context, to, from);
    return layer->device->map->weighted_sum(layer->context, scale, from, 0, NULL, to);
}

static qf_status drop(qf_layer *layer, qf_tensor *to, qf_tensor *from)
{
    const state *s = layer->state;
    return layer->device->map->select(layer->context, from, s->keep, 1, s->scale, to);
}

/* The context's generator draws one value after the other, on the host: what snapshots continue. */
static qf_status draw(qf_layer *layer)
{
    state *s = layer->state;
    uint8_t *keep;
    QF_TRY(qf_tensor_reshape(layer->context, s->keep, qf_blob_shape(layer->bottom[0])));
    QF_TRY(qf_tensor_write(layer->context, s->keep, QF_CODES, &keep));
    /* 32 bits decide; threshold as Caffe's mask: kept with probability 1 − ratio. */
    const uint32_t threshold = (uint32_t)((double)ratio_of(layer) * 4294967296.0);
    for (size_t i = 0, n = qf_blob_count(layer->bottom[0]); i < n; i++)
        keep[i] = (uint32_t)(qf_random_next(&layer->context->random) >> 32) >= threshold;
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    if (!drops(layer))
        return scale_all(layer, y, x);
    QF_TRY(draw(layer));
    return drop(layer, y, x);
}

static qf_status backward(qf_layer *layer)
{
    qf_tensor *dx = layer->bottom[0]->diff, *dy = layer->top[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    return drops(layer) ? drop(layer, dx, dy) : scale_all(layer, dx, dy);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->keep);
}

/* What it sets to 0 has no gradient. */
static bool keeps_signs(const qf_layer *layer)
{
    (void)layer;
    return true;
}

const qf_layer_type qf_dropout_layer = {
    .name = "Dropout",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    QF_IGNORES_VALUES,
    .keeps_signs = keeps_signs,
    .setup = setup,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
