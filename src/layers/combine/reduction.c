/* Reduction: everything from an axis on becomes one number. */
#include "layers/layer.h"

#include "base/parallel.h"

#include <math.h>

typedef struct state {
    size_t rows, length;
    float coefficient;
    int operation;
} state;

enum {
    SUM = CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__SUM,
    ASUM = CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__ASUM,
    SUMSQ = CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__SUMSQ,
    MEAN = CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__MEAN,
};

static qf_status reshape(qf_layer *layer)
{
    const Caffe__ReductionParameter *p =
        QF_LAYER_PARAM(layer, reduction_param, REDUCTION_, Reduction);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &axis));
    const qf_shape top = qf_shape_make(axis, bottom->dim);
    *s = (state){qf_shape_count(&top), qf_shape_count_range(bottom, axis, bottom->axes), p->coeff,
                 (int)p->operation};
    if (s->operation == MEAN)
        s->coefficient /= (float)s->length;
    return qf_blob_reshape_to(layer->top[0], &top);
}

static double reduce(int operation, const float *x, size_t n)
{
    double sum = 0;
    if (operation == ASUM) {
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < n; i++)
            sum += fabs((double)x[i]);
    } else if (operation == SUMSQ) {
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < n; i++)
            sum += (double)x[i] * (double)x[i];
    } else {
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < n; i++)
            sum += (double)x[i];
    }
    return sum;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s->rows * s->length))
    for (size_t row = 0; row < s->rows; row++)
        y[row] = (float)reduce(s->operation, x + row * s->length, s->length) * s->coefficient;
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *x, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s->rows * s->length))
    for (size_t row = 0; row < s->rows; row++) {
        const float slope = dy[row] * s->coefficient;
        for (size_t i = row * s->length; i < (row + 1) * s->length; i++)
            dx[i] = s->operation == ASUM    ? slope * ((float)(x[i] > 0) - (float)(x[i] < 0))
                    : s->operation == SUMSQ ? slope * 2 * x[i]
                                            : slope;
    }
    return QF_OK;
}

const qf_layer_type qf_reduction_layer = {
    .name = "Reduction",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
