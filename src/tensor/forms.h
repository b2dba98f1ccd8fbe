/* The forms that a value may have, and how floats are made of the others on the host. */
#ifndef QF_TENSOR_FORMS_H
#define QF_TENSOR_FORMS_H

#include "tensor/tensor.h"

typedef struct qf_form_kind {
    const char *name; /* for people: "a blob holds no …" */
    size_t size;      /* of an element */
} qf_form_kind;

extern const qf_form_kind qf_forms[QF_FORM_COUNT];

/* The order of the floats that a form turns into: QF_PLAIN or QF_NHWC. */
qf_form qf_form_order(qf_form form);

/* Floats of a form that is none, in its order. `from` is the tensor's array of that form. */
void qf_form_to_float(const qf_tensor *tensor, qf_form form, const void *from, float *to);

/* Exchange the orders of rows and columns in every image of a batch: channels and positions. */
void qf_exchange_orders(const float *from, float *to, size_t batch, size_t rows, size_t columns);

#endif
