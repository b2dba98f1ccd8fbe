/* Reading and writing a tensor: the form and the place that somebody asks for is made of what is
 * there, once, and kept. */
#include "tensor/access.h"

#include "base/memory.h"
#include "tensor/forms.h"
#include "tensor/place.h"

#include <string.h>

#define BIT(form) (1u << (form))

static const unsigned floats = BIT(QF_PLAIN) | BIT(QF_NHWC);

/* Where the two float orders are the same bytes, only PLAIN is used. */
static qf_form canonical(const qf_tensor *tensor, qf_form form)
{
    return form == QF_NHWC && qf_layouts_agree(&tensor->shape) ? QF_PLAIN : form;
}

static unsigned valid_anywhere(const qf_tensor *tensor)
{
    return tensor->valid[QF_PLACE_HOST] | tensor->valid[QF_PLACE_DEVICE];
}

bool qf_tensor_has(const qf_tensor *tensor, qf_form form)
{
    return valid_anywhere(tensor) & BIT(canonical(tensor, form));
}

bool qf_tensor_is_zero(const qf_tensor *tensor)
{
    return valid_anywhere(tensor) == 0 && !tensor->dropped;
}

qf_form qf_tensor_any_float(const qf_tensor *tensor)
{
    const unsigned valid = valid_anywhere(tensor);
    return valid & BIT(QF_PLAIN) && !(valid & BIT(QF_NHWC)) ? QF_PLAIN : QF_NHWC;
}

static size_t bytes_in(const qf_tensor *tensor, qf_form form)
{
    return qf_shape_count(&tensor->shape) * qf_forms[form].size;
}

/* An array of the tensor's own for a form, large enough; contents undefined. */
static qf_status reserve(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form)
{
    qf_array *old = tensor->array[place][form];
    const size_t needed = bytes_in(tensor, form);
    const bool pinned = qf_tensor_is_pinned(tensor, place, form);
    if (old && old->references == 1 && old->capacity >= needed)
        return QF_OK;
    if (old && pinned &&
        !qf_grow(&tensor->retired, &tensor->retired_capacity, tensor->retired_count + 1,
                 sizeof *tensor->retired))
        return qf_fail(context, QF_E_MEMORY, "no memory for a blob");
    qf_array *bigger = qf_array_take_at(context, place, needed);
    if (!bigger) {
        char text[256];
        return qf_fail(context, QF_E_MEMORY, "no memory%s for a blob of shape %s, %zu bytes",
                       place == QF_PLACE_DEVICE ? " on the device" : "",
                       qf_shape_text(&tensor->shape, text, sizeof text), needed);
    }
    if (old && pinned)
        tensor->retired[tensor->retired_count++] = old;
    else
        qf_array_release(old);
    tensor->array[place][form] = bigger;
    return QF_OK;
}

/* From now on only `form` at `place` is valid. The other arrays stay, for their next use and
 * because a layer that works in place may still be reading one; those shared with others are let
 * go. */
static void keep_only(qf_tensor *tensor, qf_place place, qf_form form)
{
    for (int p = 0; p < QF_PLACE_COUNT; p++) {
        tensor->valid[p] = 0;
        for (int f = 0; f < QF_FORM_COUNT; f++)
            if ((p != (int)place || f != (int)form) && tensor->array[p][f] &&
                tensor->array[p][f]->references > 1) {
                qf_array_release(tensor->array[p][f]);
                tensor->array[p][f] = NULL;
            }
    }
    tensor->valid[place] = BIT(form);
    qf_tensor_touch(tensor);
}

/* ---- making what is not there ---- */

static qf_place other(qf_place place)
{
    return place == QF_PLACE_HOST ? QF_PLACE_DEVICE : QF_PLACE_HOST;
}

/* The form is valid at the other place: bring it over. */
static qf_status bring(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form)
{
    QF_TRY(reserve(context, tensor, place, form));
    QF_TRY(qf_place_copy(context, tensor->array[place][form], place,
                         tensor->array[other(place)][form], other(place), bytes_in(tensor, form)));
    tensor->valid[place] |= BIT(form);
    return QF_OK;
}

static qf_status to_float(qf_context *context, qf_tensor *tensor, qf_place place, qf_form from,
                          qf_form to)
{
    const qf_array *source = tensor->array[place][from];
    qf_array *target = tensor->array[place][to];
    if (place == QF_PLACE_HOST) {
        qf_form_to_float(tensor, from, source->bytes, target->bytes);
        return QF_OK;
    }
    QF_ON_DEVICE(context);
    QF_TRY(qf_place_open(context, source, false));
    QF_TRY(qf_place_open(context, target, true));
    return context->memory->to_float(context, tensor, from, source->bytes, target->bytes);
}

