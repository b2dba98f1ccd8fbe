/*
 * A DenseBlock (caffe_ocr) in Caffe's layers: for each of its transitions BatchNorm, Scale, ReLU
 * and a 3 × 3 convolution, with use_BC another of these with a 1 × 1 convolution before it, and a
 * Concat with what came in. Layers are called "<name>_<i>_norm" and so on; the last Concat keeps
 * the name.
 *
 * Its blobs, n transitions, each row n of them: 3 × 3 filters, scales, biases, means, variances;
 * with use_BC then the same of the part before: 1 × 1 filters, scales, biases, means, variances; at
 * last one number, by which all statistics are to be divided.
 */
#include "model/upgrade.h"

#include <stdio.h>
#include <stdlib.h>

/* Rows of blobs. */
enum { FILTERS, SCALES, BIASES, MEANS, VARIANCES, ROWS };

typedef struct block {
    Caffe__LayerParameter *layer;
    const Caffe__DenseBlockParameter *param; /* NULL: a file of weights may lack it */
    size_t transitions;
    bool squeezes;  /* use_BC */
    bool connected; /* has a bottom and a top, other than in a file of weights */
    size_t *count;  /* of the list that is built */
    Caffe__LayerParameter ***layers;
} block;

static bool is_large_filter(const Caffe__BlobProto *blob)
{
    return blob->shape ? blob->shape->n_dim == 4 && blob->shape->dim[2] > 1 : blob->height > 1;
}

static qf_status measure(qf_context *context, block *b)
{
    const Caffe__LayerParameter *layer = b->layer;
    size_t filters = 0;
    while (filters < layer->n_blobs && is_large_filter(layer->blobs[filters]))
        filters++;
    b->squeezes = b->param ? b->param->use_bc : filters && layer->n_blobs == 10 * filters + 1;
    b->transitions =
        b->param && b->param->numtransition > 0 ? (size_t)b->param->numtransition : filters;
    b->connected = layer->n_bottom && layer->n_top;
    if (layer->n_blobs &&
        (filters != b->transitions || layer->n_blobs != (b->squeezes ? 10 : 5) * filters + 1))
        return qf_fail(context, QF_E_FORMAT,
                       "layer %s: a DenseBlock of %zu transitions%s has %zu blobs, but this one "
                       "has %zu",
                       qf_upgrade_name(layer), b->transitions, b->squeezes ? " with use_BC" : "",
                       (b->squeezes ? 10 : 5) * b->transitions + 1, layer->n_blobs);
    return QF_OK;
}

static qf_status check(qf_context *context, const block *b)
{
    const Caffe__DenseBlockParameter *p = b->param;
    enum { MOST = 1000 };
    if (b->transitions < 1 || b->transitions > MOST)
        return qf_fail(context, QF_E_VALUE,
                       "layer %s: a DenseBlock has from 1 to %d transitions, this one %zu",
                       qf_upgrade_name(b->layer), MOST, b->transitions);
    if (p && (p->filter_h != 3 || p->filter_w != 3 || p->pad_h != 1 || p->pad_w != 1 ||
              p->conv_verticalstride != 1 || p->conv_horizentalstride != 1))
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "layer %s: a DenseBlock has filters of 3 x 3 with a pad and stride of 1, "
                       "whatever its fields say in the fork; leave them out",
                       qf_upgrade_name(b->layer));
    if (p && (p->growthrate < 1 || p->growthrate > INT32_MAX / 4))
        return qf_fail(context, QF_E_VALUE, "layer %s: growthRate is %d, expected 1 or more",
                       qf_upgrade_name(b->layer), p->growthrate);
    return QF_OK;
}

/* ---- layers ---- */

static qf_status set_names(qf_context *context, size_t *count, char ***names, const char *first,
                           const char *second)
{
    for (size_t i = 0; i < *count; i++)
        free((*names)[i]);
    *count = 0;
    QF_TRY(qf_append_string(context, count, names, first));
    return second ? qf_append_string(context, count, names, second) : QF_OK;
}

