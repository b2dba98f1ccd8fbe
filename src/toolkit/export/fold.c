/* Folding BatchNorm and Scale into weights and bias. */
#include "toolkit/export/fold.h"

#include "base/amct_log.h"
#include "base/memory.h"
#include "layers/normalisation/batch_norm.h"

#include <math.h>
#include <string.h>

/* What folding needs to know of one output channel: y = k · x + shift. */
typedef struct affine {
    float *factor, *shift;
    size_t count;
} affine;

static qf_status need_blobs(qf_context *context, const Caffe__LayerParameter *layer, size_t blobs,
                            size_t channels)
{
    bool complete = layer->n_blobs >= blobs;
    for (size_t i = 0; complete && i < blobs && i < 2; i++)
        complete = layer->blobs[i]->n_data == channels;
    return complete
               ? QF_OK
               : qf_fail(context, QF_E_MISMATCH,
                         "the weights of layer %s are missing or not for %zu channels; is this the "
                         "weights file of this model?",
                         layer->name, channels);
}

/* k = 1 / √(σ² + eps), or 1 / (σ + eps) as add_eps_before_sqrt says. */
qf_status qf_fold_statistics(qf_context *context, const Caffe__LayerParameter *norm,
                             size_t channels, float *mean, float *inverse)
{
    QF_TRY(need_blobs(context, norm, 3, channels));
    if (norm->blobs[2]->n_data != 1)
        return qf_fail(context, QF_E_FORMAT,
                       "the third blob of BatchNorm layer %s must be one number", norm->name);
    float sum = norm->blobs[2]->data[0], weight = sum == 0 ? 0 : 1 / sum;
    const Caffe__BatchNormParameter defaults = CAFFE__BATCH_NORM_PARAMETER__INIT;
    const Caffe__BatchNormParameter *param =
        norm->batch_norm_param ? norm->batch_norm_param : &defaults;
    for (size_t c = 0; c < channels; c++) {
        mean[c] = norm->blobs[0]->data[c] * weight;
        inverse[c] = qf_batch_norm_inverse(param, norm->blobs[1]->data[c] * weight);
    }
    return QF_OK;
}

qf_status qf_fold_scale(qf_context *context, const Caffe__LayerParameter *scale, size_t channels,
                        const float **gamma, const float **beta)
{
    const bool bias = scale->scale_param && scale->scale_param->bias_term;
    QF_TRY(need_blobs(context, scale, bias ? 2 : 1, channels));
    *gamma = scale->blobs[0]->data;
    *beta = bias ? scale->blobs[1]->data : NULL;
    return QF_OK;
}

/* factor = γ · k; shift = β − factor · μ. */
static qf_status read_affine(qf_context *context, const Caffe__NetParameter *net, qf_fold fold,
                             affine *a)
{
    const float *gamma, *beta;
    QF_TRY(qf_fold_statistics(context, net->layer[fold.batch_norm], a->count, a->shift, a->factor));
    for (size_t c = 0; c < a->count; c++)
        a->shift[c] = -a->shift[c] * a->factor[c];
    if (fold.scale == QF_NONE)
        return QF_OK;
    QF_TRY(qf_fold_scale(context, net->layer[fold.scale], a->count, &gamma, &beta));
    for (size_t c = 0; c < a->count; c++) {
        a->factor[c] *= gamma[c];
        a->shift[c] = a->shift[c] * gamma[c] + (beta ? beta[c] : 0);
    }
    return QF_OK;
}

/* The channel of weight `i`: axis 0 of a Convolution, axis 1 of a Deconvolution (group 1). */
static size_t channel_of(const Caffe__LayerParameter *layer, size_t channels, size_t i)
{
    const Caffe__BlobProto *w = layer->blobs[0];
    if (!qf_layer_is(layer, "Deconvolution"))
        return i / (w->n_data / channels);
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    size_t inputs = w->shape ? (size_t)w->shape->dim[0] : (size_t)w->num;
    size_t groups = p && p->group > 1 ? p->group : 1, per_group = channels / groups;
    size_t inner = w->n_data / inputs / per_group, input = i / inner / per_group;
    return input / (inputs / groups) * per_group + i / inner % per_group;
}

/* Says in its settings that it has a bias; false: it has said so. */
static bool wants_bias(Caffe__LayerParameter *layer)
{
    const bool product = qf_layer_is(layer, "InnerProduct");
    protobuf_c_boolean *has = product ? &layer->inner_product_param->has_bias_term
                                      : &layer->convolution_param->has_bias_term;
    protobuf_c_boolean *term =
        product ? &layer->inner_product_param->bias_term : &layer->convolution_param->bias_term;
    if (*term && layer->n_blobs > 1)
        return false;
    *has = false; /* true is the default */
    *term = true;
    return true;
}

