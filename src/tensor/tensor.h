/*
 * A tensor: one array value that exists in several forms at once (docs/architecture.md, decision
 * 1). Reading a form converts once and keeps the result; writing a form makes the others invalid.
 * A tensor that was set to zero holds no array until somebody asks for one.
 */
#ifndef QF_TENSOR_TENSOR_H
#define QF_TENSOR_TENSOR_H

#include "base/array.h"

enum { QF_MAX_AXES = 32 };

typedef struct qf_shape {
    int axes;
    int dim[QF_MAX_AXES];
} qf_shape;

size_t qf_shape_count(const qf_shape *shape); /* 1 for no axes */
size_t qf_shape_count_range(const qf_shape *shape, int first, int end);
bool qf_shape_equal(const qf_shape *a, const qf_shape *b);
/* "2 3 5 5 (150)", Caffe's way of logging it; the buffer is returned. */
const char *qf_shape_text(const qf_shape *shape, char *buffer, size_t size);
/* Index of an axis that may be negative (from the end); −1 if out of range. */
int qf_shape_axis(const qf_shape *shape, int axis);
qf_shape qf_shape_make(int axes, const int *dimensions);

typedef enum qf_form {
    QF_PLAIN, /* float, C order of the shape: what users and files see */
    QF_NHWC,  /* float, axis 1 moved to the end: (n, spatial…, channels); what kernels use */
    QF_CODES, /* uint8_t in NHWC order: value = code_scale · (code − code_zero) */
    QF_BF16, /* uint16_t in NHWC order: value = bf16 / weight_scale[channel]; gradients on their way
              * into a convolution that computes in bf16 */
    QF_WEIGHT_CODES, /* int8_t, C order: value = weight_scale[channel] · code */
    QF_INTEGERS, /* int32_t: accumulators (NHWC order) and quantised biases (one axis, so both) */
    QF_WORDS,    /* uint64_t, C order: packed dequantisation parameters */
    QF_FORM_COUNT
} qf_form;

typedef struct qf_tensor {
    int references;
    qf_shape shape;
    uint64_t version;               /* a new number, unique in the process, at every write */
    unsigned valid[QF_PLACE_COUNT]; /* bit 1 << form; no bit anywhere: the value is zero */
    /* May be shared with other tensors; NULL: none yet. */
    qf_array *array[QF_PLACE_COUNT][QF_FORM_COUNT];
    bool dropped;        /* the value was given up after its last use; reading it fails */
    float code_scale;    /* of QF_CODES */
    int code_zero;       /* of QF_CODES, 0 … 255 */
    float *weight_scale; /* of QF_WEIGHT_CODES; owned; NULL: plain integers (deploy) */
    int weight_scale_count, weight_scale_axis; /* count 1: one scale for all; axis 0 or 1 */
    int views; /* outsiders that hold the PLAIN array (tensor/view.h): it stays in its place */
    qf_array **retired; /* PLAIN arrays that became too small while somebody held them */
    size_t retired_count, retired_capacity;
} qf_tensor;

/* A zero tensor without axes; one reference. */
qf_status qf_tensor_create(qf_context *context, qf_tensor **out);
qf_tensor *qf_tensor_retain(qf_tensor *tensor);
void qf_tensor_release(qf_tensor *tensor); /* NULL is a no-op */

/* The contents stay if the number of elements does (as Caffe's do), else become zero. Fails when
 * the count overflows what Caffe allows (INT_MAX elements) or a dimension is negative. */
qf_status qf_tensor_reshape(qf_context *context, qf_tensor *tensor, const qf_shape *shape);

/* Is this form there without conversion? PLAIN and NHWC count as one where their order is equal. */
bool qf_tensor_has(const qf_tensor *tensor, qf_form form);
bool qf_tensor_is_zero(const qf_tensor *tensor); /* set to zero and not written since */

