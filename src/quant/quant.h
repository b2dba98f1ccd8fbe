/*
 * The arithmetic of quantisation: the one definition that fake-quant layers, exporter, int8 engine
 * and reports share. Loops over tensors are their devices' (device/families/quantise_family.h).
 * Formulas: docs/numerics.md. Everything is float32 exactly where written so: symmetric clip ranges
 * are rounding ties (docs/numerics.md, "ULQ").
 *
 * Codes. An activation code u is 8 bits unsigned with zero point z = −offset = offset_d + 128;
 * its value is scale · (u − z); AMCT's signed code is u − 128. A weight code q is signed, −128 …
 * 127, value scale · q.
 */
#ifndef QF_QUANT_QUANT_H
#define QF_QUANT_QUANT_H

#include "base/context.h"
#include "quant/quant_math.h"

/* Is this a usable scale? Below FLT_EPSILON it becomes 1; infinite, NaN or above 1/FLT_EPSILON
 * fails with AMCT's sentence. */
qf_status qf_process_scale(qf_context *context, float *scale);

/* ---- ULQ: activations with learned clip range ---- */

typedef struct qf_clip {
    float max, min;
    float previous_max, previous_min; /* the last valid pair */
} qf_clip;

bool qf_clip_check(qf_clip *clip); /* true: the pair was invalid and was restored */

/* ---- ARQ: weights ----
 * Weights are (outer, channels, inner) in C order: Convolution (1, C_out, rest), Deconvolution
 * (C_in, C_out/group, kh·kw), not channel-wise (1, 1, all). */

typedef struct qf_weight_layout {
    size_t outer, channels, inner;
} qf_weight_layout;

/* The sentence about weights that cannot be quantised, with the number of a channel. */
#define QF_NAN_WEIGHTS                                                                             \
    "the weights of channel %zu contain NaN; did training diverge? Use a smaller base_lr"

/* ---- IFMR: first clip range of an activation (ifmr.c) ----
 * Among candidates around the largest value (but for outliers), the one with the least squared
 * error. */

typedef struct qf_ifmr_options {
    float max_percentile, min_percentile, search_start, search_end, search_step;
    bool with_offset;
    int bits;
} qf_ifmr_options;

extern const qf_ifmr_options qf_ifmr_defaults; /* 0.999999, 0.7 … 1.3 step 0.01, with offset */

/* Clip to low … high, then steps of `scale`. */
typedef struct qf_ifmr_candidate {
    float low, high, scale;
    bool usable;
} qf_ifmr_candidate;

qf_status qf_ifmr_check(qf_context *context, const qf_ifmr_options *options);
/* How many values from the end an extreme is taken: 1 is the very largest. */
size_t qf_ifmr_rank(float percentile, size_t n);
int qf_ifmr_candidate_count(const qf_ifmr_options *options);
qf_ifmr_candidate qf_ifmr_candidate_at(const qf_ifmr_options *options, float max, float min,
                                       int index);
/* The factors of the usable candidate of least error; value = scale · (code − offset_d), code
 * −128 … 127. */
qf_status qf_ifmr_decide(qf_context *context, const qf_ifmr_options *options, float max, float min,
                         const float *errors, int count, float *scale, int32_t *offset_d);
/* The sentence about the value that is in the way. */
qf_status qf_ifmr_not_finite(qf_context *context, size_t index, float x);

/* Above QF_IFMR_EXACT values the search goes over the bins of a histogram instead: they cover
 * −range … range, a power of two. */
enum { QF_IFMR_EXACT = 1 << 20, QF_IFMR_BINS = 1 << 16 };
float qf_ifmr_range(float largest); /* … of the magnitudes */
float qf_ifmr_bin_centre(float range, int bin);
/* The value `rank` places from the end; `step` −1: from the largest, 1: from the smallest. */
float qf_ifmr_extreme(const uint64_t bins[QF_IFMR_BINS], float range, size_t rank, int step);

/* ---- SearchN: the shift that brings accumulators into 16 bits ---- */

/* Per channel: summed squared error of each shift 1 … 16. Memory independent of the data. */
typedef struct qf_shift_errors {
    double error[QF_SHIFT_MAX];
} qf_shift_errors;

/* What each shift loses of one accumulator. */
void qf_shift_errors_add(qf_shift_errors *errors, int32_t acc);
int qf_shift_best(const qf_shift_errors *errors); /* smallest shift of least error, 1 … 16 */

/* ---- deployed layers (deploy.c) ---- */

/* b_q = round_even(b / (scale_d · scale_w)) in float32; fails outside int32 with AMCT's sentence.
 */
qf_status qf_bias_code(qf_context *context, float bias, float scale_d, float scale_w,
                       int32_t *code);
/* bits 31…0 float deq, 39…32 shift, 47…40 offset_w. */
uint64_t qf_pack_dequant(float deq, int shift, int offset_w);
void qf_unpack_dequant(uint64_t word, float *deq, int *shift, int *offset_w);

#endif
