/* Small graphs, with what they become in Caffe and what they compute. */
#ifndef QF_TESTS_ONNX_ROWS_H
#define QF_TESTS_ONNX_ROWS_H

#include <stddef.h>

enum { ONNX_VALUES_MAX = 32 };

/* The input x, of `shape`, is filled with ((i * 7 mod 11) - 5) / 4; the output is y. */
typedef struct onnx_row {
    const char *name;
    int opset;
    const char *shape, *graph;
    const char *layers; /* types behind Input */
    int count;
    float expected[ONNX_VALUES_MAX]; /* by ONNX Runtime */
} onnx_row;

extern const onnx_row onnx_rows[];
extern const size_t onnx_row_count;

#endif
