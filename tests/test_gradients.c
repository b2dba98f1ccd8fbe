/* Numeric gradients: for each layer, central differences of Σ r · top, r fixed, against what
 * backward gives for every bottom and parameter. Values keep away from kinks and from each other by
 * more than the step. docs/layers.md says how many cases a type has, and is checked here. */
#include "harness/harness.h"
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double step = 1e-2;

enum { BOTTOMS_MAX = 5 };

typedef enum options { IN_PLACE = 1, TEST_PHASE = 2 } options;

/* Three priors with variances, and two truths in the first of two images, one in the second. */
#define PRIORS                                                                                     \
    "1 2 12 = 0.1 0.1 0.4 0.4 0.5 0.5 0.8 0.9 0.1 0.6 0.5 1.1 "                                    \
    "0.1 0.1 0.2 0.2 0.1 0.1 0.2 0.2 0.3 0.3 0.2 0.2"
#define TRUTHS "1 1 3 8 = 0 1 0 0.1 0.1 0.4 0.45 0 0 2 0 0.5 0.6 0.8 0.9 0 1 2 0 0.2 0.6 0.5 1 0"

/* A bottom is its dimensions and what it holds:
 *     "2 3"          values of both signs, whose gradient is checked
 *     "2 3 > 0.5"    the same, all greater than 0.5
 *     "2 3 fixed"    values that have no gradient
 *     "2 3 < 4"      integers below 4: labels, indices
 *     "2 3 cont"     continuation indicators of a recurrent layer
 *     "2 = 0 7.5"    these values, which have no gradient */
