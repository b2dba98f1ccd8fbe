/* MVN: each channel of each image (or each image) gets mean 0 and deviation 1. Caffe adds eps to
 * the deviation, not to the variance. */
#include "layers/layer.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <math.h>

typedef struct state {
    size_t rows, length;
    float *deviation; /* of each row, without eps */
    size_t capacity;
} state;

static const Caffe__MVNParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, mvn_param, MVN, MVN);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes > 4)
        return qf_fail(layer->context, QF_E_SHAPE, "MVN takes at most 4 axes, '%s' has %d",
                       layer->bottom[0]->name, bottom->axes);
    qf_shape top = {4, {1, 1, 1, 1}}; /* Caffe's top has four axes always */
    for (int i = 0; i < bottom->axes; i++)
        top.dim[i] = bottom->dim[i];
    const size_t count = qf_shape_count(&top);
    s->rows = (size_t)top.dim[0] * (param_of(layer)->across_channels ? 1 : (size_t)top.dim[1]);
    s->length = s->rows ? count / s->rows : 0;
    if (!qf_grow(&s->deviation, &s->capacity, s->rows, sizeof *s->deviation))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for deviations");
    return qf_blob_reshape_to(layer->top[0], &top);
}

static double mean(const float *x, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

static double mean_product(const float *a, const float *b, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum / (double)n;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const bool scale = param_of(layer)->normalize_variance;
    const float eps = param_of(layer)->eps;
    const float *xs;
    float *ys;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &xs));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &ys));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s->rows * s->length))
    for (size_t row = 0; row < s->rows; row++) {
        const float *x = xs + row * s->length;
        float *y = ys + row * s->length;
        const float centre = (float)mean(x, s->length);
#pragma omp simd
        for (size_t i = 0; i < s->length; i++)
            y[i] = x[i] - centre;
        if (!scale)
            continue;
        s->deviation[row] = (float)sqrt(mean_product(y, y, s->length));
        const float divisor = s->deviation[row] + eps;
        for (size_t i = 0; i < s->length; i++)
            y[i] /= divisor;
    }
    return QF_OK;
}

/* With c = x - mean, d the deviation and y = c / (d + eps):
 * dx = (dy - mean(dy) - c / d * mean(dy y)) / (d + eps). Caffe takes y for c / d. */
static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const bool scale = param_of(layer)->normalize_variance;
    const float eps = param_of(layer)->eps;
    const float *ys, *dys;
    float *dxs;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->data, QF_PLAIN, &ys));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dys));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dxs));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s->rows * s->length))
    for (size_t row = 0; row < s->rows; row++) {
        const float *y = ys + row * s->length, *dy = dys + row * s->length;
        float *dx = dxs + row * s->length, slope = 0, divisor = 1;
        const float centre = (float)mean(dy, s->length);
        if (scale) {
            divisor = s->deviation[row] + eps;
            if (s->deviation[row] > 0)
                slope = (float)mean_product(y, dy, s->length) * divisor / s->deviation[row];
        }
#pragma omp simd
        for (size_t i = 0; i < s->length; i++)
            dx[i] = (dy[i] - centre - y[i] * slope) / divisor;
    }
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->deviation);
}

const qf_layer_type qf_mvn_layer = {
    .name = "MVN",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_bottoms = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
