/* Taking a retrained model apart: the float net and each layer's factors. */
#include "toolkit/export/quantised.h"

#include "base/memory.h"
#include "device/device.h"
#include "quant/quant.h"
#include "toolkit/config/support.h"
#include "toolkit/export/fold.h"
#include "toolkit/toolkit.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char MODULE[] = "Save";

void qf_retrained_release(qf_retrained *r)
{
    for (size_t i = 0; i < r->count; i++) {
        qf_free(r->layers[i].name);
        qf_free(r->layers[i].codes);
        qf_free(r->layers[i].scale);
        qf_free(r->layers[i].shift);
    }
    for (size_t i = 0; i < r->folded_count; i++) {
        qf_free(r->folded[i].into);
        qf_free(r->folded[i].batch_norm);
        qf_free(r->folded[i].scale);
    }
    qf_free(r->folded);
    qf_free(r->layers);
    qf_message_free(r->net);
    *r = (qf_retrained){0};
}

/* Each layer gets its blobs from the weights file's entry of its name. */
static qf_status attach_blobs(qf_context *context, Caffe__NetParameter *net,
                              const Caffe__NetParameter *weights)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *stored = qf_find_layer(weights, net->layer[i]->name);
        for (size_t b = 0; stored && b < stored->n_blobs; b++) {
            Caffe__BlobProto *blob;
            QF_TRY(qf_message_copy(context, stored->blobs[b], &blob));
            qf_status status = qf_append(context, &net->layer[i]->n_blobs, &net->layer[i]->blobs,
                                         &blob, sizeof blob);
            if (status != QF_OK) {
                qf_message_free(blob);
                return status;
            }
        }
    }
    return QF_OK;
}

static qf_status single_float(qf_context *context, const Caffe__LayerParameter *layer, size_t index,
                              float *out)
{
    if (layer->n_blobs <= index || layer->blobs[index]->n_data != 1)
        return qf_fail(
            context, QF_E_MISMATCH,
            "layer %s has no clip range in the weights file; give the weights that training "
            "wrote (solver_iter_N.caffemodel)",
            layer->name);
    *out = layer->blobs[index]->data[0];
    return QF_OK;
}

static qf_status activation_factors(qf_context *context, const Caffe__LayerParameter *activation,
                                    qf_quantised *q)
{
    const Caffe__RetrainDataQuantParameter *p = activation->retrain_data_quant_param;
    qf_clip clip = {0};
    QF_TRY(single_float(context, activation, 0, &clip.max));
    QF_TRY(single_float(context, activation, 1, &clip.min));
    const double found[2] = {(double)clip.max, (double)clip.min};
    /* The last update of training may have left a range that the next forward pass would mend. */
    if (p && p->fixed_min)
        clip.min = 0;
    if (qf_clip_check(&clip) || !(clip.max > clip.min)) {
        qf_warning(context,
                   "Layer %s: the last update left the clip range %g ... %g, which is not usable; "
                   "taking that of the TEST phase, from the record",
                   q->name, found[1], found[0]);
        return QF_OK;
    }
    qf_ulq factors = qf_ulq_factors(clip.max, clip.min, 8);
    q->scale_d = factors.scale;
    q->offset_d = qf_ulq_offset_d(factors);
    return QF_OK;
}

static double decibels(const float *w, const int8_t *codes, qf_weight_layout layout,
                       const float *scale)
{
    double signal = 0, noise = 0;
    size_t count = layout.outer * layout.channels * layout.inner;
    for (size_t i = 0; i < count; i++) {
        double value = (double)w[i];
        double error =
            value - (double)((float)codes[i] * scale[i / layout.inner % layout.channels]);
        signal += value * value;
        noise += error * error;
    }
    return 10 * log10(signal / noise);
}

