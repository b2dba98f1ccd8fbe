/* Dropout: in TRAIN each value is 0 with probability dropout_ratio, else scaled so that the mean
 * stays; with scale_train: false (caffe-fast-rcnn) they are not, but all are scaled in TEST. With
 * sample_weights_test: true (Bayesian SegNet) TEST is as TRAIN. */
#include "layers/layer.h"

#include "base/memory.h"

typedef struct state {
    uint8_t *keep;
    size_t capacity;
    qf_form form; /* order of `keep` */
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
    ((state *)layer->state)->scale = scale_train ? 1 / (1 - ratio) : 1;
    ((state *)layer->state)->test_scale = scale_train ? 1 : 1 - ratio;
    return QF_OK;
}

static qf_status scale_all(qf_layer *layer, qf_tensor *to, qf_tensor *from)
{
    const float scale = ((const state *)layer->state)->test_scale;
    const qf_form form = qf_tensor_any_float(from);
    const float *x;
    float *y;
    if (scale == 1)
        return to == from ? QF_OK : qf_tensor_copy(layer->context, to, from);
    QF_TRY(qf_read(layer->context, from, form, &x));
    QF_TRY(qf_write(layer->context, to, form, &y));
    for (size_t i = 0, n = qf_shape_count(&from->shape); i < n; i++)
        y[i] = scale * x[i];
    return QF_OK;
}

static qf_status apply(qf_layer *layer, qf_tensor *from, qf_tensor *to)
{
    const state *s = layer->state;
    const float *x;
    float *y;
    size_t n = qf_shape_count(&from->shape);
    QF_TRY(qf_read(layer->context, from, s->form, &x));
    QF_TRY(qf_write(layer->context, to, s->form, &y));
    for (size_t i = 0; i < n; i++)
        y[i] = s->keep[i] ? x[i] * s->scale : 0;
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    size_t n = qf_shape_count(&x->shape);
    if (!drops(layer))
        return scale_all(layer, y, x);
    if (!qf_grow(&s->keep, &s->capacity, n, 1))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a mask");
    s->form = qf_tensor_any_float(x);
    /* 32 bits decide; threshold as Caffe's mask: kept with probability 1 − ratio. */
    const uint32_t threshold = (uint32_t)((double)ratio_of(layer) * 4294967296.0);
    for (size_t i = 0; i < n; i++)
        s->keep[i] = (uint32_t)(qf_random_next(&layer->context->random) >> 32) >= threshold;
    return apply(layer, x, y);
}

static qf_status backward(qf_layer *layer)
{
    if (!layer->propagate_down[0])
        return QF_OK;
    return drops(layer) ? apply(layer, layer->top[0]->diff, layer->bottom[0]->diff)
                        : scale_all(layer, layer->bottom[0]->diff, layer->top[0]->diff);
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->keep);
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
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .keeps_signs = keeps_signs,
    .setup = setup,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