static qf_status exchange(qf_context *context, qf_tensor *tensor, qf_place place, qf_form to)
{
    const qf_array *source = tensor->array[place][to == QF_NHWC ? QF_PLAIN : QF_NHWC];
    qf_array *target = tensor->array[place][to];
    const qf_extent e = qf_tensor_extent(&tensor->shape);
    const size_t rows = to == QF_NHWC ? e.channels : e.inner;
    const size_t columns = to == QF_NHWC ? e.inner : e.channels;
    if (place == QF_PLACE_HOST) {
        qf_exchange_orders(source->bytes, target->bytes, e.batch, rows, columns);
        return QF_OK;
    }
    QF_ON_DEVICE(context);
    QF_TRY(qf_place_open(context, source, false));
    QF_TRY(qf_place_open(context, target, true));
    return context->memory->exchange(context, source->bytes, target->bytes, e.batch, rows, columns);
}

/* The first of these that is valid; there must be one. */
static qf_form first_valid(unsigned valid)
{
    static const qf_form order[] = {QF_NHWC,         QF_PLAIN,    QF_CODES, QF_BF16,
                                    QF_WEIGHT_CODES, QF_INTEGERS, QF_WORDS};
    size_t i = 0;
    while (!(valid & BIT(order[i])))
        i++;
    return order[i];
}

/* Make the float form `wanted` (canonical) valid, of what is valid at this place; of nothing: zero.
 */
static qf_status convert(qf_context *context, qf_tensor *tensor, qf_place place, qf_form wanted)
{
    unsigned *valid = &tensor->valid[place];
    QF_TRY(reserve(context, tensor, place, wanted));
    if (!*valid) {
        QF_TRY(
            qf_place_clear(context, tensor->array[place][wanted], place, bytes_in(tensor, wanted)));
        *valid = BIT(wanted);
        return QF_OK;
    }
    if (!(*valid & floats)) {
        const qf_form from = first_valid(*valid), to = canonical(tensor, qf_form_order(from));
        QF_TRY(reserve(context, tensor, place, to));
        QF_TRY(to_float(context, tensor, place, from, to));
        *valid |= BIT(to);
    }
    if (!(*valid & BIT(wanted)))
        QF_TRY(exchange(context, tensor, place, wanted));
    *valid |= BIT(wanted);
    return QF_OK;
}

static qf_status make_float(qf_context *context, qf_tensor *tensor, qf_place place, qf_form wanted)
{
    const unsigned elsewhere = tensor->valid[other(place)];
    if (tensor->valid[place] || !elsewhere)
        return convert(context, tensor, place, wanted);
    const qf_form nearest = first_valid(elsewhere);
    if (place == QF_PLACE_DEVICE && !context->memory->to_float && nearest != wanted) {
        QF_TRY(convert(context, tensor, QF_PLACE_HOST, wanted));
        return bring(context, tensor, place, wanted);
    }
    QF_TRY(bring(context, tensor, place, nearest));
    return tensor->valid[place] & BIT(wanted) ? QF_OK : convert(context, tensor, place, wanted);
}

/* ---- arrays at a place ---- */

qf_status qf_tensor_read_array(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form,
                               qf_array **out)
{
    *out = NULL;
    form = canonical(tensor, form);
    if (tensor->dropped)
        return qf_fail(context, QF_E_ARGUMENT,
                       "the value of this blob was dropped after its last use; call "
                       "qf_net_keep_blobs(net, true) before the pass that computes it");
    if (!(tensor->valid[place] & BIT(form))) {
        if (tensor->valid[other(place)] & BIT(form))
            QF_TRY(bring(context, tensor, place, form));
        else if (BIT(form) & floats)
            QF_TRY(make_float(context, tensor, place, form));
        else
            return qf_fail(context, QF_E_ARGUMENT, "a blob holds no %s", qf_forms[form].name);
    }
    *out = tensor->array[place][form];
    return QF_OK;
}

qf_status qf_tensor_write_array(qf_context *context, qf_tensor *tensor, qf_place place,
                                qf_form form, qf_array **out)
{
    *out = NULL;
    form = canonical(tensor, form);
    QF_TRY(reserve(context, tensor, place, form));
    keep_only(tensor, place, form);
    *out = tensor->array[place][form];
    return QF_OK;
}

