/*
 * Places: where the arrays of a tensor lie. Everything can be on the host; what a device computes
 * lies in its memory, too, and goes over only when somebody asks for it at the other place.
 */
#ifndef QF_TENSOR_PLACE_H
#define QF_TENSOR_PLACE_H

#include "tensor/tensor.h"

/* Where operations of the context's device find and leave their arrays. */
qf_place qf_place_of(const qf_context *context);

/* Like qf_tensor_read, …write, …update and …attach, but at the place of the context's device: what
 * its operations use, between qf_device_enter() and qf_device_leave(). On the host they are the
 * same. The pointer is good until the operation leaves. */
qf_status qf_device_read(qf_context *context, qf_tensor *tensor, qf_form form, void *out);
qf_status qf_device_write(qf_context *context, qf_tensor *tensor, qf_form form, void *out);
qf_status qf_device_update(qf_context *context, qf_tensor *tensor, qf_form form, void *out);
qf_status qf_device_attach(qf_context *context, qf_tensor *tensor, qf_form form, void *out);

/* An operation of a device begins and ends. They nest. */
void qf_device_enter(qf_context *context);
void qf_device_leave(qf_context **context);

/* The first line of an operation's function: on the device until the function returns. */
#define QF_ON_DEVICE(context)                                                                      \
    __attribute__((cleanup(qf_device_leave))) qf_context *qf_on_device_ = (context);               \
    qf_device_enter(qf_on_device_)

#endif
