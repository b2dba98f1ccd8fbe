/* What each type of layer becomes in an ONNX file. docs/onnx.md shows this table, and a test
 * compares the two. */
#include "base/memory.h"
#include "onnx/export/export_layers.h"

/* A source of data: its tops are inputs of the graph. */
static void input(qf_onnx_export *e)
{
    for (int t = 0; t < e->layer->top_count; t++)
        e->value[e->layer->top[t]->index] = e->layer->top[t]->name;
}

/* A layer that is of no use outside training and testing. */
static void drop(qf_onnx_export *e)
{
    (void)e;
}

/* Its bottoms are not to be seen, so they are no outputs either. */
static void silence(qf_onnx_export *e)
{
    for (int b = 0; b < e->layer->bottom_count; b++) {
        if (!qf_grow(&e->hidden, &e->hidden_capacity, e->hidden_count + 1, sizeof *e->hidden)) {
            e->maker->status = qf_fail(e->context, QF_E_MEMORY, "no memory for names");
            return;
        }
        e->hidden[e->hidden_count++] = qf_onnx_bottom(e, b);
    }
}

#define SOURCE "graph input"
#define DROPPED "dropped"
#define REFUSED "refused"
#define TRAINING "is for training or calibrating; export the fake-quant or the deploy model"
#define RECURRENT                                                                                  \
    "its sequences begin and end within the batch as a bottom says, which ONNX's recurrent nodes " \
    "cannot do"

#define DECODING "is decoding, which your own code does; end the net before it, with --until"
#define MARGIN "needs the labels, which there are only in training; end the net before it"

