/* Where the factors of a quantised layer come from: the layers around it, or the record. */
#include "layers/quantised/search_factors.h"

#include "base/memory.h"
#include "layers/normalisation/batch_norm.h"
#include "layers/pending_records.h"
#include "layers/quantised/weight_codes.h"

#include <math.h>
#include <string.h>

static bool is_type(const qf_layer *layer, const char *type)
{
    return layer && strcmp(layer->type->name, type) == 0;
}

/* ---- the layer and what is around it ---- */

qf_search_target qf_search_target_of(const qf_layer *search, const qf_neighbours *around,
                                     const char *name)
{
    qf_search_target t = {.layer = around->find(around->net, name)};
    if (!t.layer || !t.layer->bottom_count)
        return (qf_search_target){0};
    t.weight_qat = around->producer(around->net, t.layer->bottom[0], t.layer);
    if (is_type(t.weight_qat, "WeightQAT"))
        t.activation_qat = around->producer(around->net, t.weight_qat->bottom[0], t.weight_qat);
    /* Back from our bottom through what will be folded. */
    qf_layer *behind = around->producer(around->net, search->bottom[0], search);
    if (is_type(behind, "Scale") && behind->bottom_count == 1) {
        t.scale = behind;
        behind = around->producer(around->net, behind->bottom[0], behind);
    }
    if (is_type(behind, "BatchNorm")) {
        t.batch_norm = behind;
        behind = around->producer(around->net, behind->bottom[0], behind);
    }
    t.behind = behind;
    return t;
}

bool qf_search_target_is_trained(const qf_search_target *target)
{
    return is_type(target->activation_qat, "ActivationQAT");
}

qf_status qf_search_target_check(const qf_layer *search, const qf_search_target *target,
                                 const char *name)
{
    if (!target->layer)
        return qf_fail(search->context, QF_E_MISMATCH,
                       "search_n_param names layer '%s', which this net "
                       "does not have",
                       name);
    if (target->behind != target->layer)
        return qf_fail(
            search->context, QF_E_MISMATCH,
            "stands behind layer '%s', expected its own target '%s' with at most BatchNorm "
            "and Scale between",
            target->behind ? target->behind->name : "(none)", name);
    return QF_OK;
}

uint64_t qf_search_target_version(const qf_search_target *t)
{
    const qf_layer *layers[] = {t->weight_qat, t->activation_qat, t->batch_norm, t->scale};
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++)
        for (int k = layers[i] == t->weight_qat ? 1 : 0; layers[i] && k < layers[i]->param_count;
             k++)
            hash = hash * 0x100000001b3u + layers[i]->params[k].blob->data->version;
    return hash;
}

/* ---- from training ---- */

/* |k| of each channel: what folding BatchNorm and Scale multiplies weights by (I.2). */
static qf_status fold_factors(const qf_layer *layer, const qf_search_target *t, float *factor,
                              size_t channels)
{
    const float *variance, *sum, *gamma;
    for (size_t c = 0; c < channels; c++)
        factor[c] = 1;
    if (t->batch_norm) {
        const Caffe__BatchNormParameter *p =
            QF_LAYER_PARAM(t->batch_norm, batch_norm_param, BATCH_NORM_, BatchNorm);
        if (qf_blob_count(t->batch_norm->params[1].blob) != channels)
            return qf_fail(layer->context, QF_E_SHAPE, "BatchNorm has another number of channels");
        QF_TRY(qf_read(layer->context, t->batch_norm->params[1].blob->data, QF_PLAIN, &variance));
        QF_TRY(qf_read(layer->context, t->batch_norm->params[2].blob->data, QF_PLAIN, &sum));
        float weight = sum[0] == 0 ? 0 : 1 / sum[0];
        for (size_t c = 0; c < channels; c++)
            factor[c] *= qf_batch_norm_inverse(p, variance[c] * weight);
    }
    if (t->scale) {
        if (qf_blob_count(t->scale->params[0].blob) != channels)
            return qf_fail(layer->context, QF_E_SHAPE, "Scale has another number of channels");
        QF_TRY(qf_read(layer->context, t->scale->params[0].blob->data, QF_PLAIN, &gamma));
        for (size_t c = 0; c < channels; c++)
            factor[c] = fabsf(factor[c] * gamma[c]);
    }
    return QF_OK;
}

