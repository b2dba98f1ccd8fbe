/* Scale and Bias: y = factor · x + bias, the factor learned or a second bottom. A learned one may
 * have bounds, min_value and max_value (happynear's fork), to which it goes back before each pass.
 */
#include "layers/combine/broadcast.h"

#include <math.h>

typedef struct state {
    int axis;
    bool bias;    /* a bias of its own */
    qf_axes axes; /* of the factor */
    qf_tensor *kept, *input;
} state;

static const Caffe__ScaleParameter *scale_param(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, scale_param, SCALE_, Scale);
}

static bool is_learned(const qf_layer *layer)
{
    return layer->bottom_count == 1;
}

static qf_blob *factor_of(const qf_layer *layer)
{
    return is_learned(layer) ? layer->params[0].blob : layer->bottom[1];
}

/* The bias stands behind the factor, or first if that is a bottom. */
static qf_layer_param *bias_of(const qf_layer *layer)
{
    return &layer->params[is_learned(layer) ? 1 : 0];
}

static qf_status setup_scale(qf_layer *layer)
{
    const Caffe__ScaleParameter *p = scale_param(layer);
    state *s = layer->state;
    Caffe__FillerParameter one = CAFFE__FILLER_PARAMETER__INIT;
    qf_shape shape;
    one.has_value = true;
    one.value = 1;
    s->axis = p->axis;
    s->bias = p->bias_term;
    if (is_learned(layer)) {
        QF_TRY(qf_broadcast_param_shape(layer, p->axis, p->num_axes, &shape));
        QF_TRY(qf_layer_add_param(layer, &shape, p->filler ? p->filler : &one));
    } else {
        shape = *qf_blob_shape(layer->bottom[1]);
    }
    return s->bias ? qf_layer_add_param(layer, &shape, p->bias_filler) : QF_OK;
}

static qf_status keep_bounds(qf_layer *layer)
{
    const Caffe__ScaleParameter *p = scale_param(layer);
    const float *values;
    float *factor;
    bool outside = false;
    if (!is_learned(layer) || !(p->has_min_value || p->has_max_value))
        return QF_OK;
    qf_tensor *tensor = layer->params[0].blob->data;
    const size_t count = qf_blob_count(layer->params[0].blob);
    const float low = p->has_min_value ? p->min_value : -INFINITY;
    const float high = p->has_max_value ? p->max_value : INFINITY;
    QF_TRY(qf_read(layer->context, tensor, QF_PLAIN, &values));
    for (size_t i = 0; i < count; i++)
        outside |= values[i] < low || values[i] > high;
    if (!outside)
        return QF_OK;
    QF_TRY(qf_update(layer->context, tensor, QF_PLAIN, &factor));
    for (size_t i = 0; i < count; i++)
        factor[i] = fminf(fmaxf(factor[i], low), high);
    return QF_OK;
}

/* Has it a learned factor for each channel (axis 1)? */
static bool is_per_channel(const qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (!is_learned(layer) || bottom->axes < 2)
        return false;
    const qf_shape *factor = qf_blob_shape(layer->params[0].blob);
    return qf_shape_axis(bottom, scale_param(layer)->axis) == 1 && factor->axes == 1;
}

static void stage(qf_layer *layer, qf_stage *out)
{
    if (!is_per_channel(layer))
        return;
    out->kind = QF_STAGE_SCALE;
    out->scale.factor = layer->params[0].blob->data;
    out->scale.summand = layer->param_count > 1 ? layer->params[1].blob->data : NULL;
    out->scale.d_factor = qf_layer_param_gradient(layer, 0);
    out->scale.d_summand = qf_layer_param_gradient(layer, 1);
}

static qf_status setup_bias(qf_layer *layer)
{
    const Caffe__BiasParameter *p = QF_LAYER_PARAM(layer, bias_param, BIAS_, Bias);
    state *s = layer->state;
    qf_shape shape;
    s->axis = p->axis;
    if (!is_learned(layer))
        return QF_OK;
    QF_TRY(qf_broadcast_param_shape(layer, p->axis, p->num_axes, &shape));
    return qf_layer_add_param(layer, &shape, p->filler);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_broadcast_axes(layer, layer->bottom[0], s->axis, qf_blob_shape(factor_of(layer)),
                             &s->axes));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[0]);
}

static qf_status forward_scale(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    return layer->device->map->scale(layer->context, s->axes, s->input, factor_of(layer)->data,
                                     s->bias ? bias_of(layer)->blob->data : NULL,
                                     layer->top[0]->data);
}

static qf_status forward_bias(qf_layer *layer)
{
    const state *s = layer->state;
    return layer->device->map->scale(layer->context, s->axes, layer->bottom[0]->data, NULL,
                                     factor_of(layer)->data, layer->top[0]->data);
}

/* The gradient of factor_of() is Σ dy · other, or Σ dy. */
static qf_status backward_factor(qf_layer *layer, qf_tensor *other)
{
    const state *s = layer->state;
    qf_tensor *gradient = factor_of(layer)->diff;
    if (!(is_learned(layer) ? layer->params[0].propagate : layer->propagate_down[1]))
        return QF_OK;
    if (!is_learned(layer))
        qf_tensor_set_zero(gradient); /* gradients of data are assigned */
    return layer->device->map->sums(layer->context, s->axes, layer->top[0]->diff, other, false,
                                    gradient);
}

static qf_status backward_scale(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_map_family *map = layer->device->map;
    qf_tensor *dy = layer->top[0]->diff;
    if (s->bias && bias_of(layer)->propagate)
        QF_TRY(map->sums(layer->context, s->axes, dy, NULL, false, bias_of(layer)->blob->diff));
    QF_TRY(backward_factor(layer, s->input));
    if (!layer->propagate_down[0])
        return QF_OK;
    return map->scale(layer->context, s->axes, dy, factor_of(layer)->data, NULL,
                      layer->bottom[0]->diff);
}

static qf_status backward_bias(qf_layer *layer)
{
    QF_TRY(backward_factor(layer, NULL));
    if (!layer->propagate_down[0] || layer->top[0] == layer->bottom[0])
        return QF_OK;
    return qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->kept);
}

const qf_layer_type qf_scale_layer = {
    .name = "Scale",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 2),
    QF_TOPS(1, 1),
    .in_place = true,
    .ignores_tops = true,
    .setup = setup_scale,
    .reshape = reshape,
    .prepare = keep_bounds,
    .forward = forward_scale,
    .stage = stage,
    .backward = backward_scale,
    .destroy = destroy,
};

const qf_layer_type qf_bias_layer = {
    .name = "Bias",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 2),
    QF_TOPS(1, 1),
    .in_place = true,
    QF_IGNORES_VALUES,
    .setup = setup_bias,
    .reshape = reshape,
    .forward = forward_bias,
    .backward = backward_bias,
};