static qf_weight_layout layout_of(const Caffe__LayerParameter *weight_qat, size_t count)
{
    const Caffe__RetrainWeightQuantParameter *p = weight_qat->retrain_weight_quant_param;
    if (!p->channel_wise)
        return (qf_weight_layout){1, 1, count};
    if (p->layer_type && strcmp(p->layer_type, "Deconvolution") == 0)
        return (qf_weight_layout){p->cout, p->cin, count / p->cout / p->cin};
    return (qf_weight_layout){1, p->cout, count / p->cout};
}

/* Scales and codes of `w`, by the context's device. */
static qf_status quantise_weights(qf_context *context, const float *w, qf_weight_layout layout,
                                  float *scale, int8_t *codes)
{
    const int count = (int)(layout.outer * layout.channels * layout.inner);
    const qf_shape shape = qf_shape_make(1, &count);
    qf_tensor *master = NULL, *quantised = NULL;
    const int8_t *found = NULL;
    float *values = NULL;
    qf_status status = qf_tensor_create(context, &master);
    if (status == QF_OK)
        status = qf_tensor_create(context, &quantised);
    if (status == QF_OK)
        status = qf_tensor_reshape(context, master, &shape);
    if (status == QF_OK)
        status = qf_tensor_reshape(context, quantised, &shape);
    if (status == QF_OK)
        status = qf_write(context, master, QF_PLAIN, &values);
    if (status == QF_OK) {
        memcpy(values, w, (size_t)count * sizeof *values);
        status =
            qf_device_of(context)->quantise->weights(context, master, layout, scale, quantised);
    }
    if (status == QF_OK)
        status = qf_tensor_read(context, quantised, QF_WEIGHT_CODES, &found);
    if (status == QF_OK)
        memcpy(codes, found, (size_t)count);
    qf_tensor_release(master);
    qf_tensor_release(quantised);
    return status;
}

/* Scales and codes from the float master. */
static qf_status weight_factors(qf_context *context, const Caffe__LayerParameter *weight_qat,
                                qf_quantised *q)
{
    const Caffe__RetrainWeightQuantParameter *p = weight_qat->retrain_weight_quant_param;
    size_t expected = p ? (size_t)p->cout * p->cin * (p->has_h ? (size_t)p->h * p->w : 1) : 0;
    const Caffe__BlobProto *master = weight_qat->n_blobs > 1 ? weight_qat->blobs[1] : NULL;
    if (!master || master->n_data == 0 || master->n_data != expected)
        return qf_fail(
            context, QF_E_MISMATCH,
            "layer %s has no float weights of the right size in the weights file; give the "
            "weights that training wrote (solver_iter_N.caffemodel)",
            weight_qat->name);
    const qf_weight_layout layout = layout_of(weight_qat, expected);
    q->code_count = expected;
    q->scales = layout.channels;
    q->scale = qf_alloc(layout.channels, sizeof *q->scale);
    q->codes = qf_alloc_raw(expected, 1);
    if (!q->scale || !q->codes)
        return qf_fail(context, QF_E_MEMORY, "no memory for codes");
    QF_TRY(quantise_weights(context, master->data, layout, q->scale, q->codes));
    q->weight_sqnr = decibels(master->data, q->codes, layout, q->scale);
    return QF_OK;
}

static qf_status new_quantised(qf_context *context, qf_retrained *r,
                               const Caffe__LayerParameter *layer, qf_quantised **out)
{
    if (!qf_grow(&r->layers, &r->capacity, r->count + 1, sizeof *r->layers))
        return qf_fail(context, QF_E_MEMORY, "no memory for a layer's factors");
    *out = &r->layers[r->count];
    **out = (qf_quantised){.name = qf_strdup(layer->name), .weight_sqnr = INFINITY};
    r->count++;
    return (*out)->name ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a layer's factors");
}

