/* PReLU: y = x for x > 0, else slope · x, the slope learned for each channel or one for all. */
#include "layers/combine/broadcast.h"

#include "base/parallel.h"

typedef struct state {
    qf_broadcast broadcast;
    qf_tensor *kept, *input;
} state;

static const Caffe__PReLUParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, prelu_param, PRE_LU, PReLU);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__PReLUParameter *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    Caffe__FillerParameter quarter = CAFFE__FILLER_PARAMETER__INIT;
    quarter.has_value = true;
    quarter.value = 0.25f;
    if (bottom->axes < 2)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "PReLU needs channels on axis 1, '%s' has %d axes", layer->bottom[0]->name,
                       bottom->axes);
    const qf_shape shape = qf_shape_make(p->channel_shared ? 0 : 1, bottom->dim + 1);
    return qf_layer_add_param(layer, &shape, p->filler ? p->filler : &quarter);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_broadcast_make(layer, layer->bottom[0], 1, qf_blob_shape(layer->params[0].blob),
                             &s->broadcast));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[0]);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_broadcast b = s->broadcast;
    const float *x, *slope;
    float *y;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    QF_TRY(qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &slope));
    QF_TRY(qf_read(layer->context, s->input, b.form, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, b.form, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(b.outer * b.dim * b.inner))
    for (size_t o = 0; o < b.outer; o++)
        for (size_t d = 0; d < b.dim; d++)
            for (size_t i = (o * b.dim + d) * b.inner; i < (o * b.dim + d + 1) * b.inner; i++)
                y[i] = x[i] > 0 ? x[i] : slope[d] * x[i];
    return QF_OK;
}

/* Σ dy · x over the negative x, for each slope. */
static qf_status backward_slope(qf_layer *layer, const float *x, const float *dy)
{
    const qf_broadcast b = ((state *)layer->state)->broadcast;
    float *sum;
    QF_TRY(qf_update(layer->context, layer->params[0].blob->diff, QF_PLAIN, &sum));
#pragma omp parallel for schedule(static) if (qf_repays_threads(b.outer * b.dim * b.inner))
    for (size_t d = 0; d < b.dim; d++) {
        double total = 0;
        for (size_t o = 0; o < b.outer; o++)
            for (size_t i = (o * b.dim + d) * b.inner; i < (o * b.dim + d + 1) * b.inner; i++)
                total += x[i] > 0 ? 0 : (double)dy[i] * (double)x[i];
        sum[d] += (float)total;
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_broadcast b = s->broadcast;
    const float *x, *dy, *slope;
    float *dx;
    QF_TRY(qf_read(layer->context, s->input, b.form, &x));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, b.form, &dy));
    if (layer->params[0].propagate)
        QF_TRY(backward_slope(layer, x, dy));
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &slope));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, b.form, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(b.outer * b.dim * b.inner))
    for (size_t o = 0; o < b.outer; o++)
        for (size_t d = 0; d < b.dim; d++)
            for (size_t i = (o * b.dim + d) * b.inner; i < (o * b.dim + d + 1) * b.inner; i++)
                dx[i] = x[i] > 0 ? dy[i] : slope[d] * dy[i];
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->kept);
}

const qf_layer_type qf_p_relu_layer = {
    .name = "PReLU",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
