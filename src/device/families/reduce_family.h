/* Sums over parts of a tensor; softmax, and losses. */
#ifndef QF_DEVICE_FAMILIES_REDUCE_FAMILY_H
#define QF_DEVICE_FAMILIES_REDUCE_FAMILY_H

#include "device/families/loss_math.h"
#include "device/families/reduce_math.h"
#include "tensor/tensor.h"

/* Labels beside scores along an axis: one for each item, in C order. The caller has seen that each
 * is one of the classes, or ignored. */
typedef struct qf_labelling {
    int axis;
    qf_ignored_label ignored;
    qf_tensor *weights; /* what an item of each class counts, in softmax_loss; NULL: 1 */
} qf_labelling;

/* Two rows of scores that a softmax along an axis makes probabilities, at a temperature. */
typedef struct qf_softened {
    int axis;
    float temperature;
} qf_softened;

/* What a loss of values reads; weights of one shape with x, or NULL: 1. */
typedef struct qf_loss_operands {
    qf_tensor *x, *target;
    qf_tensor *inside, *outside; /* of the difference, of the term */
} qf_loss_operands;

typedef struct qf_reduce_family {
    /* sums[i] += Σ x over the axes before `axis`; i counts the elements of the others. */
    qf_status (*outer_sums)(qf_context *, qf_tensor *x, int axis, qf_tensor *sums);
    /* y = factor · Σ over the axes from `axis` on, one number for each index of those before. */
    qf_status (*inner_sums)(qf_context *, qf_reduction, float factor, qf_tensor *x, int axis,
                            qf_tensor *y);
    qf_status (*inner_sums_backward)(qf_context *, qf_reduction, float factor, qf_tensor *x,
                                     qf_tensor *dy, int axis, qf_tensor *dx);
    /* y = exp(x) / Σ exp(x) along an axis; y may be x. */
    qf_status (*softmax)(qf_context *, qf_tensor *x, int axis, qf_tensor *y);
    /* dx = (dy − Σ dy · y) · y; dx may be dy. */
    qf_status (*softmax_backward)(qf_context *, qf_tensor *y, qf_tensor *dy, int axis,
                                  qf_tensor *dx);
    /* The softmax of x, and the scalar loss = −Σ weight · log softmax(x)[label] / divisor. */
    qf_status (*softmax_loss)(qf_context *, const qf_labelling *, qf_tensor *x, qf_tensor *labels,
                              float divisor, qf_tensor *probability, qf_tensor *loss);
    /* dx = scale · weight · (probability − (1 for the label, else 0)); of ignored items 0. */
    qf_status (*softmax_loss_backward)(qf_context *, const qf_labelling *, qf_tensor *probability,
                                       qf_tensor *labels, float scale, qf_tensor *dx);
    /* With p = softmax(teacher / T) and q = softmax(x / T): difference = q − p, and the scalar
     * loss = T² · Σ p · (log p − log q) / divisor, of which the gradient to x is
     * T · difference / divisor. */
    qf_status (*divergence)(qf_context *, const qf_softened *, qf_tensor *x, qf_tensor *teacher,
                            float divisor, qf_tensor *difference, qf_tensor *loss);
    /* The scalar loss = Σ outside · qf_loss_term() / divisor. */
    qf_status (*value_loss)(qf_context *, const qf_value_loss *, const qf_loss_operands *,
                            float divisor, qf_tensor *loss);
    /* dx = inside · outside · qf_loss_gradient() of `scale`; 0 where the target is ignored. */
    qf_status (*value_loss_backward)(qf_context *, const qf_value_loss *, const qf_loss_operands *,
                                     float scale, qf_tensor *dx);
    /* For each item how many of its values along an axis are at least its label's, without that
     * itself; −1 where the label is ignored. */
    qf_status (*label_ranks)(qf_context *, const qf_labelling *, qf_tensor *x, qf_tensor *labels,
                             qf_tensor *ranks);
} qf_reduce_family;

#endif
