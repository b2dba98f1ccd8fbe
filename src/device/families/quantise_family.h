/* Codes of activations and weights; formulas in quant/quant_math.h. */
#ifndef QF_DEVICE_FAMILIES_QUANTISE_FAMILY_H
#define QF_DEVICE_FAMILIES_QUANTISE_FAMILY_H

#include "device/families/soft_rounding_math.h"
#include "quant/hfmg.h"
#include "quant/ifmr_data.h"
#include "quant/quant.h"
#include "tensor/tensor.h"

typedef struct qf_quantise_family {
    /* ULQ: the codes of x, with their scale and zero point; with more levels than codes have, its
     * values in whole steps (QF_NHWC). */
    qf_status (*activations)(qf_context *, qf_tensor *x, qf_ulq factors, qf_tensor *codes);
    /* dx = dy inside the clip range, else 0. The gradients of clip_max and clip_min are added to.
     * Each may be NULL. */
    qf_status (*activations_backward)(qf_context *, qf_tensor *x, qf_tensor *dy, qf_ulq_terms,
                                      qf_tensor *dx, qf_tensor *const d_clip[2]);
    /* ARQ: the codes of the master's weights (NULL: nobody asks), and the scale of each channel,
     * which people read and records keep. */
    qf_status (*weights)(qf_context *, qf_tensor *master, qf_weight_layout, int bits, float *scale,
                         qf_tensor *codes);
    /* Weights with steps that learn: the codes by these steps, each usable; and backward, the sum
     * of ∂L/∂step of each channel, and in dw, which comes with the gradient of the quantised
     * weights, zeros where a weight lies beyond the codes. */
    qf_status (*weights_by_steps)(qf_context *, qf_tensor *master, qf_weight_layout, int bits,
                                  const float *step, qf_tensor *codes);
    qf_status (*steps_backward)(qf_context *, qf_tensor *master, qf_weight_layout, int bits,
                                const float *step, qf_tensor *dw, double *d_step);
    /* AdaRound: w = (floor + h(v)) · step; and dv, of dw and of the regulariser. */
    qf_status (*soften)(qf_context *, const qf_soft_rounding *, qf_tensor *v, qf_tensor *floor,
                        qf_tensor *w);
    qf_status (*soften_backward)(qf_context *, const qf_soft_rounding *, qf_tensor *v,
                                 qf_tensor *dw, qf_tensor *dv);
    /* y = what is left of x behind a fake DeQuant, whose scales and shifts are one for all or one
     * for each channel (axis 1); y may be x. */
    qf_status (*dequantise_fake)(qf_context *, qf_tensor *x, qf_tensor *deq, qf_tensor *shift,
                                 qf_tensor *y);
    /* IFMR: the first range of x, value = scale · (code − offset_d): of all values in the order of
     * QF_NHWC up to QF_IFMR_EXACT of them, above that of a histogram. */
    qf_status (*first_range)(qf_context *, qf_tensor *x, const qf_ifmr_options *, float *scale,
                             int32_t *offset_d);
    /* IFMR over many tensors: x goes in, in whatever form it is cheapest; and their range, exactly
     * as first_range's while all values are kept. After a failure of the first, part of x is in. */
    qf_status (*ifmr_add)(qf_context *, qf_ifmr_data *, qf_tensor *x);
    qf_status (*ifmr_decide)(qf_context *, const qf_ifmr_data *, const qf_ifmr_options *,
                             float *scale, int32_t *offset_d);
    /* HFMG: the tensors are one batch, which goes in whole or not at all; and the range that loses
     * least. */
    qf_status (*hfmg_add)(qf_context *, qf_hfmg *, qf_tensor *const *x, int count);
    qf_status (*hfmg_decide)(qf_context *, const qf_hfmg *, bool with_offset, float *scale,
                             int32_t *offset_d);
    /* Quant of exported models: qf_quant_code() of x, but no less than `low`, as unsigned codes.
     * `codes` may be x. */
    qf_status (*quant)(qf_context *, qf_tensor *x, float scale, int32_t offset_d, int32_t low,
                       qf_tensor *codes);
} qf_quantise_family;

#endif
