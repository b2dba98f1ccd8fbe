/* A net and the factors of its quantised layers: how codes and scales come about, and what folding
 * does to them. */
#include "toolkit/export/quantised.h"

#include "base/memory.h"
#include "device/device.h"
#include "quant/quant.h"
#include "toolkit/export/fold.h"
#include "toolkit/toolkit.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char MODULE[] = "Save";

void qf_quantised_forget_layers(qf_quantised_net *r)
{
    for (size_t i = 0; i < r->count; i++) {
        qf_free(r->layers[i].name);
        qf_free(r->layers[i].codes);
        qf_free(r->layers[i].scale);
        qf_free(r->layers[i].shift);
    }
    r->count = 0;
}

void qf_quantised_net_release(qf_quantised_net *r)
{
    qf_quantised_forget_layers(r);
    while (r->folded_count)
        qf_quantised_forget_fold(r);
    qf_free(r->folded);
    qf_free(r->layers);
    qf_message_free(r->net);
    *r = (qf_quantised_net){0};
}

/* Everything here computes in float32, whatever the file has. */
static qf_status use_floats(qf_context *context, Caffe__BlobProto *blob)
{
    for (size_t i = 0; i < blob->n_double_data; i++) {
        const float value = (float)blob->double_data[i];
        QF_TRY(qf_append(context, &blob->n_data, &blob->data, &value, sizeof value));
    }
    free(blob->double_data);
    blob->double_data = NULL;
    blob->n_double_data = 0;
    return QF_OK;
}

qf_status qf_quantised_attach(qf_context *context, Caffe__NetParameter *net,
                              const Caffe__NetParameter *weights)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *stored = qf_find_layer(weights, net->layer[i]->name);
        for (size_t b = 0; stored && b < stored->n_blobs; b++) {
            Caffe__BlobProto *blob;
            QF_TRY(qf_message_copy(context, stored->blobs[b], &blob));
            qf_status status = use_floats(context, blob);
            QF_TRY(qf_graph_give_blob(context, net->layer[i], blob, status));
        }
    }
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

qf_status qf_quantised_layout(qf_context *context, const Caffe__LayerParameter *layer,
                              bool channel_wise, qf_weight_layout *out)
{
    const size_t count = layer->n_blobs ? layer->blobs[0]->n_data : 0;
    const size_t channels = channel_wise ? qf_fold_outputs(layer) : 1;
    const size_t kernel =
        channel_wise && count && qf_layer_is(layer, "Deconvolution") ? qf_kernel_size(layer) : 0;
    if (!count || !channels || count % channels || (kernel && count % (channels * kernel)))
        return qf_fail(context, QF_E_MISMATCH,
                       "the weights of layer %s do not fit its settings; is this the weights file "
                       "of this model?",
                       layer->name);
    *out = kernel ? (qf_weight_layout){count / channels / kernel, channels, kernel}
                  : (qf_weight_layout){1, channels, count / channels};
    return QF_OK;
}

/* By the context's device. */
static qf_status arq(qf_context *context, const float *w, qf_weight_layout layout, int bits,
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
        status = qf_device_of(context)->quantise->weights(context, master, layout, bits, scale,
                                                          quantised);
    }
    if (status == QF_OK)
        status = qf_tensor_read(context, quantised, QF_WEIGHT_CODES, &found);
    if (status == QF_OK)
        memcpy(codes, found, (size_t)count);
    qf_tensor_release(master);
    qf_tensor_release(quantised);
    return status;
}

static qf_status make_room(qf_context *context, size_t codes, size_t scales, qf_quantised *q)
{
    q->code_count = codes;
    q->scales = scales;
    q->scale = qf_alloc(scales, sizeof *q->scale);
    q->codes = qf_alloc_raw(codes, 1);
    return q->scale && q->codes ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for codes");
}

qf_status qf_quantise_weights(qf_context *context, const float *w, qf_weight_layout layout,
                              int bits, qf_quantised *q)
{
    q->weight_bits = bits;
    QF_TRY(make_room(context, layout.outer * layout.channels * layout.inner, layout.channels, q));
    QF_TRY(arq(context, w, layout, bits, q->scale, q->codes));
    q->weight_sqnr = decibels(w, q->codes, layout, q->scale);
    return QF_OK;
}

