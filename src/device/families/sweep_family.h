/* Sweeps: what lies between two convolutions, in one read and one write of memory.
 * value = (x − mean) · inverse · factor + summand, + addend, through ReLU or ReLU6; codes = value,
 * quantised. */
#ifndef QF_DEVICE_FAMILIES_SWEEP_FAMILY_H
#define QF_DEVICE_FAMILIES_SWEEP_FAMILY_H

#include "device/families/convolve_family.h"
#include "quant/ifmr_data.h"
#include "quant/quant.h"
#include "quant/shift_tail.h"

/* QF_SWEEP_CHAIN: through how many sweeps backward makes a value again. More need less memory and
 * more time: ResNet-50, 3: 0.84 of float training's memory; 5: 0.81, and 3 % of a step more. */
enum { QF_SWEEP_GRADIENTS = 8, QF_SWEEP_CHAIN = 3 };

/* SearchN: a search of shifts, which a sweep shows the values that it sees. It belongs to the
 * family that made it, and errors are exact integers, rounded once: no order of rows changes them.
 */
typedef struct qf_shift_search qf_shift_search;
/* IFMR: a counting of values, which a sweep shows those that it makes; it belongs likewise. */
typedef struct qf_ifmr_count qf_ifmr_count;

typedef struct qf_sweep {
    size_t rows, channels; /* channels: of axis 1; rows: everything else */
    /* A value a channel each, or NULL. */
    qf_tensor *mean, *inverse;   /* BatchNorm's, both or none; inverse: 1 / deviation */
    qf_tensor *factor, *summand; /* Scale's */
    bool relu;
    float relu_slope;        /* of negative values; not negative itself */
    float relu_limit;        /* not 0: ReLU6's 6, without a slope then */
    qf_shift_search *search; /* sees the values in front of the addend; NULL: nobody searches */
    qf_ifmr_count *count;    /* sees the values at the end; NULL: nobody counts */
    qf_ulq codes;            /* where codes are wanted; regular (qf_ulq_is_regular) */
} qf_sweep;

/* A convolution in front of a sweep, whose x is what it makes; floats. */
typedef struct qf_convolved {
    const qf_convolve_family *family; /* of the operation */
    qf_convolution *operation;
    qf_tensor *x, *weights, *bias; /* bias may be NULL */
} qf_convolved;

/* What a sweep's backward reads and writes. Tensors that are zero count as zeros. */
typedef struct qf_sweep_gradients {
    qf_tensor *x; /* what forward read; NULL: y is all that is needed */
    qf_tensor *y; /* the value; NULL: computed again from x and the addend */
    /* For that: what was added; or it is computed again as well, by the nearest of these sweeps
     * from its x and the value of the next one, the last from its x and `addend`. */
    qf_tensor *addend; /* may be NULL */
    struct {
        const qf_sweep *sweep;
        qf_tensor *x;
    } above[QF_SWEEP_CHAIN];
    int above_count;
    qf_tensor *dy[QF_SWEEP_GRADIENTS]; /* the value's gradients, one for each reader */
    int count;
    qf_tensor *codes[QF_SWEEP_GRADIENTS]; /* gradients of the codes, one for each reader */
    int code_count;
    qf_ulq_terms terms;    /* of their range */
    bool batch_statistics; /* mean and inverse are those of x */
    /* Receive the gradient in front of ReLU and that of x; NULL: nobody asks. One of the two may be
     * dy[0] if there are no gradients of codes. */
    qf_tensor *d, *dx;
    /* Not NULL: dx is written as QF_BF16, times the scales of these weights, one a channel. */
    const qf_tensor *dx_weights;
    /* Gradients that are added to; NULL: nobody asks. Of a value a channel, and of clip_max and
     * clip_min. */
    qf_tensor *factor, *summand, *clip[2];
} qf_sweep_gradients;

typedef struct qf_sweep_family {
    /* A search of one batch. Steps `deq` of `channels` channels and their `tails` are borrowed
     * until the end, which adds to errors[channels] and to the tails and frees the search; destroy
     * gives it up (NULL is a no-op). deq or tails may be NULL: then there are no errors, or nothing
     * is gathered. */
    qf_status (*search_begin)(qf_context *, const float *deq, qf_shift_tail *tails, size_t channels,
                              qf_shift_search **);
    void (*search_end)(qf_shift_search *, qf_shift_errors *errors);
    void (*search_destroy)(qf_shift_search *);
    /* A counting of one batch into data that have bins. They are borrowed until the end, which
     * frees it, as destroy does (NULL is a no-op), and puts the counts in. End: false where some
     * value is not finite; then a part of them is in. */
    qf_status (*count_begin)(qf_context *, qf_ifmr_data *, qf_ifmr_count **);
    bool (*count_end)(qf_ifmr_count *);
    void (*count_destroy)(qf_ifmr_count *);
    /* `y` and `codes` may each be NULL; y may be x. */
    qf_status (*forward)(qf_context *, const qf_sweep *, qf_tensor *x, qf_tensor *addend,
                         qf_tensor *y, qf_tensor *codes);
    /* The same behind a convolution, whose own values nobody sees, without codes, BatchNorm and
     * Scale; y may be the addend. The convolution's sums may round differently. */
    qf_status (*forward_convolved)(qf_context *, const qf_convolved *, const qf_sweep *,
                                   qf_tensor *addend, qf_tensor *y);
    qf_status (*backward)(qf_context *, const qf_sweep *, const qf_sweep_gradients *);
    /* `acc` holds QF_INTEGERS; addend, y (float) and codes may each be NULL. y may be addend. */
    qf_status (*requantise)(qf_context *, const qf_requantisation *, qf_tensor *acc,
                            qf_tensor *addend, qf_tensor *y, qf_tensor *codes);
} qf_sweep_family;

#endif