static const struct layer_case {
    const char *type, *bottoms[BOTTOMS_MAX], *param;
    int tops; /* 0: 1 */
    options options;
} cases[] = {
    {"AbsVal", .bottoms = {"2 3 4"}},
    {"AbsVal", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"BatchNorm", .bottoms = {"4 3 2 3"}},
    {"BatchNorm", .bottoms = {"4 3 2 3"}, .options = IN_PLACE},
    {"BatchNorm", .bottoms = {"5 3"},
     .param = "batch_norm_param { eps: 0.1 moving_average_fraction: 0.5 }"},
    {"BatchNorm", .bottoms = {"2 3 2 3"}, .param = "batch_norm_param { use_global_stats: true }"},
    {"BatchNorm", .bottoms = {"4 3 2 3"}, .param = "batch_norm_param { use_global_stats: false }",
     .options = TEST_PHASE},
    {"BatchNorm", .bottoms = {"2 3 2 3"}, .options = TEST_PHASE},
    {"BatchNorm", .bottoms = {"4 3 2 3"},
     .param = "batch_norm_param { eps: 0.5 add_eps_before_sqrt: false }"},
    {"BatchNorm", .bottoms = {"4 3 2 3"},
     .param = "batch_norm_param { eps: 0.5 add_eps_before_sqrt: false }", .options = TEST_PHASE},
    {"BatchReindex", .bottoms = {"3 4", "5 < 3"}},
    {"BatchReindex", .bottoms = {"4 2 3", "2 < 4"}},
    {"Bias", .bottoms = {"2 3 2 3"}},
    {"Bias", .bottoms = {"2 3 2 3"}, .param = "bias_param { axis: 0 num_axes: 2 }"},
    {"Bias", .bottoms = {"2 3 2"}, .param = "bias_param { axis: 1 num_axes: -1 }"},
    {"Bias", .bottoms = {"2 3 2"}, .param = "bias_param { num_axes: 0 }"},
    {"Bias", .bottoms = {"2 3 2", "2 3"}, .param = "bias_param { axis: 0 }"},
    {"Bias", .bottoms = {"2 3 2"}, .options = IN_PLACE},
    {"BNLL", .bottoms = {"2 3 4"}},
    {"BNLL", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"Clip", .bottoms = {"2 3 4"}, .param = "clip_param { min: -0.2 max: 0.28 }"},
    {"Clip", .bottoms = {"2 3 4"}, .param = "clip_param { min: -0.2 max: 0.28 }",
     .options = IN_PLACE},
    {"Concat", .bottoms = {"2 3 2 2", "2 1 2 2"}},
    {"Concat", .bottoms = {"2 3 2", "1 3 2", "3 3 2"}, .param = "concat_param { axis: 0 }"},
    {"Concat", .bottoms = {"2 3 2", "2 3 3"}, .param = "concat_param { axis: -1 }"},
    {"ContrastiveLoss", .bottoms = {"4 3", "4 3", "4 < 2"},
     .param = "contrastive_loss_param { margin: 3 }"},
    {"ContrastiveLoss", .bottoms = {"6 5", "6 5", "6 < 2"},
     .param = "contrastive_loss_param { margin: 1.5 }"},
    {"ContrastiveLoss", .bottoms = {"4 3", "4 3", "4 < 2"},
     .param = "contrastive_loss_param { margin: 4 legacy_version: true }"},
    {"Convolution", .bottoms = {"2 3 5 5"},
     .param = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"},
    {"Convolution", .bottoms = {"2 4 6 5"},
     .param =
         "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 group: 2 }"},
    {"Convolution", .bottoms = {"1 2 7 7"},
     .param = "convolution_param { num_output: 3 kernel_size: 3 dilation: 2 }"},
    {"Convolution", .bottoms = {"2 4 3 3"},
     .param = "convolution_param { num_output: 3 kernel_size: 1 bias_term: false }"},
    {"Convolution", .bottoms = {"2 2 7"},
     .param = "convolution_param { num_output: 3 kernel_size: 3 stride: 2 }"},
    {"Convolution", .bottoms = {"1 2 4 3 5"},
     .param = "convolution_param { num_output: 2 kernel_size: 2 kernel_size: 1 kernel_size: 3 }"},
    {"Convolution", .bottoms = {"2 3"}, .param = "convolution_param { num_output: 4 }"},
    {"Convolution", .bottoms = {"2 2 2 3 4"},
     .param = "convolution_param { num_output: 2 axis: 2 kernel_size: 2 force_nd_im2col: true }"},
    {"Convolution", .bottoms = {"1 2 4 4", "1 2 4 4"},
     .param = "convolution_param { num_output: 2 kernel_size: 3 }", .tops = 2},
    {"Convolution", .bottoms = {"2 3 6 5"},
     .param = "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad_l: 0 pad_r: 1 "
              "pad_t: 2 pad_b: 1 }"},
    {"Convolution", .bottoms = {"2 3 6 5"},
     .param = "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad_type: 1 }"},
    {"Crop", .bottoms = {"2 3 5 4", "2 3 3 2 fixed"}, .param = "crop_param { offset: 1 }"},
    {"Crop", .bottoms = {"2 3 5 4", "1 2 3 2 fixed"}, .param = "crop_param { axis: 0 }"},
    {"Crop", .bottoms = {"2 3 5 4", "2 2 3 2 fixed"},
     .param = "crop_param { axis: 1 offset: 1 offset: 2 offset: 0 }"},
    {"Deconvolution", .bottoms = {"2 3 3 4"},
     .param = "convolution_param { num_output: 2 kernel_size: 3 stride: 2 pad: 1 }"},
    {"Deconvolution", .bottoms = {"2 4 3 3"},
     .param = "convolution_param { num_output: 2 kernel_size: 2 group: 2 bias_term: false }"},
    {"Deconvolution", .bottoms = {"2 3 4"},
     .param = "convolution_param { num_output: 2 kernel_size: 3 dilation: 2 }"},
    {"Deconvolution", .bottoms = {"1 2 2 3 2"},
     .param = "convolution_param { num_output: 2 kernel_size: 2 }"},
    {"Deconvolution", .bottoms = {"2 3 3 4"},
     .param = "convolution_param { num_output: 2 kernel_size: 3 stride: 2 pad_l: 1 pad_t: 0 "
              "pad_r: -1 pad_b: 2 }"},
    {"DepthwiseConvolution", .bottoms = {"2 3 5 5"},
     .param = "convolution_param { num_output: 3 kernel_size: 3 pad: 1 group: 3 }"},
    {"Dropout", .bottoms = {"2 3 4"}},
    {"Dropout", .bottoms = {"2 3 4"}, .param = "dropout_param { dropout_ratio: 0.3 }",
     .options = IN_PLACE},
    {"Dropout", .bottoms = {"2 3 4"}, .options = TEST_PHASE},
    {"Dropout", .bottoms = {"2 3 4"}, .param = "dropout_param { scale_train: false }"},
    {"Dropout", .bottoms = {"2 3 4"}, .param = "dropout_param { scale_train: false }",
     .options = TEST_PHASE},
    {"Eltwise", .bottoms = {"2 3 4", "2 3 4"},
     .param = "eltwise_param { operation: SUM coeff: 2 coeff: -1 }"},
    {"Eltwise", .bottoms = {"2 3 4", "2 3 4", "2 3 4"},
     .param = "eltwise_param { operation: SUM }"},
    {"Eltwise", .bottoms = {"2 3 4", "2 3 4", "2 3 4"},
     .param = "eltwise_param { operation: PROD }"},
    {"Eltwise", .bottoms = {"2 3 4", "2 3 4"},
     .param = "eltwise_param { operation: PROD stable_prod_grad: false }"},
    {"Eltwise", .bottoms = {"2 3 4", "2 3 4", "2 3 4"},
     .param = "eltwise_param { operation: MAX }"},
    {"ELU", .bottoms = {"2 3 4"}, .param = "elu_param { alpha: 0.7 }"},
    {"ELU", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"Embed", .bottoms = {"5 < 3"}, .param = "embed_param { input_dim: 3 num_output: 4 }"},
    {"Embed", .bottoms = {"2 3 < 4"},
     .param = "embed_param { input_dim: 4 num_output: 2 bias_term: false }"},
    {"EuclideanLoss", .bottoms = {"3 4", "3 4"}},
    {"EuclideanLoss", .bottoms = {"3 2 2", "3 4"}},
    {"Exp", .bottoms = {"2 3 4"}},
    {"Exp", .bottoms = {"2 3 4"}, .param = "exp_param { base: 2 scale: 0.7 shift: 0.4 }"},
    {"Exp", .bottoms = {"2 3 4"}, .param = "exp_param { scale: -1 shift: 1 }", .options = IN_PLACE},
    {"Filter", .bottoms = {"5 2", "5 3 2", "5 < 2"}, .tops = 2},
    {"Filter", .bottoms = {"3 2", "3 1 1 < 3"}},
    {"Flatten", .bottoms = {"2 3 2 2"}},
    {"Flatten", .bottoms = {"2 3 2 2"}, .param = "flatten_param { axis: 0 end_axis: 2 }"},
    {"HingeLoss", .bottoms = {"4 20", "4 < 20"}},
    {"HingeLoss", .bottoms = {"3 6 2 3", "3 < 4"}, .param = "hinge_loss_param { norm: L2 }"},
    {"Im2col", .bottoms = {"2 2 4 5"},
     .param = "convolution_param { kernel_size: 3 stride: 2 pad: 1 }"},
    {"Im2col", .bottoms = {"1 2 5 5"},
     .param = "convolution_param { kernel_h: 2 kernel_w: 3 dilation: 2 dilation: 1 }"},
    {"Im2col", .bottoms = {"2 2 6"}, .param = "convolution_param { kernel_size: 2 stride: 3 }"},
    {"Im2col", .bottoms = {"1 2 3 3 3"},
     .param = "convolution_param { kernel_size: 2 force_nd_im2col: true }"},
    {"Im2col", .bottoms = {"2 2 4 5"},
     .param = "convolution_param { kernel_size: 3 stride: 2 pad_r: 2 pad_t: 1 }"},
    {"Im2col", .bottoms = {"2 2 2 3 4"}, .param = "convolution_param { kernel_size: 2 axis: 2 }"},
    {"InfogainLoss", .bottoms = {"3 4 2", "3 2 < 4", "4 4 fixed"}},
    {"InfogainLoss", .bottoms = {"2 2 4", "2 2 < 4", "1 1 4 4 fixed"},
     .param = "infogain_loss_param { axis: 2 } loss_param { ignore_label: 1 normalization: FULL }"},
    {"InnerProduct", .bottoms = {"3 2 2 2"}, .param = "inner_product_param { num_output: 4 }"},
    {"InnerProduct", .bottoms = {"3 5"},
     .param = "inner_product_param { num_output: 4 transpose: true }"},
    {"InnerProduct", .bottoms = {"2 3 2 2"},
     .param = "inner_product_param { num_output: 4 axis: 2 bias_term: false }"},
    {"InnerProduct", .bottoms = {"2 3"}, .param = "inner_product_param { num_output: 4 axis: 0 }"},
    {"Log", .bottoms = {"2 3 4 > 0.3"}},
    {"Log", .bottoms = {"2 3 4 > 0"}, .param = "log_param { base: 10 scale: 2 shift: 0.5 }"},
    {"Log", .bottoms = {"2 3 4 > 0.3"}, .param = "log_param { base: 2 }", .options = IN_PLACE},
    {"LRN", .bottoms = {"2 6 2 2"}, .param = "lrn_param { local_size: 3 alpha: 0.5 }"},
    {"LRN", .bottoms = {"2 6 2 2"},
     .param = "lrn_param { local_size: 5 alpha: 0.5 beta: 0.5 k: 2 }"},
    {"LRN", .bottoms = {"1 2 5 5"},
     .param = "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"},
    {"LSTM", .bottoms = {"4 2 3", "4 2 cont"}, .param = "recurrent_param { num_output: 2 }"},
    {"LSTM", .bottoms = {"3 2 2 2", "3 2 cont"}, .param = "recurrent_param { num_output: 3 }"},
    {"LSTM", .bottoms = {"3 2 2", "3 2 cont", "2 3"}, .param = "recurrent_param { num_output: 2 }"},
    {"LSTM", .bottoms = {"3 2 2", "3 2 < 2", "1 2 3 fixed", "1 2 3 fixed"},
     .param = "recurrent_param { num_output: 3 expose_hidden: true }", .tops = 3},
    {"LSTM", .bottoms = {"2 2 2", "2 2 fixed", "2 2", "1 2 2 fixed", "1 2 2 fixed"},
     .param = "recurrent_param { num_output: 2 expose_hidden: true }", .tops = 3},
    {"LSTMUnit", .bottoms = {"1 3 2", "1 3 8", "1 3 < 2"}, .tops = 2},
    {"LSTMUnit", .bottoms = {"1 3 2", "1 3 8", "1 3 fixed"}, .tops = 2},
    {"MultinomialLogisticLoss", .bottoms = {"3 4 > 0.3", "3 < 4"}},
    {"MultinomialLogisticLoss", .bottoms = {"2 2 3 > 0.3", "2 1 1 < 6"}},
    {"MVN", .bottoms = {"2 3 4 3"}},
    {"MVN", .bottoms = {"2 3 4 3"}, .param = "mvn_param { across_channels: true }"},
    {"MVN", .bottoms = {"2 3 4 3"}, .param = "mvn_param { normalize_variance: false }"},
    {"MVN", .bottoms = {"2 3 4 3"}, .param = "mvn_param { eps: 0.5 }"},
    {"MVN", .bottoms = {"2 3 4"},
     .param = "mvn_param { across_channels: true normalize_variance: false }"},
    {"Parameter", .bottoms = {NULL}, .param = "parameter_param { shape { dim: 2 dim: 3 } }"},
    {"Pooling", .bottoms = {"2 2 5 5"},
     .param = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"},
    {"Pooling", .bottoms = {"2 2 5 6"},
     .param = "pooling_param { pool: MAX kernel_size: 3 pad: 1 }"},
    {"Pooling", .bottoms = {"2 2 4 5"},
     .param = "pooling_param { pool: MAX global_pooling: true }"},
    {"Pooling", .bottoms = {"1 2 6 5"},
     .param = "pooling_param { pool: MAX kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 "
              "round_mode: FLOOR }"},
    {"Pooling", .bottoms = {"2 2 5 5"},
     .param = "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"},
    {"Pooling", .bottoms = {"1 2 6 5"},
     .param = "pooling_param { pool: AVE kernel_size: 2 stride: 2 }"},
    {"Pooling", .bottoms = {"2 2 6 5"},
     .param = "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad_r: 1 pad_b: 1 ceil_mode: "
              "false }"},
    {"Pooling", .bottoms = {"2 2 6 5"},
     .param = "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad_l: 2 pad_b: 1 }"},
    {"Pooling", .bottoms = {"2 2 6 5"},
     .param = "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1 }"},
    {"Pooling", .bottoms = {"2 2 6 5"},
     .param = "pooling_param { pool: AVE_TF kernel_size: 3 stride: 2 pad_type: 1 }"},
    {"Pooling", .bottoms = {"2 3 4 4"},
     .param = "pooling_param { pool: AVE global_pooling: true }"},
    {"Pooling", .bottoms = {"2 2 5 5 > 0.3"},
     .param = "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }"},
    {"Pooling", .bottoms = {"2 2 5 5 > 0.3"},
     .param = "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", .options = TEST_PHASE},
    {"Power", .bottoms = {"2 3 4"}, .param = "power_param { power: 2 scale: 0.5 shift: 0.3 }"},
    {"Power", .bottoms = {"2 3 4"}, .param = "power_param { scale: 0.5 shift: 0.3 }"},
    {"Power", .bottoms = {"2 3 4"}, .param = "power_param { power: 0 }"},
    {"Power", .bottoms = {"2 3 4 > 0.3"}, .param = "power_param { power: 0.5 }"},
    {"Power", .bottoms = {"2 3 4 > 0.5"}, .param = "power_param { power: -1 scale: 2 }"},
    {"Power", .bottoms = {"2 3 4"}, .param = "power_param { power: 3 }", .options = IN_PLACE},
    {"PReLU", .bottoms = {"2 3 4 2"}},
    {"PReLU", .bottoms = {"2 3 4"}, .param = "prelu_param { channel_shared: true }"},
    {"PReLU", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"Reduction", .bottoms = {"2 3 4"}},
    {"Reduction", .bottoms = {"2 3 4"},
     .param = "reduction_param { operation: ASUM axis: 1 coeff: 2 }"},
    {"Reduction", .bottoms = {"2 3 4"},
     .param = "reduction_param { operation: SUMSQ axis: 2 coeff: -0.5 }"},
    {"Reduction", .bottoms = {"2 3 4"}, .param = "reduction_param { operation: MEAN axis: -1 }"},
    {"ReLU", .bottoms = {"2 3 4"}},
    {"ReLU", .bottoms = {"2 3 4"}, .param = "relu_param { negative_slope: 0.1 }"},
    {"ReLU", .bottoms = {"2 3 4"}, .param = "relu_param { negative_slope: 0.1 }",
     .options = IN_PLACE},
    {"Reshape", .bottoms = {"2 6 2"}, .param = "reshape_param { shape { dim: 0 dim: 3 dim: -1 } }"},
    {"Reshape", .bottoms = {"2 6 2"},
     .param = "reshape_param { axis: 1 num_axes: 1 shape { dim: 2 dim: 3 } }"},
    {"RNN", .bottoms = {"4 2 3", "4 2 cont"}, .param = "recurrent_param { num_output: 2 }"},
    {"RNN", .bottoms = {"3 2 2", "3 2 cont", "2 3"}, .param = "recurrent_param { num_output: 3 }"},
    {"RNN", .bottoms = {"3 2 2", "3 2 fixed", "1 2 3 fixed"},
     .param = "recurrent_param { num_output: 3 expose_hidden: true }", .tops = 2},
    {"Scale", .bottoms = {"2 3 2 3"}, .param = "scale_param { bias_term: true }"},
    {"Scale", .bottoms = {"2 3 2 3"}, .param = "scale_param { axis: 0 num_axes: 2 }"},
    {"Scale", .bottoms = {"2 3 2"},
     .param = "scale_param { axis: -2 num_axes: -1 bias_term: true }"},
    {"Scale", .bottoms = {"2 3 2"}, .param = "scale_param { num_axes: 0 }"},
    {"Scale", .bottoms = {"2 3 2", "2 3"}, .param = "scale_param { axis: 0 }"},
    {"Scale", .bottoms = {"2 3 2", "3"}, .param = "scale_param { bias_term: true }"},
    {"Scale", .bottoms = {"2 3 2 3"}, .param = "scale_param { bias_term: true }",
     .options = IN_PLACE},
    {"Sigmoid", .bottoms = {"2 3 4"}},
    {"Sigmoid", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"SigmoidCrossEntropyLoss", .bottoms = {"3 4", "3 4 fixed"}},
    {"SigmoidCrossEntropyLoss", .bottoms = {"3 4 2", "3 4 2 < 3"},
     .param = "loss_param { ignore_label: 2 normalization: VALID }"},
    {"SigmoidCrossEntropyLoss", .bottoms = {"3 4", "3 4 fixed"},
     .param = "loss_param { normalization: FULL }"},
    {"SigmoidCrossEntropyLoss", .bottoms = {"3 2", "3 2 fixed"},
     .param = "loss_param { normalization: NONE }"},
    {"Slice", .bottoms = {"2 5 2 2"}, .param = "slice_param { slice_point: 2 }", .tops = 2},
    {"Slice", .bottoms = {"2 3 6"}, .param = "slice_param { axis: -1 }", .tops = 3},
    {"Slice", .bottoms = {"4 3"}, .param = "slice_param { axis: 0 }", .tops = 2},
    {"Softmax", .bottoms = {"3 4 2"}},
    {"Softmax", .bottoms = {"3 4 2"}, .param = "softmax_param { axis: 0 }"},
    {"Softmax", .bottoms = {"3 4"}, .param = "softmax_param { axis: -1 }", .options = IN_PLACE},
    {"SoftmaxWithLoss", .bottoms = {"3 4 2", "3 2 < 4"}},
    {"SoftmaxWithLoss", .bottoms = {"3 4 2", "3 2 < 4"},
     .param = "loss_param { ignore_label: 1 normalization: VALID }"},
    {"SoftmaxWithLoss", .bottoms = {"3 4 2", "3 2 < 4"},
     .param = "loss_param { normalization: BATCH_SIZE }"},
    {"SoftmaxWithLoss", .bottoms = {"3 4 2", "3 2 < 4"},
     .param = "loss_param { normalization: FULL }"},
    {"SoftmaxWithLoss", .bottoms = {"3 4", "3 < 4"}, .param = "loss_param { normalization: NONE }"},
    {"SoftmaxWithLoss", .bottoms = {"3 2 4", "3 2 < 4"}, .param = "softmax_param { axis: 2 }"},
    {"Split", .bottoms = {"2 3"}, .tops = 3},
    {"SPP", .bottoms = {"2 2 5 5"}, .param = "spp_param { pyramid_height: 2 }"},
    {"SPP", .bottoms = {"1 2 9 7"}, .param = "spp_param { pyramid_height: 3 pool: AVE }"},
    {"SPP", .bottoms = {"2 2 3 4"}, .param = "spp_param { pyramid_height: 1 }"},
    {"Swish", .bottoms = {"2 3 4"}},
    {"Swish", .bottoms = {"2 3 4"}, .param = "swish_param { beta: -1.5 }"},
    {"Swish", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"TanH", .bottoms = {"2 3 4"}},
    {"TanH", .bottoms = {"2 3 4"}, .options = IN_PLACE},
    {"Tile", .bottoms = {"2 3 2"}, .param = "tile_param { tiles: 3 }"},
    {"Tile", .bottoms = {"2 3 2"}, .param = "tile_param { axis: 0 tiles: 2 }"},
    {"Tile", .bottoms = {"2 3 2"}, .param = "tile_param { axis: -1 tiles: 2 }"},
    /* Layers of Caffe's forks. */
    {"Axpy", .bottoms = {"2 3 1 1", "2 3 2 2", "2 3 2 2"}},
    {"Axpy", .bottoms = {"2 3", "2 3 4", "2 3 4"}},
    {"BatchMatMul", .bottoms = {"2 2 3 4", "2 2 4 2"}},
    {"BatchMatMul", .bottoms = {"2 4 3", "2 2 4"},
     .param = "batch_matmul_param { adj_x1: true adj_x2: true }"},
    {"CReLU", .bottoms = {"2 3 2"}, .param = "crelu_param { negative_slope: 0.1 }"},
    {"CReLU", .bottoms = {"2 3 2 2"}, .param = "crelu_param { concat_axis: -1 }"},
    {"Hswish", .bottoms = {"2 100"}},
    {"Hswish", .bottoms = {"2 100"}, .options = IN_PLACE},
    {"Interp", .bottoms = {"2 3 3 4"}, .param = "interp_param { zoom_factor: 3 }"},
    {"Interp", .bottoms = {"1 2 7 6"},
     .param = "interp_param { shrink_factor: 2 pad_beg: -1 pad_end: -2 }"},
    {"Interp", .bottoms = {"2 2 4 3"}, .param = "interp_param { height: 3 width: 7 }"},
    {"Interp", .bottoms = {"2 2 4 3", "1 3 6 4"}, .param = "interp_param { use_blob_size: true }"},
    {"MatMul", .bottoms = {"2 2 3 4", "2 2 4 2"}},
    {"MatMul", .bottoms = {"2 3 4", "4 2"}},
    {"MatMul", .bottoms = {"2 4 3", "2 2 4"},
     .param = "matmul_param { transpose_a: true transpose_b: true }"},
    {"MatMul", .bottoms = {"2 3 4"}, .param = "matmul_param { blob_shape: 4 blob_shape: 2 }"},
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
    {"PassThrough", .bottoms = {"2 3 4 6"},
     .param = "pass_through_param { block_height: 2 block_width: 3 }"},
    {"Permute", .bottoms = {"2 3 4 2"},
     .param = "permute_param { order: 0 order: 2 order: 3 order: 1 }"},
    {"Permute", .bottoms = {"2 3 4 2"}, .param = "permute_param { order: 3 order: 1 }"},
    {"Permute", .bottoms = {"3 5"}, .param = "permute_param { order: 1 order: 0 }"},
    {"PSROIPooling", .bottoms = {"2 8 5 6", "3 5 = 0 4 4 19 14 1 0 0 30 25 1 8 -9 9 60"},
     .param = "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.25 }"},
    {"ReLU6", .bottoms = {"2 200"}},
    {"ReLU6", .bottoms = {"2 200"}, .options = IN_PLACE},
    {"Reorg", .bottoms = {"2 4 4 2"}, .param = "reorg_param { stride: 2 }"},
    {"Reorg", .bottoms = {"2 8 1 3"}, .param = "reorg_param { reverse: true }"},
    {"Reverse", .bottoms = {"3 2 4"}, .param = "reverse_param { axis: 0 axis: -1 }"},
    {"ROIAlign", .bottoms = {"2 2 5 6", "3 5 = 0 4 4 19 14 1 0 0 30 25 1 8 -9 9 60"},
     .param = "roi_align_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 }"},
    {"ROIAlign", .bottoms = {"2 2 5 6", "2 5 = 0 3.3 4.4 9 14 1 -10 -10 40 40"},
     .param = "roi_align_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.25 sampling_ratio: 2 "
              "roi_end_mode: "
              "1 }"},
    {"ROIPooling", .bottoms = {"2 2 5 6", "3 5 = 0 4 4 19 14 1 0 0 30 25 1 8 -9 9 60"},
     .param = "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 }"},
    {"ShuffleChannel", .bottoms = {"2 6 2 2"}, .param = "shuffle_channel_param { group: 3 }"},
    {"SmoothL1Loss", .bottoms = {"3 4", "3 4"}},
    {"SmoothL1Loss", .bottoms = {"2 30", "2 30"}, .param = "smooth_l1_loss_param { sigma: 1.3 }"},
    {"SmoothL1Loss", .bottoms = {"3 4", "3 4", "3 4 fixed"}},
    {"SmoothL1Loss", .bottoms = {"3 4", "3 4", "3 4 fixed", "3 4 fixed"},
     .param = "smooth_l1_loss_param { sigma: 3 }"},
    {"Upsample", .bottoms = {"2 3 2 3"}, .param = "upsample_param { scale: 2 }"},
    {"Upsample", .bottoms = {"2 3 2 3"},
     .param = "upsample_param { scale: 0.5 stride_h: 3 stride_w: 2 }"},
    {"Upsample", .bottoms = {"1 2 1 2", "1 2 1 2 = 3 0 5 7"},
     .param = "upsample_param { scale: 2 }"},
};

static qf_context *context;

/* ---- the net: an Input, for layers in place a copy of it, then the layer ---- */

static int count_bottoms(const struct layer_case *c)
{
    int count = 0;
    while (count < BOTTOMS_MAX && c->bottoms[count])
        count++;
    return count;
}

static void print_input(qf_buffer *out, const struct layer_case *c)
{
    qf_buffer_print(out, "layer { name: 'in' type: 'Input'");
    for (int b = 0; b < count_bottoms(c); b++)
        qf_buffer_print(out, " top: 'x%d'", b);
    qf_buffer_print(out, " input_param {");
    for (int b = 0; b < count_bottoms(c); b++) {
        int used = 0, dim;
        qf_buffer_print(out, " shape {");
        for (const char *at = c->bottoms[b]; sscanf(at, "%d%n", &dim, &used) == 1; at += used)
            qf_buffer_print(out, " dim: %d", dim);
        qf_buffer_print(out, " }");
    }
    qf_buffer_print(out, " } }\n");
    if (c->options & IN_PLACE)
        qf_buffer_print(out, "layer { name: 'copy' type: 'Power' bottom: 'x0' top: 'y0' }\n");
}

static qf_net *build(const struct layer_case *c)
{
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    qf_buffer text = {0};
    qf_net *net;
    qf_buffer_print(&text, "force_backward: true\n");
    if (count_bottoms(c))
        print_input(&text, c);
    qf_buffer_print(&text, "layer { name: 'it' type: '%s' %s", c->type, c->param ? c->param : "");
    for (int b = 0; b < count_bottoms(c); b++)
        qf_buffer_print(&text, " bottom: '%c%d'", b == 0 && c->options & IN_PLACE ? 'y' : 'x', b);
    for (int t = 0; t < (c->tops ? c->tops : 1); t++)
        qf_buffer_print(&text, " top: 'y%d'", t);
    qf_buffer_print(&text, " }\n");
    assert_ok(context, qf_file_write(context, path, qf_buffer_text(&text), text.size, 0640));
    assert_ok(context, qf_net_create(context, path, c->options & TEST_PHASE ? QF_TEST : QF_TRAIN, 0,
                                     NULL, 0, &net));
    test_remove_directory(folder);
    qf_buffer_release(&text);
    qf_free(path);
    qf_free(folder);
    return net;
}

static qf_layer *layer_of(const qf_net *net)
{
    return net->layers[net->layer_count - 1];
}

/* ---- values ---- */

static float *values(qf_blob *blob)
{
    float *data;
    assert_ok(context, qf_blob_mutable_data(blob, &data));
    return data;
}

/* Distinct values 0.04 apart, none nearer to zero than 0.02, in an order of their own for each
 * blob `b` of a layer; then all shifted. */
static void spread(qf_blob *blob, int b, float shift)
{
    static const size_t primes[] = {7, 11, 13, 17, 19, 23, 29};
    float *data = values(blob);
    const size_t n = qf_blob_count(blob);
    size_t stride = primes[b];
    while (n % stride == 0 && n > 0)
        stride = primes[++b % 7];
    for (size_t i = 0; i < n; i++)
        data[i] = shift + 0.04f * ((float)(i * stride % n) - (float)n / 2 + (n % 2 ? 0 : 0.5f));
}

/* Bottoms of one layer get other values each: bottom b is shifted by less than the distance. */
static void fill_bottom(qf_blob *blob, int b, const char *kind)
{
    const float half_range = 0.02f * (float)qf_blob_count(blob);
    const int streams = qf_blob_shape(blob)->axes > 1 ? qf_blob_shape(blob)->dim[1] : 1;
    float above;
    int below;
    if (strchr(kind, '=')) {
        int used;
        kind = strchr(kind, '=') + 1;
        for (size_t i = 0; i < qf_blob_count(blob); i++, kind += used)
            assert_int_equal(sscanf(kind, "%f%n", values(blob) + i, &used), 1);
        return;
    }
    if (sscanf(kind, "%*[0-9 ]> %f", &above) == 1)
        spread(blob, b, above + half_range + 0.04f);
    else
        spread(blob, b, 0.013f * (float)b);
    for (size_t i = 0; i < qf_blob_count(blob); i++) {
        if (sscanf(kind, "%*[0-9 ]< %d", &below) == 1)
            values(blob)[i] = (float)(i % (size_t)below);
        else if (strstr(kind, "cont"))
            values(blob)[i] = i >= (size_t)streams && i % 5 != 0;
    }
}

static bool has_gradient(const char *kind)
{
    return !strpbrk(kind, "<=") && !strstr(kind, "fixed") && !strstr(kind, "cont");
}

/* BatchNorm's parameters are statistics: no gradient, and a variance is positive. */
static bool is_learned(const qf_layer *layer)
{
    return strcmp(layer->type->name, "BatchNorm") != 0;
}

static void fill_params(const qf_layer *layer)
{
    for (int i = 0; i < layer->param_count; i++) {
        spread(layer->params[i].blob, i, is_learned(layer) || i == 0 ? 0 : 1);
        if (!is_learned(layer) && i == 2)
            values(layer->params[i].blob)[0] = 1;
    }
}

/* ---- the check ---- */

/* The fixed factor of element i of top t. A loss has its weight, 1; the states that a recurrent
 * layer exposes pass no gradient on. */
static double factor(const qf_layer *layer, int t, size_t i)
{
    if (strstr(layer->type->name, "Loss"))
        return 1;
    if (t > 0 && (strcmp(layer->type->name, "LSTM") == 0 || strcmp(layer->type->name, "RNN") == 0))
        return 0;
    return 0.2 + (double)((i * 37 + (size_t)t * 11) % 19) / 19;
}

static double objective(qf_net *net)
{
    const qf_layer *layer = layer_of(net);
    double sum = 0;
    qf_random_seed(&context->random, 3); /* what a layer draws is the same each time */
    assert_ok(context, qf_net_forward(net, NULL));
    for (int t = 0; t < layer->top_count; t++) {
        const float *top;
        assert_ok(context, qf_blob_data(layer->top[t], &top));
        for (size_t i = 0; i < qf_blob_count(layer->top[t]); i++)
            sum += factor(layer, t, i) * (double)top[i];
    }
    return sum;
}

static void check_blob(const struct layer_case *c, qf_net *net, qf_blob *blob)
{
    const size_t n = qf_blob_count(blob);
    float *analytic = qf_alloc(n, sizeof *analytic);
    const float *diff;
    assert_ok(context, qf_blob_diff(blob, &diff));
    memcpy(analytic, diff, n * sizeof *analytic);
    for (size_t i = 0; i < n; i++) {
        const float kept = values(blob)[i];
        values(blob)[i] = kept + (float)step;
        const double above = objective(net);
        values(blob)[i] = kept - (float)step;
        const double below = objective(net);
        values(blob)[i] = kept;
        const double numeric = (above - below) / (2 * step), size = fmax(1, fabs(numeric));
        if (!(fabs(numeric - (double)analytic[i]) < 1e-2 * size))
            fail_msg("%s (%s): gradient of %s[%zu] is %g, differences give %g", c->type,
                     c->param ? c->param : "", blob->name, i, (double)analytic[i], numeric);
    }
    qf_free(analytic);
}

static void check(const struct layer_case *c)
{
    qf_net *net = build(c);
    const qf_layer *layer = layer_of(net);
    for (int b = 0; b < count_bottoms(c); b++)
        fill_bottom(net->layers[0]->top[b], b, c->bottoms[b]);
    fill_params(layer);
    objective(net);
    qf_net_clear_param_diffs(net);
    for (int t = 0; t < layer->top_count; t++) {
        float *diff;
        assert_ok(context, qf_blob_mutable_diff(layer->top[t], &diff));
        for (size_t i = 0; i < qf_blob_count(layer->top[t]); i++)
            diff[i] = (float)factor(layer, t, i);
    }
    assert_ok(context, qf_net_backward(net));
    for (int b = 0; b < count_bottoms(c); b++)
        if (has_gradient(c->bottoms[b]))
            check_blob(c, net, net->layers[0]->top[b]);
    for (int i = 0; is_learned(layer) && i < layer->param_count; i++)
        check_blob(c, net, layer->params[i].blob);
    qf_net_destroy(net);
}

static void every_layer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
}

/* ---- the table in the documentation ---- */

static int count_cases(const char *type)
{
    int count = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        count += strcmp(cases[i].type, type) == 0;
    return count;
}

static void documentation_counts_the_cases(void **state)
{
    (void)state;
    for (const qf_layer_type *const *type = qf_layer_types; *type; type++) {
        test_documented row;
        const int count = count_cases((*type)->name);
        if (!test_find_documented((*type)->name, &row)) {
            if (count)
                fail_msg("docs/layers.md has no row for %s", (*type)->name);
            continue;
        }
        if (row.gradient != count)
            fail_msg("docs/layers.md: %s has %d cases here, the table says %d", (*type)->name,
                     count, row.gradient);
        if (!count && !row.has_remark)
            fail_msg("docs/layers.md: %s has no gradient check, and the table gives no reason",
                     (*type)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer),
        cmocka_unit_test(documentation_counts_the_cases),
    };
    context = test_context();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    qf_context_destroy(context);
    return failed;
}
