/* SearchN: the shift N that brings accumulators into 16 bits, searched while testing
 * (specification, G.3). Stands behind the layer and whatever will be folded into it. Keeps sums of
 * squared errors only, so memory does not depend on batch_num. */
#include "layers/quantised/search_n.h"

#include "layers/normalisation/batch_norm.h"
#include "layers/pending_records.h"
#include "layers/quantised/weight_codes.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* One quantised layer that this search is for, with what surrounds it; NULL: not there. */
typedef struct target {
    qf_layer *layer, *weight_qat, *activation_qat, *batch_norm, *scale;
    const qf_layer *behind; /* what stands in front of us and of BatchNorm and Scale */
} target;

typedef struct state {
    target *targets;         /* one for each layer_name */
    qf_shift_errors *errors; /* of each channel */
    float *deq;
    float *scale_w; /* of each channel of the weights, not folded */
    size_t channels, scales;
    bool common;             /* one shift for all channels */
    int calls;               /* in the running search */
    uint64_t fingerprint;    /* of all factors when the search began */
    qf_shift_search *search; /* of the batch under way; or NULL */
} state;

static const Caffe__SearchNParameter *param_of(const qf_layer *layer)
{
    static const Caffe__SearchNParameter all_defaults = CAFFE__SEARCH_NPARAMETER__INIT;
    return layer->param->search_n_param ? layer->param->search_n_param : &all_defaults;
}

static bool is_type(const qf_layer *layer, const char *type)
{
    return layer && strcmp(layer->type->name, type) == 0;
}

static target resolve(qf_layer *layer, const qf_neighbours *around, const char *name)
{
    target t = {.layer = around->find(around->net, name)};
    if (!t.layer || !t.layer->bottom_count)
        return (target){0};
    t.weight_qat = around->producer(around->net, t.layer->bottom[0], t.layer);
    if (is_type(t.weight_qat, "WeightQAT"))
        t.activation_qat = around->producer(around->net, t.weight_qat->bottom[0], t.weight_qat);
    /* Back from our bottom through what will be folded. */
    qf_layer *behind = around->producer(around->net, layer->bottom[0], layer);
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

static qf_status connect(qf_layer *layer, const qf_neighbours *around)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    s->targets = qf_alloc(p->n_layer_name, sizeof *s->targets);
    if (!s->targets)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the layers of a search");
    for (size_t i = 0; i < p->n_layer_name; i++)
        s->targets[i] = resolve(layer, around, p->layer_name[i]);
    return QF_OK;
}

/* A net that only trains needs no search, so what is missing is said when one begins. */
static qf_status check_target(const qf_layer *layer, const target *t, const char *name)
{
    if (!t->layer)
        return qf_fail(layer->context, QF_E_MISMATCH,
                       "search_n_param names layer '%s', which this net "
                       "does not have",
                       name);
    if (!is_type(t->activation_qat, "ActivationQAT"))
        return qf_fail(
            layer->context, QF_E_MISMATCH,
            "layer '%s' has no ActivationQAT and WeightQAT in front of it, so there are no "
            "factors to search a shift for",
            name);
    if (t->behind != t->layer)
        return qf_fail(
            layer->context, QF_E_MISMATCH,
            "stands behind layer '%s', expected its own target '%s' with at most BatchNorm "
            "and Scale between",
            t->behind ? t->behind->name : "(none)", name);
    return QF_OK;
}

/* |k| of each channel: what folding BatchNorm and Scale multiplies weights by (I.2). */
static qf_status fold_factors(qf_layer *layer, const target *t, float *factor, size_t channels)
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

static float *grow(float **array, size_t count)
{
    qf_free(*array);
    return *array = qf_alloc(count, sizeof(float));
}

/* deq_scale of each channel for one target; the first target fills state->deq, others must agree.
 */
