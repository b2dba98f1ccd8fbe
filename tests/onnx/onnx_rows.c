/* The graphs, as text, and their outputs in ONNX Runtime 1.32. */
#include "onnx/onnx_rows.h"

const onnx_row onnx_rows[] = {
    {"a convolution with its padding at one end",
     11,
     "1 1 3 3",
     "node { op_type: 'Conv' name: 'y' input: 'x' input: 'w' input: 'b' output: 'y' "
     "attribute { name: 'pads' type: INTS ints: 0 ints: 0 ints: 1 ints: 1 } } initializer "
     "{ name: 'w' data_type: 1 dims: 1 dims: 1 dims: 2 dims: 2 float_data: 1 float_data: "
     "2 float_data: 3 float_data: 4 } initializer { name: 'b' data_type: 1 dims: 1 "
     "float_data: 0.5 }",
     "Convolution",
     9,
     {5.f, -2.25f, -2.25f, 5.25f, -4.75f, -3.25f, 1.5f, -1.5f, -0.5f}},
    {"auto_pad",
     11,
     "1 1 4 4",
     "node { op_type: 'Conv' name: 'y' input: 'x' input: 'w' output: 'y' attribute { "
     "name: 'auto_pad' type: STRING s: 'SAME_LOWER' } attribute { name: 'strides' type: "
     "INTS ints: 2 ints: 2 } } initializer { name: 'w' data_type: 1 dims: 1 dims: 1 dims: "
     "3 dims: 3 float_data: 1 float_data: 0 float_data: -1 float_data: 2 float_data: 1 "
     "float_data: 0 float_data: 0 float_data: 1 float_data: 3 }",
     "Convolution",
     4,
     {-3.25f, 1.5f, -1.25f, 2.5f}},
    {"a convolution along one axis, in groups",
     13,
     "1 2 4",
     "node { op_type: 'Conv' name: 'y' input: 'x' input: 'w' output: 'y' attribute { "
     "name: 'group' type: INT i: 2 } attribute { name: 'dilations' type: INTS ints: 2 } } "
     "initializer { name: 'w' data_type: 1 dims: 2 dims: 1 dims: 2 float_data: 1 "
     "float_data: 2 float_data: 3 float_data: 4 }",
     "Convolution",
     4,
     {-2.25f, 3.f, 4.75f, -2.25f}},
    {"zeros that a Pad puts around become padding",
     13,
     "1 1 2 2",
     "node { op_type: 'Pad' name: 'q' input: 'x' input: 'p' output: 'q' } node { op_type: "
     "'Conv' name: 'y' input: 'q' input: 'w' output: 'y' } initializer { name: 'p' "
     "data_type: 7 dims: 8 int64_data: 0 int64_data: 0 int64_data: 1 int64_data: 0 "
     "int64_data: 0 int64_data: 0 int64_data: 0 int64_data: 1 } initializer { name: 'w' "
     "data_type: 1 dims: 1 dims: 1 dims: 2 dims: 2 float_data: 1 float_data: 2 "
     "float_data: 3 float_data: 4 }",
     "Convolution",
     4,
     {-1.75f, 1.5f, 3.25f, 4.25f}},
    {"a summand behind a convolution is its bias",
     13,
     "1 1 2 2",
     "node { op_type: 'Conv' name: 'c' input: 'x' input: 'w' output: 'c' } node { "
     "op_type: 'Add' name: 'y' input: 'b' input: 'c' output: 'y' } initializer { name: "
     "'w' data_type: 1 dims: 2 dims: 1 dims: 1 dims: 1 float_data: 1 float_data: 2 } "
     "initializer { name: 'b' data_type: 1 dims: 1 dims: 2 dims: 1 dims: 1 float_data: 10 "
     "float_data: 20 }",
     "Convolution",
     8,
     {8.75f, 10.5f, 9.5f, 11.25f, 17.5f, 21.f, 19.f, 22.5f}},
    {"a transposed convolution with pixels added",
     11,
     "1 1 2 2",
     "node { op_type: 'ConvTranspose' name: 'y' input: 'x' input: 'w' output: 'y' "
     "attribute { name: 'strides' type: INTS ints: 2 ints: 2 } attribute { name: "
     "'output_padding' type: INTS ints: 1 ints: 0 } } initializer { name: 'w' data_type: "
     "1 dims: 1 dims: 1 dims: 2 dims: 2 float_data: 1 float_data: 2 float_data: 3 "
     "float_data: 4 }",
     "Deconvolution",
     20,
     {-1.25f, -2.5f, 0.5f,  1.f,  -3.75f, -5.f, 1.5f, 2.f, -0.5f, -1.f,
      1.25f,  2.5f,  -1.5f, -2.f, 3.75f,  5.f,  0.f,  0.f, 0.f,   0.f}},
    {"a product, its weights as Caffe has them",
     9,
     "2 3",
     "node { op_type: 'Gemm' name: 'y' input: 'x' input: 'w' input: 'b' output: 'y' "
     "attribute { name: 'transB' type: INT i: 1 } attribute { name: 'alpha' type: FLOAT "
     "f: 2.0 } attribute { name: 'beta' type: FLOAT f: 0.5 } } initializer { name: 'w' "
     "data_type: 1 dims: 2 dims: 3 float_data: 1 float_data: 2 float_data: 3 float_data: "
     "4 float_data: 5 float_data: 6 } initializer { name: 'b' data_type: 1 dims: 2 "
     "float_data: 2 float_data: 4 }",
     "InnerProduct",
     4,
     {-2.5f, -9.f, 0.f, 5.5f}},
    {"Flatten goes into the product",
     11,
     "1 2 1 2",
     "node { op_type: 'Flatten' name: 'q' input: 'x' output: 'q' } node { op_type: 'Gemm' "
     "name: 'y' input: 'q' input: 'w' output: 'y' } initializer { name: 'w' data_type: 1 "
     "dims: 4 dims: 1 float_data: 1 float_data: 2 float_data: 3 float_data: 4 }",
     "InnerProduct",
     1,
     {3.25f}},
    {"MatMul along the last axis, and its bias",
     13,
     "1 2 2",
     "node { op_type: 'MatMul' name: 'q' input: 'x' input: 'w' output: 'q' } node { "
     "op_type: 'Add' name: 'y' input: 'q' input: 'b' output: 'y' } initializer { name: "
     "'w' data_type: 1 dims: 2 dims: 3 float_data: 1 float_data: 2 float_data: 3 "
     "float_data: 4 float_data: 5 float_data: 6 } initializer { name: 'b' data_type: 1 "
     "dims: 3 float_data: 1 float_data: 2 float_data: 3 }",
     "InnerProduct",
     6,
     {1.75f, 2.f, 2.25f, 5.5f, 7.25f, 9.f}},
    {"MatMul of two blobs",
     13,
     "1 2 3",
     "node { op_type: 'Transpose' name: 't' input: 'x' output: 't' attribute { name: "
     "'perm' type: INTS ints: 0 ints: 2 ints: 1 } } node { op_type: 'MatMul' name: 'y' "
     "input: 'x' input: 't' output: 'y' }",
     "Permute BatchMatMul",
     4,
     {2.0625f, -1.0625f, -1.0625f, 2.1875f}},
    {"normalisation with statistics that are known",
     9,
     "1 2 1 2",
     "node { op_type: 'BatchNormalization' name: 'y' input: 'x' input: 's' input: 'b' "
     "input: 'm' input: 'v' output: 'y' attribute { name: 'epsilon' type: FLOAT f: 0.25 } "
     "} initializer { name: 's' data_type: 1 dims: 2 float_data: 1 float_data: 2 } "
     "initializer { name: 'b' data_type: 1 dims: 2 float_data: 0.5 float_data: -0.5 } "
     "initializer { name: 'm' data_type: 1 dims: 2 float_data: 0.25 float_data: -0.25 } "
     "initializer { name: 'v' data_type: 1 dims: 2 float_data: 2 float_data: 0.75 }",
     "BatchNorm Scale",
     4,
     {-0.5000001f, 0.6666666f, -1.f, 2.5f}},
    {"normalisation of each image",
     13,
     "2 2 1 4",
     "node { op_type: 'InstanceNormalization' name: 'y' input: 'x' input: 's' input: 'b' "
     "output: 'y' } initializer { name: 's' data_type: 1 dims: 2 float_data: 1 "
     "float_data: 2 } initializer { name: 'b' data_type: 1 dims: 2 float_data: 0.5 "
     "float_data: -0.5 }",
     "Reshape BatchNorm Reshape Scale",
     16,
     {-0.8130571f, 1.025223f, -0.02522284f, 1.813057f, -0.1000051f, -3.299964f, 2.299964f,
      -0.8999949f, -0.2228913f, 2.026104f, 0.7409639f, -0.5441763f, -0.1000051f, -3.299964f,
      2.299964f, -0.8999949f}},
    {"LRN",
     13,
     "1 3 1 1",
     "node { op_type: 'LRN' name: 'y' input: 'x' output: 'y' attribute { name: 'size' "
     "type: INT i: 3 } attribute { name: 'alpha' type: FLOAT f: 0.5 } attribute { name: "
     "'beta' type: FLOAT f: 0.75 } attribute { name: 'bias' type: FLOAT f: 2.0 } }",
     "LRN",
     3,
     {-0.6688353f, 0.263959f, -0.2883373f}},
    {"MAX pooling, rounding up",
     10,
     "1 1 4 4",
     "node { op_type: 'MaxPool' name: 'y' input: 'x' output: 'y' attribute { name: "
     "'kernel_shape' type: INTS ints: 3 ints: 3 } attribute { name: 'strides' type: INTS "
     "ints: 2 ints: 2 } attribute { name: 'ceil_mode' type: INT i: 1 } }",
     "Pooling",
     4,
     {1.f, 1.25f, 1.25f, 1.25f}},
    {"MAX pooling of rows, rounding down",
     12,
     "1 1 5",
     "node { op_type: 'MaxPool' name: 'y' input: 'x' output: 'y' attribute { name: "
     "'kernel_shape' type: INTS ints: 2 } attribute { name: 'strides' type: INTS ints: 2 "
     "} attribute { name: 'pads' type: INTS ints: 1 ints: 0 } }",
     "Reshape Pooling Reshape",
     3,
     {-1.25f, 0.5f, 1.25f}},
    {"mean pooling that counts its padding",
     11,
     "1 1 3 3",
     "node { op_type: 'AveragePool' name: 'y' input: 'x' output: 'y' attribute { name: "
     "'kernel_shape' type: INTS ints: 2 ints: 2 } attribute { name: 'pads' type: INTS "
     "ints: 1 ints: 1 ints: 0 ints: 0 } attribute { name: 'count_include_pad' type: INT "
     "i: 1 } attribute { name: 'strides' type: INTS ints: 2 ints: 2 } }",
     "Pooling",
     4,
     {-0.3125f, 0.f, 0.5625f, -0.375f}},
    {"mean pooling that does not",
     11,
     "1 1 3 3",
     "node { op_type: 'AveragePool' name: 'y' input: 'x' output: 'y' attribute { name: "
     "'kernel_shape' type: INTS ints: 2 ints: 2 } attribute { name: 'pads' type: INTS "
     "ints: 1 ints: 1 ints: 0 ints: 0 } attribute { name: 'strides' type: INTS ints: 2 "
     "ints: 2 } }",
     "Pooling",
     4,
     {-1.25f, 0.f, 1.125f, -0.375f}},
    {"means of images",
     18,
     "1 2 2 2",
     "node { op_type: 'ReduceMean' name: 'y' input: 'x' input: 'a' output: 'y' attribute "
     "{ name: 'keepdims' type: INT i: 0 } } initializer { name: 'a' data_type: 7 dims: 2 "
     "int64_data: -1 int64_data: -2 }",
     "Pooling Flatten",
     2,
     {0.f, 0.125f}},
    {"sums along an axis in the middle",
     13,
     "2 2 2",
     "node { op_type: 'ReduceSum' name: 'y' input: 'x' input: 'a' output: 'y' } "
     "initializer { name: 'a' data_type: 7 dims: 1 int64_data: 1 }",
     "Permute Reduction Reshape",
     4,
     {-1.75f, 1.75f, 1.25f, -0.75f}},
    {"norms",
     13,
     "2 3",
     "node { op_type: 'ReduceL2' name: 'y' input: 'x' output: 'y' attribute { name: "
     "'axes' type: INTS ints: 1 } attribute { name: 'keepdims' type: INT i: 0 } }",
     "Reduction Power",
     2,
     {1.436141f, 1.47902f}},
    {"which is largest",
     13,
     "2 4",
     "node { op_type: 'ArgMax' name: 'q' input: 'x' output: 'q' attribute { name: 'axis' "
     "type: INT i: 1 } attribute { name: 'keepdims' type: INT i: 0 } } node { op_type: "
     "'Cast' name: 'y' input: 'q' output: 'y' attribute { name: 'to' type: INT i: 1 } }",
     "ArgMax Reshape",
     2,
     {3.f, 2.f}},
    {"bounds as inputs",
     13,
     "1 6",
     "node { op_type: 'Clip' name: 'y' input: 'x' input: '' input: 'h' output: 'y' } "
     "initializer { name: 'h' data_type: 1 float_data: 0.5 }",
     "Clip",
     6,
     {-1.25f, 0.5f, -0.5f, 0.5f, 0.25f, -0.75f}},
    {"bounds as attributes: ReLU6",
     7,
     "1 6",
     "node { op_type: 'Clip' name: 'y' input: 'x' output: 'y' attribute { name: 'min' "
     "type: FLOAT f: 0.0 } attribute { name: 'max' type: FLOAT f: 6.0 } }",
     "ReLU6",
     6,
     {0.f, 0.5f, 0.f, 1.25f, 0.25f, 0.f}},
    {"slopes",
     9,
     "1 2 1 2",
     "node { op_type: 'PRelu' name: 'q' input: 'x' input: 's' output: 'q' } node { "
     "op_type: 'LeakyRelu' name: 'y' input: 'q' output: 'y' attribute { name: 'alpha' "
     "type: FLOAT f: 0.5 } } initializer { name: 's' data_type: 1 dims: 2 dims: 1 dims: 1 "
     "float_data: 0.25 float_data: 2 }",
     "PReLU ReLU",
     4,
     {-0.15625f, 0.5f, -0.5f, 1.25f}},
    {"functions of a value",
     15,
     "1 4",
     "node { op_type: 'HardSigmoid' name: 'a' input: 'x' output: 'a' attribute { name: "
     "'alpha' type: FLOAT f: 0.25 } } node { op_type: 'HardSwish' name: 'b' input: 'a' "
     "output: 'b' } node { op_type: 'Elu' name: 'c' input: 'b' output: 'c' attribute { "
     "name: 'alpha' type: FLOAT f: 2.0 } } node { op_type: 'Selu' name: 'd' input: 'c' "
     "output: 'd' } node { op_type: 'Softplus' name: 'e' input: 'd' output: 'e' } node { "
     "op_type: 'Tanh' name: 'g' input: 'e' output: 'g' } node { op_type: 'Abs' name: 'y' "
     "input: 'g' output: 'y' }",
     "HardSigmoid Hswish ELU SELU BNLL TanH AbsVal",
     4,
     {0.6332633f, 0.7216456f, 0.6696404f, 0.7618932f}},
    {"x times its Sigmoid is Swish",
     13,
     "1 4",
     "node { op_type: 'Sigmoid' name: 's' input: 'x' output: 's' } node { op_type: 'Mul' "
     "name: 'y' input: 'x' input: 's' output: 'y' }",
     "Swish",
     4,
     {-0.2783752f, 0.3112296f, -0.1887704f, 0.9716249f}},
    {"Softmax over several axes",
     11,
     "1 2 1 2",
     "node { op_type: 'Softmax' name: 'y' input: 'x' output: 'y' }",
     "Flatten Softmax Reshape",
     4,
     {0.0474967f, 0.2733246f, 0.1005505f, 0.5786282f}},
    {"Softmax over the last axis",
     13,
     "1 2 1 2",
     "node { op_type: 'Softmax' name: 'y' input: 'x' output: 'y' }",
     "Softmax",
     4,
     {0.1480472f, 0.8519527f, 0.1480472f, 0.8519527f}},
    {"logarithms of Softmax",
     13,
     "2 3",
     "node { op_type: 'LogSoftmax' name: 'y' input: 'x' output: 'y' attribute { name: "
     "'axis' type: INT i: -1 } }",
     "Softmax Log",
     6,
     {-2.182856f, -0.4328555f, -1.432855f, -0.4076059f, -1.407606f, -2.407606f}},
    {"one number",
     13,
     "1 4",
     "node { op_type: 'Sub' name: 'p' input: 'a' input: 'x' output: 'p' } node { op_type: "
     "'Div' name: 'q' input: 'p' input: 'b' output: 'q' } node { op_type: 'Pow' name: 'y' "
     "input: 'q' input: 'c' output: 'y' } initializer { name: 'a' data_type: 1 dims: 1 "
     "float_data: 3 } initializer { name: 'b' data_type: 1 dims: 1 float_data: 2 } "
     "initializer { name: 'c' data_type: 1 dims: 1 float_data: 2 }",
     "Power Power Power",
     4,
     {4.515625f, 1.5625f, 3.0625f, 0.765625f}},
    {"factors and summands of channels in one Scale",
     13,
     "1 2 1 2",
     "node { op_type: 'Mul' name: 'q' input: 'x' input: 's' output: 'q' } node { op_type: "
     "'Sub' name: 'y' input: 'q' input: 'b' output: 'y' } initializer { name: 's' "
     "data_type: 1 dims: 2 dims: 1 dims: 1 float_data: 2 float_data: 3 } initializer { "
     "name: 'b' data_type: 1 dims: 1 dims: 2 dims: 1 dims: 1 float_data: 1 float_data: -1 "
     "}",
     "Scale",
     4,
     {-3.5f, 0.f, -0.5f, 4.75f}},
    {"factors along two axes, one of them repeated",
     13,
     "1 2 2 2",
     "node { op_type: 'Div' name: 'y' input: 'x' input: 's' output: 'y' } initializer { "
     "name: 's' data_type: 1 dims: 2 dims: 1 dims: 2 float_data: 1 float_data: 2 "
     "float_data: 4 float_data: 8 }",
     "Scale",
     8,
     {-1.25f, 0.25f, -0.5f, 0.625f, 0.0625f, -0.09375f, 0.25f, 0.f}},
    {"a blob of each channel times another",
     13,
     "2 2 2 2",
     "node { op_type: 'GlobalMaxPool' name: 'g' input: 'x' output: 'g' } node { op_type: "
     "'Mul' name: 'y' input: 'g' input: 'x' output: 'y' }",
     "Pooling Flatten Scale",
     16,
     {-1.5625f, 0.625f, -0.625f, 1.5625f, 0.25f, -0.75f, 1.f, 0.f, -0.75f, 0.5625f, -0.1875f,
      -0.9375f, 0.625f, -0.625f, 1.5625f, 0.3125f}},
    {"a difference with a blob that is broadcast",
     13,
     "1 2 3",
     "node { op_type: 'ReduceMean' name: 'm' input: 'x' output: 'm' attribute { name: "
     "'axes' type: INTS ints: 2 } } node { op_type: 'Sub' name: 'y' input: 'x' input: 'm' "
     "output: 'y' }",
     "Reduction Reshape Power Flatten Bias",
     6,
     {-0.8333334f, 0.9166666f, -0.08333334f, 1.f, 0.f, -1.f}},
    {"sums, maxima and minima of blobs",
     13,
     "1 3",
     "node { op_type: 'Neg' name: 'n' input: 'x' output: 'n' } node { op_type: 'Max' "
     "name: 'a' input: 'x' input: 'n' output: 'a' } node { op_type: 'Min' name: 'b' "
     "input: 'a' input: 'x' output: 'b' } node { op_type: 'Sum' name: 'y' input: 'a' "
     "input: 'b' input: 'x' output: 'y' }",
     "Power Eltwise Power Power Eltwise Power Eltwise",
     3,
     {-1.25f, 1.5f, -0.5f}},
    {"sizes that are computed in the graph",
     13,
     "2 3 1 2",
     "node { op_type: 'Shape' name: 's' input: 'x' output: 's' } node { op_type: 'Gather' "
     "name: 'd' input: 's' input: 'z' output: 'd' attribute { name: 'axis' type: INT i: 0 "
     "} } node { op_type: 'Unsqueeze' name: 'u' input: 'd' input: 'a' output: 'u' } node "
     "{ op_type: 'Concat' name: 't' input: 'u' input: 'm' output: 't' attribute { name: "
     "'axis' type: INT i: 0 } } node { op_type: 'Reshape' name: 'y' input: 'x' input: 't' "
     "output: 'y' } initializer { name: 'z' data_type: 7 int64_data: 0 } initializer { "
     "name: 'a' data_type: 7 dims: 1 int64_data: 0 } initializer { name: 'm' data_type: 7 "
     "dims: 1 int64_data: -1 }",
     "Flatten",
     12,
     {-1.25f, 0.5f, -0.5f, 1.25f, 0.25f, -0.75f, 1.f, 0.f, -1.f, 0.75f, -0.25f, -1.25f}},
    {"channels dealt out",
     13,
     "1 4 1 2",
     "node { op_type: 'Reshape' name: 'p' input: 'x' input: 'a' output: 'p' } node { "
     "op_type: 'Transpose' name: 'q' input: 'p' output: 'q' attribute { name: 'perm' "
     "type: INTS ints: 0 ints: 2 ints: 1 ints: 3 ints: 4 } } node { op_type: 'Reshape' "
     "name: 'y' input: 'q' input: 'b' output: 'y' } initializer { name: 'a' data_type: 7 "
     "dims: 5 int64_data: 1 int64_data: 2 int64_data: 2 int64_data: 1 int64_data: 2 } "
     "initializer { name: 'b' data_type: 7 dims: 4 int64_data: 1 int64_data: 4 "
     "int64_data: 1 int64_data: 2 }",
     "ShuffleChannel",
     8,
     {-1.25f, 0.5f, 0.25f, -0.75f, -0.5f, 1.25f, 1.f, 0.f}},
    {"Split and Concat",
     13,
     "1 5",
     "node { op_type: 'Split' name: 'a' input: 'x' input: 'p' output: 'a' output: 'b' "
     "output: 'c' attribute { name: 'axis' type: INT i: 1 } } node { op_type: 'Concat' "
     "name: 'y' input: 'c' input: 'a' output: 'y' attribute { name: 'axis' type: INT i: 1 "
     "} } initializer { name: 'p' data_type: 7 dims: 3 int64_data: 2 int64_data: 1 "
     "int64_data: 2 }",
     "Slice Concat Silence",
     4,
     {1.25f, 0.25f, -1.25f, 0.5f}},
    {"a part, and every second pixel",
     13,
     "1 1 4 4",
     "node { op_type: 'Slice' name: 'y' input: 'x' input: 's' input: 'e' input: 'a' "
     "input: 't' output: 'y' } initializer { name: 's' data_type: 7 dims: 2 int64_data: 1 "
     "int64_data: 0 } initializer { name: 'e' data_type: 7 dims: 2 int64_data: 1000 "
     "int64_data: -1 } initializer { name: 'a' data_type: 7 dims: 2 int64_data: 2 "
     "int64_data: 3 } initializer { name: 't' data_type: 7 dims: 2 int64_data: 1 "
     "int64_data: 2 }",
     "Slice Slice Pooling Silence",
     6,
     {0.25f, 1.f, -1.f, -0.25f, 0.5f, 1.25f}},
    {"an axis turned round",
     13,
     "1 3",
     "node { op_type: 'Slice' name: 'y' input: 'x' input: 's' input: 'e' input: 'a' "
     "input: 't' output: 'y' } initializer { name: 's' data_type: 7 dims: 1 int64_data: "
     "-1 } initializer { name: 'e' data_type: 7 dims: 1 int64_data: -100 } initializer { "
     "name: 'a' data_type: 7 dims: 1 int64_data: 1 } initializer { name: 't' data_type: 7 "
     "dims: 1 int64_data: -1 }",
     "Reverse",
     3,
     {-0.5f, 0.5f, -1.25f}},
    {"one element of an axis",
     13,
     "2 3 2",
     "node { op_type: 'Gather' name: 'y' input: 'x' input: 'z' output: 'y' attribute { "
     "name: 'axis' type: INT i: 1 } } initializer { name: 'z' data_type: 7 int64_data: -1 "
     "}",
     "Slice Flatten Silence",
     4,
     {0.25f, -0.75f, -0.25f, -1.25f}},
    {"repeated, and with axes of 1 dropped and made",
     13,
     "1 2",
     "node { op_type: 'Unsqueeze' name: 'p' input: 'x' input: 'a' output: 'p' } node { "
     "op_type: 'Expand' name: 'q' input: 'p' input: 'e' output: 'q' } node { op_type: "
     "'Squeeze' name: 'r' input: 'q' input: 'z' output: 'r' } node { op_type: 'Tile' "
     "name: 'y' input: 'r' input: 't' output: 'y' } initializer { name: 'a' data_type: 7 "
     "dims: 1 int64_data: 1 } initializer { name: 'e' data_type: 7 dims: 3 int64_data: 1 "
     "int64_data: 2 int64_data: 1 } initializer { name: 'z' data_type: 7 dims: 1 "
     "int64_data: 0 } initializer { name: 't' data_type: 7 dims: 2 int64_data: 1 "
     "int64_data: 2 }",
     "Reshape Tile Reshape Tile",
     8,
     {-1.25f, 0.5f, -1.25f, 0.5f, -1.25f, 0.5f, -1.25f, 0.5f}},
    {"blocks of channels as pixels, both ways",
     13,
     "1 4 1 1",
     "node { op_type: 'DepthToSpace' name: 'p' input: 'x' output: 'p' attribute { name: "
     "'blocksize' type: INT i: 2 } } node { op_type: 'SpaceToDepth' name: 'q' input: 'p' "
     "output: 'q' attribute { name: 'blocksize' type: INT i: 2 } } node { op_type: "
     "'DepthToSpace' name: 'y' input: 'q' output: 'y' attribute { name: 'blocksize' type: "
     "INT i: 2 } attribute { name: 'mode' type: STRING s: 'CRD' } }",
     "DepthToSpace SpaceToDepth PixelShuffle",
     4,
     {-1.25f, 0.5f, -0.5f, 1.25f}},
    {"each pixel twice",
     13,
     "1 1 2 2",
     "node { op_type: 'Resize' name: 'y' input: 'x' input: '' input: 's' output: 'y' "
     "attribute { name: 'mode' type: STRING s: 'nearest' } attribute { name: "
     "'coordinate_transformation_mode' type: STRING s: 'asymmetric' } attribute { name: "
     "'nearest_mode' type: STRING s: 'floor' } } initializer { name: 's' data_type: 1 "
     "dims: 4 float_data: 1 float_data: 1 float_data: 2 float_data: 2 }",
     "Upsample",
     16,
     {-1.25f, -1.25f, 0.5f, 0.5f, -1.25f, -1.25f, 0.5f, 0.5f, -0.5f, -0.5f, 1.25f, 1.25f, -0.5f,
      -0.5f, 1.25f, 1.25f}},
    {"between pixels, corners on corners",
     13,
     "1 1 2 2",
     "node { op_type: 'Resize' name: 'y' input: 'x' input: '' input: '' input: 'z' "
     "output: 'y' attribute { name: 'mode' type: STRING s: 'linear' } attribute { name: "
     "'coordinate_transformation_mode' type: STRING s: 'align_corners' } } initializer { "
     "name: 'z' data_type: 7 dims: 4 int64_data: 1 int64_data: 1 int64_data: 3 "
     "int64_data: 3 }",
     "Interp",
     9,
     {-1.25f, -0.375f, 0.5f, -0.875f, 0.f, 0.875f, -0.5f, 0.375f, 1.25f}},
    {"between pixels, edges on edges",
     13,
     "1 1 2 2",
     "node { op_type: 'Resize' name: 'y' input: 'x' input: '' input: 's' output: 'y' "
     "attribute { name: 'mode' type: STRING s: 'linear' } } initializer { name: 's' "
     "data_type: 1 dims: 4 float_data: 1 float_data: 1 float_data: 2 float_data: 2 }",
     "ResizeBilinear",
     16,
     {-1.25f, -0.8125f, 0.0625f, 0.5f, -1.0625f, -0.625f, 0.25f, 0.6875f, -0.6875f, -0.25f, 0.625f,
      1.0625f, -0.5f, -0.0625f, 0.8125f, 1.25f}},
    {"values around",
     13,
     "1 1 2 3",
     "node { op_type: 'Pad' name: 'q' input: 'x' input: 'p' input: 'v' output: 'q' } node "
     "{ op_type: 'Pad' name: 'y' input: 'q' input: 'r' input: '' output: 'y' attribute { "
     "name: 'mode' type: STRING s: 'reflect' } } initializer { name: 'p' data_type: 7 "
     "dims: 8 int64_data: 0 int64_data: 0 int64_data: 0 int64_data: 1 int64_data: 0 "
     "int64_data: 0 int64_data: 0 int64_data: 0 } initializer { name: 'v' data_type: 1 "
     "float_data: 0.5 } initializer { name: 'r' data_type: 7 dims: 8 int64_data: 0 "
     "int64_data: 0 int64_data: 0 int64_data: 1 int64_data: 0 int64_data: 0 int64_data: 1 "
     "int64_data: 1 }",
     "Pad MirrorPad",
     18,
     {-1.25f, 0.5f, -1.25f, 0.5f, -0.5f, 0.5f, 1.25f, 0.5f, 1.25f, 0.25f, -0.75f, 0.25f, -1.25f,
      0.5f, -1.25f, 0.5f, -0.5f, 0.5f}},
    {"what is known is a layer where a blob is needed",
     13,
     "1 2",
     "node { op_type: 'Concat' name: 'y' input: 'x' input: 'k' output: 'y' attribute { "
     "name: 'axis' type: INT i: 1 } } initializer { name: 'k' data_type: 1 dims: 1 dims: "
     "1 float_data: 7 }",
     "Parameter Concat",
     3,
     {-1.25f, 0.5f, 7.f}},
    {"nothing",
     13,
     "1 2",
     "node { op_type: 'Identity' name: 'i' input: 'x' output: 'i' } node { op_type: "
     "'Dropout' name: 'y' input: 'i' output: 'y' }",
     "Split",
     2,
     {-1.25f, 0.5f}},
    {"weights in half precision, negated in the graph",
     13,
     "1 2",
     "node { op_type: 'Cast' name: 'c' input: 'w' output: 'c' attribute { name: 'to' "
     "type: INT i: 1 } } node { op_type: 'Neg' name: 'd' input: 'c' output: 'd' } node { "
     "op_type: 'MatMul' name: 'y' input: 'x' input: 'd' output: 'y' } initializer { name: "
     "'w' data_type: 10 dims: 2 dims: 1 int32_data: 15360 int32_data: 16640 }",
     "InnerProduct",
     1,
     {0.f}},
    {"the two largest, and above a number",
     13,
     "2 4",
     "node { op_type: 'TopK' name: 'v' input: 'x' input: 'k' output: 'v' output: 'p' "
     "attribute { name: 'axis' type: INT i: 1 } } node { op_type: 'Cast' name: 'q' input: "
     "'p' output: 'q' attribute { name: 'to' type: INT i: 1 } } node { op_type: 'Greater' "
     "name: 'g' input: 'v' input: 't' output: 'g' } node { op_type: 'Cast' name: 'h' "
     "input: 'g' output: 'h' attribute { name: 'to' type: INT i: 1 } } node { op_type: "
     "'Sum' name: 'y' input: 'q' input: 'v' input: 'h' output: 'y' } initializer { name: "
     "'k' data_type: 7 dims: 1 int64_data: 2 } initializer { name: 't' data_type: 1 "
     "float_data: 0.6 }",
     "ArgMax ArgMax Threshold Eltwise",
     4,
     {5.25f, 1.5f, 4.f, 0.25f}},
};

const size_t onnx_row_count = sizeof onnx_rows / sizeof *onnx_rows;