/* A layer whose input comes from fake quantisation. */
static qf_status collect_layer(qf_context *context, qf_retrained *r, int index)
{
    const Caffe__NetParameter *net = r->net;
    const Caffe__LayerParameter *layer = net->layer[index], *weight_qat = NULL;
    if (layer->n_bottom == 0 || qf_layer_is(layer, "WeightQAT"))
        return QF_OK;
    int source = qf_graph_producer(net, layer->bottom[0], index);
    if (source != QF_NONE && qf_layer_is(net->layer[source], "WeightQAT")) {
        weight_qat = net->layer[source];
        source = qf_graph_producer(net, weight_qat->bottom[0], source);
    }
    if (source == QF_NONE || !qf_layer_is(net->layer[source], "ActivationQAT"))
        return QF_OK;
    qf_quantised *q = NULL;
    QF_TRY(new_quantised(context, r, layer, &q));
    q->has_weights = weight_qat != NULL;
    QF_TRY(activation_factors(context, net->layer[source], q));
    if (weight_qat)
        return weight_factors(context, weight_qat, q);
    q->scales = 1;
    q->scale = qf_alloc(1, sizeof *q->scale);
    if (!q->scale)
        return qf_fail(context, QF_E_MEMORY, "no memory for a scale");
    q->scale[0] = 1;
    return QF_OK;
}

static bool is_inserted(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "ActivationQAT") || qf_layer_is(layer, "WeightQAT") ||
           qf_layer_is(layer, "SearchN");
}

/* Readers of an inserted layer's top read its bottom instead. */
static qf_status remove_inserted(qf_context *context, Caffe__NetParameter *net)
{
    for (int i = (int)net->n_layer - 1; i >= 0; i--) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!is_inserted(layer))
            continue;
        if (layer->n_top && strcmp(layer->top[0], layer->bottom[0]) != 0)
            for (size_t k = (size_t)i + 1; k < net->n_layer; k++)
                for (size_t b = 0; b < net->layer[k]->n_bottom; b++)
                    if (strcmp(net->layer[k]->bottom[b], layer->top[0]) == 0)
                        QF_TRY(qf_set_string(context, &net->layer[k]->bottom[b], layer->bottom[0]));
        qf_graph_remove(net, i);
    }
    return QF_OK;
}

static bool has_weight(const qf_quantised *q, bool deconvolution, size_t kernel, size_t count,
                       size_t channel)
{
    const size_t inner = deconvolution ? kernel : q->code_count / count;
    for (size_t i = 0; i < q->code_count; i++)
        if (q->codes[i] && i / inner % count == channel)
            return true;
    return false;
}

/* Folding multiplies the weights of channel c by k: the scale takes |k|, the codes its sign. */
static qf_status fold_codes(qf_context *context, qf_quantised *q, bool deconvolution, size_t kernel,
                            const float *factors, size_t count)
{
    float *scale = qf_alloc(count, sizeof *scale);
    if (!scale)
        return qf_fail(context, QF_E_MEMORY, "no memory for scales");
    for (size_t c = 0; c < count; c++) {
        scale[c] = qf_folded_scale(q->scale[c % q->scales], factors[c]);
        if (!(scale[c] <= 1 / FLT_EPSILON) && !has_weight(q, deconvolution, kernel, count, c))
            scale[c] = 1; /* of nothing; a variance of 0 made it infinite */
        qf_status status = qf_process_scale(context, &scale[c]);
        if (status != QF_OK) {
            qf_free(scale);
            return qf_within(context, status, "layer %s, channel %zu after folding", q->name, c);
        }
    }
    /* Convolution has its channels on axis 0; Deconvolution (group 1) on axis 1. */
    size_t inner = deconvolution ? kernel : q->code_count / count;
    for (size_t i = 0; i < q->code_count; i++) {
        size_t c = i / inner % count;
        if (q->codes[i] == 0)
            continue;
        /* ±1, or less where the scale could not follow */
        float ratio = factors[c] * q->scale[c % q->scales] / scale[c];
        float code = qf_round_away((float)q->codes[i] * ratio);
        q->codes[i] = (int8_t)(code > 127 ? 127 : code);
    }
    qf_free(q->scale);
    q->scale = scale;
    q->scales = count;
    return QF_OK;
}

