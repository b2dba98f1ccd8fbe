/* SeLuDropout (Klambauer et al., Self-Normalizing Neural Networks, 2017, "alpha dropout"): in TRAIN
 * a value becomes, with probability dropout_ratio, what a SELU makes of minus infinity; then all
 * are scaled and shifted so that a mean of 0 and a variance of 1 stay. In TEST nothing happens. */
#include "layers/layer.h"

#include <math.h>

static const double saturated = -1.7580993408473766; /* −λ · α of SELU */

typedef struct state {
    qf_tensor *keep; /* in codes: 1 where a value stays */
    float scale, shift;
} state;

QF_LAYER_PARAM_OF(selu_dropout_param, SELU_DROPOUT_, SeluDropout)

static qf_status setup(qf_layer *layer)
{
    const double ratio = (double)param_of(layer)->dropout_ratio, kept = 1 - ratio;
    state *s = layer->state;
    if (!(ratio >= 0 && ratio < 1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "selu_dropout_param: dropout_ratio is %g, expected 0 <= ratio < 1", ratio);
    const double scale = 1 / sqrt(kept + saturated * saturated * kept * ratio);
    s->scale = (float)scale;
    s->shift = (float)(-scale * ratio * saturated);
    return qf_tensor_create(layer->context, &s->keep);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->keep);
}

static qf_status draw(qf_layer *layer)
{
    const state *s = layer->state;
    const uint32_t threshold = (uint32_t)((double)param_of(layer)->dropout_ratio * 4294967296.0);
    uint8_t *keep;
    QF_TRY(qf_tensor_reshape(layer->context, s->keep, qf_blob_shape(layer->bottom[0])));
    QF_TRY(qf_tensor_write(layer->context, s->keep, QF_CODES, &keep));
    for (size_t i = 0, n = qf_blob_count(layer->bottom[0]); i < n; i++)
        keep[i] = (uint32_t)(qf_random_next(&layer->context->random) >> 32) >= threshold;
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const float dropped = s->scale * (float)saturated + s->shift;
    const uint8_t *keep;
    const float *x;
    float *y;
    if (layer->phase != QF_TRAIN)
        return qf_tensor_copy(layer->context, layer->top[0]->data, layer->bottom[0]->data);
    QF_TRY(draw(layer));
    QF_TRY(qf_tensor_read(layer->context, s->keep, QF_CODES, &keep));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &y));
    for (size_t i = 0, n = qf_blob_count(layer->top[0]); i < n; i++)
        y[i] = keep[i] ? s->scale * x[i] + s->shift : dropped;
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    if (layer->phase != QF_TRAIN)
        return qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff);
    return layer->device->map->select(layer->context, layer->top[0]->diff, s->keep, 1, s->scale,
                                      layer->bottom[0]->diff);
}

const qf_layer_type qf_selu_dropout_layer = {
    .name = "SeLuDropout",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    QF_IGNORES_VALUES,
    .setup = setup,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
