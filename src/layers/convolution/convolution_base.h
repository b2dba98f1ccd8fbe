/* What Convolution, DepthwiseConvolution, Deconvolution and Im2col share: geometry, parameter
 * blobs.
 */
#ifndef QF_LAYERS_CONVOLUTION_CONVOLUTION_BASE_H
#define QF_LAYERS_CONVOLUTION_CONVOLUTION_BASE_H

#include "layers/layer.h"

typedef struct qf_convolution_state {
    bool transposed; /* Deconvolution */
    int axis, spatial_axes;
    int kernel[QF_MAX_SPATIAL], stride[QF_MAX_SPATIAL], dilation[QF_MAX_SPATIAL],
        pad[QF_MAX_SPATIAL], pad_end[QF_MAX_SPATIAL];
    bool same;                     /* the padding follows from the bottom: TensorFlow's SAME */
    int channels, outputs, groups; /* of the layer's bottom and top */
    bool bias;
    qf_convolution_shape shape; /* of the operation: a transposed one's is the reverse */
    qf_convolution *operation;
    qf_tensor *views[2]; /* bottom and top as (batch, channels, space), where axis is not 1 */
} qf_convolution_state;

/* Axis, number of spatial axes, kernel, stride, pad and dilation from convolution_param. */
qf_status qf_convolution_setup_geometry(qf_layer *layer, bool transposed);
/* The top's shape, and the padding if it is `same`; needs `channels` and `outputs`. */
qf_status qf_convolution_output_shape(qf_layer *layer, qf_shape *top);

/* `groups` 0: as the prototxt says. */
qf_status qf_convolution_setup(qf_layer *layer, bool transposed, int groups);
qf_status qf_convolution_reshape(qf_layer *layer);
qf_status qf_convolution_layer_forward(qf_layer *layer);
void qf_convolution_layer_destroy(qf_layer *layer);
/* What all their types say of themselves. */
#define QF_CONVOLUTION_TYPE                                                                        \
    .state_size = sizeof(qf_convolution_state), QF_BOTTOMS(1, -1), QF_TOPS(1, -1),                 \
    .equal_count = true, .ignores_tops = true, .reshape = qf_convolution_reshape,                  \
    .forward = qf_convolution_layer_forward, .destroy = qf_convolution_layer_destroy

/* one(layer, i) for every bottom and its top. */
qf_status qf_convolution_each(qf_layer *layer, qf_status (*one)(qf_layer *layer, int index));
/* The gradient of top `index` in the operation's shape; its sums go to the bias. */
qf_status qf_convolution_enter_gradient(qf_layer *layer, int index, qf_tensor **dy);

/* The tensor of a bottom (0) or top (1) in the operation's shape. `read`: with its contents. */
bool qf_convolution_needs_view(const qf_layer *layer); /* else `enter` gives the tensor itself */
qf_status qf_convolution_enter(qf_layer *layer, qf_tensor *tensor, int side, bool read,
                               qf_tensor **view);
/* Bring what the operation wrote into the view back to the tensor. */
qf_status qf_convolution_leave(qf_layer *layer, qf_tensor *tensor, int side);

/* The stage of a product that runs by its own forward. */
void qf_product_stage(qf_layer *layer, qf_stage *out);

/* Forward in integers: deployed weights. Fails where the bottom has no codes. */
bool qf_weights_are_deployed(const qf_layer *layer);
qf_status qf_need_codes(qf_layer *layer, const qf_tensor *x);

#endif