/* The step of channel c; all layers of a search have the same. */
static qf_status set_step(const qf_layer *layer, qf_search_factors *factors, size_t c, float deq,
                          bool first, const char *name)
{
    if (!first && deq != factors->deq[c])
        return qf_fail(layer->context, QF_E_MISMATCH,
                       "layer '%s' has other factors than the first layer of this search", name);
    factors->deq[c] = deq;
    return QF_OK;
}

static qf_status set_scales(qf_context *context, qf_search_factors *factors, const float *scale_w,
                            size_t scales)
{
    qf_free(factors->scale_w);
    factors->scales = scales;
    factors->scale_w = qf_alloc(scales, sizeof *factors->scale_w);
    if (!factors->scale_w)
        return qf_fail(context, QF_E_MEMORY, "no memory for scales");
    memcpy(factors->scale_w, scale_w, scales * sizeof *scale_w);
    return QF_OK;
}

/* Of a WeightQAT: what learned, or ARQ's. */
static qf_status weight_scales(const qf_layer *search, const qf_layer *weight_qat, int bits,
                               qf_weight_layout layout, float *scale_w)
{
    qf_tensor *master = weight_qat->params[1].blob->data;
    const float *steps;
    if (weight_qat->param_count < 3)
        return search->device->quantise->weights(search->context, master, layout, bits, scale_w,
                                                 NULL);
    QF_TRY(qf_read(search->context, weight_qat->params[2].blob->data, QF_PLAIN, &steps));
    memcpy(scale_w, steps, layout.channels * sizeof *scale_w);
    return QF_OK;
}

static qf_status check_scales(const qf_layer *layer, const char *name, size_t scales,
                              size_t channels)
{
    if (scales > 1 && channels % scales)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "layer '%s' has %zu weight scales, its output %zu channels", name, scales,
                       channels);
    return QF_OK;
}

qf_status qf_search_factors_train(const qf_layer *search, const qf_search_target *t, bool first,
                                  qf_search_factors *factors)
{
    const qf_layer *weight_qat = t->weight_qat;
    const Caffe__RetrainWeightQuantParameter *p = QF_LAYER_PARAM(
        weight_qat, retrain_weight_quant_param, RETRAIN_WEIGHT_QUANT_, RetrainWeightQuant);
    qf_tensor *master = weight_qat->params[1].blob->data;
    const qf_weight_layout layout =
        qf_weight_layout_of(&master->shape, is_type(t->layer, "Deconvolution"), p->channel_wise);
    const float *clip_max, *clip_min;
    QF_TRY(qf_read(search->context, t->activation_qat->params[0].blob->data, QF_PLAIN, &clip_max));
    QF_TRY(qf_read(search->context, t->activation_qat->params[1].blob->data, QF_PLAIN, &clip_min));
    const Caffe__RetrainDataQuantParameter *data = QF_LAYER_PARAM(
        t->activation_qat, retrain_data_quant_param, RETRAIN_DATA_QUANT_, RetrainDataQuant);
    const float scale_d = qf_ulq_factors(clip_max[0], clip_min[0], (int)data->num_bits).scale;
    float *scale_w = qf_alloc(layout.channels, sizeof *scale_w);
    float *factor = qf_alloc(factors->channels, sizeof *factor);
    qf_status status = scale_w && factor
                           ? weight_scales(search, weight_qat, (int)p->num_bits, layout, scale_w)
                           : qf_fail(search->context, QF_E_MEMORY, "no memory for scales");
    if (status == QF_OK)
        status = check_scales(search, t->layer->name, layout.channels, factors->channels);
    if (status == QF_OK)
        status = fold_factors(search, t, factor, factors->channels);
    for (size_t c = 0; status == QF_OK && c < factors->channels; c++)
        status = set_step(search, factors, c,
                          scale_d * qf_folded_scale(scale_w[c % layout.channels], factor[c]), first,
                          t->layer->name);
    if (status == QF_OK && first)
        status = set_scales(search->context, factors, scale_w, layout.channels);
    factors->weight_bits = (int)p->num_bits;
    qf_free(scale_w);
    qf_free(factor);
    return status;
}

