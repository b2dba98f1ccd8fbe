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

#endif
