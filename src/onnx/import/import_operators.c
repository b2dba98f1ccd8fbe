/* The operators that are read, and what they become. */
#include "onnx/import/operators.h"

#include <stdlib.h>
#include <string.h>

#define POOL(name) CAFFE__POOLING_PARAMETER__POOL_METHOD__##name
#define REDUCE(name) CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__##name

#define CONVERT(type, stem, detail)                                                                \
    {                                                                                              \
        type, NULL, qf_import_##stem, detail                                                       \
    }
#define FOLD(type, stem, detail)                                                                   \
    {                                                                                              \
        type, qf_import_fold_##stem, NULL, detail                                                  \
    }
#define BOTH(type, fold, stem, detail)                                                             \
    {                                                                                              \
        type, qf_import_fold_##fold, qf_import_##stem, detail                                      \
    }

/* In alphabetical order. */
static const qf_import_operator operators[] = {
    BOTH("Abs", unary, unary, QF_IMPORT_ABSOLUTE),
    BOTH("Add", binary, arithmetic, QF_IMPORT_ADD),
    FOLD("And", binary, QF_IMPORT_AND),
    CONVERT("ArgMax", arg_max, 0),
    CONVERT("AveragePool", average_pool, 0),
    CONVERT("BatchNormalization", batch_normalization, 0),
    BOTH("Cast", cast, cast, 0),
    FOLD("Ceil", unary, QF_IMPORT_CEILING),
    CONVERT("Clip", clip, 0),
    BOTH("Concat", concat, concat, 0),
    FOLD("Constant", constant, 0),
    FOLD("ConstantOfShape", constant_of_shape, 0),
    CONVERT("Conv", convolution, 0),
    CONVERT("ConvTranspose", transposed_convolution, 0),
    CONVERT("DepthToSpace", depth_to_space, 0),
    BOTH("DequantizeLinear", dequantize, dequantize, 0),
    BOTH("Div", binary, arithmetic, QF_IMPORT_DIVIDE),
    CONVERT("Dropout", identity, 0),
    CONVERT("Elu", elu, 0),
    FOLD("Equal", binary, QF_IMPORT_EQUAL),
    BOTH("Exp", unary, unary, QF_IMPORT_EXPONENTIAL),
    BOTH("Expand", expand, expand, 0),
    CONVERT("Flatten", flatten, 0),
    FOLD("Floor", unary, QF_IMPORT_FLOOR),
    BOTH("Gather", gather, gather, 0),
    CONVERT("Gemm", gemm, 0),
    CONVERT("GlobalAveragePool", global_pool, POOL(AVE)),
    CONVERT("GlobalMaxPool", global_pool, POOL(MAX)),
    BOTH("Greater", binary, threshold, QF_IMPORT_GREATER),
    FOLD("GreaterOrEqual", binary, QF_IMPORT_GREATER_OR_EQUAL),
    CONVERT("HardSigmoid", hard_sigmoid, 0),
    CONVERT("HardSwish", unary, QF_IMPORT_HARD_SWISH),
    CONVERT("Identity", identity, 0),
    CONVERT("InstanceNormalization", instance_normalization, 0),
    CONVERT("LRN", lrn, 0),
    CONVERT("LeakyRelu", leaky_relu, 0),
    FOLD("Less", binary, QF_IMPORT_LESS),
    FOLD("LessOrEqual", binary, QF_IMPORT_LESS_OR_EQUAL),
    BOTH("Log", unary, unary, QF_IMPORT_LOGARITHM),
    CONVERT("LogSoftmax", log_softmax, 0),
    CONVERT("MatMul", mat_mul, 0),
    BOTH("Max", binary, sum, QF_IMPORT_MAXIMUM),
    CONVERT("MaxPool", max_pool, 0),
    BOTH("Min", binary, sum, QF_IMPORT_MINIMUM),
    CONVERT("Mish", unary, QF_IMPORT_MISH),
    FOLD("Mod", binary, QF_IMPORT_MODULO),
    BOTH("Mul", binary, arithmetic, QF_IMPORT_MULTIPLY),
    BOTH("Neg", unary, fixed_power, QF_IMPORT_NEGATE),
    FOLD("Not", unary, QF_IMPORT_NOT),
    FOLD("Or", binary, QF_IMPORT_OR),
    CONVERT("PRelu", prelu, 0),
    CONVERT("Pad", pad, 0),
    BOTH("Pow", binary, raise, QF_IMPORT_RAISE),
    BOTH("QuantizeLinear", quantize, quantize, 0),
    FOLD("Range", range, 0),
    BOTH("Reciprocal", unary, fixed_power, QF_IMPORT_RECIPROCAL),
    CONVERT("ReduceL1", reduce, REDUCE(ASUM)),
    CONVERT("ReduceL2", reduce, REDUCE(SUMSQ)),
    CONVERT("ReduceMax", reduce_max, 0),
    CONVERT("ReduceMean", reduce, REDUCE(MEAN)),
    CONVERT("ReduceSum", reduce, REDUCE(SUM)),
    CONVERT("ReduceSumSquare", reduce, REDUCE(SUMSQ)),
    CONVERT("Relu", unary, QF_IMPORT_RELU),
    BOTH("Reshape", reshape, reshape_node, 0),
    CONVERT("Resize", resize, 0),
    CONVERT("Selu", selu, 0),
    CONVERT("Shape", shape_of, 0),
    CONVERT("Sigmoid", unary, QF_IMPORT_SIGMOID),
    CONVERT("Size", size_of, 0),
    BOTH("Slice", slice, slice, 0),
    CONVERT("Softmax", softmax, 0),
    CONVERT("Softplus", unary, QF_IMPORT_SOFTPLUS),
    CONVERT("SpaceToDepth", space_to_depth, 0),
    BOTH("Split", split, split, 0),
    BOTH("Sqrt", unary, fixed_power, QF_IMPORT_ROOT),
    BOTH("Squeeze", squeeze, squeeze, 0),
    BOTH("Sub", binary, arithmetic, QF_IMPORT_SUBTRACT),
    BOTH("Sum", binary, sum, QF_IMPORT_ADD),
    CONVERT("Tanh", unary, QF_IMPORT_TANH),
    CONVERT("Tile", tile_node, 0),
    CONVERT("TopK", top_k, 0),
    BOTH("Transpose", transpose, transpose, 0),
    BOTH("Unsqueeze", unsqueeze, unsqueeze, 0),
    CONVERT("Upsample", upsample, 0),
    FOLD("Where", where, 0),
};

static int by_type(const void *type, const void *row)
{
    return strcmp(type, ((const qf_import_operator *)row)->type);
}

const qf_import_operator *qf_import_find_operator(const char *type)
{
    return bsearch(type, operators, sizeof operators / sizeof *operators, sizeof *operators,
                   by_type);
}

const char *qf_import_operator_type(size_t index)
{
    return index < sizeof operators / sizeof *operators ? operators[index].type : NULL;
}
