/* Tensors: their lives, their shapes, and values that go from one to the other. */
#include "tensor/access.h"

#include "base/memory.h"
#include "tensor/forms.h"
#include "tensor/place.h"

#include <stdatomic.h>
#include <string.h>

#define BIT(form) (1u << (form))

static uint64_t next_version(void)
{
    static atomic_uint_least64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

qf_status qf_tensor_create(qf_context *context, qf_tensor **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for a tensor");
    (*out)->references = 1;
    (*out)->version = next_version();
    return QF_OK;
}

qf_tensor *qf_tensor_retain(qf_tensor *tensor)
{
    tensor->references++;
    return tensor;
}

void qf_tensor_release(qf_tensor *tensor)
{
    if (!tensor || --tensor->references > 0)
        return;
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        for (int form = 0; form < QF_FORM_COUNT; form++)
            qf_array_release(tensor->array[place][form]);
    for (size_t i = 0; i < tensor->retired_count; i++)
        qf_array_release(tensor->retired[i]);
    qf_free(tensor->retired);
    qf_free(tensor->weight_scale);
    qf_free(tensor);
}

bool qf_tensor_is_pinned(const qf_tensor *tensor, qf_place place, qf_form form)
{
    return tensor->views && place == QF_PLACE_HOST && form == QF_PLAIN;
}

void qf_tensor_touch(qf_tensor *tensor)
{
    tensor->dropped = false;
    tensor->version = next_version();
}

/* Where the value is: on the device if it is at both places. */
static qf_place place_of(const qf_tensor *tensor)
{
    return tensor->valid[QF_PLACE_DEVICE] ? QF_PLACE_DEVICE : QF_PLACE_HOST;
}

qf_status qf_tensor_reshape(qf_context *context, qf_tensor *tensor, const qf_shape *shape)
{
    if (qf_shape_equal(&tensor->shape, shape))
        return QF_OK;
    size_t count = 1;
    for (int axis = 0; axis < shape->axes; axis++) {
        if (shape->dim[axis] < 0)
            return qf_fail(context, QF_E_SHAPE, "axis %d of a blob would have size %d", axis,
                           shape->dim[axis]);
        if (!qf_multiply(count, (size_t)shape->dim[axis], &count))
            count = SIZE_MAX;
        if (count > context->limits[QF_LIMIT_TENSOR_ELEMENTS]) {
            char text[256];
            return qf_check_limit(context, QF_LIMIT_TENSOR_ELEMENTS, count,
                                  "a blob of shape %s has",
                                  qf_shape_text(shape, text, sizeof text));
        }
    }
    const unsigned lasting = BIT(QF_PLAIN) | BIT(QF_WORDS);
    const qf_place place = place_of(tensor);
    const bool keep = tensor->valid[place] && count == qf_shape_count(&tensor->shape);
    if (keep && tensor->valid[place] & ~(lasting | BIT(QF_WEIGHT_CODES))) {
        /* Elements keep their place in C order; the other orders depend on the shape. */
        qf_array *plain;
        QF_TRY(qf_tensor_read_array(context, tensor, place, QF_PLAIN, &plain));
    }
    tensor->shape = *shape;
    tensor->dropped &= keep;
    for (int p = 0; p < QF_PLACE_COUNT; p++)
        tensor->valid[p] &= keep ? lasting : 0;
    tensor->version = next_version();
    return QF_OK;
}

void qf_tensor_trim(qf_tensor *tensor)
{
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        for (int form = 0; form < QF_FORM_COUNT; form++)
            if (!(tensor->valid[place] & BIT(form)) &&
                !qf_tensor_is_pinned(tensor, (qf_place)place, (qf_form)form)) {
                qf_array_release(tensor->array[place][form]);
                tensor->array[place][form] = NULL;
            }
}

static void forget_value(qf_tensor *tensor)
{
    tensor->valid[QF_PLACE_HOST] = tensor->valid[QF_PLACE_DEVICE] = 0;
}

static void release_arrays(qf_tensor *tensor)
{
    forget_value(tensor);
    qf_tensor_trim(tensor);
}

void qf_tensor_drop(qf_tensor *tensor)
{
    if (tensor->views)
        return;
    release_arrays(tensor);
    tensor->dropped = true;
    tensor->version = next_version();
}

void qf_tensor_set_zero(qf_tensor *tensor)
{
    forget_value(tensor);
    qf_tensor_touch(tensor);
}

void qf_tensor_forget(qf_tensor *tensor)
{
    if (tensor->views)
        return;
    release_arrays(tensor);
    qf_tensor_set_zero(tensor);
}

qf_status qf_tensor_set_weight_scale(qf_context *context, qf_tensor *tensor, const float *scale,
                                     int count, int axis)
{
    float *copy = NULL;
    if (count) {
        copy = qf_alloc_raw((size_t)count, sizeof *copy);
        if (!copy)
            return qf_fail(context, QF_E_MEMORY, "no memory for %d weight scales", count);
        memcpy(copy, scale, (size_t)count * sizeof *copy);
    }
    qf_free(tensor->weight_scale);
    tensor->weight_scale = copy;
    tensor->weight_scale_count = count;
    tensor->weight_scale_axis = axis;
    return QF_OK;
}

static qf_status copy_coding(qf_context *context, qf_tensor *to, const qf_tensor *from)
{
    to->code_scale = from->code_scale;
    to->code_zero = from->code_zero;
    return qf_tensor_set_weight_scale(context, to, from->weight_scale, from->weight_scale_count,
                                      from->weight_scale_axis);
}

/* `to` receives the array that `from` has of this form, where it has it. */
static qf_status copy_form(qf_context *context, qf_tensor *to, qf_tensor *from, qf_form form)
{
    const qf_place place = place_of(from);
    qf_array *source, *target;
    QF_TRY(qf_tensor_read_array(context, from, place, form, &source));
    QF_TRY(qf_tensor_write_array(context, to, place, form, &target));
    return qf_place_copy(context, target, place, source, place,
                         qf_shape_count(&from->shape) * qf_forms[form].size);
}

qf_status qf_tensor_copy(qf_context *context, qf_tensor *to, qf_tensor *from)
{
    static const qf_form cheapest_first[] = {QF_CODES, QF_BF16,  QF_WEIGHT_CODES, QF_INTEGERS,
                                             QF_NHWC,  QF_PLAIN, QF_WORDS};
    const unsigned valid = from->valid[place_of(from)];
    QF_TRY(qf_tensor_reshape(context, to, &from->shape));
    qf_tensor_set_zero(to);
    for (size_t i = 0; i < sizeof cheapest_first / sizeof *cheapest_first; i++)
        if (valid & BIT(cheapest_first[i])) {
            QF_TRY(copy_form(context, to, from, cheapest_first[i]));
            break;
        }
    return copy_coding(context, to, from);
}

/* `to` holds the arrays of `from` at this place. */
static void share_arrays(qf_tensor *to, qf_tensor *from, int place)
{
    for (int form = 0; form < QF_FORM_COUNT; form++) {
        qf_array *shared = from->valid[place] & BIT(form) ? from->array[place][form] : NULL;
        if (shared)
            qf_array_retain(shared);
        qf_array_release(to->array[place][form]);
        to->array[place][form] = shared;
    }
    to->valid[place] = from->valid[place];
}

qf_status qf_tensor_share(qf_context *context, qf_tensor *to, qf_tensor *from)
{
    if (to == from)
        return QF_OK;
    if (to->views || from->views)
        return qf_tensor_copy(context, to, from);
    QF_TRY(qf_tensor_reshape(context, to, &from->shape));
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        share_arrays(to, from, place);
    to->dropped = from->dropped;
    to->version = next_version();
    return copy_coding(context, to, from);
}

qf_status qf_tensor_copy_elements(qf_context *context, qf_tensor *to, qf_tensor *from)
{
    if (!qf_tensor_is_zero(from))
        return copy_form(context, to, from, QF_PLAIN);
    qf_tensor_set_zero(to);
    return QF_OK;
}

/* Through a third tensor: arrays that are viewed stay where they are. */
static qf_status swap_values(qf_context *context, qf_tensor *a, qf_tensor *b)
{
    qf_tensor *kept;
    QF_TRY(qf_tensor_create(context, &kept));
    qf_status status = qf_tensor_copy(context, kept, a);
    if (status == QF_OK)
        status = qf_tensor_copy(context, a, b);
    if (status == QF_OK)
        status = qf_tensor_copy(context, b, kept);
    qf_tensor_release(kept);
    return status;
}

qf_status qf_tensor_swap(qf_context *context, qf_tensor *a, qf_tensor *b)
{
    if (a->views || b->views)
        return swap_values(context, a, b);
    qf_tensor old = *a;
    *a = *b;
    *b = old;
    /* Who refers to which tensor does not change, only what is in it. */
    b->references = a->references;
    a->references = old.references;
    return QF_OK;
}
