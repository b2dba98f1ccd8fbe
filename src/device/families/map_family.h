/* Element by element; formulas in map_math.h. */
#ifndef QF_DEVICE_FAMILIES_MAP_FAMILY_H
#define QF_DEVICE_FAMILIES_MAP_FAMILY_H

#include "device/families/map_math.h"
#include "tensor/tensor.h"

/* Some axes of a tensor: `count` of them from `first` on. A factor along these has a value for each
 * of their indices (and for none, count 0, a single one). */
typedef struct qf_axes {
    int first, count;
} qf_axes;

/* A step of `depth` cells in each of `streams` sequences. */
typedef struct qf_lstm_step {
    size_t streams, depth;
    qf_tensor *before;    /* cells, a stream after the other */
    qf_tensor *inputs;    /* of a stream: input, forget, output and modulation gate */
    qf_tensor *continues; /* of each stream: 0 where a sequence begins */
    qf_tensor *cell, *output;
} qf_lstm_step;

/* Gradients; those of `before` and `inputs` may be NULL. */
typedef struct qf_lstm_gradients {
    qf_tensor *cell, *output, *before, *inputs;
} qf_lstm_gradients;

typedef struct qf_map_family {
    /* y = f(x); y may be x. */
    qf_status (*apply)(qf_context *, qf_function, qf_tensor *x, qf_tensor *y);
    /* dx = dy · f′; dx may be dy. x and y may be NULL where the function's slope does not read it.
     */
    qf_status (*apply_backward)(qf_context *, qf_function, qf_tensor *x, qf_tensor *y,
                                qf_tensor *dy, qf_tensor *dx);

    /* ---- tensors of one shape ---- */

    /* y = a_factor · a + b_factor · b; b may be NULL; y may be a or b. */
    qf_status (*weighted_sum)(qf_context *, float a_factor, qf_tensor *a, float b_factor,
                              qf_tensor *b, qf_tensor *y);
    /* y = a · b; y may be a or b. */
    qf_status (*multiply)(qf_context *, qf_tensor *a, qf_tensor *b, qf_tensor *y);
    /* dx = y / x · dy, the gradient of a factor x of y; dx may be dy. */
    qf_status (*divide_backward)(qf_context *, qf_tensor *y, qf_tensor *x, qf_tensor *dy,
                                 qf_tensor *dx);
    /* y = the greater of a and b (qf_takes_over), a being that of the first `index` values; y may
     * be a. `winner`, in QF_CODES, receives which value y came from. */
    qf_status (*maximum)(qf_context *, qf_tensor *a, qf_tensor *b, int index, qf_tensor *y,
                         qf_tensor *winner);
    /* y = factor · x where `mask`, in QF_CODES, has this code, else 0; y may be x. */
    qf_status (*select)(qf_context *, qf_tensor *x, qf_tensor *mask, int code, float factor,
                        qf_tensor *y);

    /* ---- a factor for each index of some axes of x ---- */

    /* y = x · factor + summand; either may be NULL. The summand has the factor's values or x's
     * shape. y may be x. */
    qf_status (*scale)(qf_context *, qf_axes, qf_tensor *x, qf_tensor *factor, qf_tensor *summand,
                       qf_tensor *y);
    /* y = x where `at` is positive, else x · factor; y, `at` and x may be the same. */
    qf_status (*scale_negatives)(qf_context *, qf_axes, qf_tensor *at, qf_tensor *x,
                                 qf_tensor *factor, qf_tensor *y);
    /* sum += Σ a · b over the other axes, b NULL: Σ a; of elements whose b is not positive if only
     * `negatives` count. */
    qf_status (*sums)(qf_context *, qf_axes, qf_tensor *a, qf_tensor *b, bool negatives,
                      qf_tensor *sum);

    /* ---- what belongs to single layers ---- */

    /* CReLU: y = ReLU(x) and ReLU(−x), one behind the other along the axis. */
    qf_status (*rectify_both)(qf_context *, int axis, float slope, qf_tensor *x, qf_tensor *y);
    qf_status (*rectify_both_backward)(qf_context *, int axis, float slope, qf_tensor *x,
                                       qf_tensor *dy, qf_tensor *dx);
    qf_status (*lstm_forward)(qf_context *, const qf_lstm_step *);
    qf_status (*lstm_backward)(qf_context *, const qf_lstm_step *, const qf_lstm_gradients *);
} qf_map_family;

#endif