size_t qf_kernel_size(const Caffe__LayerParameter *layer)
{
    const Caffe__BlobProto *w = layer->blobs[0];
    return w->shape && w->shape->n_dim == 4 ? (size_t)(w->shape->dim[2] * w->shape->dim[3])
                                            : (size_t)w->height * (size_t)w->width;
}

static qf_quantised *find_quantised(const qf_retrained *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->layers[i].name, name) == 0)
            return &r->layers[i];
    return NULL;
}

/* ---- the record ---- */

static qf_status check_record_keys(qf_context *context, const qf_retrained *r,
                                   const qf_record *record)
{
    for (size_t i = 0; i < record->n_record; i++) {
        const char *key = record->record[i]->key;
        if (!key || !record->record[i]->value)
            return qf_fail(context, QF_E_FORMAT, "record: entry %zu has no key or no value", i);
        if (qf_graph_find(r->net, key) == QF_NONE)
            return qf_fail(context, QF_E_MISMATCH,
                           "find %s failure in MODEL. Please match the record file with the model",
                           key);
        if (!find_quantised(r, key))
            return qf_fail(context, QF_E_MISMATCH, "record: layer %s cannot be quantized", key);
    }
    return QF_OK;
}

/* Shifts come from the record; the other factors from the weights that training left, where they
 * are usable. */
static qf_status take_shifts(qf_context *context, const qf_record *record, qf_quantised *q)
{
    const qf_record_entry *entry = qf_record_find(record, q->name);
    if (!entry || !entry->has_scale_d)
        return qf_fail(
            context, QF_E_MISMATCH,
            "Cannot find scale_d of layer '%s' in record file: no TEST phase has run; train "
            "with test_interval and test_iter of at least batch_num",
            q->name);
    const bool searched = entry->n_scale_w || entry->n_shift_bit; /* to the end */
    const qf_record_layer layer = {q->name, true, q->has_weights && searched ? q->scales : 0};
    QF_TRY(qf_record_check(context, &layer, entry, QF_RECORD_RETRAINED));
    if (q->scale_d == 0) {
        q->scale_d = entry->scale_d;
        q->offset_d = entry->offset_d;
    }
    if (fabsf(entry->scale_d - q->scale_d) > 1e-3f * q->scale_d)
        qf_warning(
            context,
            "Layer %s: scale_d is %g in the record but %g in the weights; the shift factors were "
            "searched at another iteration",
            q->name, (double)entry->scale_d, (double)q->scale_d);
    if (!q->has_weights)
        return QF_OK;
    if (!entry->n_shift_bit || entry->shift_bit[0] == 0) {
        qf_warning(context,
                   "Layer %s has no shift factors in the record: no TEST phase had the batch_num "
                   "batches that the search takes (is the solver's test_iter lower?); exporting "
                   "without shift",
                   q->name);
        return QF_OK;
    }
    q->shift = qf_alloc(q->scales, sizeof *q->shift);
    if (!q->shift)
        return qf_fail(context, QF_E_MEMORY, "no memory for shifts");
    for (size_t c = 0; c < q->scales; c++)
        q->shift[c] = (int)entry->shift_bit[entry->n_shift_bit == 1 ? 0 : c];
    return QF_OK;
}

static qf_status spread_shifts(qf_context *context, qf_quantised *q, size_t before)
{
    if (!q->shift || before == q->scales)
        return QF_OK;
    int *shift = qf_alloc(q->scales, sizeof *shift);
    if (!shift)
        return qf_fail(context, QF_E_MEMORY, "no memory for shifts");
    for (size_t c = 0; c < q->scales; c++)
        shift[c] = q->shift[c % before];
    qf_free(q->shift);
    q->shift = shift;
    return QF_OK;
}

