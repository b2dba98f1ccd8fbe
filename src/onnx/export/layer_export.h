/* How layers become ONNX nodes: a row a type (export_table.c), a function each that reads the layer
 * as the built net has it. */
#ifndef QF_ONNX_EXPORT_LAYER_EXPORT_H
#define QF_ONNX_EXPORT_LAYER_EXPORT_H

#include "net/net.h"
#include "onnx/export/graph_maker.h"

typedef struct qf_onnx_export {
    qf_context *context;
    qf_graph_maker *maker;
    qf_net *net;
    qf_layer *layer; /* whose turn it is */
    int index;       /* of it */
    /* Of each blob: the name of its value now, NULL where nothing has made it; and bit i: the
     * batch decides axis i. */
    const char **value;
    uint32_t *free_axes;
    struct qf_onnx_answer { /* of a loss: what its node puts out, and the blob it is made of */
        const char *name;
        const qf_blob *scores;
    } * answer;
    size_t answer_count, answer_capacity;
    const char **hidden; /* values that must not be outputs: what Silence takes */
    size_t hidden_count, hidden_capacity;
    bool signed_activations, keep_shift;
} qf_onnx_export;

/* A type of layer. One without `make` is refused, and `remark` says why. */
typedef struct qf_onnx_row {
    const char *type;
    const char *nodes; /* what it becomes, as docs/onnx.md has it; "-": nothing at all */
    void (*make)(qf_onnx_export *e);
    const char *remark; /* "": none */
} qf_onnx_row;

/* All rows in alphabetical order, ended by a NULL type. */
extern const qf_onnx_row qf_onnx_rows[];
const qf_onnx_row *qf_onnx_row_find(const char *type); /* NULL: none */
bool qf_onnx_is_dropped(const qf_onnx_row *row);       /* NULL: no */

/* ---- for the functions of layers ---- */

/* The layer cannot be exported: "layer pool1 of type Pooling: …". */
void qf_onnx_refuse(qf_onnx_export *e, const char *format, ...) QF_PRINTF(2, 3);
const char *qf_onnx_bottom(const qf_onnx_export *e, int index); /* the name of its value */
const qf_shape *qf_onnx_bottom_shape(const qf_onnx_export *e, int index);
const qf_shape *qf_onnx_top_shape(const qf_onnx_export *e, int index);
/* −1 where the batch decides. */
int64_t qf_onnx_bottom_dim(const qf_onnx_export *e, int index, int axis);
int64_t qf_onnx_top_dim(const qf_onnx_export *e, int index, int axis);
/* What is in top `index` from now on. */
void qf_onnx_set_top(qf_onnx_export *e, int index, const char *value);
void qf_onnx_same(qf_onnx_export *e); /* every top is bottom 0 */
/* Parameter `index` as floats in C order; NULL after a failure. */
const float *qf_onnx_param(qf_onnx_export *e, int index);
/* An initialiser of it: of its own shape, or of another. */
const char *qf_onnx_param_value(qf_onnx_export *e, int index, const char *what);
const char *qf_onnx_param_as(qf_onnx_export *e, int index, const char *what, const int64_t *dims,
                             int axes);
/* The elements of `x` in the shape of a top. */
const char *qf_onnx_reshape_to_top(qf_onnx_export *e, const char *x, int top);
const char *qf_onnx_reshape(qf_onnx_export *e, const char *x, const int64_t *dims, int axes);
/* x times or plus a number; `x` itself where that changes nothing. */
const char *qf_onnx_times(qf_onnx_export *e, const char *x, float factor);
const char *qf_onnx_plus(qf_onnx_export *e, const char *x, float summand);
/* x with axes of 1 behind its own, `count` of them. */
const char *qf_onnx_trailing_axes(qf_onnx_export *e, const char *x, int axes, int count);
/* `axes` of x from starts to ends. */
const char *qf_onnx_slice(qf_onnx_export *e, const char *x, const int64_t *starts,
                          const int64_t *ends, const int64_t *axes, int count);
/* One of ReduceSum, ReduceMean, ReduceL1, ReduceSumSquare, ReduceL2 over axes first … end − 1. */
const char *qf_onnx_reduce(qf_onnx_export *e, const char *op_type, const char *x, int first,
                           int end, bool keep);

const char *qf_onnx_transpose(qf_onnx_export *e, const char *x, const int64_t *order, int axes);
/* Bottom 0 in this shape, the axes in another order, in the shape of top 0. */
void qf_onnx_rearrange(qf_onnx_export *e, const int64_t *dims, const int64_t *order, int axes);
/* Images of another size; the words are those of Resize. */
const char *qf_onnx_resize(qf_onnx_export *e, const char *x, int height, int width,
                           const char *mode, const char *coordinates, const char *nearest);

/* Weights and bias of a layer that multiplies, quantised where a DeQuant layer belongs to it
 * (export_quantised.c). `bias` NULL: none. */
void qf_onnx_weights(qf_onnx_export *e, const char **weights, const char **bias);

#endif
