/* The operations of the CPU's table, a file each. Contracts: device/families.h. */
#ifndef QF_DEVICE_CPU_CPU_H
#define QF_DEVICE_CPU_CPU_H

#include "device/cpu/convolve/onednn_convolution.h"

#define FAMILY(name) extern const qf_##name##_family qf_cpu_##name;
QF_FAMILIES(FAMILY)
#undef FAMILY

qf_status qf_cpu_bf16_cost(qf_context *, double *cost);

qf_status qf_inner_product_create(qf_context *, const qf_inner_product_shape *,
                                  qf_inner_product **);
void qf_inner_product_destroy(qf_inner_product *);
qf_status qf_inner_product_forward(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *w,
                                   qf_tensor *bias, qf_tensor *y);
qf_status qf_inner_product_forward_integer(qf_context *, qf_inner_product *, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y);
qf_status qf_inner_product_backward_data(qf_context *, qf_inner_product *, qf_tensor *dy,
                                         qf_tensor *w, qf_tensor *dx);
qf_status qf_inner_product_backward_weights(qf_context *, qf_inner_product *, qf_tensor *x,
                                            qf_tensor *dy, qf_tensor *dw);
qf_status qf_multiply_batched(qf_context *, const qf_batched_product *, qf_tensor *a, qf_tensor *b,
                              qf_tensor *c);

extern const qf_implementations qf_multiply_forward_list, qf_multiply_forward_integer_list,
    qf_pool_forward_list;

extern const qf_implementations qf_sweep_requantise_list, qf_sweep_search_list,
    qf_quantise_activations_list, qf_quantise_activations_backward_list, qf_quantise_ifmr_list;
qf_status qf_requantise(qf_context *, const qf_requantisation *, qf_tensor *acc, qf_tensor *addend,
                        qf_tensor *y, qf_tensor *codes);

qf_status qf_pooling_create(qf_context *, const qf_pooling_shape *, qf_pooling **);
void qf_pooling_destroy(qf_pooling *);
qf_status qf_pooling_forward(qf_context *, qf_pooling *, qf_tensor *x, qf_tensor *y,
                             qf_tensor *mask, bool remember);
qf_status qf_pooling_forward_integer(qf_context *, qf_pooling *, qf_tensor *x, float scale,
                                     qf_tensor *y);
qf_status qf_pooling_backward(qf_context *, qf_pooling *, qf_tensor *dy, qf_tensor *dx);

qf_status qf_lrn_forward(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                         qf_tensor *y);
qf_status qf_lrn_backward(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                          qf_tensor *y, qf_tensor *dy, qf_tensor *dx);
qf_status qf_lrn_terms(qf_context *, qf_tensor *a, qf_tensor *b, qf_tensor *c, qf_tensor *out);
qf_status qf_lrn_apply(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                       qf_tensor *y);
qf_status qf_lrn_apply_backward(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                                qf_tensor *average, qf_tensor *dy, qf_tensor *dx);
qf_status qf_standardise(qf_context *, const qf_standardisation *, qf_tensor *x,
                         qf_tensor *deviation, qf_tensor *y);
qf_status qf_standardise_backward(qf_context *, const qf_standardisation *, qf_tensor *y,
                                  qf_tensor *deviation, qf_tensor *dy, qf_tensor *dx);
qf_status qf_unit_length(qf_context *, float eps, qf_tensor *x, qf_tensor *scale,
                         qf_tensor *reciprocal, qf_tensor *y);
qf_status qf_unit_length_backward(qf_context *, qf_tensor *x, qf_tensor *scale,
                                  qf_tensor *reciprocal, qf_tensor *dy, qf_tensor *dx);
qf_status qf_unit_length_backward_scale(qf_context *, qf_tensor *x, qf_tensor *reciprocal,
                                        qf_tensor *dy, qf_tensor *d_scale);

qf_status qf_sweep_forward(qf_context *, const qf_sweep *, qf_tensor *x, qf_tensor *addend,
                           qf_tensor *y, qf_tensor *codes);
qf_status qf_sweep_forward_convolved(qf_context *, const qf_convolved *, const qf_sweep *,
                                     qf_tensor *addend, qf_tensor *y);
qf_status qf_sweep_backward(qf_context *, const qf_sweep *, const qf_sweep_gradients *);

/* Per channel, of NHWC arrays: mean and biased variance; Σ a, then Σ a · (b − centre[c]). */
qf_status qf_channel_moments(qf_context *, const float *x, qf_extent, float *mean, float *variance);
qf_status qf_channel_products(qf_context *, const float *a, const float *b, const float *centre,
                              qf_extent, double *sums);
qf_status qf_moments(qf_context *, qf_tensor *x, qf_tensor *mean, qf_tensor *variance);
qf_status qf_batch_statistics(qf_context *, const qf_statistics *, qf_tensor *x);
qf_status qf_running_statistics(qf_context *, const qf_statistics *);
qf_status qf_normalise_backward(qf_context *, const qf_statistics *, qf_tensor *x, qf_tensor *dy,
                                qf_tensor *dx);
qf_status qf_outer_sums(qf_context *, qf_tensor *x, int axis, qf_tensor *sums);
qf_status qf_inner_sums(qf_context *, qf_reduction, float factor, qf_tensor *x, int axis,
                        qf_tensor *y);
qf_status qf_inner_sums_backward(qf_context *, qf_reduction, float factor, qf_tensor *x,
                                 qf_tensor *dy, int axis, qf_tensor *dx);

qf_status qf_softmax(qf_context *, qf_tensor *x, int axis, qf_tensor *y);
qf_status qf_softmax_backward(qf_context *, qf_tensor *y, qf_tensor *dy, int axis, qf_tensor *dx);
qf_status qf_softmax_loss_forward(qf_context *, const qf_labelling *, qf_tensor *x,
                                  qf_tensor *labels, float divisor, qf_tensor *probability,
                                  qf_tensor *loss);
qf_status qf_softmax_loss_backward(qf_context *, const qf_labelling *, qf_tensor *probability,
                                   qf_tensor *labels, float scale, qf_tensor *dx);
qf_status qf_softmax_divergence(qf_context *, const qf_softened *, qf_tensor *x, qf_tensor *teacher,
                                float divisor, qf_tensor *difference, qf_tensor *loss);
qf_status qf_label_ranks(qf_context *, const qf_labelling *, qf_tensor *x, qf_tensor *labels,
                         qf_tensor *ranks);
qf_status qf_value_loss_forward(qf_context *, const qf_value_loss *, const qf_loss_operands *,
                                float divisor, qf_tensor *loss);
qf_status qf_value_loss_backward(qf_context *, const qf_value_loss *, const qf_loss_operands *,
                                 float scale, qf_tensor *dx);

qf_status qf_strided_copy(qf_context *, const qf_move *, qf_tensor *from, qf_tensor *to);
qf_status qf_gather_rows(qf_context *, const qf_picking *, qf_tensor *all, qf_tensor *index,
                         qf_tensor *picked);
qf_status qf_scatter_rows(qf_context *, const qf_picking *, qf_tensor *picked, qf_tensor *index,
                          bool add, qf_tensor *all);

qf_status qf_dequantise_fake(qf_context *, qf_tensor *x, qf_tensor *deq, qf_tensor *shift,
                             qf_tensor *y);

#endif
