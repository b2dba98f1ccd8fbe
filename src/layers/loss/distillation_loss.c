/* DistillationLoss: how far bottom 0 (the student) is from bottom 1 (the teacher, which gets no
 * gradient). DIVERGENCE compares scores of classes as Hinton, Vinyals and Dean do (Distilling the
 * Knowledge in a Neural Network, 2015): T² · Σ p (log p − log q), p and q the softmaxes of the
 * scores divided by the temperature T. SQUARED compares any values: ½ Σ (s − t)² / Σ t², half the
 * power of what differs beside the teacher's, so that blobs of any size weigh alike. */
#include "layers/loss/loss.h"

#define KIND(name) CAFFE__DISTILLATION_LOSS_PARAMETER__KIND__##name

/* Of a teacher whose values are all but 0, in parts of their number. */
static const double LEAST_POWER = 1e-12;

typedef struct state {
    qf_softened softened;
    qf_classes classes;
    qf_tensor *difference, *power; /* of DIVERGENCE, of SQUARED */
    float divisor;                 /* of the last forward pass */
} state;

static const Caffe__DistillationLossParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, distillation_loss_param, DISTILLATION_LOSS_, DistillationLoss);
}

static bool is_squared(const qf_layer *layer)
{
    return param_of(layer)->kind == KIND(SQUARED);
}

static qf_status setup(qf_layer *layer)
{
    state *s = layer->state;
    s->softened.temperature = param_of(layer)->temperature;
    if (!(s->softened.temperature > 0 && isfinite(s->softened.temperature)))
        return qf_fail(layer->context, QF_E_VALUE,
                       "distillation_loss_param: temperature must be greater than 0, is %g",
                       (double)s->softened.temperature);
    return qf_tensor_create(layer->context, is_squared(layer) ? &s->power : &s->difference);
}

static void destroy(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor_release(s->difference);
    qf_tensor_release(s->power);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape scalar = {0};
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *b = qf_blob_shape(layer->bottom[1]);
    char first[256], second[256];
    if (!qf_shape_equal(a, b))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the student's '%s' of shape %s and the teacher's '%s' of shape %s differ",
                       layer->bottom[0]->name, qf_shape_text(a, first, sizeof first),
                       layer->bottom[1]->name, qf_shape_text(b, second, sizeof second));
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    if (is_squared(layer))
        return qf_tensor_reshape(layer->context, s->power, &scalar);
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], param_of(layer)->axis, &s->softened.axis));
    s->classes = qf_classes_along(a, s->softened.axis);
    return qf_tensor_reshape(layer->context, s->difference, a);
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    const state *s = layer->state;
    (void)index;
    return is_squared(layer) ? QF_MEAN_OF_BATCH
                             : qf_loss_mean_over(layer, &s->classes, s->softened.axis,
                                                 qf_classes_items(&s->classes), top);
}

static const qf_value_loss squared = {.kind = QF_SQUARED_DISTANCE};

static qf_status forward_squared(qf_layer *layer)
{
    state *s = layer->state;
    const float *power;
    QF_TRY(layer->device->reduce->inner_sums(layer->context, QF_SQUARED_SUM, 1,
                                             layer->bottom[1]->data, 0, s->power));
    QF_TRY(qf_read(layer->context, s->power, QF_PLAIN, &power));
    const float least = (float)(LEAST_POWER * (double)qf_blob_count(layer->bottom[1]));
    s->divisor = qf_at_least(power[0], least > 0 ? least : 1);
    return qf_loss_forward(layer, &squared, s->divisor);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    if (is_squared(layer))
        return forward_squared(layer);
    s->divisor = qf_loss_divisor(mean_over(layer, 0, 0));
    return layer->device->reduce->divergence(layer->context, &s->softened, layer->bottom[0]->data,
                                             layer->bottom[1]->data, s->divisor, s->difference,
                                             layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *weight;
    if (!layer->propagate_down[0])
        return QF_OK;
    if (is_squared(layer))
        return qf_loss_backward(layer, &squared, s->divisor, 0);
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    return layer->device->map->weighted_sum(layer->context,
                                            weight[0] * s->softened.temperature / s->divisor,
                                            s->difference, 0, NULL, layer->bottom[0]->diff);
}

const qf_layer_type qf_distillation_loss_layer = {
    .name = "DistillationLoss",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .mean_over = mean_over,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