/* ---- from the record ---- */

qf_status qf_search_factors_read_weights(const qf_layer *search, const char *path, const char *name,
                                         bool first, qf_search_factors *factors)
{
    const qf_record *record;
    QF_TRY(qf_pending_record_file(search->context, search->records, path, &record));
    const qf_record_entry *entry = qf_record_find(record, name);
    if (!entry || !entry->n_scale_w)
        return qf_fail(
            search->context, QF_E_MISMATCH,
            "layer '%s' has no ActivationQAT and WeightQAT in front of it, and %s has no "
            "scale_w of it, so there are no factors to search a shift for",
            name, path);
    QF_TRY(check_scales(search, name, entry->n_scale_w, factors->channels));
    if (first)
        return set_scales(search->context, factors, entry->scale_w, entry->n_scale_w);
    if (entry->n_scale_w != factors->scales ||
        memcmp(entry->scale_w, factors->scale_w, factors->scales * sizeof *factors->scale_w) != 0)
        return qf_fail(search->context, QF_E_MISMATCH,
                       "layer '%s' has other factors than the first layer of this search", name);
    return QF_OK;
}

/* Of this pass, or of an earlier one. */
static qf_status find_scale_d(const qf_layer *search, const char *path, const char *name,
                              float *scale_d)
{
    qf_record *pending;
    const qf_record *file;
    QF_TRY(qf_pending_record_of(search->context, search->records, path, &pending));
    const qf_record_entry *entry = qf_record_find(pending, name);
    if (!entry || !entry->has_scale_d) {
        QF_TRY(qf_pending_record_file(search->context, search->records, path, &file));
        entry = qf_record_find(file, name);
    }
    if (!entry || !entry->has_scale_d)
        return qf_fail(
            search->context, QF_E_MISMATCH,
            "%s has no scale_d of layer '%s': its IFMR or HFMG layer must stand in front "
            "of this one and look at as many batches",
            path, name);
    *scale_d = entry->scale_d;
    return QF_OK;
}

qf_status qf_search_factors_read_steps(const qf_layer *search, const char *path, const char *name,
                                       bool first, qf_search_factors *factors)
{
    float scale_d = 0;
    QF_TRY(find_scale_d(search, path, name, &scale_d));
    for (size_t c = 0; c < factors->channels; c++)
        QF_TRY(set_step(search, factors, c, scale_d * factors->scale_w[c % factors->scales], first,
                        name));
    return QF_OK;
}

/* ---- both ---- */

qf_status qf_search_factors_resize(qf_context *context, qf_search_factors *factors, size_t channels)
{
    qf_search_factors_release(factors);
    factors->channels = channels;
    factors->deq = qf_alloc(channels, sizeof *factors->deq);
    return factors->deq ? QF_OK
                        : qf_fail(context, QF_E_MEMORY, "no memory for the search of shifts");
}

void qf_search_factors_release(qf_search_factors *factors)
{
    qf_free(factors->deq);
    qf_free(factors->scale_w);
    *factors = (qf_search_factors){0};
}

qf_status qf_search_factors_check(qf_context *context, const qf_search_factors *factors)
{
    for (size_t c = 0; c < factors->channels; c++)
        if (!(factors->deq[c] > 0) || !isfinite(factors->deq[c]))
            return qf_fail(context, QF_E_VALUE,
                           "scale_d * scale_w of channel %zu is %g, expected a positive number", c,
                           (double)factors->deq[c]);
    return QF_OK;
}