/* A layer "<name><ending>" at the end of the list, which writes `top`; NULL: the bottom. */
static qf_status append_layer(qf_context *context, const block *b, const char *ending,
                              const char *type, const char *bottom, const char *top,
                              Caffe__LayerParameter **out)
{
    Caffe__LayerParameter *layer = NULL;
    qf_status status = qf_upgrade_twin(context, b->layer, ending, type, &layer);
    if (status == QF_OK) {
        qf_message_free(layer->denseblock_param);
        layer->denseblock_param = NULL;
        layer->n_loss_weight = layer->n_propagate_down = 0;
    }
    if (status == QF_OK && b->connected) {
        status = set_names(context, &layer->n_bottom, &layer->bottom, bottom, NULL);
        if (status == QF_OK)
            status =
                set_names(context, &layer->n_top, &layer->top, top ? top : layer->bottom[0], NULL);
    }
    if (status == QF_OK)
        status = qf_append(context, b->count, b->layers, &layer, sizeof layer);
    if (status != QF_OK) {
        qf_message_free(layer);
        return status;
    }
    *out = layer;
    return QF_OK;
}

static qf_status copy_blob(qf_context *context, const block *b, size_t index, bool flat,
                           Caffe__LayerParameter *to)
{
    Caffe__BlobProto *blob = NULL;
    if (!b->layer->n_blobs)
        return QF_OK;
    qf_status status = qf_message_copy(context, b->layer->blobs[index], &blob);
    if (status == QF_OK && flat)
        status = qf_upgrade_flatten(context, blob);
    if (status == QF_OK)
        status = qf_append(context, &to->n_blobs, &to->blobs, &blob, sizeof blob);
    if (status != QF_OK)
        qf_message_free(blob);
    return status;
}

static qf_status copy_filler(qf_context *context, const Caffe__FillerParameter *from,
                             Caffe__FillerParameter **to)
{
    return from ? qf_message_copy(context, from, to) : QF_OK;
}

typedef struct place {
    const block *b;
    size_t transition;
    size_t first_row; /* 0, or of the part before */
    const char *part; /* "" or "squeeze_" */
    const char *bottom, *top;
} place;

static size_t blob_at(const place *p, size_t row)
{
    return (p->first_row + row) * p->b->transitions + p->transition;
}

static void print_ending(char ending[64], const place *p, const char *what)
{
    snprintf(ending, 64, "_%zu_%s%s", p->transition + 1, p->part, what);
}

static qf_status append_norm(qf_context *context, const place *p)
{
    const block *b = p->b;
    Caffe__LayerParameter *norm, *scale, *relu;
    char ending[64];
    print_ending(ending, p, "norm");
    QF_TRY(append_layer(context, b, ending, "BatchNorm", p->bottom, p->top, &norm));
    QF_TRY(
        qf_message_new(context, &caffe__batch_norm_parameter__descriptor, &norm->batch_norm_param));
    norm->batch_norm_param->has_moving_average_fraction = true;
    norm->batch_norm_param->moving_average_fraction =
        b->param ? b->param->moving_average_fraction : 0.1f;
    QF_TRY(copy_blob(context, b, blob_at(p, MEANS), true, norm));
    QF_TRY(copy_blob(context, b, blob_at(p, VARIANCES), true, norm));
    QF_TRY(copy_blob(context, b, b->layer->n_blobs - 1, true, norm));
    print_ending(ending, p, "scale");
    QF_TRY(append_layer(context, b, ending, "Scale", p->top, NULL, &scale));
    QF_TRY(qf_message_new(context, &caffe__scale_parameter__descriptor, &scale->scale_param));
    scale->scale_param->has_bias_term = scale->scale_param->bias_term = true;
    if (b->param) {
        QF_TRY(copy_filler(context, b->param->bn_scaler_filler, &scale->scale_param->filler));
        QF_TRY(copy_filler(context, b->param->bn_bias_filler, &scale->scale_param->bias_filler));
    }
    QF_TRY(copy_blob(context, b, blob_at(p, SCALES), true, scale));
    QF_TRY(copy_blob(context, b, blob_at(p, BIASES), true, scale));
    print_ending(ending, p, "relu");
    return append_layer(context, b, ending, "ReLU", p->top, NULL, &relu);
}

static qf_status append_convolution(qf_context *context, const place *p, uint32_t kernel,
                                    uint32_t outputs)
{
    Caffe__LayerParameter *layer;
    const uint32_t pad = kernel / 2;
    char ending[64];
    print_ending(ending, p, "conv");
    QF_TRY(append_layer(context, p->b, ending, "Convolution", p->bottom, p->top, &layer));
    QF_TRY(qf_message_new(context, &caffe__convolution_parameter__descriptor,
                          &layer->convolution_param));
    Caffe__ConvolutionParameter *q = layer->convolution_param;
    q->has_num_output = q->has_bias_term = true;
    q->num_output = outputs;
    q->bias_term = false;
    QF_TRY(qf_append(context, &q->n_kernel_size, &q->kernel_size, &kernel, sizeof kernel));
    if (pad)
        QF_TRY(qf_append(context, &q->n_pad, &q->pad, &pad, sizeof pad));
    if (p->b->param)
        QF_TRY(copy_filler(context, p->b->param->filter_filler, &q->weight_filler));
    return copy_blob(context, p->b, blob_at(p, FILTERS), false, layer);
}

