/* Ranges of weights by output and input channel, and rescaling them by powers of two: exact, as
 * long as no weight leaves the range of a float. */
#include "toolkit/prepare/channel_ranges.h"

#include "base/memory.h"
#include "toolkit/config/support.h"
#include "toolkit/prepare/graph.h"

#include <math.h>

#define LARGEST 1e18f       /* weights beyond it are left alone: they may grow by 2^64 */
#define SIGMAS 4            /* of a channel behind BatchNorm, where its values end */
#define BIAS_OVER_USUAL 4.f /* by which a bias decides how far its channel reaches */

/* ---- what a layer has ---- */

static bool is_usable(const Caffe__BlobProto *blob, size_t count)
{
    bool usable = blob->n_data == count && count > 0;
    for (size_t i = 0; usable && i < count; i++)
        usable = fabsf(blob->data[i]) < LARGEST; /* no NaN, either */
    return usable;
}

/* The first blob is weights that divide into blocks, the second, if there is one, a bias. */
static bool take_blobs(const Caffe__LayerParameter *stored, bool bias, size_t blocks,
                       qf_channel_weights *w)
{
    if (stored->n_blobs != (bias ? 2u : 1u) || !blocks || stored->blobs[0]->n_data % blocks)
        return false;
    w->weights = stored->blobs[0];
    w->bias = bias ? stored->blobs[1] : NULL;
    w->inner = w->weights->n_data / blocks;
    return is_usable(w->weights, blocks * w->inner) &&
           (!bias || is_usable(w->bias, qf_channel_outputs(w)));
}

static bool take_product(const Caffe__LayerParameter *layer, const Caffe__LayerParameter *stored,
                         size_t channels, qf_channel_weights *w)
{
    const Caffe__InnerProductParameter *p = layer->inner_product_param;
    if (!p || p->axis != 1 || p->transpose || p->normalize)
        return false;
    w->first = p->num_output;
    w->second = channels ? channels : 1;
    return take_blobs(stored, p->bias_term, w->first * w->second, w);
}

static size_t stored_axis(const Caffe__BlobProto *blob, size_t axis)
{
    if (blob->shape)
        return axis < blob->shape->n_dim ? (size_t)blob->shape->dim[axis] : 0;
    return (size_t)(axis == 0 ? blob->num : blob->channels);
}

static bool take_convolution(const Caffe__LayerParameter *layer,
                             const Caffe__LayerParameter *stored, size_t channels,
                             qf_channel_weights *w)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    if (!p || p->axis != 1 || !stored->n_blobs || !p->group)
        return false;
    w->first = stored_axis(stored->blobs[0], 0);
    w->second = stored_axis(stored->blobs[0], 1);
    w->groups = qf_layer_is(layer, "DepthwiseConvolution") ? channels : p->group;
    return w->groups && w->first % w->groups == 0 &&
           take_blobs(stored, p->bias_term, w->first * w->second, w) &&
           qf_channel_outputs(w) == p->num_output &&
           (!channels || qf_channel_inputs(w) == channels);
}

bool qf_channel_weights_of(const Caffe__LayerParameter *layer, const Caffe__LayerParameter *stored,
                           size_t channels, qf_channel_weights *out)
{
    *out = (qf_channel_weights){.groups = 1,
                                .transposed = qf_layer_is(layer, "Deconvolution"),
                                .per_output = qf_type_channel_wise(layer->type)};
    if (!stored || layer->n_bottom != 1 || layer->n_top != 1)
        return false;
    return qf_layer_is(layer, "InnerProduct") ? take_product(layer, stored, channels, out)
                                              : take_convolution(layer, stored, channels, out);
}

bool qf_channel_scale_of(const Caffe__LayerParameter *layer, const Caffe__LayerParameter *stored,
                         qf_channel_weights *out)
{
    const Caffe__ScaleParameter *p = layer->scale_param;
    const bool along_channels = !p || (p->axis == 1 && p->num_axes == 1);
    *out = (qf_channel_weights){.second = 1, .groups = 1, .normalised = true};
    if (!stored || layer->n_bottom != 1 || layer->n_top != 1 || !along_channels ||
        (p && (p->has_min_value || p->has_max_value)) || !stored->n_blobs)
        return false;
    out->first = stored->blobs[0]->n_data;
    return take_blobs(stored, p && p->bias_term, out->first, out);
}

size_t qf_channel_outputs(const qf_channel_weights *w)
{
    return w->transposed ? w->second * w->groups : w->first;
}

