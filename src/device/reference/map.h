/* The reference's map family, spread over map.c, map_axes.c and map_layers.c. */
#ifndef QF_DEVICE_REFERENCE_MAP_H
#define QF_DEVICE_REFERENCE_MAP_H

#include "device/reference/reference.h"

qf_status qf_reference_scale(qf_context *, qf_axes, qf_tensor *x, qf_tensor *factor,
                             qf_tensor *summand, qf_tensor *y);
qf_status qf_reference_scale_negatives(qf_context *, qf_axes, qf_tensor *at, qf_tensor *x,
                                       qf_tensor *factor, qf_tensor *y);
qf_status qf_reference_sums(qf_context *, qf_axes, qf_tensor *a, qf_tensor *b, bool negatives,
                            qf_tensor *sum);

qf_status qf_reference_rectify_both(qf_context *, int axis, float slope, qf_tensor *x,
                                    qf_tensor *y);
qf_status qf_reference_rectify_both_backward(qf_context *, int axis, float slope, qf_tensor *x,
                                             qf_tensor *dy, qf_tensor *dx);
qf_status qf_reference_lstm_forward(qf_context *, const qf_lstm_step *);
qf_status qf_reference_lstm_backward(qf_context *, const qf_lstm_step *, const qf_lstm_gradients *);

#endif
