/* The two kernels whose product comes nearest to one (AMCT specification, section 13.2). */
#ifndef QF_TOOLKIT_DECOMPOSE_TWO_KERNELS_H
#define QF_TOOLKIT_DECOMPOSE_TWO_KERNELS_H

#include "base/context.h"
#include "toolkit/decompose/rank.h"

typedef struct qf_kernel {
    int shape[4]; /* outputs, inputs, height, width */
    float *values;
} qf_kernel;

typedef struct qf_factors {
    size_t rank, estimate;
    double *singular; /* all of them, the largest first */
    size_t length;
    qf_kernel first, last;
} qf_factors;

/* Takes the weights of such a convolution (outputs × inputs × height × width) apart; the mode is
 * not QF_LEFT_WHOLE. Values that are not finite fail in AMCT's words. Release it in any case. */
qf_status qf_decompose_weights(qf_context *context, const qf_convolution_form *form,
                               qf_decompose_mode mode, const float *weights, qf_factors *out);
void qf_factors_release(qf_factors *factors);
/* What is lost of the kernel, as a part of its norm; 0 for zeros. */
double qf_factors_error(const qf_factors *factors);

#endif
