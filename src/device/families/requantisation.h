/* What follows an integer convolution when a net runs: values of its sums, and codes of these. */
#ifndef QF_DEVICE_FAMILIES_REQUANTISATION_H
#define QF_DEVICE_FAMILIES_REQUANTISATION_H

#include "tensor/tensor.h"

/* Behind an integer one: value = qf_dequant(accumulator, deq, shift) (+ addend), through ReLU(6);
 * codes = qf_quant_code(value, scale, offset_d) as unsigned codes. */
#define QF_REGULAR_DEQ 0x1p60f /* regular deqs and scales lie between its inverse and this */

typedef struct qf_requantisation {
    size_t channels;
    qf_tensor *deq;   /* of each channel */
    qf_tensor *shift; /* of each channel, as QF_INTEGERS: 0 … QF_SHIFT_MAX */
    bool shifted;     /* some shift is not 0 */
    bool regular;     /* every deq is positive and of ordinary size (QF_REGULAR_DEQ) */
    bool relu;
    float relu_slope;
    float relu_limit; /* not 0: ReLU6's 6, without a slope then */
    float scale;      /* of the codes, where codes are wanted */
    int32_t offset_d;
} qf_requantisation;

#endif
