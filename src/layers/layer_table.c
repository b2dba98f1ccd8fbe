/* The table of all layer types. */
#include "layers/layer.h"

#include <string.h>

/* One row a type; alphabetical, because the list is shown to users. */
#define QF_LAYERS(X)                                                                               \
    X(abs_val)                                                                                     \
    X(accuracy)                                                                                    \
    X(activation_qat)                                                                              \
    X(add)                                                                                         \
    X(annotated_data)                                                                              \
    X(anchor_target)                                                                               \
    X(anti_quant)                                                                                  \
    X(arg_max)                                                                                     \
    X(axpy)                                                                                        \
    X(batch_mat_mul)                                                                               \
    X(batch_norm)                                                                                  \
    X(batch_reindex)                                                                               \
    X(batch_to_space)                                                                              \
    X(bbox_accuracy)                                                                               \
    X(bias)                                                                                        \
    X(bnll)                                                                                        \
    X(box_annotator_ohem)                                                                          \
    X(box_output)                                                                                  \
    X(box_target)                                                                                  \
    X(center_loss)                                                                                 \
    X(clip)                                                                                        \
    X(combined_margin)                                                                             \
    X(concat)                                                                                      \
    X(contrastive_loss)                                                                            \
    X(convolution)                                                                                 \
    X(cosin_addm)                                                                                  \
    X(c_relu)                                                                                      \
    X(crop)                                                                                        \
    X(ctc_greedy_decoder)                                                                          \
    X(ctc_loss)                                                                                    \
    X(data)                                                                                        \
    X(de_quant)                                                                                    \
    X(decode_bbox)                                                                                 \
    X(deconvolution)                                                                               \
    X(dense_image_data)                                                                            \
    X(depth_to_space)                                                                              \
    X(depthwise_convolution)                                                                       \
    X(detection_accuracy)                                                                          \
    X(detection_evaluate)                                                                          \
    X(detection_loss)                                                                              \
    X(detection_output)                                                                            \
    X(detection_output_extended)                                                                   \
    X(distillation_loss)                                                                           \
    X(div)                                                                                         \
    X(dropout)                                                                                     \
    X(dummy_data)                                                                                  \
    X(dump_data)                                                                                   \
    X(eltwise)                                                                                     \
    X(elu)                                                                                         \
    X(embed)                                                                                       \
    X(euclidean_loss)                                                                              \
    X(eval_detection)                                                                              \
    X(exp)                                                                                         \
    X(expand_dims_nd)                                                                              \
    X(filter)                                                                                      \
    X(flatten)                                                                                     \
    X(hard_sigmoid)                                                                                \
    X(general_contrastive_loss)                                                                    \
    X(grn)                                                                                         \
    X(hdf5_data)                                                                                   \
    X(hdf5_output)                                                                                 \
    X(hfmg)                                                                                        \
    X(hinge_loss)                                                                                  \
    X(hswish)                                                                                      \
    X(ifmr)                                                                                        \
    X(im2col)                                                                                      \
    X(image_data)                                                                                  \
    X(image_gt_data)                                                                               \
    X(image_labelmap_data)                                                                         \
    X(image_seg_data)                                                                              \
    X(infogain_loss)                                                                               \
    X(inner_distance)                                                                              \
    X(inner_product)                                                                               \
    X(input)                                                                                       \
    X(interp)                                                                                      \
    X(label_specific_add)                                                                          \
    X(log)                                                                                         \
    X(lrn)                                                                                         \
    X(lstm)                                                                                        \
    X(lstm_sequence)                                                                               \
    X(lstm_unit)                                                                                   \
    X(margin_inner_product)                                                                        \
    X(mat_mul)                                                                                     \
    X(memory_data)                                                                                 \
    X(mirror_pad)                                                                                  \
    X(mish)                                                                                        \
    X(multi_box_loss)                                                                              \
    X(mul)                                                                                         \
    X(multinomial_logistic_loss)                                                                   \
    X(mvn)                                                                                         \
    X(normalize)                                                                                   \
    X(pad)                                                                                         \
    X(parameter)                                                                                   \
    X(pass_through)                                                                                \
    X(permute)                                                                                     \
    X(pixel_shuffle)                                                                               \
    X(p_relu)                                                                                      \
    X(pooling)                                                                                     \
    X(power)                                                                                       \
    X(prior_box)                                                                                   \
    X(prior_box_clustered)                                                                         \
    X(proposal)                                                                                    \
    X(proposal_target)                                                                             \
    X(ps_roi_pooling)                                                                              \
    X(python)                                                                                      \
    X(quant)                                                                                       \
    X(raw_data)                                                                                    \
    X(reduction)                                                                                   \
    X(region_loss)                                                                                 \
    X(relu)                                                                                        \
    X(relu6)                                                                                       \
    X(reorg)                                                                                       \
    X(reshape)                                                                                     \
    X(resize_bilinear)                                                                             \
    X(resize_nearest)                                                                              \
    X(reverse)                                                                                     \
    X(reverse_time)                                                                                \
    X(rnn)                                                                                         \
    X(roi_align)                                                                                   \
    X(roi_data)                                                                                    \
    X(roi_pooling)                                                                                 \
    X(scale)                                                                                       \
    X(search_n)                                                                                    \
    X(seg_accuracy)                                                                                \
    X(selu)                                                                                        \
    X(selu_dropout)                                                                                \
    X(shuffle_channel)                                                                             \
    X(sigmoid)                                                                                     \
    X(sigmoid_cross_entropy_loss)                                                                  \
    X(silence)                                                                                     \
    X(slice)                                                                                       \
    X(smooth_l1_loss)                                                                              \
    X(smooth_l1_loss_ohem)                                                                         \
    X(softmax)                                                                                     \
    X(softmax_with_loss)                                                                           \
    X(space_to_batch)                                                                              \
    X(space_to_depth)                                                                              \
    X(softmax_with_loss_ohem)                                                                      \
    X(split)                                                                                       \
    X(spp)                                                                                         \
    X(squeeze)                                                                                     \
    X(sub)                                                                                         \
    X(swish)                                                                                       \
    X(tan_h)                                                                                       \
    X(threshold)                                                                                   \
    X(tile)                                                                                        \
    X(transpose)                                                                                   \
    X(upsample)                                                                                    \
    X(upsample_darknet)                                                                            \
    X(video_data)                                                                                  \
    X(warp_ctc_loss)                                                                               \
    X(weight_qat)                                                                                  \
    X(window_data)                                                                                 \
    X(yolo_detection_output)                                                                       \
    X(yolo_seg)                                                                                    \
    X(yolov3)                                                                                      \
    X(yolov3_detection_output)

#define X(stem) extern const qf_layer_type qf_##stem##_layer;
QF_LAYERS(X)
#undef X

const qf_layer_type *const qf_layer_types[] = {
#define X(stem) &qf_##stem##_layer,
    QF_LAYERS(X)
#undef X
        NULL,
};

/* Other names that forks give the same layer. */
static const struct {
    const char *name, *type;
} aliases[] = {
    {"HardSwish", "Hswish"},                                            /* synopsys-caffe */
    {"HSwish", "Hswish"},    {"BroadcastAdd", "Add"},                   /* converters from MXNet */
    {"BroadcastMul", "Mul"}, {"Broadcastmul", "Mul"}, {"SeLU", "SELU"}, /* synopsys-caffe */
    {"SeLu", "SELU"},                                                   /* soeaver's fork */
};

const qf_layer_type *qf_layer_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i].name, name) == 0)
            name = aliases[i].type;
    for (const qf_layer_type *const *type = qf_layer_types; *type; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

const char *qf_layer_type_name(int index)
{
    for (int i = 0; i <= index; i++)
        if (!qf_layer_types[i])
            return NULL;
    return index < 0 ? NULL : qf_layer_types[index]->name;
}