qf_status qf_fold_add_bias(qf_context *context, Caffe__LayerParameter *layer, size_t channels)
{
    Caffe__BlobProto *blob;
    const int64_t dim = (int64_t)channels;
    const float zero = 0;
    if (!wants_bias(layer))
        return QF_OK;
    QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, &blob));
    qf_status status = qf_message_new(context, &caffe__blob_shape__descriptor, &blob->shape);
    if (status == QF_OK)
        status = qf_append(context, &blob->shape->n_dim, &blob->shape->dim, &dim, sizeof dim);
    for (size_t c = 0; status == QF_OK && c < channels; c++)
        status = qf_append(context, &blob->n_data, &blob->data, &zero, sizeof zero);
    if (status == QF_OK)
        status = qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob);
    if (status != QF_OK)
        qf_message_free(blob);
    return status;
}

size_t qf_fold_outputs(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "InnerProduct") && layer->inner_product_param
               ? layer->inner_product_param->num_output
           : layer->convolution_param ? layer->convolution_param->num_output
                                      : 0;
}

/* How layer `index` changes; `a` is to be freed in any case. */
static qf_status find_affine(qf_context *context, const Caffe__NetParameter *net, int index,
                             qf_fold fold, affine *a)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    *a = (affine){.count = qf_fold_outputs(layer)};
    if (a->count == 0 || layer->n_blobs == 0 || layer->blobs[0]->n_data == 0 ||
        layer->blobs[0]->n_data % a->count)
        return qf_fail(context, QF_E_MISMATCH, "layer %s has no usable weights to fold into",
                       layer->name);
    a->factor = qf_alloc(a->count, sizeof(float));
    a->shift = qf_alloc(a->count, sizeof(float));
    return a->factor && a->shift ? read_affine(context, net, fold, a)
                                 : qf_fail(context, QF_E_MEMORY, "no memory for folding");
}

static void free_affine(affine *a)
{
    qf_free(a->factor);
    qf_free(a->shift);
}

static bool stays_finite(const Caffe__LayerParameter *layer, const affine *a)
{
    const Caffe__BlobProto *w = layer->blobs[0], *b = layer->n_blobs > 1 ? layer->blobs[1] : NULL;
    bool finite = true;
    for (size_t i = 0; finite && i < w->n_data; i++)
        finite = isfinite(w->data[i] * a->factor[channel_of(layer, a->count, i)]);
    for (size_t c = 0; finite && c < a->count; c++)
        finite = isfinite(a->factor[c] * (b && c < b->n_data ? b->data[c] : 0) + a->shift[c]);
    return finite;
}

void qf_fold_unshare(Caffe__LayerParameter *layer)
{
    for (size_t i = 0; i < layer->n_param; i++)
        qf_message_free(layer->param[i]);
    layer->n_param = 0;
}

static qf_status change_layer(qf_context *context, Caffe__LayerParameter *layer, const affine *a)
{
    QF_TRY(qf_fold_add_bias(context, layer, a->count));
    Caffe__BlobProto *w = layer->blobs[0], *b = layer->blobs[1];
    for (size_t i = 0; i < w->n_data; i++)
        w->data[i] *= a->factor[channel_of(layer, a->count, i)];
    for (size_t c = 0; c < a->count; c++)
        b->data[c] = a->factor[c] * b->data[c] + a->shift[c];
    qf_fold_unshare(layer);
    return QF_OK;
}

static qf_status apply(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold,
                       const affine *a)
{
    Caffe__LayerParameter *layer = net->layer[index];
    const int last = fold.scale != QF_NONE ? fold.scale : fold.batch_norm;
    QF_TRY(change_layer(context, layer, a));
    QF_TRY(qf_set_string(context, &layer->top[0], net->layer[last]->top[0]));
    qf_amct_say(context, QF_DEBUG, "Save", "Do layer: [%s] fusion with [%s] success!", layer->name,
                net->layer[last]->name);
    if (fold.scale != QF_NONE)
        qf_graph_remove(net, fold.scale);
    qf_graph_remove(net, fold.batch_norm);
    return QF_OK;
}

qf_status qf_fold_into(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold,
                       float **factors, size_t *count)
{
    affine a;
    *factors = NULL;
    qf_status status = find_affine(context, net, index, fold, &a);
    if (status == QF_OK)
        status = apply(context, net, index, fold, &a);
    if (status == QF_OK) {
        *factors = a.factor;
        *count = a.count;
        a.factor = NULL;
    }
    free_affine(&a);
    return status;
}

qf_status qf_fold_not_finite(qf_context *context, const char *layer)
{
    qf_amct_say(context, QF_WARNING, "Fusion",
                "BatchNorm fusion for %s skipped because data is abnormal after fusion.", layer);
    return QF_OK;
}

qf_status qf_fold_is_finite(qf_context *context, const Caffe__NetParameter *net, int index,
                            qf_fold fold, bool *finite)
{
    affine a;
    qf_status status = find_affine(context, net, index, fold, &a);
    *finite = status == QF_OK && stays_finite(net->layer[index], &a);
    free_affine(&a);
    return status;
}

qf_status qf_fold_behind(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    affine a;
    qf_status status = find_affine(context, net, index, fold, &a);
    if (status == QF_OK)
        status = stays_finite(layer, &a) ? apply(context, net, index, fold, &a)
                                         : qf_fold_not_finite(context, layer->name);
    free_affine(&a);
    return status;
}
