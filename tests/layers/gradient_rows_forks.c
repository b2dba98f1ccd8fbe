/* The rows of the layers of Caffe's forks. */
#include "layers/gradient_rows.h"

/* Three priors with variances, and two truths in the first of two images, one in the second. */
#define PRIORS                                                                                     \
    "1 2 12 = 0.1 0.1 0.4 0.4 0.5 0.5 0.8 0.9 0.1 0.6 0.5 1.1 "                                    \
    "0.1 0.1 0.2 0.2 0.1 0.1 0.2 0.2 0.3 0.3 0.2 0.2"
#define TRUTHS "1 1 3 8 = 0 1 0 0.1 0.1 0.4 0.45 0 0 2 0 0.5 0.6 0.8 0.9 0 1 2 0 0.2 0.6 0.5 1 0"

const gradient_row gradient_rows_forks[] = {
    {"Add", .bottoms = {"2 3 2", "2 3 2"}},
    {"Add", .bottoms = {"2 3 1 2", "4 2"}},
    {"Axpy", .bottoms = {"2 3 1 1", "2 3 2 2", "2 3 2 2"}},
    {"Axpy", .bottoms = {"2 3", "2 3 4", "2 3 4"}},
    {"BatchMatMul", .bottoms = {"2 2 3 4", "2 2 4 2"}},
    {"BatchMatMul", .bottoms = {"2 4 3", "2 2 4"},
     .param = "batch_matmul_param { adj_x1: true adj_x2: true }"},
    {"BatchToSpaceND", .bottoms = {"4 3 2 3"},
     .param = "batch_to_space_nd_param { block_shape: 1 block_shape: 2 block_shape: 2 crops: 0 "
              "crops: 0 crops: 1 crops: 0 crops: 2 crops: 1 }"},
    {"CReLU", .bottoms = {"2 3 2"}, .param = "crelu_param { negative_slope: 0.1 }"},
    {"CReLU", .bottoms = {"2 3 2 2"}, .param = "crelu_param { concat_axis: -1 }"},
    {"DepthToSpace", .bottoms = {"2 8 2 3"},
     .param = "depth_to_space_param { block_size: 2 data_format: 'NCHW' }"},
    {"DepthToSpace", .bottoms = {"2 2 3 8"}, .param = "depth_to_space_param { block_size: 2 }"},
    {"Div", .bottoms = {"2 3 2", "2 3 2 = 2 1.5 -1 -2 1 3 -1.5 2 1 1 2 -3"}},
    {"Div", .bottoms = {"3 1", "2 3 2 = 2 1.5 -1 -2 1 3 -1.5 2 1 1 2 -3"}},
    {"Div", .bottoms = {"2 3 2", "3 1 = 2 1.5 -1"}},
    {"ExpandDimsND", .bottoms = {"2 3"}, .param = "expand_dims_nd_param { axis: 1 axis: -1 }"},
    {"HardSigmoid", .bottoms = {"2 100"}, .param = "hard_sigmoid_param { alpha: 0.7 }"},
    {"HardSigmoid", .bottoms = {"2 100"}, .param = "hard_sigmoid_param { alpha: 0.7 }",
     .options = IN_PLACE},
    {"Hswish", .bottoms = {"2 100"}},
    {"Hswish", .bottoms = {"2 100"}, .options = IN_PLACE},
    {"Interp", .bottoms = {"2 3 3 4"}, .param = "interp_param { zoom_factor: 3 }"},
    {"Interp", .bottoms = {"1 2 7 6"},
     .param = "interp_param { shrink_factor: 2 pad_beg: -1 pad_end: -2 }"},
    {"Interp", .bottoms = {"2 2 4 3"}, .param = "interp_param { height: 3 width: 7 }"},
    {"Interp", .bottoms = {"2 2 4 3", "1 3 6 4"}, .param = "interp_param { use_blob_size: true }",
     .zero = {{"x1", "only its shape counts"}}},
    {"MatMul", .bottoms = {"2 2 3 4", "2 2 4 2"}},
    {"MatMul", .bottoms = {"2 3 4", "4 2"}},
    {"MatMul", .bottoms = {"2 4 3", "2 2 4"},
     .param = "matmul_param { transpose_a: true transpose_b: true }"},
    {"MatMul", .bottoms = {"2 3 4"}, .param = "matmul_param { blob_shape: 4 blob_shape: 2 }"},
    {"MirrorPad", .bottoms = {"2 2 3 4"},
     .param = "mirror_pad_param { paddings: 0 paddings: 0 paddings: 0 paddings: 0 paddings: 1 "
              "paddings: 2 paddings: 3 paddings: 1 mode: 'REFLECT' }"},
    {"MirrorPad", .bottoms = {"2 2 3"},
     .param = "mirror_pad_param { paddings: 0 paddings: 1 paddings: 2 paddings: 2 paddings: 1 "
              "paddings: 3 mode: 'SYMMETRIC' }"},
    {"MirrorPad", .bottoms = {"2 1 1 2"},
     .param = "mirror_pad_param { paddings: 0 paddings: 0 paddings: 0 paddings: 0 paddings: 3 "
              "paddings: 1 paddings: 1 paddings: 4 mode: 'EDGE' }"},
    {"Mish", .bottoms = {"2 100"}},
    {"Mish", .bottoms = {"2 100"}, .options = IN_PLACE},
    {"Mul", .bottoms = {"2 3 2", "2 3 2"}},
    {"Mul", .bottoms = {"2 3 2 2", "2 3 1 1"}},
    {"Mul", .bottoms = {"3 1 2", "2 1 4 1"}},
    {"Mul", .bottoms = {"2 3 2"}, .param = "mul_param { mul_shape: 3 mul_shape: 1 }"},
    {"MultiBoxLoss", .bottoms = {"2 12", "2 9", PRIORS, TRUTHS},
     .param = "multibox_loss_param { num_classes: 3 }"},
    {"MultiBoxLoss", .bottoms = {"2 12", "2 9", PRIORS, TRUTHS},
     .param = "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE loc_weight: 2 "
              "neg_pos_ratio: 1 } "
              "loss_param { normalization: BATCH_SIZE }"},
    {"MultiBoxLoss", .bottoms = {"2 36", "2 9", PRIORS, TRUTHS},
     .param = "multibox_loss_param { num_classes: 3 share_location: false mining_type: NONE "
              "loc_loss_type: "
              "L2 code_type: CORNER_SIZE }"},
    {"MultiBoxLoss", .bottoms = {"2 12", "2 9", PRIORS, TRUTHS},
     .param = "multibox_loss_param { num_classes: 3 mining_type: HARD_EXAMPLE sample_size: 2 "
              "use_prior_for_matching: false conf_loss_type: LOGISTIC } loss_param { "
              "normalization: NONE }"},
    {"MultiBoxLoss", .bottoms = {"2 12", "2 6", PRIORS, TRUTHS},
     .param = "multibox_loss_param { num_classes: 2 map_object_to_agnostic: true bp_inside: true "
              "encode_variance_in_target: true match_type: BIPARTITE } loss_param { normalization: "
              "FULL }"},
    {"Normalize", .bottoms = {"2 3 2 3"}},
    {"Normalize", .bottoms = {"2 3 2 3"},
     .param = "norm_param { across_spatial: false channel_shared: false }"},
    {"Normalize", .bottoms = {"2 3 4"}, .param = "norm_param { channel_shared: false eps: 0.5 }",
     .options = IN_PLACE},
    {"Pad", .bottoms = {"2 2 3 2"},
     .param = "pad_param { paddings: 0 paddings: 0 paddings: 1 paddings: 0 paddings: 1 paddings: 2 "
              "paddings: 0 paddings: 3 constant_values: 2.5 }"},
    {"PassThrough", .bottoms = {"2 3 4 6"},
     .param = "pass_through_param { block_height: 2 block_width: 3 }"},
    {"Permute", .bottoms = {"2 3 4 2"},
     .param = "permute_param { order: 0 order: 2 order: 3 order: 1 }"},
    {"Permute", .bottoms = {"2 3 4 2"}, .param = "permute_param { order: 3 order: 1 }"},
    {"Permute", .bottoms = {"3 5"}, .param = "permute_param { order: 1 order: 0 }"},
    {"PixelShuffle", .bottoms = {"2 8 2 3"}, .param = "pixel_shuffle_param { upscale_factor: 2 }"},
    {"PSROIPooling", .bottoms = {"2 8 5 6", "3 5 = 0 4 4 19 14 1 0 0 30 25 1 8 -9 9 60"},
     .param = "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.25 }"},
    {"ReLU6", .bottoms = {"2 200"}},
    {"ReLU6", .bottoms = {"2 200"}, .options = IN_PLACE},
    {"Reorg", .bottoms = {"2 4 4 2"}, .param = "reorg_param { stride: 2 }"},
    {"Reorg", .bottoms = {"2 8 1 3"}, .param = "reorg_param { reverse: true }"},
    {"ResizeBilinear", .bottoms = {"2 3 4 5"},
     .param = "resize_bilinear_param { output_height: 7 output_width: 3 data_format: 'NCHW' }"},
    {"ResizeBilinear", .bottoms = {"2 4 5 3"},
     .param =
         "resize_bilinear_param { scale_height: 2 scale_width: 0.5 half_pixel_centers: true }"},
    {"ResizeBilinear", .bottoms = {"1 2 4 5"},
     .param = "resize_bilinear_param { output_height: 9 output_width: 1 align_corners: true "
              "data_format: 'NCHW' }"},
    {"ResizeNearestNeighbor", .bottoms = {"2 3 4 5"},
     .param = "resize_nearest_neighbor_param { output_height: 7 output_width: 3 data_format: "
              "'NCHW' }"},
    {"ResizeNearestNeighbor", .bottoms = {"2 4 5 3"},
     .param = "resize_nearest_neighbor_param { scale_height: 2 scale_width: 0.5 "
              "half_pixel_centers: true }"},
    {"Reverse", .bottoms = {"3 2 4"}, .param = "reverse_param { axis: 0 axis: -1 }"},
    {"ROIAlign", .bottoms = {"2 2 5 6", "3 5 = 0 4 4 19 14 1 0 0 30 25 1 8 -9 9 60"},
     .param = "roi_align_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 }"},
    {"ROIAlign", .bottoms = {"2 2 5 6", "2 5 = 0 3.3 4.4 9 14 1 -10 -10 40 40"},
     .param = "roi_align_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.25 sampling_ratio: 2 "
              "roi_end_mode: "
              "1 }"},
    {"ROIPooling", .bottoms = {"2 2 5 6", "3 5 = 0 4 4 19 14 1 0 0 30 25 1 8 -9 9 60"},
     .param = "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 }"},
    {"SELU", .bottoms = {"2 100"}},
    {"SELU", .bottoms = {"2 100"}, .param = "selu_param { alpha: -0.5 }", .options = IN_PLACE},
    {"ShuffleChannel", .bottoms = {"2 6 2 2"}, .param = "shuffle_channel_param { group: 3 }"},
    {"SmoothL1Loss", .bottoms = {"3 4", "3 4"}},
    {"SmoothL1Loss", .bottoms = {"2 30", "2 30"}, .param = "smooth_l1_loss_param { sigma: 1.3 }"},
    {"SmoothL1Loss", .bottoms = {"3 4", "3 4", "3 4 fixed"}},
    {"SmoothL1Loss", .bottoms = {"3 4", "3 4", "3 4 fixed", "3 4 fixed"},
     .param = "smooth_l1_loss_param { sigma: 3 }"},
    {"SpaceToBatchND", .bottoms = {"2 3 3 4"},
     .param = "space_to_batch_nd_param { block_shape: 1 block_shape: 2 block_shape: 2 paddings: 0 "
              "paddings: 0 paddings: 1 paddings: 0 paddings: 2 paddings: 4 }"},
    {"SpaceToDepth", .bottoms = {"2 3 4 6"},
     .param = "space_to_depth_param { block_size: 2 data_format: 'CRD' }"},
    {"Squeeze", .bottoms = {"2 3 1 1"}},
    {"Sub", .bottoms = {"2 3 2", "3 1"}},
    {"Transpose", .bottoms = {"2 3 4"}, .param = "transpose_param { dim: 2 dim: 0 dim: 1 }"},
    {"SmoothL1LossOHEM", .bottoms = {"3 4 1 2", "3 4 1 2", "3 4 1 2 fixed"}},
    {"SmoothL1LossOHEM", .bottoms = {"3 4", "3 4", "3 4 fixed"},
     .param = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2.5 }"},
    {"SoftmaxWithLossOHEM", .bottoms = {"4 3", "4 = 0 2 -1 1"},
     .param = "loss_param { ignore_label: -1 }"},
    {"Upsample", .bottoms = {"2 3 2 3"}, .param = "upsample_param { scale: 2 }"},
    {"Upsample", .bottoms = {"2 3 2 3"},
     .param = "upsample_param { scale: 0.5 stride_h: 3 stride_w: 2 }"},
    {"Upsample", .bottoms = {"1 2 1 2", "1 2 1 2 = 3 0 5 7"},
     .param = "upsample_param { scale: 2 }"},
    {"UpsampleDarknet", .bottoms = {"2 3 2 3"}, .param = "upsample_darknet_param { stride: 3 }"},
    {.type = NULL},
};
