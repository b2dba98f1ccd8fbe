/* The weights of a layer channel by channel: how large they are, and the same rescaled. */
#ifndef QF_TOOLKIT_PREPARE_CHANNEL_RANGES_H
#define QF_TOOLKIT_PREPARE_CHANNEL_RANGES_H

#include "model/model.h"

/* An array of blocks [first][second] of `inner` weights that lie together. Of a Convolution or
 * InnerProduct the first axis is outputs, the second inputs of a group; of a Deconvolution it is
 * the other way round. A Scale has a γ and a β for each of `first` channels. */
typedef struct qf_channel_weights {
    Caffe__BlobProto *weights, *bias; /* bias NULL: none */
    size_t first, second, inner, groups;
    bool transposed; /* Deconvolution */
    bool per_output; /* its quantised weights may have a scale for each output */
    bool normalised; /* a Scale behind BatchNorm */
} qf_channel_weights;

/* False: `layer` has no weights like that, or what is `stored` does not fit. `channels`: those of
 * its bottom, 0 where nobody knows, and then only its outputs are told apart. */
bool qf_channel_weights_of(const Caffe__LayerParameter *layer, const Caffe__LayerParameter *stored,
                           size_t channels, qf_channel_weights *out);
bool qf_channel_scale_of(const Caffe__LayerParameter *layer, const Caffe__LayerParameter *stored,
                         qf_channel_weights *out);
size_t qf_channel_outputs(const qf_channel_weights *w);
size_t qf_channel_inputs(const qf_channel_weights *w);

/* How far values of each output channel reach, in a measure of the layer's own (docs/numerics.md):
 * only their ratios say something. 0: a channel without weights. */
void qf_channel_output_ranges(const qf_channel_weights *w, float *range);
/* The largest weight of each input channel; `range`: as a part of the largest that shares its
 * scale. False: no memory. */
bool qf_channel_input_ranges(const qf_channel_weights *w, float *largest, float *range);
/* Channel c of the outputs times 2^−exponent[c], or of the inputs times 2^exponent[c]. */
void qf_channel_shrink_outputs(const qf_channel_weights *w, const int *exponent);
void qf_channel_grow_inputs(const qf_channel_weights *w, const int *exponent);

#endif
