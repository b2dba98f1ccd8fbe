/* The host's map family, a file for each kind of operation. */
#ifndef QF_DEVICE_CPU_MAP_CPU_MAP_H
#define QF_DEVICE_CPU_MAP_CPU_MAP_H

#include "device/cpu/cpu.h"

qf_status qf_map_apply(qf_context *, qf_function, qf_tensor *x, qf_tensor *y);
qf_status qf_map_apply_backward(qf_context *, qf_function, qf_tensor *x, qf_tensor *y,
                                qf_tensor *dy, qf_tensor *dx);

qf_status qf_map_weighted_sum(qf_context *, float a_factor, qf_tensor *a, float b_factor,
                              qf_tensor *b, qf_tensor *y);
qf_status qf_map_multiply(qf_context *, qf_tensor *a, qf_tensor *b, qf_tensor *y);
qf_status qf_map_divide_backward(qf_context *, qf_tensor *y, qf_tensor *x, qf_tensor *dy,
                                 qf_tensor *dx);
qf_status qf_map_maximum(qf_context *, qf_tensor *a, qf_tensor *b, int index, qf_tensor *y,
                         qf_tensor *winner);
qf_status qf_map_select(qf_context *, qf_tensor *x, qf_tensor *mask, int code, float factor,
                        qf_tensor *y);

qf_status qf_map_scale(qf_context *, qf_axes, qf_tensor *x, qf_tensor *factor, qf_tensor *summand,
                       qf_tensor *y);
qf_status qf_map_scale_negatives(qf_context *, qf_axes, qf_tensor *at, qf_tensor *x,
                                 qf_tensor *factor, qf_tensor *y);
qf_status qf_map_sums(qf_context *, qf_axes, qf_tensor *a, qf_tensor *b, bool negatives,
                      qf_tensor *sum);

qf_status qf_map_rectify_both(qf_context *, int axis, float slope, qf_tensor *x, qf_tensor *y);
qf_status qf_map_rectify_both_backward(qf_context *, int axis, float slope, qf_tensor *x,
                                       qf_tensor *dy, qf_tensor *dx);

qf_status qf_map_lstm_forward(qf_context *, const qf_lstm_step *);
qf_status qf_map_lstm_backward(qf_context *, const qf_lstm_step *, const qf_lstm_gradients *);

#endif
