/* Folding BatchNorm and Scale into the Convolution behind them: weights of each input channel are
 * scaled, and what would have been added to the channel goes into the bias. That holds only where
 * no window reaches into padding, whose zeros would have come behind Scale. */
#include "base/amct_log.h"
#include "base/memory.h"
#include "toolkit/export/fold.h"

#include <math.h>
#include <string.h>

/* Of the input channels, and the weights and biases that come out. */
typedef struct front {
    float *mean, *inverse;
    const float *gamma, *beta; /* beta NULL: none */
    size_t channels;
    float *weights, *bias;
} front;

/* One filter's weights of one input channel: Scale first, since it is nearer, then BatchNorm.
 * Returns what goes to the bias. */
static double fold_channel(const front *f, size_t channel, const float *w, size_t size, float *out)
{
    double from_beta = 0, from_mean = 0;
    for (size_t k = 0; k < size; k++) {
        out[k] = w[k] * f->gamma[channel] * f->inverse[channel];
        from_beta += (double)w[k] * (f->beta ? (double)f->beta[channel] : 0);
        from_mean += (double)out[k] * (double)f->mean[channel];
    }
    return from_beta - from_mean;
}

static bool fold_all(const front *f, const Caffe__LayerParameter *layer)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    const Caffe__BlobProto *w = layer->blobs[0], *b = layer->n_blobs > 1 ? layer->blobs[1] : NULL;
    const size_t outputs = p->num_output, per_group = f->channels / p->group;
    const size_t size = w->n_data / outputs / per_group;
    bool finite = true;
    for (size_t o = 0; o < outputs; o++) {
        const size_t first = o / (outputs / p->group) * per_group;
        double bias = b ? (double)b->data[o] : 0;
        for (size_t i = 0; i < per_group; i++) {
            const size_t at = (o * per_group + i) * size;
            bias += fold_channel(f, first + i, w->data + at, size, f->weights + at);
        }
        f->bias[o] = (float)bias;
        finite = finite && isfinite(f->bias[o]);
    }
    for (size_t i = 0; finite && i < w->n_data; i++)
        finite = isfinite(f->weights[i]);
    return finite;
}

static qf_status check_shapes(qf_context *context, const Caffe__LayerParameter *layer,
                              size_t channels)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    const size_t group = p ? p->group : 0, weights = layer->n_blobs ? layer->blobs[0]->n_data : 0;
    const bool fits = group && p->num_output && channels && p->num_output % group == 0 &&
                      channels % group == 0 && weights &&
                      weights % (p->num_output * (channels / group)) == 0 &&
                      (layer->n_blobs < 2 || layer->blobs[1]->n_data == p->num_output);
    return fits ? QF_OK
                : qf_fail(context, QF_E_MISMATCH, "layer %s has no usable weights to fold into",
                          layer->name);
}

static qf_status change(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold,
                        const front *f)
{
    Caffe__LayerParameter *layer = net->layer[index];
    QF_TRY(qf_fold_add_bias(context, layer, layer->convolution_param->num_output));
    Caffe__BlobProto *w = layer->blobs[0], *b = layer->blobs[1];
    QF_TRY(qf_set_string(context, &layer->bottom[0], net->layer[fold.batch_norm]->bottom[0]));
    memcpy(w->data, f->weights, w->n_data * sizeof(float));
    memcpy(b->data, f->bias, b->n_data * sizeof(float));
    qf_fold_unshare(layer);
    qf_amct_say(context, QF_DEBUG, "Save", "Do layer: [%s] fusion with [%s] success!", layer->name,
                net->layer[fold.batch_norm]->name);
    qf_graph_remove(net, fold.scale);
    qf_graph_remove(net, fold.batch_norm);
    return QF_OK;
}

static qf_status fold_with(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold,
                           front *f)
{
    Caffe__LayerParameter *layer = net->layer[index];
    QF_TRY(
        qf_fold_statistics(context, net->layer[fold.batch_norm], f->channels, f->mean, f->inverse));
    QF_TRY(qf_fold_scale(context, net->layer[fold.scale], f->channels, &f->gamma, &f->beta));
    if (fold_all(f, layer))
        return change(context, net, index, fold, f);
    return qf_fold_not_finite(context, layer->name);
}

qf_status qf_fold_front(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold)
{
    const Caffe__LayerParameter *layer = net->layer[index], *norm = net->layer[fold.batch_norm];
    front f = {.channels = norm->n_blobs ? norm->blobs[0]->n_data : 0};
    QF_TRY(check_shapes(context, layer, f.channels));
    f.mean = qf_alloc(f.channels, sizeof(float));
    f.inverse = qf_alloc(f.channels, sizeof(float));
    f.weights = qf_alloc(layer->blobs[0]->n_data, sizeof(float));
    f.bias = qf_alloc(layer->convolution_param->num_output, sizeof(float));
    qf_status status = f.mean && f.inverse && f.weights && f.bias
                           ? fold_with(context, net, index, fold, &f)
                           : qf_fail(context, QF_E_MEMORY, "no memory for folding");
    qf_free(f.mean);
    qf_free(f.inverse);
    qf_free(f.weights);
    qf_free(f.bias);
    return status;
}
