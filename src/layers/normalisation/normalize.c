/*
 * Normalize (SSD; from ParseNet): y = scale · x / sqrt(Σ x² + eps), the sum over the channels of a
 * pixel or over the whole image; scale is learned, one for all or one for each channel.
 *
 * With r = 1 / sqrt(Σ x² + eps) and g = scale · dy: dx = r · (g − x · r² · Σ g x).
 */
#include "layers/layer.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <math.h>

typedef struct state {
    bool across_spatial, shared;
    float eps;
    float *reciprocal; /* r of each image, or of each pixel */
    size_t capacity;
    qf_tensor *kept, *input;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__NormalizeParameter *p = QF_LAYER_PARAM(layer, norm_param, NORMALIZE_, Normalize);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    Caffe__FillerParameter one = CAFFE__FILLER_PARAMETER__INIT;
    state *s = layer->state;
    one.has_value = true;
    one.value = 1;
    if (bottom->axes < 2)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "Normalize needs channels on axis 1, '%s' has %d axes",
                       layer->bottom[0]->name, bottom->axes);
    if (!(p->eps >= 0))
        return qf_fail(layer->context, QF_E_VALUE, "norm_param: eps must not be negative, is %g",
                       (double)p->eps);
    s->across_spatial = p->across_spatial;
    s->shared = p->channel_shared;
    s->eps = p->eps;
    const qf_shape shape = qf_shape_make(s->shared ? 0 : 1, bottom->dim + 1);
    return qf_layer_add_param(layer, &shape, p->scale_filler ? p->scale_filler : &one);
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->reciprocal);
    qf_tensor_release(((state *)layer->state)->kept);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->bottom[0]));
    const size_t scales = qf_blob_count(layer->params[0].blob);
    if (!s->shared && scales != e.channels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %zu channels, but there are %zu scales", layer->bottom[0]->name,
                       e.channels, scales);
    return qf_layer_reshape_like_bottom(layer);
}

/* The array in NHWC order as groups of what one sum runs over. */
typedef struct groups {
    size_t count, size, channels;
} groups;

static groups groups_of(const qf_layer *layer)
{
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->top[0]));
    if (((const state *)layer->state)->across_spatial)
        return (groups){e.batch, e.inner * e.channels, e.channels};
    return (groups){e.batch * e.inner, e.channels, e.channels};
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const groups g = groups_of(layer);
    const float *x, *scale;
    float *y;
    if (!qf_grow(&s->reciprocal, &s->capacity, g.count, sizeof *s->reciprocal))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu norms", g.count);
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    QF_TRY(qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &scale));
    QF_TRY(qf_read(layer->context, s->input, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(g.count * g.size))
    for (size_t k = 0; k < g.count; k++) {
        const float *from = x + k * g.size;
        double sum = s->eps;
        for (size_t i = 0; i < g.size; i++)
            sum += (double)from[i] * (double)from[i];
        const float r = (float)(1 / sqrt(sum));
        s->reciprocal[k] = r;
        for (size_t i = 0; i < g.size; i++)
            y[k * g.size + i] = from[i] * r * scale[s->shared ? 0 : i % g.channels];
    }
    return QF_OK;
}

static qf_status backward_scale(qf_layer *layer, const float *x, const float *dy)
{
    const state *s = layer->state;
    const groups g = groups_of(layer);
    const size_t scales = s->shared ? 1 : g.channels;
    float *gradient;
    QF_TRY(qf_update(layer->context, layer->params[0].blob->diff, QF_PLAIN, &gradient));
    double *sum = qf_alloc(scales, sizeof *sum);
    if (!sum)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu sums", scales);
    for (size_t i = 0; i < g.count * g.size; i++)
        sum[s->shared ? 0 : i % g.channels] +=
            (double)dy[i] * (double)x[i] * (double)s->reciprocal[i / g.size];
    for (size_t c = 0; c < scales; c++)
        gradient[c] += (float)sum[c];
    qf_free(sum);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const groups g = groups_of(layer);
    const float *x, *dy, *scale;
    float *dx;
    QF_TRY(qf_read(layer->context, s->input, QF_NHWC, &x));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_NHWC, &dy));
    if (layer->params[0].propagate)
        QF_TRY(backward_scale(layer, x, dy));
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &scale));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_NHWC, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(g.count * g.size))
    for (size_t k = 0; k < g.count; k++) {
        const size_t first = k * g.size;
        const double r = s->reciprocal[k];
        double product = 0;
        for (size_t i = 0; i < g.size; i++)
            product += (double)scale[s->shared ? 0 : i % g.channels] * (double)dy[first + i] *
                       (double)x[first + i];
        for (size_t i = 0; i < g.size; i++)
            dx[first + i] =
                (float)(r * ((double)scale[s->shared ? 0 : i % g.channels] * (double)dy[first + i] -
                             (double)x[first + i] * r * r * product));
    }
    return QF_OK;
}

const qf_layer_type qf_normalize_layer = {
    .name = "Normalize",
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
