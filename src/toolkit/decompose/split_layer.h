/* The messages of the two Convolutions that stand in a decomposed one's place (AMCT specification,
 * section 13.5), and what one has to say of itself for that. */
#ifndef QF_TOOLKIT_DECOMPOSE_SPLIT_LAYER_H
#define QF_TOOLKIT_DECOMPOSE_SPLIT_LAYER_H

#include "model/model.h"
#include "toolkit/decompose/two_kernels.h"

/* "<layer>_0" or "<layer>_1"; qf_free() it. */
qf_status qf_split_name(qf_context *context, const char *layer, int part, char **out);

/* What the net says of a Convolution, and its entry in the weights file (NULL: none) of its inputs;
 * *mode is QF_LEFT_WHOLE for one that is left alone, whatever it is. Weights that do not fit one
 * that is not fail. */
qf_status qf_convolution_look(qf_context *context, const Caffe__LayerParameter *layer,
                              const Caffe__LayerParameter *weights, qf_convolution_form *form,
                              qf_decompose_mode *mode);

/* `layer` as two, from a net or from a file of weights; without blobs. What the one does along its
 * axis the other leaves alone. The caller frees both, after a failure, too. */
qf_status qf_split_convolution(qf_context *context, Caffe__LayerParameter *layer,
                               const qf_convolution_form *form, const qf_factors *factors,
                               Caffe__LayerParameter *out[2]);

#endif