static qf_status note_folded(qf_context *context, qf_retrained *r, int index, qf_fold fold)
{
    if (!qf_grow(&r->folded, &r->folded_capacity, r->folded_count + 1, sizeof *r->folded))
        return qf_fail(context, QF_E_MEMORY, "no memory for names");
    qf_folded *folded = &r->folded[r->folded_count++];
    folded->into = qf_strdup(r->net->layer[index]->name);
    folded->batch_norm = qf_strdup(r->net->layer[fold.batch_norm]->name);
    if (fold.scale != QF_NONE)
        folded->scale = qf_strdup(r->net->layer[fold.scale]->name);
    return folded->into && folded->batch_norm && (fold.scale == QF_NONE || folded->scale)
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for names");
}

static qf_status fold_all(qf_context *context, qf_retrained *r, const qf_record *record)
{
    for (int i = 0; i < (int)r->net->n_layer; i++) {
        const char *name = r->net->layer[i]->name;
        const qf_record_entry *entry = qf_record_find(record, name);
        qf_fold fold = qf_graph_fold(r->net, i);
        qf_quantised *q = find_quantised(r, name);
        float *factors;
        size_t count;
        if (fold.batch_norm == QF_NONE)
            continue;
        if (entry && entry->skip_fusion) {
            if (q && q->shift)
                qf_amct_say(context, QF_WARNING, MODULE,
                            "Layer %s: skip_fusion leaves it without shift factors", name);
            if (q) {
                qf_free(q->shift);
                q->shift = NULL;
            }
            continue;
        }
        QF_TRY(note_folded(context, r, i, fold));
        QF_TRY(qf_fold_into(context, r->net, i, fold, &factors, &count));
        qf_status status = QF_OK;
        if (q) {
            size_t before = q->scales;
            const Caffe__LayerParameter *layer = r->net->layer[i];
            status = fold_codes(context, q, qf_layer_is(layer, "Deconvolution"),
                                qf_kernel_size(layer), factors, count);
            if (status == QF_OK)
                status = spread_shifts(context, q, before);
        }
        qf_free(factors);
        QF_TRY(status);
    }
    return QF_OK;
}

static qf_status take_apart(qf_context *context, qf_retrained *r,
                            const Caffe__NetParameter *weights, const qf_record *record)
{
    QF_TRY(attach_blobs(context, r->net, weights));
    for (int i = 0; i < (int)r->net->n_layer; i++)
        QF_TRY(collect_layer(context, r, i));
    if (r->count == 0)
        return qf_fail(context, QF_E_MISMATCH,
                       "the model has no ActivationQAT layers; give the model that prepare wrote "
                       "(modified.prototxt)");
    QF_TRY(remove_inserted(context, r->net));
    QF_TRY(check_record_keys(context, r, record));
    for (size_t i = 0; i < r->count; i++)
        QF_TRY(take_shifts(context, record, &r->layers[i]));
    QF_TRY(fold_all(context, r, record));
    for (size_t i = 0; i < r->count; i++) {
        const Caffe__LayerParameter *layer =
            r->net->layer[qf_graph_find(r->net, r->layers[i].name)];
        r->layers[i].type = layer->type;
        QF_TRY(qf_fit_biases(context, layer, &r->layers[i]));
    }
    return QF_OK;
}

qf_status qf_retrained_read(qf_context *context, const char *model_file, const char *weights_file,
                            const char *record_file, qf_retrained *out)
{
    Caffe__NetParameter *net = NULL, *weights = NULL;
    qf_record *record = NULL;
    *out = (qf_retrained){0};
    qf_status status = qf_toolkit_read(context, model_file, weights_file, &net, &weights);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, net, weights, weights_file);
    if (status == QF_OK)
        status = qf_record_read(context, record_file, &record);
    if (status == QF_OK && !net->state)
        status = qf_message_new(context, &caffe__net_state__descriptor, &net->state);
    if (status == QF_OK) {
        net->state->has_phase = true;
        net->state->phase = CAFFE__PHASE__TEST;
        status = qf_net_param_filter(context, net, &out->net);
    }
    if (status == QF_OK)
        status = take_apart(context, out, weights, record);
    qf_message_free(net);
    qf_message_free(weights);
    qf_message_free(record);
    if (status != QF_OK)
        qf_retrained_release(out);
    return status;
}