void qf_quantised_recode(qf_quantised *q, const float *w, qf_weight_layout layout)
{
    for (size_t i = 0; i < q->code_count; i++)
        q->codes[i] =
            (int8_t)qf_arq_code(w[i], q->scale[i / layout.inner % layout.channels], q->weight_bits);
    q->weight_sqnr = decibels(w, q->codes, layout, q->scale);
}

void qf_quantised_take_codes(qf_quantised *q, const Caffe__LayerParameter *layer)
{
    const float *w = layer->blobs[0]->data;
    for (size_t i = 0; i < q->code_count; i++)
        q->codes[i] =
            (int8_t)qf_arq_code(w[i], q->scale[qf_quantised_scale_of(q, layer, i)], q->weight_bits);
    qf_quantised_measure(q, layer);
}

void qf_quantised_measure(qf_quantised *q, const Caffe__LayerParameter *layer)
{
    const float *w = layer->blobs[0]->data;
    double signal = 0, noise = 0;
    for (size_t i = 0; i < q->code_count; i++) {
        const float step = q->scale[qf_quantised_scale_of(q, layer, i)];
        const double value = (double)w[i];
        const double error = value - (double)((float)q->codes[i] * step);
        signal += value * value;
        noise += error * error;
    }
    q->weight_sqnr = 10 * log10(signal / noise);
}

qf_status qf_quantise_by_scales(qf_context *context, const Caffe__LayerParameter *layer,
                                const float *scale, size_t count, qf_quantised *q)
{
    const Caffe__BlobProto *w = layer->blobs[0];
    QF_TRY(make_room(context, w->n_data, count, q));
    memcpy(q->scale, scale, count * sizeof *scale);
    qf_quantised_take_codes(q, layer);
    return QF_OK;
}

qf_status qf_quantised_give_weights(qf_context *context, const qf_quantised *q,
                                    Caffe__LayerParameter *layer)
{
    Caffe__BlobProto *w = layer->blobs[0];
    if (w->n_data != q->code_count)
        return qf_fail(context, QF_E_MISMATCH, "layer %s has %zu weights, its factors are for %zu",
                       layer->name, w->n_data, q->code_count);
    for (size_t i = 0; i < q->code_count; i++)
        w->data[i] = (float)q->codes[i] * q->scale[qf_quantised_scale_of(q, layer, i)];
    return QF_OK;
}

qf_status qf_quantise_nothing(qf_context *context, qf_quantised *q)
{
    q->scales = 1;
    q->scale = qf_alloc(1, sizeof *q->scale);
    if (!q->scale)
        return qf_fail(context, QF_E_MEMORY, "no memory for a scale");
    q->scale[0] = 1;
    return QF_OK;
}

