/* Arrays of tensors in the hands of outsiders (NumPy). A view stays at its address and is brought
 * into step at two moments: what was written to it counts after qf_views_take(), what was computed
 * shows after qf_views_show(). Writing is found by a checksum, so nobody has to announce it. */
#ifndef QF_TENSOR_VIEW_H
#define QF_TENSOR_VIEW_H

#include "tensor/tensor.h"

qf_status qf_view_create(qf_context *context, qf_tensor *tensor, qf_view **out, float **values);

#endif
