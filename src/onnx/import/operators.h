/* The functions that the table of operators names: each reads the node at hand. `detail` is the
 * table's. */
#ifndef QF_ONNX_IMPORT_OPERATORS_H
#define QF_ONNX_IMPORT_OPERATORS_H

#include "onnx/import/importer.h"

#define OPERATOR(name) qf_status qf_import_##name(qf_importer *im, int detail)

/* import_convolution.c, import_product.c */
OPERATOR(convolution);
OPERATOR(transposed_convolution);
OPERATOR(gemm);
OPERATOR(mat_mul);
/* Adds a value for each output to a convolution or product that has no bias yet and whose output
 * nobody else reads; *done says whether it was so. */
qf_status qf_import_give_bias(qf_importer *im, qf_import_value *value,
                              const qf_import_value *summand, bool *done);

/* import_pooling.c */
OPERATOR(max_pool);
OPERATOR(average_pool);
OPERATOR(global_pool); /* detail: Caffe__PoolingParameter__PoolMethod */
OPERATOR(reduce);      /* detail: Caffe__ReductionParameter__ReductionOp */
OPERATOR(reduce_max);
OPERATOR(arg_max);
OPERATOR(top_k);
OPERATOR(threshold);

/* import_activation.c */
OPERATOR(unary); /* detail: qf_import_operation */
OPERATOR(leaky_relu);
OPERATOR(prelu);
OPERATOR(elu);
OPERATOR(clip);
OPERATOR(hard_sigmoid);
OPERATOR(softmax);
OPERATOR(log_softmax);
OPERATOR(selu);

/* import_normalise.c */
OPERATOR(batch_normalization);
OPERATOR(instance_normalization);
OPERATOR(lrn);

/* import_arithmetic.c */
OPERATOR(arithmetic); /* detail: qf_import_operation */
OPERATOR(sum);
OPERATOR(raise);
OPERATOR(fixed_power); /* detail: QF_IMPORT_NEGATE, … */
typedef enum qf_import_operation {
    QF_IMPORT_ADD,
    QF_IMPORT_SUBTRACT,
    QF_IMPORT_MULTIPLY,
    QF_IMPORT_DIVIDE,
    QF_IMPORT_MAXIMUM,
    QF_IMPORT_MINIMUM,
    /* these of known elements only */
    QF_IMPORT_RAISE,
    QF_IMPORT_MODULO,
    QF_IMPORT_EQUAL,
    QF_IMPORT_GREATER,
    QF_IMPORT_LESS,
    QF_IMPORT_GREATER_OR_EQUAL,
    QF_IMPORT_LESS_OR_EQUAL,
    QF_IMPORT_AND,
    QF_IMPORT_OR,
    /* of one */
    QF_IMPORT_NEGATE,
    QF_IMPORT_RECIPROCAL,
    QF_IMPORT_ROOT,
    QF_IMPORT_ABSOLUTE,
    QF_IMPORT_FLOOR,
    QF_IMPORT_CEILING,
    QF_IMPORT_NOT,
    QF_IMPORT_EXPONENTIAL,
    QF_IMPORT_LOGARITHM,
    /* of blobs only */
    QF_IMPORT_HARD_SWISH,
    QF_IMPORT_MISH,
    QF_IMPORT_RELU,
    QF_IMPORT_SIGMOID,
    QF_IMPORT_SOFTPLUS,
    QF_IMPORT_TANH,
} qf_import_operation;

/* import_shape.c */
OPERATOR(reshape_node);
OPERATOR(flatten);
OPERATOR(transpose);
OPERATOR(squeeze);
OPERATOR(unsqueeze);
OPERATOR(expand);
OPERATOR(tile_node);
OPERATOR(depth_to_space);
OPERATOR(space_to_depth);
OPERATOR(pad);
OPERATOR(shape_of);
OPERATOR(size_of);
OPERATOR(identity);
OPERATOR(cast);

/* import_joint.c */
OPERATOR(concat);
OPERATOR(split);
OPERATOR(slice);
OPERATOR(gather);

/* import_resize.c */
OPERATOR(resize);
OPERATOR(upsample);

/* import_quantised.c */
OPERATOR(quantize);
OPERATOR(dequantize);

/* fold_elements.c, fold_shape.c: all inputs are known */
OPERATOR(fold_binary); /* detail: qf_import_operation */
OPERATOR(fold_unary);
OPERATOR(fold_where);
OPERATOR(fold_cast);
OPERATOR(fold_constant);
OPERATOR(fold_constant_of_shape);
OPERATOR(fold_range);
OPERATOR(fold_reshape);
OPERATOR(fold_squeeze);
OPERATOR(fold_unsqueeze);
OPERATOR(fold_transpose);
OPERATOR(fold_concat);
OPERATOR(fold_gather);
OPERATOR(fold_slice);
OPERATOR(fold_split);
OPERATOR(fold_expand);
OPERATOR(fold_dequantize);
OPERATOR(fold_quantize);

/* fold_elements.c: elements of a value, in an order of their own, as output `output`. */
qf_status qf_import_pick(qf_importer *im, size_t output, const qf_import_value *from,
                         const qf_shape *shape, size_t (*source)(const void *user, size_t i),
                         const void *user);

/* What both ways of a node, of blobs and of elements that are known, have to find out. */
qf_status qf_import_target_shape(qf_importer *im, const qf_shape *in, qf_shape *out); /* Reshape */
qf_status qf_import_squeezed_shape(qf_importer *im, const qf_shape *in, qf_shape *out);
qf_status qf_import_unsqueezed_shape(qf_importer *im, const qf_shape *in, qf_shape *out);
qf_status qf_import_expanded_shape(qf_importer *im, const qf_shape *in, qf_shape *out);
qf_status qf_import_order(qf_importer *im, int axes, int *order);              /* Transpose */
qf_status qf_import_part(qf_importer *im, int whole, size_t index, int *size); /* Split */
typedef struct qf_import_range {
    int from, step, count;
} qf_import_range;
/* Slice, of each axis. */
qf_status qf_import_ranges(qf_importer *im, const qf_shape *in, qf_import_range *ranges);

#undef OPERATOR

#endif