static qf_status unshare(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form)
{
    qf_array *shared = tensor->array[place][form];
    if (!shared || shared->references == 1 || !(tensor->valid[place] & BIT(form)))
        return QF_OK;
    qf_array_retain(shared);
    qf_status status = reserve(context, tensor, place, form);
    if (status == QF_OK)
        status = qf_place_copy(context, tensor->array[place][form], place, shared, place,
                               bytes_in(tensor, form));
    qf_array_release(shared);
    return status;
}

static qf_status update_array(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form,
                              qf_array **out)
{
    form = canonical(tensor, form);
    QF_TRY(qf_tensor_read_array(context, tensor, place, form, out));
    QF_TRY(unshare(context, tensor, place, form));
    keep_only(tensor, place, form);
    *out = tensor->array[place][form];
    return QF_OK;
}

static qf_status attach_array(qf_context *context, qf_tensor *tensor, qf_place place, qf_form form,
                              qf_array **out)
{
    *out = NULL;
    form = canonical(tensor, form);
    QF_TRY(reserve(context, tensor, place, form));
    tensor->valid[other(place)] &= ~BIT(form);
    tensor->valid[place] |= BIT(form);
    *out = tensor->array[place][form];
    return QF_OK;
}

/* ---- pointers: on the host, and where the device's operations work ---- */

static void give(void *out, const qf_array *array)
{
    void *bytes = array ? array->bytes : NULL;
    memcpy(out, &bytes, sizeof bytes);
}

typedef qf_status (*find)(qf_context *, qf_tensor *, qf_place, qf_form, qf_array **);

static qf_status on_host(qf_context *context, find array_of, qf_tensor *tensor, qf_form form,
                         void *out)
{
    qf_array *array = NULL;
    const qf_status status = array_of(context, tensor, QF_PLACE_HOST, form, &array);
    give(out, status == QF_OK ? array : NULL);
    return status;
}

static qf_status on_device(qf_context *context, find array_of, qf_tensor *tensor, qf_form form,
                           bool writes, void *out)
{
    const qf_place place = qf_place_of(context);
    qf_array *array = NULL;
    qf_status status = array_of(context, tensor, place, form, &array);
    if (status == QF_OK && place == QF_PLACE_DEVICE)
        status = qf_place_open(context, array, writes);
    give(out, status == QF_OK ? array : NULL);
    return status;
}

qf_status qf_tensor_read(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_host(context, qf_tensor_read_array, tensor, form, out);
}

qf_status qf_tensor_write(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_host(context, qf_tensor_write_array, tensor, form, out);
}

qf_status qf_tensor_update(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_host(context, update_array, tensor, form, out);
}

qf_status qf_tensor_attach(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_host(context, attach_array, tensor, form, out);
}

qf_status qf_device_read(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_device(context, qf_tensor_read_array, tensor, form, false, out);
}

qf_status qf_device_write(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_device(context, qf_tensor_write_array, tensor, form, true, out);
}

qf_status qf_device_update(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_device(context, update_array, tensor, form, true, out);
}

qf_status qf_device_attach(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return on_device(context, attach_array, tensor, form, true, out);
}

qf_status qf_tensor_borrow(qf_context *context, qf_tensor *tensor, qf_form form, const float **out,
                           qf_array **borrowed)
{
    const unsigned valid = tensor->valid[QF_PLACE_HOST];
    const qf_form codes = valid & BIT(QF_CODES) ? QF_CODES : QF_WEIGHT_CODES;
    *borrowed = NULL;
    if (valid_anywhere(tensor) & floats || !(valid & BIT(codes)) ||
        canonical(tensor, form) != canonical(tensor, qf_form_order(codes)))
        return qf_read(context, tensor, form, out);
    const size_t count = qf_shape_count(&tensor->shape);
    *borrowed = qf_array_take(context, count * sizeof(float));
    if (!*borrowed)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu values", count);
    qf_form_to_float(tensor, codes, tensor->array[QF_PLACE_HOST][codes]->bytes, (*borrowed)->bytes);
    *out = (*borrowed)->bytes;
    return QF_OK;
}

qf_status qf_tensor_unshare(qf_context *context, qf_tensor *tensor, qf_form form)
{
    return unshare(context, tensor, QF_PLACE_HOST, canonical(tensor, form));
}