/* *out borrows the array, valid until the next write or reshape. `read` converts if needed (to
 * float forms from any form; to integer forms never: QF_E_ARGUMENT). `write` has undefined
 * contents. `update` is read, then write. */
qf_status qf_tensor_read(qf_context *context, qf_tensor *tensor, qf_form form, void *out);
qf_status qf_tensor_write(qf_context *context, qf_tensor *tensor, qf_form form, void *out);
qf_status qf_tensor_update(qf_context *context, qf_tensor *tensor, qf_form form, void *out);
/* Like write, but the other forms stay valid: the caller promises to fill in the same value. Used
 * to attach codes to a fake-quantised float array. */
qf_status qf_tensor_attach(qf_context *context, qf_tensor *tensor, qf_form form, void *out);

/* Like read, but floats made of codes are not kept with the tensor: release *borrowed (which may be
 * NULL) after use. */
qf_status qf_tensor_borrow(qf_context *context, qf_tensor *tensor, qf_form form, const float **out,
                           qf_array **borrowed);

/* Shorthands for the usual pair of lines. */
static inline qf_status qf_read(qf_context *context, qf_tensor *tensor, qf_form form,
                                const float **out)
{
    return qf_tensor_read(context, tensor, form, out);
}
static inline qf_status qf_write(qf_context *context, qf_tensor *tensor, qf_form form, float **out)
{
    return qf_tensor_write(context, tensor, form, out);
}
static inline qf_status qf_update(qf_context *context, qf_tensor *tensor, qf_form form, float **out)
{
    return qf_tensor_update(context, tensor, form, out);
}

void qf_tensor_set_zero(qf_tensor *tensor);
void qf_tensor_forget(qf_tensor *tensor); /* zero, and its arrays are given back (unless viewed) */
/* Give QF_WEIGHT_CODES their scales (copied): `count` 0: plain integers, 1: one for all, else one
 * for each index of `axis`. */
qf_status qf_tensor_set_weight_scale(qf_context *context, qf_tensor *tensor, const float *scale,
                                     int count, int axis);
/* Value and shape of `from`; all its valid forms or only the cheapest one. */
qf_status qf_tensor_copy(qf_context *context, qf_tensor *to, qf_tensor *from);
/* Like copy, but the arrays are shared until one of the two tensors is written. Copies where
 * somebody views one of them. */
qf_status qf_tensor_share(qf_context *context, qf_tensor *to, qf_tensor *from);
/* Give back the arrays of forms that are not valid; they stay otherwise, for their next use. */
void qf_tensor_trim(qf_tensor *tensor);
/* Make the array of a float form the tensor's own, so that views of it can stay in place. */
qf_status qf_tensor_unshare(qf_context *context, qf_tensor *tensor, qf_form form);
/* Give up the value and its arrays until the next write; reading fails meanwhile. Nothing happens
 * to tensors that somebody views. */
void qf_tensor_drop(qf_tensor *tensor);
/* Same elements in C order, other shape (Reshape, Flatten): counts must agree. */
qf_status qf_tensor_copy_elements(qf_context *context, qf_tensor *to, qf_tensor *from);
/* Exchange contents (not shapes, which must be equal): in-place layers keep their input this way.
 * Copies nothing unless somebody views one of them. */
qf_status qf_tensor_swap(qf_context *context, qf_tensor *a, qf_tensor *b);

/* ---- geometry of the NHWC order ---- */

typedef struct qf_extent {
    size_t batch, channels, inner; /* axis 0, axis 1, product of the rest (1 where absent) */
} qf_extent;

qf_extent qf_tensor_extent(const qf_shape *shape);
/* Are C order and NHWC order the same bytes? (≤ 2 axes, one channel, or inner 1.) */
bool qf_layouts_agree(const qf_shape *shape);
/* Fastest form for code that does not care about order: NHWC if valid, else PLAIN. */
qf_form qf_tensor_any_float(const qf_tensor *tensor);

#endif