static qf_status append_dropout(qf_context *context, const place *p)
{
    Caffe__LayerParameter *layer;
    char ending[64];
    print_ending(ending, p, "drop");
    QF_TRY(append_layer(context, p->b, ending, "Dropout", p->top, NULL, &layer));
    QF_TRY(qf_message_new(context, &caffe__dropout_parameter__descriptor, &layer->dropout_param));
    layer->dropout_param->has_dropout_ratio = true;
    layer->dropout_param->dropout_ratio = p->b->param->dropout_amount;
    return QF_OK;
}

/* The layers of a transition, up to what its Concat adds to the bottom: blob "<name>_<i>_conv". */
static qf_status append_transition(qf_context *context, const block *b, size_t index,
                                   const char *bottom)
{
    const Caffe__DenseBlockParameter *p = b->param;
    const uint32_t growth = p ? (uint32_t)p->growthrate : 1;
    char norm[512], conv[512], squeezed[512];
    const char *name = qf_upgrade_name(b->layer);
    snprintf(norm, sizeof norm, "%.400s_%zu_norm", name, index + 1);
    snprintf(conv, sizeof conv, "%.400s_%zu_conv", name, index + 1);
    place at = {b, index, 0, "", bottom, norm};
    QF_TRY(append_norm(context, &at));
    at.bottom = norm;
    if (b->squeezes) {
        snprintf(squeezed, sizeof squeezed, "%.400s_%zu_squeeze_conv", name, index + 1);
        at = (place){b, index, ROWS, "squeeze_", norm, squeezed};
        QF_TRY(append_convolution(context, &at, 1, 4 * growth));
        snprintf(norm, sizeof norm, "%.400s_%zu_squeeze_norm", name, index + 1);
        at = (place){b, index, ROWS, "squeeze_", squeezed, norm};
        QF_TRY(append_norm(context, &at));
        at = (place){b, index, 0, "", norm, conv};
    }
    at.top = conv;
    QF_TRY(append_convolution(context, &at, 3, growth));
    return p && p->use_dropout ? append_dropout(context, &at) : QF_OK;
}

/* The layer itself becomes the last Concat, and is the caller's to append. */
static qf_status become_concat(qf_context *context, Caffe__LayerParameter *layer, bool connected,
                               const char *bottom, const char *added)
{
    for (size_t i = 0; i < layer->n_blobs; i++)
        qf_message_free(layer->blobs[i]);
    for (size_t i = 0; i < layer->n_param; i++)
        qf_message_free(layer->param[i]);
    layer->n_blobs = layer->n_param = layer->n_propagate_down = 0;
    qf_message_free(layer->denseblock_param);
    layer->denseblock_param = NULL;
    QF_TRY(qf_set_string(context, &layer->type, "Concat"));
    return connected ? set_names(context, &layer->n_bottom, &layer->bottom, bottom, added) : QF_OK;
}

qf_status qf_upgrade_dense_block(qf_context *context, Caffe__LayerParameter *layer, size_t *count,
                                 Caffe__LayerParameter ***layers)
{
    block b = {.layer = layer, .param = layer->denseblock_param, .count = count, .layers = layers};
    char bottom[512], added[512], ending[64];
    Caffe__LayerParameter *concat;
    QF_TRY(measure(context, &b));
    QF_TRY(check(context, &b));
    snprintf(bottom, sizeof bottom, "%s", b.connected ? layer->bottom[0] : "");
    for (size_t i = 0; i < b.transitions; i++) {
        QF_TRY(append_transition(context, &b, i, bottom));
        snprintf(added, sizeof added, "%.400s_%zu_conv", qf_upgrade_name(layer), i + 1);
        if (i + 1 == b.transitions)
            break;
        char top[512];
        snprintf(ending, sizeof ending, "_%zu", i + 1);
        snprintf(top, sizeof top, "%.400s_%zu", qf_upgrade_name(layer), i + 1);
        QF_TRY(append_layer(context, &b, ending, "Concat", bottom, top, &concat));
        if (b.connected)
            QF_TRY(qf_append_string(context, &concat->n_bottom, &concat->bottom, added));
        snprintf(bottom, sizeof bottom, "%s", top);
    }
    return become_concat(context, layer, b.connected, bottom, added);
}