const qf_onnx_row qf_onnx_rows[] = {
    {"AbsVal", "Abs", qf_onnx_abs_val, ""},
    {"Accuracy", DROPPED, drop, ""},
    {"ActivationQAT", REFUSED, NULL, TRAINING},
    {"Add", "Add", qf_onnx_add, ""},
    {"AnchorTarget", REFUSED, NULL, "is for training only"},
    {"AnnotatedData", SOURCE, input, "as Data"},
    {"AntiQuant", "nothing", qf_onnx_same, "DequantizeLinear stands behind each QuantizeLinear"},
    {"ArgMax", "TopK", qf_onnx_arg_max, "indices are floats, as Caffe's are"},
    {"Axpy", "Mul, Add", qf_onnx_axpy, ""},
    {"BatchMatMul", "MatMul", qf_onnx_batch_mat_mul, ""},
    {"BatchNorm", "BatchNormalization", qf_onnx_batch_norm,
     "sums are divided by their weight; refused where use_global_stats is false"},
    {"BatchReindex", "Gather", qf_onnx_batch_reindex, ""},
    {"BatchToSpaceND", REFUSED, NULL, "it makes another batch"},
    {"BboxAccuracy", DROPPED, drop, ""},
    {"Bias", "Add", qf_onnx_bias, ""},
    {"BNLL", "Softplus", qf_onnx_bnll, ""},
    {"BoxAnnotatorOHEM", REFUSED, NULL, "is for training only"},
    {"BoxOutput", REFUSED, NULL, "how many regions there are is decided image by image"},
    {"BoxTarget", REFUSED, NULL, "is for training only"},
    {"CenterLoss", DROPPED, drop, ""},
    {"Clip", "Clip", qf_onnx_clip, ""},
    {"CombinedMargin", REFUSED, NULL, MARGIN},
    {"Concat", "Concat", qf_onnx_concat, ""},
    {"ContrastiveLoss", DROPPED, drop, ""},
    {"Convolution", "Conv", qf_onnx_convolution, "axis 1 only"},
    {"CosinAddm", REFUSED, NULL, MARGIN},
    {"CReLU", "Neg, Relu, Concat", qf_onnx_c_relu, ""},
    {"Crop", "Slice", qf_onnx_crop, ""},
    {"CTCGreedyDecoder", REFUSED, NULL, DECODING},
    {"CTCLoss", DROPPED, drop, ""},
    {"Data", SOURCE, input, "transform_param is not part of the graph"},
    {"DecodeBBox", REFUSED, NULL, DECODING},
    {"Deconvolution", "ConvTranspose", qf_onnx_convolution, "axis 1 only"},
    {"DenseImageData", SOURCE, input, "as Data"},
    {"DepthToSpace", "Reshape, Transpose", qf_onnx_depth_to_space, ""},
    {"DepthwiseConvolution", "Conv", qf_onnx_convolution, ""},
    {"DeQuant", "nothing", qf_onnx_de_quant,
     "its scales go to weights and biases; with --keep-shift Div, Round, Clip and others"},
    {"DetectionAccuracy", DROPPED, drop, ""},
    {"DetectionEvaluate", DROPPED, drop, ""},
    {"DetectionLoss", DROPPED, drop, ""},
    {"DetectionOutput", "NonMaxSuppression and others", qf_onnx_detection_output,
     "no row where nothing is found; top_k counts boxes that are kept; with keep_top_k a batch of "
     "1; refused with eta below 1 or share_location: false"},
    {"DetectionOutputExtended", REFUSED, NULL, DECODING},
    {"DistillationLoss", DROPPED, drop, ""},
    {"Div", "Div", qf_onnx_div, ""},
    {"Dropout", "nothing", qf_onnx_same, ""},
    {"DummyData", SOURCE, input, ""},
    {"DumpData", REFUSED, NULL, TRAINING},
    {"Eltwise", "Add, Mul, Max", qf_onnx_eltwise, ""},
    {"ELU", "Elu", qf_onnx_elu, ""},
    {"Embed", "Gather, Add", qf_onnx_embed, ""},
    {"EuclideanLoss", DROPPED, drop, ""},
    {"EvalDetection", DROPPED, drop, ""},
    {"Exp", "Mul, Exp", qf_onnx_exp, ""},
    {"ExpandDimsND", "Reshape", qf_onnx_reshape_layer, ""},
    {"Filter", REFUSED, NULL, "which items pass is decided by values"},
    {"Flatten", "Flatten, Reshape", qf_onnx_flatten, ""},
    {"GeneralContrastiveLoss", DROPPED, drop, ""},
    {"GRN", "ReduceSumSquare, Sqrt, Div", qf_onnx_normalize, ""},
    {"HardSigmoid", "HardSigmoid", qf_onnx_hard_sigmoid, ""},
    {"HDF5Data", SOURCE, input, ""},
    {"HDF5Output", DROPPED, drop, ""},
    {"HFMG", REFUSED, NULL, TRAINING},
    {"HingeLoss", DROPPED, drop, ""},
    {"Hswish", "HardSigmoid, Mul", qf_onnx_hswish, ""},
    {"IFMR", REFUSED, NULL, TRAINING},
    {"Im2col", REFUSED, NULL, "no node lays patches out as columns"},
    {"ImageData", SOURCE, input, "as Data"},
    {"ImageGtData", SOURCE, input, "as Data"},
    {"ImageLabelmapData", SOURCE, input, "as Data"},
    {"ImageSegData", SOURCE, input, "as Data"},
    {"InfogainLoss", "Softmax", qf_onnx_softmax_with_loss, "the loss is dropped, its answers stay"},
    {"InnerDistance", REFUSED, NULL, "no node computes distances"},
    {"InnerProduct", "Flatten, Gemm", qf_onnx_inner_product, "refused with normalize"},
    {"Input", SOURCE, input, ""},
    {"Interp", "Resize", qf_onnx_interp, "linear, align_corners"},
    {"LabelSpecificAdd", REFUSED, NULL, MARGIN},
    {"Log", "Mul, Add, Log", qf_onnx_log, ""},
    {"LRN", "LRN; AveragePool, Pow, Div", qf_onnx_lrn,
     "the second within a channel, where Caffe divides by the whole window"},
    {"LSTM", REFUSED, NULL, RECURRENT},
    {"Lstm", REFUSED, NULL, RECURRENT},
    {"LSTMUnit", REFUSED, NULL, RECURRENT},
    {"MarginInnerProduct", REFUSED, NULL, MARGIN},
    {"MatMul", "MatMul", qf_onnx_mat_mul, ""},
    {"MemoryData", SOURCE, input, ""},
    {"MirrorPad", "Pad", qf_onnx_mirror_pad, "refused with mode SYMMETRIC"},
    {"Mish", "Softplus, Tanh, Mul", qf_onnx_mish, ""},
    {"Mul", "Mul", qf_onnx_mul, ""},
    {"MultiBoxLoss", DROPPED, drop, ""},
    {"MultinomialLogisticLoss", DROPPED, drop, ""},
    {"MVN", "ReduceMean, Sub, Sqrt, Div", qf_onnx_mvn, ""},
    {"Normalize", "ReduceSumSquare, Sqrt, Div, Mul", qf_onnx_normalize, ""},
    {"Pad", "Pad", qf_onnx_pad, ""},
    {"Parameter", "Identity", qf_onnx_parameter, "an initialiser"},
    {"PassThrough", "Reshape, Transpose", qf_onnx_pass_through, ""},
    {"Permute", "Transpose", qf_onnx_permute, ""},
    {"PixelShuffle", "Reshape, Transpose", qf_onnx_pixel_shuffle, ""},
    {"Pooling", "MaxPool, AveragePool", qf_onnx_pooling,
     "windows as Caffe rounds them, by pads; AVE gets a factor where windows are cut off; refused: "
     "STOCHASTIC, the mask"},
    {"Power", "Mul, Add, Pow", qf_onnx_power, ""},
    {"PReLU", "PRelu", qf_onnx_p_relu,
     "Relu, Sub, Mul, Add on one pixel of an integer convolution, where OpenVINO 2026.4 computes "
     "PRelu "
     "wrongly"},
    {"PriorBox", "initialiser", qf_onnx_prior_box, "for the size of the model's input"},
    {"PriorBoxClustered", "initialiser", qf_onnx_prior_box, "for the size of the model's input"},
    {"Proposal", REFUSED, NULL, "how many regions there are is decided image by image"},
    {"ProposalTarget", REFUSED, NULL, "is for training only"},
    {"PSROIPooling", REFUSED, NULL, "no node pools by position"},
    {"Python", REFUSED, NULL, "what it does is code of its own"},
    {"Quant", "QuantizeLinear, DequantizeLinear", qf_onnx_quant, ""},
    {"RawData", SOURCE, input, ""},
    {"Reduction", "ReduceSum and others", qf_onnx_reduction, ""},
    {"RegionLoss", DROPPED, drop, ""},
    {"ReLU", "Relu, LeakyRelu", qf_onnx_relu, ""},
    {"ReLU6", "Clip", qf_onnx_relu6, ""},
    {"Reorg", "Reshape, Transpose", qf_onnx_reorg, ""},
    {"Reshape", "Reshape", qf_onnx_reshape_layer, ""},
    {"ResizeBilinear", "Resize", qf_onnx_resize_bilinear, "Transpose around it for NHWC"},
    {"ResizeNearestNeighbor", "Resize", qf_onnx_resize_nearest, "Transpose around it for NHWC"},
    {"Reverse", "Slice", qf_onnx_reverse, ""},
    {"ReverseTime", REFUSED, NULL, RECURRENT},
    {"RNN", REFUSED, NULL, RECURRENT},
    {"ROIAlign", REFUSED, NULL, "RoiAlign samples other points, and others in each operator set"},
    {"RoIData", REFUSED, NULL, "is for training only"},
    {"ROIPooling", "MaxRoiPool", qf_onnx_roi_pooling, "one spatial_scale for both axes"},
    {"Scale", "Mul, Add", qf_onnx_scale, ""},
    {"SearchN", REFUSED, NULL, TRAINING},
    {"SeLuDropout", "nothing", qf_onnx_same, ""},
    {"SegAccuracy", DROPPED, drop, ""},
    {"SELU", "Selu", qf_onnx_selu, ""},
    {"ShuffleChannel", "Reshape, Transpose", qf_onnx_shuffle_channel, ""},
    {"Sigmoid", "Sigmoid", qf_onnx_sigmoid, ""},
    {"SigmoidCrossEntropyLoss", "Sigmoid", qf_onnx_sigmoid_with_loss,
     "the loss is dropped, its answers stay"},
    {"Silence", DROPPED, silence, ""},
    {"Slice", "Slice", qf_onnx_slice_layer, "one for each top"},
    {"SmoothL1Loss", DROPPED, drop, ""},
    {"SmoothL1LossOHEM", DROPPED, drop, ""},
    {"Softmax", "Softmax", qf_onnx_softmax, ""},
    {"SoftmaxWithLoss", "Softmax", qf_onnx_softmax_with_loss,
     "the loss is dropped, its answers stay"},
    {"SoftmaxWithLossOHEM", "Softmax", qf_onnx_softmax_with_loss,
     "the loss is dropped, its answers stay"},
    {"SpaceToBatchND", REFUSED, NULL, "it makes another batch"},
    {"SpaceToDepth", "Reshape, Transpose", qf_onnx_space_to_depth, ""},
    {"Split", "nothing", qf_onnx_same, ""},
    {"SPP", REFUSED, NULL, "write its Pooling, Flatten and Concat layers instead"},
    {"Squeeze", "Reshape", qf_onnx_reshape_layer, ""},
    {"Sub", "Sub", qf_onnx_sub, ""},
    {"Swish", "Sigmoid, Mul", qf_onnx_swish, ""},
    {"TanH", "Tanh", qf_onnx_tan_h, ""},
    {"Threshold", "Greater, Cast", qf_onnx_threshold, ""},
    {"Tile", "Tile", qf_onnx_tile, ""},
    {"Transpose", "Transpose", qf_onnx_transpose_layer, ""},
    {"Upsample", "Resize", qf_onnx_upsample, "nearest; refused with a mask"},
    {"UpsampleDarknet", "Resize", qf_onnx_upsample_darknet, "nearest"},
    {"VideoData", SOURCE, input, "as Data"},
    {"WarpCTCLoss", DROPPED, drop, ""},
    {"WeightQAT", REFUSED, NULL, TRAINING},
    {"WindowData", SOURCE, input, "as Data"},
    {"YoloDetectionOutput", REFUSED, NULL, DECODING},
    {"YoloSeg", DROPPED, drop, ""},
    {"Yolov3", DROPPED, drop, ""},
    {"Yolov3DetectionOutput", REFUSED, NULL, DECODING},
    {NULL, NULL, NULL, NULL},
};
