/* HFMG: the range of activations from a histogram that grows with every batch (AMCT specification
 * of post-training quantisation, 10.3; docs/numerics.md). Memory does not depend on how much goes
 * in. */
#ifndef QF_QUANT_HFMG_H
#define QF_QUANT_HFMG_H

#include "base/context.h"

typedef struct qf_hfmg {
    size_t bins;
    uint64_t *counts;
    float low, width; /* bin i: from low + i · width to low + (i + 1) · width */
    bool begun;       /* something was added */
} qf_hfmg;

qf_status qf_hfmg_begin(qf_context *context, size_t bins, qf_hfmg *out);
void qf_hfmg_release(qf_hfmg *hfmg);
/* One batch. A value that is NaN or infinite is refused, and nothing is added. */
qf_status qf_hfmg_add(qf_context *context, qf_hfmg *hfmg, const float *x, size_t count);
/* The range that loses least, as factors: a code is round(x / scale) + offset. */
void qf_hfmg_factors(const qf_hfmg *hfmg, bool with_offset, float *scale, int32_t *offset);

/* Where bin `index` begins; `bins`: where the last one ends. */
float qf_hfmg_edge(const qf_hfmg *hfmg, size_t index);

/* ---- the steps, for devices that take them over many values at once ---- */

/* An empty histogram for a batch of values from low to high on top of `hfmg`; fails where the range
 * is infinite. Then the batch is counted, and it takes the other's place. */
qf_status qf_hfmg_next(qf_context *context, const qf_hfmg *hfmg, float low, float high,
                       qf_hfmg *next);
size_t qf_hfmg_bin(const qf_hfmg *hfmg,
                   float x); /* values beyond an end are in the last bin there */
void qf_hfmg_replace(qf_hfmg *hfmg, qf_hfmg *next); /* *next becomes empty */

/* Ranges of bins that are tried: each follows from the one before, the first from the whole. */
typedef struct qf_hfmg_span {
    size_t left, right; /* bins, inclusive */
} qf_hfmg_span;

uint64_t qf_hfmg_step(const qf_hfmg *hfmg); /* how many values an end passes at a time */
/* False: the range is narrow enough, and stays. */
bool qf_hfmg_narrow(const qf_hfmg *hfmg, uint64_t step, qf_hfmg_span *span);
/* The width of a level of this range; 0: so narrow that nothing is lost. */
double qf_hfmg_level(const qf_hfmg *hfmg, qf_hfmg_span span);
void qf_hfmg_factors_of(const qf_hfmg *hfmg, qf_hfmg_span span, bool with_offset, float *scale,
                        int32_t *offset);

#endif
