/* BatchNorm, as Caffe has it: running sums in three blobs (mean, variance, their common weight); y
 * = (x − mean) / sqrt(variance + eps), or / (sqrt(variance) + eps) where add_eps_before_sqrt is
 * false (synopsys-caffe). Scale and shift are a Scale layer's. */
#include "layers/normalisation/batch_norm.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <math.h>

enum { MEAN, VARIANCE, WEIGHT };

typedef struct state {
    bool frozen, global;   /* global: as of the last forward pass */
    bool repeat;           /* the next forward pass is the last one again */
    float *mean, *inverse; /* of the last forward pass; inverse: 1 / deviation */
    float *variance, *constant;
    double *sums[2];
    size_t channels;
    qf_tensor *kept;
    qf_tensor *input; /* borrowed: what forward read */
} state;

static const Caffe__BatchNormParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, batch_norm_param, BATCH_NORM_, BatchNorm);
}

float qf_batch_norm_inverse(const Caffe__BatchNormParameter *p, float variance)
{
    return p->add_eps_before_sqrt ? 1 / sqrtf(variance + p->eps) : 1 / (sqrtf(variance) + p->eps);
}

bool qf_batch_norm_has_eps_inside(const qf_layer *layer)
{
    return param_of(layer)->add_eps_before_sqrt;
}

void qf_batch_norm_freeze(qf_layer *layer)
{
    ((state *)layer->state)->frozen = true;
}

bool qf_batch_norm_is_global(const qf_layer *layer)
{
    const Caffe__BatchNormParameter *p = param_of(layer);
    if (((const state *)layer->state)->frozen)
        return true;
    return p->has_use_global_stats ? p->use_global_stats : layer->phase == QF_TEST;
}

static qf_status setup(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes < 2)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "BatchNorm needs channels on axis 1, '%s' has %d axes",
                       layer->bottom[0]->name, bottom->axes);
    int channels = bottom->dim[1];
    const qf_shape each = qf_shape_make(1, &channels), one = qf_shape_make(1, (int[]){1});
    for (int i = 0; i < 3; i++) {
        QF_TRY(qf_layer_add_param(layer, i == WEIGHT ? &one : &each, NULL));
        layer->params[i].lr_mult = 0;
        if ((size_t)i < layer->param->n_param && layer->param->param[i]->has_lr_mult &&
            layer->param->param[i]->lr_mult != 0)
            return qf_fail(
                layer->context, QF_E_VALUE,
                "the blobs of BatchNorm are statistics and cannot be learned; remove param { "
                "lr_mult: %g }",
                (double)layer->param->param[i]->lr_mult);
    }
    s->channels = (size_t)channels;
    s->mean = qf_alloc(s->channels, sizeof *s->mean);
    s->inverse = qf_alloc(s->channels, sizeof *s->inverse);
    s->variance = qf_alloc(s->channels, sizeof *s->variance);
    s->constant = qf_alloc(s->channels, sizeof *s->constant);
    for (int i = 0; i < 2; i++)
        s->sums[i] = qf_alloc(s->channels, sizeof *s->sums[i]);
    return s->mean && s->inverse && s->variance && s->constant && s->sums[0] && s->sums[1]
               ? QF_OK
               : qf_fail(layer->context, QF_E_MEMORY, "no memory for statistics");
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->mean);
    qf_free(s->inverse);
    qf_free(s->variance);
    qf_free(s->constant);
    qf_free(s->sums[0]);
    qf_free(s->sums[1]);
    qf_tensor_release(s->kept);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes < 2 || (size_t)bottom->dim[1] != s->channels)
        return qf_fail(layer->context, QF_E_SHAPE, "the bottom must have %zu channels",
                       s->channels);
    return qf_layer_reshape_like_bottom(layer);
}

static qf_status running_statistics(qf_layer *layer)
{
    state *s = layer->state;
    const float *mean, *variance, *sum;
    QF_TRY(qf_read(layer->context, layer->params[MEAN].blob->data, QF_PLAIN, &mean));
    QF_TRY(qf_read(layer->context, layer->params[VARIANCE].blob->data, QF_PLAIN, &variance));
    QF_TRY(qf_read(layer->context, layer->params[WEIGHT].blob->data, QF_PLAIN, &sum));
    float weight = sum[0] == 0 ? 0 : 1 / sum[0];
    for (size_t c = 0; c < s->channels; c++) {
        s->mean[c] = mean[c] * weight;
        s->variance[c] = variance[c] * weight;
    }
    return QF_OK;
}