static qf_status target_scales(qf_layer *layer, const target *t, bool first)
{
    state *s = layer->state;
    const qf_layer *weight_qat = t->weight_qat;
    const Caffe__RetrainWeightQuantParameter *p = QF_LAYER_PARAM(
        weight_qat, retrain_weight_quant_param, RETRAIN_WEIGHT_QUANT_, RetrainWeightQuant);
    qf_tensor *master = weight_qat->params[1].blob->data;
    qf_weight_layout layout =
        qf_weight_layout_of(&master->shape, is_type(t->layer, "Deconvolution"), p->channel_wise);
    const float *clip_max, *clip_min;
    QF_TRY(qf_read(layer->context, t->activation_qat->params[0].blob->data, QF_PLAIN, &clip_max));
    QF_TRY(qf_read(layer->context, t->activation_qat->params[1].blob->data, QF_PLAIN, &clip_min));
    float scale_d = qf_ulq_factors(clip_max[0], clip_min[0], 8).scale;
    float *scale_w = qf_alloc(layout.channels, sizeof *scale_w);
    float *factor = qf_alloc(s->channels, sizeof *factor);
    qf_status status =
        scale_w && factor
            ? layer->device->quantise->weights(layer->context, master, layout, scale_w, NULL)
            : qf_fail(layer->context, QF_E_MEMORY, "no memory for scales");
    if (status == QF_OK && layout.channels > 1 && s->channels % layout.channels)
        status = qf_fail(layer->context, QF_E_SHAPE,
                         "layer '%s' has %zu weight scales, its output %zu "
                         "channels",
                         t->layer->name, layout.channels, s->channels);
    if (status == QF_OK)
        status = fold_factors(layer, t, factor, s->channels);
    for (size_t c = 0; status == QF_OK && c < s->channels; c++) {
        float deq = scale_d * qf_folded_scale(scale_w[c % layout.channels], factor[c]);
        if (!first && deq != s->deq[c])
            status = qf_fail(layer->context, QF_E_MISMATCH,
                             "layer '%s' has other factors than the first layer of this search",
                             t->layer->name);
        s->deq[c] = deq;
    }
    if (status == QF_OK && first && !grow(&s->scale_w, layout.channels))
        status = qf_fail(layer->context, QF_E_MEMORY, "no memory for scales");
    if (status == QF_OK && first) {
        memcpy(s->scale_w, scale_w, layout.channels * sizeof *scale_w);
        s->scales = layout.channels;
    }
    qf_free(scale_w);
    qf_free(factor);
    return status;
}

/* Everything the factors depend on, as one number. */
static uint64_t fingerprint(const target *t)
{
    const qf_layer *layers[] = {t->weight_qat, t->activation_qat, t->batch_norm, t->scale};
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++)
        for (int k = layers[i] == t->weight_qat ? 1 : 0; layers[i] && k < layers[i]->param_count;
             k++)
            hash = hash * 0x100000001b3u + layers[i]->params[k].blob->data->version;
    return hash;
}

static qf_status start_search(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    qf_extent extent = qf_tensor_extent(shape);
    s->channels = extent.channels;
    s->calls = 0;
    qf_free(s->errors);
    s->errors = qf_alloc(s->channels, sizeof *s->errors);
    if (!s->errors || !grow(&s->deq, s->channels))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the search of shifts");
    for (size_t i = 0; i < p->n_layer_name; i++) {
        QF_TRY(check_target(layer, &s->targets[i], p->layer_name[i]));
        QF_TRY(target_scales(layer, &s->targets[i], i == 0));
    }
    for (size_t c = 0; c < s->channels; c++)
        if (!(s->deq[c] > 0) || !isfinite(s->deq[c]))
            return qf_fail(layer->context, QF_E_VALUE,
                           "scale_d * scale_w of channel %zu is %g, expected a positive number", c,
                           (double)s->deq[c]);
    /* A 1 x 1 output has too few values for a search of its own in each channel. */
    s->common = s->scales != s->channels || (shape->axes == 4 && extent.inner == 1);
    return QF_OK;
}

static void list_names(const qf_layer *layer, qf_buffer *out)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    for (size_t i = 0; i < p->n_layer_name; i++)
        qf_buffer_print(out, "%s%s", i ? " " : "", p->layer_name[i]);
}

static qf_status record_shifts(qf_layer *layer, qf_record *record, const int *shift)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    state *s = layer->state;
    for (size_t i = 0; i < p->n_layer_name; i++) {
        qf_record_entry *entry;
        QF_TRY(qf_record_find_or_add(layer->context, record, p->layer_name[i], &entry));
        QF_TRY(qf_record_set_scales(layer->context, entry, s->scale_w, s->scales));
        QF_TRY(qf_record_set_shifts(layer->context, entry, shift, s->scales));
    }
    return QF_OK;
}

