/* BatchNorm, as Caffe has it: running sums in three blobs (mean, variance, their common weight); y
 * = (x − mean) / sqrt(variance + eps), or / (sqrt(variance) + eps) where add_eps_before_sqrt is
 * false (synopsys-caffe). Scale and shift are a Scale layer's. */
#include "layers/normalisation/batch_norm.h"

#include "device/families/normalise_math.h"

#include <string.h>

enum { MEAN, VARIANCE, WEIGHT };

typedef struct state {
    bool frozen, global;       /* global: as of the last forward pass */
    qf_tensor *mean, *inverse; /* of the last forward pass; inverse: 1 / deviation */
    bool known;                /* they are the running ones, of these versions of their blobs */
    uint64_t versions[3];
    size_t channels;
    qf_tensor *kept;
    qf_tensor *input; /* borrowed: what forward read */
} state;

QF_LAYER_PARAM_OF(batch_norm_param, BATCH_NORM_, BatchNorm)

float qf_batch_norm_inverse(const Caffe__BatchNormParameter *p, float variance)
{
    return qf_inverse_deviation(variance, p->eps, p->add_eps_before_sqrt);
}

void qf_batch_norm_freeze(qf_layer *layer)
{
    ((state *)layer->state)->frozen = true;
}

static bool is_global(const qf_layer *layer)
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
    QF_TRY(qf_tensor_create(layer->context, &s->mean));
    QF_TRY(qf_tensor_create(layer->context, &s->inverse));
    QF_TRY(qf_tensor_reshape(layer->context, s->mean, &each));
    return qf_tensor_reshape(layer->context, s->inverse, &each);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor_release(s->mean);
    qf_tensor_release(s->inverse);
    qf_tensor_release(s->kept);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes < 2 || (size_t)bottom->dim[1] != s->channels)
        return qf_fail(layer->context, QF_E_SHAPE, "the bottom must have %zu channels",
                       s->channels);
    /* Intel's, for whom a larger batch has statistics for each part of it. */
    const uint32_t most = param_of(layer)->stats_batch_size;
    if (most && bottom->dim[0] > 0 && (uint32_t)bottom->dim[0] > most && !is_global(layer))
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "stats_batch_size is %u and the batch has %d images, but statistics are of "
                       "whole batches here; train with batches of up to %u, or without it",
                       most, bottom->dim[0], most);
    return qf_layer_reshape_like_bottom(layer);
}

static qf_statistics statistics_of(const qf_layer *layer)
{
    const Caffe__BatchNormParameter *p = param_of(layer);
    const state *s = layer->state;
    qf_statistics statistics = {.mean = s->mean,
                                .inverse = s->inverse,
                                .keep = p->moving_average_fraction,
                                .eps = p->eps,
                                .eps_inside = p->add_eps_before_sqrt};
    for (int i = 0; i < 3; i++)
        statistics.running[i] = layer->params[i].blob->data;
    return statistics;
}

static qf_status running_statistics(qf_layer *layer, const qf_statistics *statistics)
{
    state *s = layer->state;
    uint64_t versions[3];
    for (int i = 0; i < 3; i++)
        versions[i] = statistics->running[i]->version;
    if (s->known && memcmp(versions, s->versions, sizeof versions) == 0)
        return QF_OK;
    QF_TRY(layer->device->normalise->running_statistics(layer->context, statistics));
    memcpy(s->versions, versions, sizeof versions);
    s->known = true;
    return QF_OK;
}

/* What this pass normalises by; those of the batch go into the running ones. */
static qf_status prepare(qf_layer *layer)
{
    state *s = layer->state;
    const qf_statistics statistics = statistics_of(layer);
    s->global = is_global(layer);
    if (s->global)
        return running_statistics(layer, &statistics);
    s->known = false;
    return layer->device->normalise->batch_statistics(layer->context, &statistics,
                                                      layer->bottom[0]->data);
}

static void stage(qf_layer *layer, qf_stage *out)
{
    out->kind = QF_STAGE_NORMALISE;
    out->normalise.statistics = statistics_of(layer);
    out->normalise.of_batch = !is_global(layer);
}

/* A sweep of one stage. */
static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    const size_t count = qf_shape_count(&s->input->shape);
    if (count == 0)
        return QF_OK;
    const qf_sweep sweep = {.rows = count / s->channels,
                            .channels = s->channels,
                            .mean = s->mean,
                            .inverse = s->inverse};
    return layer->device->sweep->forward(layer->context, &sweep, s->input, NULL,
                                         layer->top[0]->data, NULL);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_statistics statistics = statistics_of(layer);
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->normalise->backward(layer->context, &statistics,
                                              s->global ? NULL : s->input, layer->top[0]->diff,
                                              layer->bottom[0]->diff);
}

const qf_layer_type qf_batch_norm_layer = {
    .name = "BatchNorm",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .prepare = prepare,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
