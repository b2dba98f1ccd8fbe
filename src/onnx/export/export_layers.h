/* The functions of the rows in export_table.c. */
#ifndef QF_ONNX_EXPORT_EXPORT_LAYERS_H
#define QF_ONNX_EXPORT_EXPORT_LAYERS_H

#include "onnx/export/layer_export.h"

#define QF_ONNX_LAYERS(X)                                                                          \
    X(abs_val)                                                                                     \
    X(add)                                                                                         \
    X(arg_max)                                                                                     \
    X(axpy)                                                                                        \
    X(batch_mat_mul)                                                                               \
    X(batch_norm)                                                                                  \
    X(batch_reindex)                                                                               \
    X(bias)                                                                                        \
    X(bnll)                                                                                        \
    X(c_relu)                                                                                      \
    X(clip)                                                                                        \
    X(concat)                                                                                      \
    X(convolution)                                                                                 \
    X(crop)                                                                                        \
    X(de_quant)                                                                                    \
    X(depth_to_space)                                                                              \
    X(detection_output)                                                                            \
    X(div)                                                                                         \
    X(eltwise)                                                                                     \
    X(elu)                                                                                         \
    X(embed)                                                                                       \
    X(exp)                                                                                         \
    X(flatten)                                                                                     \
    X(hard_sigmoid)                                                                                \
    X(hswish)                                                                                      \
    X(inner_product)                                                                               \
    X(interp)                                                                                      \
    X(log)                                                                                         \
    X(lrn)                                                                                         \
    X(mat_mul)                                                                                     \
    X(mirror_pad)                                                                                  \
    X(mish)                                                                                        \
    X(mul)                                                                                         \
    X(mvn)                                                                                         \
    X(normalize)                                                                                   \
    X(p_relu)                                                                                      \
    X(pad)                                                                                         \
    X(parameter)                                                                                   \
    X(pass_through)                                                                                \
    X(permute)                                                                                     \
    X(pixel_shuffle)                                                                               \
    X(pooling)                                                                                     \
    X(power)                                                                                       \
    X(prior_box)                                                                                   \
    X(quant)                                                                                       \
    X(reduction)                                                                                   \
    X(relu)                                                                                        \
    X(relu6)                                                                                       \
    X(reorg)                                                                                       \
    X(reshape_layer)                                                                               \
    X(resize_bilinear)                                                                             \
    X(resize_nearest)                                                                              \
    X(reverse)                                                                                     \
    X(roi_pooling)                                                                                 \
    X(scale)                                                                                       \
    X(selu)                                                                                        \
    X(shuffle_channel)                                                                             \
    X(sigmoid)                                                                                     \
    X(sigmoid_with_loss)                                                                           \
    X(slice_layer)                                                                                 \
    X(softmax)                                                                                     \
    X(softmax_with_loss)                                                                           \
    X(space_to_depth)                                                                              \
    X(sub)                                                                                         \
    X(swish)                                                                                       \
    X(tan_h)                                                                                       \
    X(threshold)                                                                                   \
    X(tile)                                                                                        \
    X(transpose_layer)                                                                             \
    X(upsample)                                                                                    \
    X(upsample_darknet)

#define X(stem) void qf_onnx_##stem(qf_onnx_export *e);
QF_ONNX_LAYERS(X)
#undef X

#endif