static qf_status finish_search(qf_layer *layer)
{
    state *s = layer->state;
    const char *path = param_of(layer)->record_file_path;
    if (!path)
        return qf_fail(layer->context, QF_E_FORMAT, "search_n_param has no record_file_path");
    int *shift = qf_alloc(s->channels, sizeof *shift);
    if (!shift)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for shifts");
    qf_shift_errors sum = {{0}};
    for (size_t c = 0; c < s->channels; c++)
        for (int n = 0; n < QF_SHIFT_MAX; n++)
            sum.error[n] += s->errors[c].error[n];
    for (size_t c = 0; c < s->channels; c++)
        shift[c] = qf_shift_best(s->common ? &sum : &s->errors[c]);
    qf_record *record = NULL;
    qf_status status = qf_pending_record_of(layer->context, layer->records, path, &record);
    if (status == QF_OK)
        status = record_shifts(layer, record, shift);
    qf_free(shift);
    return status;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    if (!p->n_layer_name)
        return qf_fail(layer->context, QF_E_FORMAT, "search_n_param names no layer (layer_name)");
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    return layer->top_count ? qf_layer_reshape_like_bottom(layer) : QF_OK;
}

int qf_search_n_batches(const qf_layer *layer)
{
    const Caffe__SearchNParameter *p = param_of(layer);
    return p->has_batch_num && p->batch_num ? (int)p->batch_num : 1;
}

/* In place, the values just go on. */
static void stage(qf_layer *layer, qf_stage *out)
{
    if (layer->bottom_count != 1 || layer->top_count != 1 || layer->top[0] != layer->bottom[0])
        return;
    out->kind = QF_STAGE_SEARCH;
    out->search = ((const state *)layer->state)->search;
}

/* Begin one batch, unless the layer has seen all that it wants to. */
static qf_status prepare(qf_layer *layer)
{
    state *s = layer->state;
    const target *first = &s->targets[0];
    layer->device->sweep->search_destroy(s->search); /* of a pass that failed */
    s->search = NULL;
    QF_TRY(check_target(layer, first, param_of(layer)->layer_name[0]));
    const uint64_t now = fingerprint(first);
    if (!s->errors || now != s->fingerprint) {
        QF_TRY(start_search(layer));
        s->fingerprint = now;
    }
    return s->calls < qf_search_n_batches(layer)
               ? layer->device->sweep->search_begin(layer->context, s->deq, s->channels, &s->search)
               : QF_OK; /* done for these weights */
}

static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    const int batches = qf_search_n_batches(layer);
    if (!s->search)
        return QF_OK;
    layer->device->sweep->search_end(s->search, s->errors);
    s->search = NULL;
    s->calls++;
    qf_buffer names = {0};
    list_names(layer, &names);
    qf_info(layer->context,
            "Doing layer: [%s] search shift bits calibration, already store %d/%d data.",
            qf_buffer_text(&names), s->calls, batches);
    qf_status status = s->calls == batches ? finish_search(layer) : QF_OK;
    if (status == QF_OK && s->calls == batches)
        qf_info(layer->context, "Do layer: [%s] search shift bits calibration success!",
                qf_buffer_text(&names));
    qf_buffer_release(&names);
    return status;
}

/* A sweep with no other stage. */
static qf_status show_values(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t count = qf_blob_count(layer->bottom[0]);
    const qf_sweep sweep = {.rows = s->channels ? count / s->channels : 0,
                            .channels = s->channels,
                            .search = s->search};
    return count ? layer->device->sweep->forward(layer->context, &sweep, layer->bottom[0]->data,
                                                 NULL, NULL, NULL)
                 : QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    if (((const state *)layer->state)->search)
        QF_TRY(show_values(layer));
    if (!layer->top_count || layer->top[0] == layer->bottom[0])
        return QF_OK;
    return qf_tensor_copy(layer->context, layer->top[0]->data, layer->bottom[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    if (!layer->top_count || layer->top[0] == layer->bottom[0] || !layer->propagate_down[0])
        return QF_OK;
    return qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->sweep->search_destroy(s->search);
    qf_free(s->targets);
    qf_free(s->errors);
    qf_free(s->deq);
    qf_free(s->scale_w);
}

/* It only looks. */
static bool keeps_signs(const qf_layer *layer)
{
    (void)layer;
    return true;
}

const qf_layer_type qf_search_n_layer = {
    .name = "SearchN",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = -1,
    .min_tops = 0,
    .max_tops = 1,
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .keeps_signs = keeps_signs,
    .quantised = true,
    .setup = setup,
    .connect = connect,
    .reshape = reshape,
    .prepare = prepare,
    .forward = forward,
    .conclude = conclude,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