qf_status qf_quantised_add(qf_context *context, qf_quantised_net *r,
                           const Caffe__LayerParameter *layer, qf_quantised **out)
{
    if (!qf_grow(&r->layers, &r->capacity, r->count + 1, sizeof *r->layers))
        return qf_fail(context, QF_E_MEMORY, "no memory for a layer's factors");
    *out = &r->layers[r->count];
    **out = (qf_quantised){.name = qf_strdup(layer->name),
                           .data_bits = QF_BITS_CODE,
                           .weight_bits = QF_BITS_CODE,
                           .weight_sqnr = INFINITY};
    r->count++;
    return (*out)->name ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a layer's factors");
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
    const float largest = (float)((1 << (q->weight_bits - 1)) - 1);
    for (size_t i = 0; i < q->code_count; i++) {
        size_t c = i / inner % count;
        if (q->codes[i] == 0)
            continue;
        /* ±1, or less where the scale could not follow */
        float ratio = factors[c] * q->scale[c % q->scales] / scale[c];
        float code = qf_round_away((float)q->codes[i] * ratio);
        q->codes[i] = (int8_t)(code > largest ? largest : code);
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

qf_quantised *qf_quantised_find(const qf_quantised_net *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->layers[i].name, name) == 0)
            return &r->layers[i];
    return NULL;
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

static void free_names(qf_folded *folded)
{
    qf_free(folded->into);
    qf_free(folded->batch_norm);
    qf_free(folded->scale);
}

qf_status qf_quantised_note_fold(qf_context *context, qf_quantised_net *r, int index, qf_fold fold,
                                 bool front)
{
    const bool scaled = fold.scale != QF_NONE;
    if (!qf_grow(&r->folded, &r->folded_capacity, r->folded_count + 1, sizeof *r->folded))
        return qf_fail(context, QF_E_MEMORY, "no memory for names");
    qf_folded folded = {
        .into = qf_strdup(r->net->layer[index]->name),
        .batch_norm = qf_strdup(r->net->layer[fold.batch_norm]->name),
        .scale = scaled ? qf_strdup(r->net->layer[fold.scale]->name) : NULL,
        .front = front,
    };
    if (!folded.into || !folded.batch_norm || (scaled && !folded.scale)) {
        free_names(&folded);
        return qf_fail(context, QF_E_MEMORY, "no memory for names");
    }
    r->folded[r->folded_count++] = folded;
    return QF_OK;
}

void qf_quantised_forget_fold(qf_quantised_net *r)
{
    free_names(&r->folded[--r->folded_count]);
}

/* Its shifts were searched behind BatchNorm and Scale, which stay. */
static void drop_shifts(qf_context *context, qf_quantised *q, const char *why)
{
    if (!q || !q->shift)
        return;
    qf_amct_say(context, QF_WARNING, MODULE, "Layer %s: %s leaves it without shift factors",
                q->name, why);
    qf_free(q->shift);
    q->shift = NULL;
}

static qf_status fold_layer(qf_context *context, qf_quantised_net *r, int index, qf_fold fold,
                            qf_quantised *q)
{
    const Caffe__LayerParameter *layer = r->net->layer[index];
    float *factors;
    size_t count;
    QF_TRY(qf_quantised_note_fold(context, r, index, fold, false));
    QF_TRY(qf_fold_into(context, r->net, index, fold, &factors, &count));
    qf_status status = QF_OK;
    if (q) {
        const size_t before = q->scales;
        status = fold_codes(context, q, qf_layer_is(layer, "Deconvolution"), qf_kernel_size(layer),
                            factors, count);
        if (status == QF_OK)
            status = spread_shifts(context, q, before);
    }
    qf_free(factors);
    return status;
}

qf_status qf_quantised_fold(qf_context *context, qf_quantised_net *r, const qf_record *record)
{
    for (int i = 0; i < (int)r->net->n_layer; i++) {
        const char *name = r->net->layer[i]->name;
        const qf_record_entry *entry = qf_record_find(record, name);
        const qf_fold fold = qf_graph_fold(r->net, i);
        qf_quantised *q = qf_quantised_find(r, name);
        bool finite;
        if (fold.batch_norm == QF_NONE)
            continue;
        QF_TRY(qf_fold_is_finite(context, r->net, i, fold, &finite));
        if (entry && entry->skip_fusion) {
            drop_shifts(context, q, "skip_fusion");
        } else if (!finite) {
            QF_TRY(qf_fold_not_finite(context, name));
            drop_shifts(context, q, "a BatchNorm that is not folded");
        } else {
            QF_TRY(fold_layer(context, r, i, fold, q));
        }
    }
    return QF_OK;
}

qf_status qf_quantised_finish(qf_context *context, qf_quantised_net *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const Caffe__LayerParameter *layer =
            r->net->layer[qf_graph_find(r->net, r->layers[i].name)];
        r->layers[i].type = layer->type;
        QF_TRY(qf_fit_biases(context, layer, &r->layers[i]));
    }
    return QF_OK;
}

qf_status qf_quantised_test_view(qf_context *context, Caffe__NetParameter *net,
                                 Caffe__NetParameter **out)
{
    if (!net->state)
        QF_TRY(qf_message_new(context, &caffe__net_state__descriptor, &net->state));
    net->state->has_phase = true;
    net->state->phase = CAFFE__PHASE__TEST;
    return qf_net_param_filter(context, net, out);
}
