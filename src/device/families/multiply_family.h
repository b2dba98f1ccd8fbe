/* Products of matrices. Rows are taken in C order (QF_PLAIN) of the blobs, as Caffe does. */
#ifndef QF_DEVICE_FAMILIES_MULTIPLY_FAMILY_H
#define QF_DEVICE_FAMILIES_MULTIPLY_FAMILY_H

#include "tensor/tensor.h"

typedef struct qf_inner_product qf_inner_product;

/* y[M, N] = x[M, K] · wᵀ, w stored (N, K), or (K, N) if transposed. */
typedef struct qf_inner_product_shape {
    int rows, inputs, outputs;
    bool transposed;
} qf_inner_product_shape;

/* Matrices in a tensor: element (i, j) of matrix m at m · batch + i · row + j · column of C order;
 * batch 0: one matrix for all. */
typedef struct qf_matrices {
    size_t row, column, batch;
} qf_matrices;

typedef struct qf_batched_product {
    size_t batch, rows, inner, columns;
    qf_matrices a, b, c; /* a is rows × inner, b inner × columns */
} qf_batched_product;

typedef struct qf_multiply_family {
    qf_status (*create)(qf_context *, const qf_inner_product_shape *, qf_inner_product **);
    void (*destroy)(qf_inner_product *); /* NULL is a no-op */
    qf_status (*forward)(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *w,
                         qf_tensor *bias, qf_tensor *y);
    qf_status (*forward_integer)(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y);
    qf_status (*backward_data)(qf_context *, qf_inner_product *, qf_tensor *dy, qf_tensor *w,
                               qf_tensor *dx);
    qf_status (*backward_weights)(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *dy,
                                  qf_tensor *dw);
    /* c += a · b, each matrix of a batch after the other. */
    qf_status (*batched)(qf_context *, const qf_batched_product *, qf_tensor *a, qf_tensor *b,
                         qf_tensor *c);
} qf_multiply_family;

#endif