size_t qf_channel_inputs(const qf_channel_weights *w)
{
    return w->transposed ? w->first : w->second * w->groups;
}

/* ---- blocks ---- */

typedef struct block {
    float *weight;
    size_t output, input;
} block;

static block block_at(const qf_channel_weights *w, size_t first, size_t second)
{
    const size_t other = first / (w->first / w->groups) * w->second + second;
    return (block){.weight = w->weights->data + (first * w->second + second) * w->inner,
                   .output = w->transposed ? other : first,
                   .input = w->transposed ? first : other};
}

static float largest_of(const qf_channel_weights *w, block b)
{
    float largest = 0;
    for (size_t i = 0; i < w->inner; i++)
        largest = fmaxf(largest, fabsf(b.weight[i]));
    return largest;
}

static void grow_block(const qf_channel_weights *w, block b, int exponent)
{
    for (size_t i = 0; exponent && i < w->inner; i++)
        b.weight[i] = ldexpf(b.weight[i], exponent);
}

/* ---- ranges ---- */

static void largest_weights(const qf_channel_weights *w, float *range)
{
    for (size_t c = 0, count = qf_channel_outputs(w); c < count; c++)
        range[c] = 0;
    for (size_t f = 0; f < w->first; f++)
        for (size_t s = 0; s < w->second; s++) {
            const block b = block_at(w, f, s);
            range[b.output] = fmaxf(range[b.output], largest_of(w, b));
        }
}

/* A channel may reach far by its bias alone. How weights compare with biases says their geometric
 * mean over all channels, which stays what it is when channels are rescaled. */
static void regard_bias(const qf_channel_weights *w, float *range)
{
    const size_t count = qf_channel_outputs(w);
    double sum = 0;
    size_t both = 0;
    for (size_t c = 0; c < count; c++)
        if (range[c] > 0 && w->bias->data[c] != 0) {
            sum += log2((double)range[c] / fabs((double)w->bias->data[c]));
            both++;
        }
    const double usual = both ? exp2(sum / (double)both) / (double)BIAS_OVER_USUAL : 0;
    for (size_t c = 0; c < count; c++)
        if (range[c] > 0)
            range[c] = fmaxf(range[c], (float)(usual * fabs((double)w->bias->data[c])));
}

void qf_channel_output_ranges(const qf_channel_weights *w, float *range)
{
    largest_weights(w, range);
    if (w->normalised)
        for (size_t c = 0; c < w->first; c++)
            range[c] =
                range[c] == 0 ? 0 : SIGMAS * range[c] + (w->bias ? fabsf(w->bias->data[c]) : 0);
    else if (w->bias)
        regard_bias(w, range);
}

bool qf_channel_input_ranges(const qf_channel_weights *w, float *largest, float *range)
{
    const size_t outputs = qf_channel_outputs(w);
    float *whole = qf_alloc(outputs, sizeof *whole);
    if (!whole)
        return false;
    largest_weights(w, whole);
    float all = 0;
    for (size_t o = 0; o < outputs; o++)
        all = fmaxf(all, whole[o]);
    for (size_t c = 0, count = qf_channel_inputs(w); c < count; c++)
        range[c] = largest[c] = 0;
    for (size_t f = 0; f < w->first; f++)
        for (size_t s = 0; s < w->second; s++) {
            const block b = block_at(w, f, s);
            const float mine = largest_of(w, b);
            const float scale = w->per_output ? whole[b.output] : all;
            if (scale > 0)
                range[b.input] = fmaxf(range[b.input], mine / scale);
            largest[b.input] = fmaxf(largest[b.input], mine);
        }
    qf_free(whole);
    return true;
}

/* ---- rescaling ---- */

void qf_channel_shrink_outputs(const qf_channel_weights *w, const int *exponent)
{
    for (size_t f = 0; f < w->first; f++)
        for (size_t s = 0; s < w->second; s++) {
            const block b = block_at(w, f, s);
            grow_block(w, b, -exponent[b.output]);
        }
    for (size_t c = 0; w->bias && c < w->bias->n_data; c++)
        w->bias->data[c] = ldexpf(w->bias->data[c], -exponent[c]);
}

void qf_channel_grow_inputs(const qf_channel_weights *w, const int *exponent)
{
    for (size_t f = 0; f < w->first; f++)
        for (size_t s = 0; s < w->second; s++) {
            const block b = block_at(w, f, s);
            grow_block(w, b, exponent[b.input]);
        }
}
