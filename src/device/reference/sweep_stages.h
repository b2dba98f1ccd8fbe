/* The sweep of the reference, in parts: its value, which backward makes again, and the family. */
#ifndef QF_DEVICE_REFERENCE_SWEEP_STAGES_H
#define QF_DEVICE_REFERENCE_SWEEP_STAGES_H

#include "device/open_sweep.h"
#include "device/reference/reference.h"

/* What the stages up to ReLU make of x and the addend, which may be NULL. */
void qf_reference_sweep_value(const qf_open_sweep *, const float *x, const float *addend,
                              float *value);
/* As ReLU and ReLU6 do, the latter where `limit` is not 0; NaN becomes 0 in ReLU6 alone. */
float qf_reference_rectify(float value, float slope, float limit);

qf_status qf_reference_search_begin(qf_context *, const float *deq, qf_shift_tail *tails,
                                    size_t channels, qf_shift_search **);
void qf_reference_search_add(qf_shift_search *, const float *values, size_t rows);
void qf_reference_search_end(qf_shift_search *, qf_shift_errors *errors);
void qf_reference_search_destroy(qf_shift_search *);

qf_status qf_reference_count_begin(qf_context *, qf_ifmr_data *, qf_ifmr_count **);
void qf_reference_count_add(qf_ifmr_count *, const float *values, size_t n);
bool qf_reference_count_end(qf_ifmr_count *);
void qf_reference_count_destroy(qf_ifmr_count *);

qf_status qf_reference_sweep_forward(qf_context *, const qf_sweep *, qf_tensor *x,
                                     qf_tensor *addend, qf_tensor *y, qf_tensor *codes);
qf_status qf_reference_sweep_backward(qf_context *, const qf_sweep *, const qf_sweep_gradients *);
qf_status qf_reference_requantise(qf_context *, const qf_requantisation *, qf_tensor *acc,
                                  qf_tensor *addend, qf_tensor *y, qf_tensor *codes);

#endif
