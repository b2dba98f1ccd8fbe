/*
 * What is kept of the values whose range IFMR is to find, over any number of batches
 * (docs/numerics.md, "IFMR"): the values themselves while they are few, then how many lie in each
 * bin of a histogram. Memory does not depend on how much goes in, what it holds not on the order or
 * on who counted. Loops over tensors, which add to it, are their devices'.
 *
 * Bin k holds k · width <= x < (k + 1) · width, width a power of two. Where a value does not fit
 * beside the others, pairs of bins become one: each value stays in the bin that it would be in had
 * the width been so from the beginning.
 */
#ifndef QF_QUANT_IFMR_DATA_H
#define QF_QUANT_IFMR_DATA_H

#include "quant/quant.h"

enum {
    QF_IFMR_KEPT = 1 << 15,      /* values; */
    QF_IFMR_DATA_BINS = 1 << 14, /* then as many bytes of bins */
    QF_IFMR_ENDS = 64
};

/* The largest values seen, ascending: whatever was not above the first of a full list is not in. */
typedef struct qf_ifmr_end {
    float value[QF_IFMR_ENDS];
    size_t count;
} qf_ifmr_end;

/* Where the bins lie. */
typedef struct qf_ifmr_grid {
    int exponent;          /* of the width */
    int first;             /* bin */
    float lowest, highest; /* among all values and 0 */
} qf_ifmr_grid;

typedef struct qf_ifmr_data {
    uint64_t count;
    float *kept; /* the values, in order; NULL once there are bins */
    size_t capacity;
    uint64_t *bins; /* NULL: none yet */
    qf_ifmr_grid grid;
    qf_ifmr_end top, bottom; /* bottom: of the values times −1 */
} qf_ifmr_data;

/* Zeroed data hold nothing; release makes them so again. */
void qf_ifmr_data_release(qf_ifmr_data *data);
/* Would so many more values be kept as they are? Else bins have to be there, in which those that
 * are kept become the first that are counted. */
bool qf_ifmr_data_keeps(const qf_ifmr_data *data, size_t n);
qf_status qf_ifmr_data_need_bins(qf_context *context, qf_ifmr_data *data);
/* Keep the values as they are, if they are finite: true; false if there are too many now, and bins
 * are there. */
qf_status qf_ifmr_data_keep(qf_context *context, qf_ifmr_data *data, const float *x, size_t n,
                            bool *kept);

/* A grid that holds nothing but 0, and one that holds `lowest` and `highest`, too; finite values.
 */
extern const qf_ifmr_grid qf_ifmr_grid_empty;
qf_ifmr_grid qf_ifmr_grid_with(const qf_ifmr_grid *grid, float lowest, float highest);
float qf_ifmr_grid_width(const qf_ifmr_grid *grid);
/* Add values that somebody counted on a grid of his own, and what lay at their ends. */
void qf_ifmr_data_add(qf_ifmr_data *data, const qf_ifmr_grid *grid, const uint32_t *counts,
                      const qf_ifmr_end *top, const qf_ifmr_end *bottom);
void qf_ifmr_end_add(qf_ifmr_end *end, float value);

/* The values between which candidates lie: 0, or at the ranks of the percentiles, exact as far as
 * the lists of ends go, then the middle of a bin. Of data with bins. */
void qf_ifmr_data_extremes(const qf_ifmr_data *data, const qf_ifmr_options *options, float *max,
                           float *min);
/* The middle of each bin that is not empty, and how many values are in it; how many such bins. */
size_t qf_ifmr_data_centres(const qf_ifmr_data *data, float centre[QF_IFMR_DATA_BINS],
                            double weight[QF_IFMR_DATA_BINS]);

#endif
