/* Channels that have no weight, or next to none behind their BatchNorm and Scale: told before the
 * training that cannot quantise them. What becomes of them: fit_bias.c. */
#include "toolkit/prepare/dead_channels.h"

#include "base/amct_log.h"
#include "base/memory.h"
#include "toolkit/config/support.h"

#include <float.h>
#include <math.h>

enum { NAMED = 8 }; /* channels in a sentence */

/* The largest weight of each channel: axis 0, or axis 1 of a Deconvolution. */
static void find_largest(const Caffe__LayerParameter *layer, const Caffe__BlobProto *w,
                         size_t channels, float *largest)
{
    const bool transposed = qf_layer_is(layer, "Deconvolution");
    const size_t first = w->shape && w->shape->n_dim ? (size_t)w->shape->dim[0] : (size_t)w->num;
    const size_t rest = w->n_data / (transposed && first ? first : 1), inner = rest / channels;
    for (size_t c = 0; c < channels; c++)
        largest[c] = 0;
    for (size_t i = 0; i < w->n_data && inner; i++)
        largest[i / inner % channels] = fmaxf(largest[i / inner % channels], fabsf(w->data[i]));
}

/* |γ / √(σ² + eps)|, where the weights file has such statistics; else 1. */
static float factor_of(const Caffe__NetParameter *net, const Caffe__NetParameter *weights,
                       qf_fold fold, size_t channel)
{
    float factor = 1;
    if (fold.batch_norm != QF_NONE) {
        const Caffe__LayerParameter *norm = net->layer[fold.batch_norm];
        const Caffe__LayerParameter *stored = qf_find_layer(weights, norm->name);
        const float eps = norm->batch_norm_param ? norm->batch_norm_param->eps : 1e-5f;
        if (stored && stored->n_blobs > 2 && stored->blobs[1]->n_data > channel &&
            stored->blobs[2]->n_data == 1 && stored->blobs[2]->data[0] != 0)
            factor = 1 / sqrtf(stored->blobs[1]->data[channel] / stored->blobs[2]->data[0] + eps);
    }
    if (fold.scale != QF_NONE) {
        const Caffe__LayerParameter *stored = qf_find_layer(weights, net->layer[fold.scale]->name);
        if (stored && stored->n_blobs && stored->blobs[0]->n_data > channel)
            factor *= fabsf(stored->blobs[0]->data[channel]);
    }
    return factor;
}

static void say(qf_context *context, const char *layer, const qf_buffer *names, size_t count)
{
    qf_amct_say(context, QF_WARNING, "Prepare",
                "Layer %s: channel%s %s%s no weight to speak of; nothing has to be done, for "
                "%s exported as %s bias, whatever the range, unless training changes that",
                layer, count == 1 ? "" : "s", names->data, count == 1 ? " has" : " have",
                count == 1 ? "it is" : "they are", count == 1 ? "its" : "their");
}

qf_status qf_warn_dead_channels(qf_context *context, const Caffe__NetParameter *net,
                                const Caffe__NetParameter *weights, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    const Caffe__BlobProto *w = qf_find_layer(weights, layer->name)->blobs[0];
    const size_t channels = layer->convolution_param     ? layer->convolution_param->num_output
                            : layer->inner_product_param ? layer->inner_product_param->num_output
                                                         : 0;
    const qf_fold fold = qf_graph_fold(net, index);
    const bool transposed = layer->inner_product_param && layer->inner_product_param->transpose;
    if (channels == 0 || w->n_data % channels || transposed)
        return QF_OK;
    float *largest = qf_alloc(channels, sizeof *largest);
    if (!largest)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu channels", channels);
    find_largest(layer, w, channels, largest);
    qf_buffer names = {0};
    size_t count = 0;
    for (size_t c = 0; c < channels; c++)
        if (largest[c] * factor_of(net, weights, fold, c) / 127 < FLT_EPSILON && count++ < NAMED)
            qf_buffer_print(&names, "%s%zu", count == 1 ? "" : ", ", c);
    if (count > NAMED)
        qf_buffer_print(&names, " and %zu more", count - NAMED);
    if (count)
        say(context, layer->name, &names, count);
    qf_buffer_release(&names);
    qf_free(largest);
    return QF_OK;
}
