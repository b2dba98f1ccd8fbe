/*
 * The arithmetic of quantisation: the one definition that fake-quant layers, exporter, int8 engine
 * and reports share. Formulas: docs/numerics.md. Everything is float32 exactly where written so:
 * symmetric clip ranges are rounding ties (docs/numerics.md, "ULQ").
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

/* ---- ULQ: activations with learned clip range (ulq.c) ---- */

typedef struct qf_clip {
    float max, min;
    float previous_max, previous_min; /* the last valid pair */
} qf_clip;

bool qf_clip_check(qf_clip *clip); /* true: the pair was invalid and was restored */
/* y may be x. `code` (n unsigned bytes, zero point −offset) and y may each be NULL. */
void qf_ulq_forward(const float *x, float *y, uint8_t *code, size_t n, qf_ulq factors);
/* d_clip[0] += ∂L/∂clip_max, d_clip[1] += ∂L/∂clip_min; dx may be dy, or NULL. */
void qf_ulq_backward(const float *x, const float *dy, float *dx, size_t n, float clip_max,
                     float clip_min, double d_clip[2]);
/* Parts of the two, for passes that do more to a value while they have it. Only for regular
 * factors: those that rounding by addition can handle, all but absurd ones. */
bool qf_ulq_is_regular(qf_ulq factors, float clip_max, float clip_min);
void qf_ulq_codes_part(const float *x, uint8_t *code, size_t n, qf_ulq factors);
/* d_clip is added to. At most a few thousand values at a time: sums are float32 within a part. */
void qf_ulq_backward_part(const float *x, const float *dy, float *dx, size_t n,
                          const qf_ulq_terms *terms, double d_clip[2]);
/* dx = dy where x lies inside the clip range, else 0: the gradient without that of the range. */
void qf_ulq_mask_part(const float *x, const float *dy, float *dx, size_t n,
                      const qf_ulq_terms *terms);
/* The same, in plain scalar loops: what the fast ones are tested against. */
void qf_ulq_forward_reference(const float *x, float *y, uint8_t *code, size_t n, qf_ulq factors);
void qf_ulq_backward_reference(const float *x, const float *dy, float *dx, size_t n, float clip_max,
                               float clip_min, double d_clip[2]);

/* ---- ARQ: weights (arq.c) ----
 * Weights are (outer, channels, inner) in C order: Convolution (1, C_out, rest), Deconvolution
 * (C_in, C_out/group, kh·kw), not channel-wise (1, 1, all). */

typedef struct qf_weight_layout {
    size_t outer, channels, inner;
} qf_weight_layout;

/* scale[channels]. Fails on NaN and on unusable scales, naming neither layer nor file. */
qf_status qf_arq_scales(qf_context *context, const float *w, qf_weight_layout layout, float *scale);
/* The same, and the codes that qf_arq_codes makes with these scales, in one pass over memory. */
qf_status qf_arq_quantise(qf_context *context, const float *w, qf_weight_layout layout,
                          float *scale, int8_t *codes);
/* codes[n] = clamp(round_away(w / scale), −128, 127); w_fake[n] = code · scale. Either may be NULL;
 * w_fake may be w. */
void qf_arq_codes(const float *w, qf_weight_layout layout, const float *scale, int8_t *codes,
                  float *w_fake);
void qf_arq_codes_reference(const float *w, qf_weight_layout layout, const float *scale,
                            int8_t *codes, float *w_fake);

/* ---- IFMR: first clip range of an activation, as a stream (ifmr.c) ----
 * Memory does not grow with the number of values. */

typedef struct qf_ifmr_options {
    float max_percentile, min_percentile, search_start, search_end, search_step;
    bool with_offset;
    int bits;
} qf_ifmr_options;

extern const qf_ifmr_options qf_ifmr_defaults; /* 0.999999, 0.7 … 1.3 step 0.01, with offset */

typedef struct qf_ifmr qf_ifmr;
qf_status qf_ifmr_create(qf_context *context, const qf_ifmr_options *options, qf_ifmr **out);
void qf_ifmr_destroy(qf_ifmr *ifmr);
qf_status qf_ifmr_add(qf_context *context, qf_ifmr *ifmr, const float *x, size_t n);
/* scale and offset_d; value = scale · (code − offset_d), code −128 … 127. */
qf_status qf_ifmr_finish(qf_context *context, qf_ifmr *ifmr, float *scale, int32_t *offset_d);
/* The whole data at once, exactly the published arithmetic. */
qf_status qf_ifmr_exact(qf_context *context, const qf_ifmr_options *options, const float *x,
                        size_t n, float *scale, int32_t *offset_d);

/* ---- SearchN: the shift that brings accumulators into 16 bits (shift.c) ---- */

enum { QF_SHIFT_MAX = 16 };

/* Per channel: summed squared error of each shift 1 … 16. Memory independent of the data. */
typedef struct qf_shift_errors {
    double error[QF_SHIFT_MAX];
} qf_shift_errors;

/* acc = saturate(round_away(x / deq[c])) for x of rows times channels, in C order; errors[c] gets
 * what its channel loses: an exact integer, rounded once. */
qf_status qf_shift_add_rows(qf_context *context, qf_shift_errors *errors, const float *x,
                            size_t rows, size_t channels, const float *deq);
/* The same where tiles of rows come one by one, from any of OpenMP's threads, in any order; so the
 * result is the same for any number of threads. `deq` is borrowed until the end, which adds to
 * errors and frees the search; destroy gives it up. */
typedef struct qf_shift_search qf_shift_search;
qf_status qf_shift_search_begin(qf_context *context, const float *deq, size_t channels,
                                qf_shift_search **out);
void qf_shift_search_add(qf_shift_search *search, const float *x, size_t rows);
void qf_shift_search_add_all(qf_shift_search *search, const float *x, size_t rows); /* threaded */
void qf_shift_search_end(qf_shift_search *search, qf_shift_errors *errors);
void qf_shift_search_destroy(qf_shift_search *search);
/* The definition: n values `stride` floats apart, of one channel. */
void qf_shift_add(qf_shift_errors *errors, const float *x, size_t n, size_t stride, float deq);
void qf_shift_add_accumulators(qf_shift_errors *errors, const int32_t *acc, size_t n,
                               size_t stride);
int qf_shift_best(const qf_shift_errors *errors); /* smallest shift of least error, 1 … 16 */

/* ---- deployed layers (deploy.c) ---- */

/* Fake Quant: (code − offset_d) · scale; y may be x. `code` (unsigned, +128) and y may be NULL. */
void qf_quant_fake(const float *x, float *y, uint8_t *code, size_t n, float scale,
                   int32_t offset_d);
/* b_q = round_even(b / (scale_d · scale_w)) in float32; fails outside int32 with AMCT's sentence.
 */
qf_status qf_bias_code(qf_context *context, float bias, float scale_d, float scale_w,
                       int32_t *code);
/* bits 31…0 float deq, 39…32 shift, 47…40 offset_w. */
uint64_t qf_pack_dequant(float deq, int shift, int offset_w);
void qf_unpack_dequant(uint64_t word, float *deq, int *shift, int *offset_w);

#endif
