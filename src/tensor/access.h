/* What the files of this folder share: arrays of a tensor at a place. */
#ifndef QF_TENSOR_ACCESS_H
#define QF_TENSOR_ACCESS_H

#include "tensor/tensor.h"

/* Like qf_tensor_read and qf_tensor_write, at a place; nobody may touch the array there yet. */
qf_status qf_tensor_read_array(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form,
                               qf_array **out);
qf_status qf_tensor_write_array(qf_context *context, qf_tensor *tensor, qf_place place,
                                qf_form form, qf_array **out);

/* Does a view hold on to the array of this form? */
bool qf_tensor_is_pinned(const qf_tensor *tensor, qf_place place, qf_form form);
/* The value is another one from here on. */
void qf_tensor_touch(qf_tensor *tensor);

#endif