static qf_status batch_statistics(qf_layer *layer, qf_tensor *x)
{
    state *s = layer->state;
    const float keep = param_of(layer)->moving_average_fraction;
    float *mean, *variance, *sum;
    QF_TRY(layer->device->normalise->moments(layer->context, x, s->mean, s->variance));
    QF_TRY(qf_update(layer->context, layer->params[MEAN].blob->data, QF_PLAIN, &mean));
    QF_TRY(qf_update(layer->context, layer->params[VARIANCE].blob->data, QF_PLAIN, &variance));
    QF_TRY(qf_update(layer->context, layer->params[WEIGHT].blob->data, QF_PLAIN, &sum));
    qf_extent e = qf_tensor_extent(&x->shape);
    float m = (float)(e.batch * e.inner), unbias = m > 1 ? m / (m - 1) : 1;
    sum[0] = sum[0] * keep + 1;
    for (size_t c = 0; c < s->channels; c++) {
        mean[c] = mean[c] * keep + s->mean[c];
        variance[c] = variance[c] * keep + unbias * s->variance[c];
    }
    return QF_OK;
}

qf_status qf_batch_norm_statistics(qf_layer *layer, qf_tensor *x, qf_batch_norm_factors *out)
{
    state *s = layer->state;
    if (!s->repeat) {
        s->global = qf_batch_norm_is_global(layer);
        QF_TRY(s->global ? running_statistics(layer) : batch_statistics(layer, x));
        for (size_t c = 0; c < s->channels; c++)
            s->inverse[c] = qf_batch_norm_inverse(param_of(layer), s->variance[c]);
    }
    s->repeat = false;
    *out = (qf_batch_norm_factors){s->mean, s->inverse, s->global};
    return QF_OK;
}

void qf_batch_norm_repeat(qf_layer *layer)
{
    ((state *)layer->state)->repeat = true;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const float *x;
    float *y;
    qf_batch_norm_factors factors;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    QF_TRY(qf_batch_norm_statistics(layer, s->input, &factors));
    QF_TRY(qf_read(layer->context, s->input, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &y));
    const size_t rows = qf_shape_count(&s->input->shape) / s->channels, channels = s->channels;
    const float *mean = s->mean, *inverse = s->inverse;
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * channels))
    for (size_t row = 0; row < rows; row++) {
        const float *from = x + row * channels;
        float *to = y + row * channels;
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            to[c] = (from[c] - mean[c]) * inverse[c];
    }
    return QF_OK;
}

/* 1 / sqrt(variance + eps), or 1 / sqrt(variance) where eps is added behind the root: what the
 * deviation is differentiated to. */
static float slope_of_deviation(const Caffe__BatchNormParameter *p, float inverse)
{
    if (p->add_eps_before_sqrt)
        return inverse;
    const float deviation = 1 / inverse - p->eps;
    return deviation > 0 ? 1 / deviation : 0; /* 0: all of x is its mean */
}

/* Batch statistics depend on x, too: dx = inverse · (dy − mean(dy) − x̂ · mean(dy · x̂)). */
static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const float *dy, *x = NULL;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    const size_t rows = qf_blob_count(layer->top[0]) / s->channels, channels = s->channels;
    const float *mean = s->mean, *inverse = s->inverse;
    float *factor = s->variance, *constant = s->constant; /* the variance is in `inverse` by now */
    if (!s->global) {
        QF_TRY(layer->device->reduce->channel_products(layer->context, layer->top[0]->diff,
                                                       s->input, s->mean, s->sums[0], s->sums[1]));
        for (size_t c = 0; c < channels; c++) {
            factor[c] = (float)(s->sums[1][c] / (double)rows) * inverse[c] *
                        slope_of_deviation(param_of(layer), inverse[c]);
            constant[c] = (float)(s->sums[0][c] / (double)rows);
        }
        QF_TRY(qf_read(layer->context, s->input, QF_NHWC, &x));
    }
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_NHWC, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_NHWC, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * channels))
    for (size_t row = 0; row < rows; row++) {
        size_t at = row * channels;
        if (x) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                dx[at + c] =
                    (dy[at + c] - constant[c] - (x[at + c] - mean[c]) * factor[c]) * inverse[c];
        } else {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                dx[at + c] = dy[at + c] * inverse[c];
        }
    }
    return QF_OK;
}

const qf_layer_type qf_batch_norm_layer = {
    .name = "BatchNorm",
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
