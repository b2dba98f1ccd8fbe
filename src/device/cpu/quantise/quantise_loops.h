/*
 * Inside the CPU's quantisation: the loops over arrays, which give the bits of quant/quant_math.h.
 * Sweeps use parts of them on values that they have in the cache.
 */
#ifndef QF_DEVICE_CPU_QUANTISE_QUANTISE_LOOPS_H
#define QF_DEVICE_CPU_QUANTISE_QUANTISE_LOOPS_H

#include "device/families/soft_rounding_math.h"
#include "quant/hfmg.h"
#include "quant/ifmr_data.h"
#include "quant/quant.h"

/* ---- ULQ (ulq_loops.c): only of factors that round by addition, gradients of regular ones ---- */

/* Unsigned codes of n values, zero point −offset; and the values in whole steps themselves. */
void qf_ulq_codes(const float *x, uint8_t *code, size_t n, qf_ulq factors);
void qf_ulq_values(const float *x, float *y, size_t n, qf_ulq factors);
/* d_clip[0] += ∂L/∂clip_max, d_clip[1] += ∂L/∂clip_min; dx may be dy, or NULL. */
void qf_ulq_backward(const float *x, const float *dy, float *dx, size_t n,
                     const qf_ulq_terms *terms, double d_clip[2]);
/* The same by one thread. d_clip is added to. At most a few thousand values at a time: sums are
 * float32 within a part. */
void qf_ulq_codes_part(const float *x, uint8_t *code, size_t n, qf_ulq factors);
void qf_ulq_backward_part(const float *x, const float *dy, float *dx, size_t n,
                          const qf_ulq_terms *terms, double d_clip[2]);
/* dx = dy where x lies inside the clip range, else 0: the gradient without that of the range. */
void qf_ulq_mask_part(const float *x, const float *dy, float *dx, size_t n,
                      const qf_ulq_terms *terms);

/* ---- ARQ (arq_loops.c) ---- */

/* scale[channels], and, where they are wanted, the codes, in one pass over memory. Fails on NaN and
 * on unusable scales, naming neither layer nor file. */
qf_status qf_arq_quantise(qf_context *context, const float *w, qf_weight_layout layout, int bits,
                          float *scale, int8_t *codes);

/* The same with these scales, which are usable (step_loops.c); and ∂L/∂scale of each channel, dw
 * becoming 0 where a weight lies beyond the codes. */
qf_status qf_step_codes(qf_context *context, const float *w, qf_weight_layout layout, int bits,
                        const float *step, int8_t *codes);
void qf_step_gradients(const float *w, qf_weight_layout layout, int bits, const float *step,
                       float *dw, double *d_step);
/* Soft roundings (soft_rounding_loops.c): the weights, and ∂L/∂v. */
void qf_soft_weights(const qf_soft_rounding *rounding, const float *v, const float *floor,
                     float *w);
void qf_soft_gradients(const qf_soft_rounding *rounding, const float *v, const float *dw,
                       float *dv);
/* codes[n] = clamp(round_away(w / step)) (arq_loops.c). False: there is a NaN. */
bool qf_arq_codes_part(const float *w, int8_t *codes, size_t n, float step, int bits);

/* The lowest and the highest of n values, 1 or more, by one thread (hfmg_loops.c). False: some are
 * not finite. */
bool qf_range_of_piece(const float *x, size_t n, float *low, float *high);

/* ---- IFMR (ifmr_search.c): of all values, and of a histogram of them ---- */

qf_status qf_ifmr_exact(qf_context *context, const qf_ifmr_options *options, const float *x,
                        size_t n, float *scale, int32_t *offset_d);
qf_status qf_ifmr_histogram(qf_context *context, const qf_ifmr_options *options, const float *x,
                            size_t n, float *scale, int32_t *offset_d);

/* The same of data that were counted (ifmr_count.h). */
qf_status qf_ifmr_of_data(qf_context *context, const qf_ifmr_options *options,
                          const qf_ifmr_data *data, float *scale, int32_t *offset_d);

/* ---- HFMG (hfmg_loops.c) ---- */

/* The smallest and the largest of them and of *low and *high; fails on what is not finite. */
qf_status qf_hfmg_range(qf_context *context, const float *x, size_t n, float *low, float *high);
qf_status qf_hfmg_count(qf_context *context, qf_hfmg *hfmg, const float *x, size_t n);
qf_status qf_hfmg_search(qf_context *context, const qf_hfmg *hfmg, bool with_offset, float *scale,
                         int32_t *offset);

/* ---- Quant of exported models (quant_codes.c): unsigned codes, AMCT's + 128 ---- */

void qf_quant_codes(const float *x, uint8_t *code, size_t n, float scale, int32_t offset_d,
                    int32_t low);

#endif
