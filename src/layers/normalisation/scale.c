/* Scale and Bias: y = factor · x + bias, the factor learned or a second bottom. */
#include "layers/normalisation/scale.h"

#include "layers/combine/broadcast.h"

typedef struct state {
    int axis;
    bool bias; /* a bias of its own */
    qf_broadcast broadcast;
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

bool qf_scale_is_per_channel(const qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (!is_learned(layer) || bottom->axes < 2)
        return false;
    const qf_shape *factor = qf_blob_shape(layer->params[0].blob);
    return qf_shape_axis(bottom, scale_param(layer)->axis) == 1 && factor->axes == 1;
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
    QF_TRY(qf_broadcast_make(layer, layer->bottom[0], s->axis, qf_blob_shape(factor_of(layer)),
                             &s->broadcast));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[0]);
}

static qf_status apply(qf_layer *layer, qf_tensor *from, qf_blob *factor, qf_blob *summand)
{
    const state *s = layer->state;
    const float *x, *factors = NULL, *summands = NULL;
    float *y;
    if (factor)
        QF_TRY(qf_read(layer->context, factor->data, QF_PLAIN, &factors));
    if (summand)
        QF_TRY(qf_read(layer->context, summand->data, QF_PLAIN, &summands));
    QF_TRY(qf_read(layer->context, from, s->broadcast.form, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, s->broadcast.form, &y));
    qf_broadcast_apply(&s->broadcast, x, factors, summands, y);
    return QF_OK;
}

static qf_status forward_scale(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    return apply(layer, s->input, factor_of(layer), s->bias ? bias_of(layer)->blob : NULL);
}

static qf_status forward_bias(qf_layer *layer)
{
    return apply(layer, layer->bottom[0]->data, NULL, factor_of(layer));
}

/* target += Σ dy · other. */
static qf_status reduce(qf_layer *layer, const float *dy, qf_tensor *other, qf_tensor *target)
{
    const state *s = layer->state;
    const float *values = NULL;
    float *sum;
    if (other)
        QF_TRY(qf_read(layer->context, other, s->broadcast.form, &values));
    QF_TRY(qf_update(layer->context, target, QF_PLAIN, &sum));
    qf_broadcast_reduce(&s->broadcast, dy, values, sum);
    return QF_OK;
}

static qf_status backward_scale(qf_layer *layer)
{
    state *s = layer->state;
    const float *dy, *factor;
    float *dx;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, s->broadcast.form, &dy));
    if (s->bias && bias_of(layer)->propagate)
        QF_TRY(reduce(layer, dy, NULL, bias_of(layer)->blob->diff));
    if (is_learned(layer) ? layer->params[0].propagate : layer->propagate_down[1]) {
        if (!is_learned(layer))
            qf_tensor_set_zero(layer->bottom[1]->diff); /* gradients of data are assigned */
        QF_TRY(reduce(layer, dy, s->input, factor_of(layer)->diff));
    }
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, factor_of(layer)->data, QF_PLAIN, &factor));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, s->broadcast.form, &dx));
    qf_broadcast_apply(&s->broadcast, dy, factor, NULL, dx);
    return QF_OK;
}

static qf_status backward_bias(qf_layer *layer)
{
    state *s = layer->state;
    const float *dy;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, s->broadcast.form, &dy));
    if (is_learned(layer) ? layer->params[0].propagate : layer->propagate_down[1]) {
        if (!is_learned(layer))
            qf_tensor_set_zero(layer->bottom[1]->diff);
        QF_TRY(reduce(layer, dy, NULL, factor_of(layer)->diff));
    }
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
    .min_bottoms = 1,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_tops = true,
    .setup = setup_scale,
    .reshape = reshape,
    .forward = forward_scale,
    .backward = backward_scale,
    .destroy = destroy,
};

const qf_layer_type qf_bias_layer = {
    .name = "Bias",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .setup = setup_bias,
    .reshape = reshape,
    .forward = forward_bias,
    .backward = backward_bias,
};
