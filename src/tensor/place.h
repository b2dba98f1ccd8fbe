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

/* Until the function returns, operations that fetch arrays with qf_device_read() and its like find
 * them on the host, whatever the context's device: the reference, where it helps the host out. */
void qf_host_enter(qf_context *context);
void qf_host_leave(qf_context **context);
#define QF_ON_HOST(context)                                                                        \
    __attribute__((cleanup(qf_host_leave))) qf_context *qf_on_host_ = (context);                   \
    qf_host_enter(qf_on_host_)

/* ---- for tensors themselves: arrays at a place, of tensors' sizes ---- */

/* Inside an operation, or around a single copy: the array may be touched until the device is left.
 */
qf_status qf_place_open(qf_context *context, const qf_array *array, bool writes);

/* to = from, `size` bytes, each of its place; counted where they go over. */
qf_status qf_place_copy(qf_context *context, qf_array *to, qf_place to_place, const qf_array *from,
                        qf_place from_place, size_t size);
qf_status qf_place_clear(qf_context *context, qf_array *array, qf_place place, size_t size);

#endif
