#include "tensor/tensor.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "tensor/convert.h"

#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#define BIT(form) (1u << (form))

static const struct {
    const char *name;
    size_t size;
} forms[QF_FORM_COUNT] = {
    [QF_PLAIN] = {"float", sizeof(float)},
    [QF_NHWC] = {"float (channels last)", sizeof(float)},
    [QF_CODES] = {"8-bit codes", sizeof(uint8_t)},
    [QF_BF16] = {"bf16", sizeof(uint16_t)},
    [QF_WEIGHT_CODES] = {"8-bit weight codes", sizeof(int8_t)},
    [QF_INTEGERS] = {"32-bit integers", sizeof(int32_t)},
    [QF_WORDS] = {"64-bit words", sizeof(uint64_t)},
};

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
    for (int form = 0; form < QF_FORM_COUNT; form++)
        qf_array_release(tensor->array[form]);
    for (size_t i = 0; i < tensor->retired_count; i++)
        qf_array_release(tensor->retired[i]);
    qf_free(tensor->retired);
    qf_free(tensor->weight_scale);
    qf_free(tensor);
}

/* Where the two float orders are the same bytes, only PLAIN is used. */
static qf_form canonical(const qf_tensor *tensor, qf_form form)
{
    return form == QF_NHWC && qf_layouts_agree(&tensor->shape) ? QF_PLAIN : form;
}

bool qf_tensor_has(const qf_tensor *tensor, qf_form form)
{
    return tensor->valid & BIT(canonical(tensor, form));
}

bool qf_tensor_is_zero(const qf_tensor *tensor)
{
    return tensor->valid == 0 && !tensor->dropped;
}

qf_form qf_tensor_any_float(const qf_tensor *tensor)
{
    return tensor->valid & BIT(QF_PLAIN) && !(tensor->valid & BIT(QF_NHWC)) ? QF_PLAIN : QF_NHWC;
}

static void *bytes_of(const qf_tensor *tensor, qf_form form)
{
    return tensor->array[form] ? tensor->array[form]->bytes : NULL;
}

/* Does a view hold on to the array of this form? */
static bool is_pinned(const qf_tensor *tensor, qf_form form)
{
    return tensor->views && form == QF_PLAIN;
}

/* An array of the tensor's own for a form, large enough; contents undefined. */
static qf_status reserve(qf_context *context, qf_tensor *tensor, qf_form form)
{
    qf_array *old = tensor->array[form];
    size_t needed = qf_shape_count(&tensor->shape) * forms[form].size;
    if (old && old->references == 1 && old->capacity >= needed)
        return QF_OK;
    if (old && is_pinned(tensor, form) &&
        !qf_grow(&tensor->retired, &tensor->retired_capacity, tensor->retired_count + 1,
                 sizeof *tensor->retired))
        return qf_fail(context, QF_E_MEMORY, "no memory for a blob");
    qf_array *bigger = qf_array_take(context, needed);
    if (!bigger) {
        char text[256];
        return qf_fail(context, QF_E_MEMORY, "no memory for a blob of shape %s, %zu bytes",
                       qf_shape_text(&tensor->shape, text, sizeof text), needed);
    }
    if (old && is_pinned(tensor, form))
        tensor->retired[tensor->retired_count++] = old;
    else
        qf_array_release(old);
    tensor->array[form] = bigger;
    return QF_OK;
}

/* From now on only `form` is valid. The other arrays stay, for their next use and because a layer
 * that works in place may still be reading one; those shared with others are let go. */
static void keep_only(qf_tensor *tensor, qf_form form)
{
    for (int other = 0; other < QF_FORM_COUNT; other++)
        if (other != (int)form && tensor->array[other] && tensor->array[other]->references > 1) {
            qf_array_release(tensor->array[other]);
            tensor->array[other] = NULL;
        }
    tensor->valid = BIT(form);
    tensor->dropped = false;
    tensor->version = next_version();
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
    bool keep = tensor->valid && count == qf_shape_count(&tensor->shape);
    if (keep && tensor->valid & (BIT(QF_NHWC) | BIT(QF_CODES) | BIT(QF_BF16) | BIT(QF_INTEGERS))) {
        /* Elements keep their place in C order; the other orders depend on the shape. */
        void *plain;
        QF_TRY(qf_tensor_read(context, tensor, QF_PLAIN, &plain));
    }
    tensor->shape = *shape;
    tensor->dropped &= keep;
    tensor->valid = keep ? tensor->valid & (BIT(QF_PLAIN) | BIT(QF_WORDS)) : 0;
    tensor->version = next_version();
    return QF_OK;
}

/* ---- conversions: from one order or type to float ---- */

/* (rows × columns) → (columns × rows), in tiles that fit the first-level cache. */
static void transpose(const float *from, float *to, size_t rows, size_t columns)
{
    enum { TILE = 16 };
    for (size_t row = 0; row < rows; row += TILE) {
        size_t row_end = row + TILE < rows ? row + TILE : rows;
        for (size_t column = 0; column < columns; column += TILE) {
            size_t column_end = column + TILE < columns ? column + TILE : columns;
            for (size_t i = row; i < row_end; i++)
                for (size_t j = column; j < column_end; j++)
                    to[j * rows + i] = from[i * columns + j];
        }
    }
}

/* Exchange the orders of channels and inner positions in every image. To share the work of a batch
 * of one, images are cut into bands of rows. */
static void exchange(const float *from, float *to, size_t batch, size_t rows, size_t columns)
{
    enum { BAND = 64 };
    size_t bands = (rows + BAND - 1) / BAND;
#pragma omp parallel for collapse(2) schedule(static) if (qf_repays_threads(batch * rows * columns))
    for (size_t image = 0; image < batch; image++)
        for (size_t band = 0; band < bands; band++) {
            size_t first = band * BAND, height = first + BAND < rows ? BAND : rows - first;
            const float *source = from + image * rows * columns + first * columns;
            float *target = to + image * rows * columns + first;
            enum { TILE = 16 };
            if (rows == height) {
                transpose(source, target, rows, columns);
                continue;
            }
            for (size_t column = 0; column < columns; column += TILE) {
                size_t column_end = column + TILE < columns ? column + TILE : columns;
                for (size_t i = 0; i < height; i++)
                    for (size_t j = column; j < column_end; j++)
                        target[j * rows + i] = source[i * columns + j];
            }
        }
}

static void codes_to_float(const qf_tensor *tensor, float *to, size_t count)
{
    qf_codes_to_float(bytes_of(tensor, QF_CODES), to, count, tensor->code_zero, tensor->code_scale);
}

static void weight_codes_to_float(const qf_tensor *tensor, float *to, size_t count)
{
    const int8_t *codes = bytes_of(tensor, QF_WEIGHT_CODES);
    const qf_shape *shape = &tensor->shape;
    size_t inner = tensor->weight_scale_axis < shape->axes
                       ? qf_shape_count_range(shape, tensor->weight_scale_axis + 1, shape->axes)
                       : 1;
    size_t channels = tensor->weight_scale ? (size_t)tensor->weight_scale_count : 1;
    if (channels <= 1) {
        float scale = tensor->weight_scale ? tensor->weight_scale[0] : 1;
        for (size_t i = 0; i < count; i++)
            to[i] = (float)codes[i] * scale;
        return;
    }
#pragma omp parallel for schedule(static) if (qf_repays_threads(count))
    for (size_t block = 0; block < count / inner; block++) {
        float scale = tensor->weight_scale[block % channels];
        for (size_t i = block * inner; i < (block + 1) * inner; i++)
            to[i] = (float)codes[i] * scale;
    }
}

static void bf16_to_float(const qf_tensor *tensor, float *to, size_t count)
{
    const size_t channels = qf_tensor_extent(&tensor->shape).channels;
    qf_rows_from_bf16(bytes_of(tensor, QF_BF16), tensor->weight_scale, to, count / channels,
                      channels);
}

static void integers_to_float(const qf_tensor *tensor, float *to, size_t count)
{
    const int32_t *integers = bytes_of(tensor, QF_INTEGERS);
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(count))
    for (size_t i = 0; i < count; i++)
        to[i] = (float)integers[i];
}

static void words_to_float(const qf_tensor *tensor, float *to, size_t count)
{
    const uint64_t *words = bytes_of(tensor, QF_WORDS);
    for (size_t i = 0; i < count; i++)
        to[i] = (float)words[i];
}

static const struct conversion {
    qf_form from, to; /* `to` is the float order that the source has */
    void (*convert)(const qf_tensor *tensor, float *to, size_t count);
} to_float[] = {
    {QF_CODES, QF_NHWC, codes_to_float},
    {QF_BF16, QF_NHWC, bf16_to_float},
    {QF_WEIGHT_CODES, QF_PLAIN, weight_codes_to_float},
    {QF_INTEGERS, QF_NHWC, integers_to_float},
    {QF_WORDS, QF_PLAIN, words_to_float},
};

static const struct conversion *conversion_of(qf_form form)
{
    const struct conversion *found = to_float;
    while (found->from != form)
        found++;
    return found;
}

/* Make the float form `wanted` (canonical) valid. */
static qf_status make_float(qf_context *context, qf_tensor *tensor, qf_form wanted)
{
    QF_TRY(reserve(context, tensor, wanted));
    size_t count = qf_shape_count(&tensor->shape);
    if (!tensor->valid) {
        memset(bytes_of(tensor, wanted), 0, count * sizeof(float));
        tensor->valid = BIT(wanted);
        return QF_OK;
    }
    if (!(tensor->valid & (BIT(QF_PLAIN) | BIT(QF_NHWC))))
        for (size_t i = 0; i < sizeof to_float / sizeof *to_float; i++) {
            if (!(tensor->valid & BIT(to_float[i].from)))
                continue;
            qf_form form = canonical(tensor, to_float[i].to);
            QF_TRY(reserve(context, tensor, form));
            to_float[i].convert(tensor, bytes_of(tensor, form), count);
            tensor->valid |= BIT(form);
            break;
        }
    if (tensor->valid & BIT(wanted))
        return QF_OK;
    qf_extent extent = qf_tensor_extent(&tensor->shape);
    if (wanted == QF_NHWC)
        exchange(bytes_of(tensor, QF_PLAIN), bytes_of(tensor, QF_NHWC), extent.batch,
                 extent.channels, extent.inner);
    else
        exchange(bytes_of(tensor, QF_NHWC), bytes_of(tensor, QF_PLAIN), extent.batch, extent.inner,
                 extent.channels);
    tensor->valid |= BIT(wanted);
    return QF_OK;
}

static void give(void *out, void *buffer)
{
    memcpy(out, &buffer, sizeof buffer);
}

qf_status qf_tensor_read(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    give(out, NULL);
    form = canonical(tensor, form);
    if (tensor->dropped)
        return qf_fail(context, QF_E_ARGUMENT,
                       "the value of this blob was dropped after its last use; call "
                       "qf_net_keep_blobs(net, true) before the pass that computes it");
    if (!(tensor->valid & BIT(form))) {
        if (form != QF_PLAIN && form != QF_NHWC)
            return qf_fail(context, QF_E_ARGUMENT, "a blob holds no %s", forms[form].name);
        QF_TRY(make_float(context, tensor, form));
    }
    give(out, bytes_of(tensor, form));
    return QF_OK;
}

qf_status qf_tensor_borrow(qf_context *context, qf_tensor *tensor, qf_form form, const float **out,
                           qf_array **borrowed)
{
    const unsigned floats = BIT(QF_PLAIN) | BIT(QF_NHWC);
    const qf_form codes = tensor->valid & BIT(QF_CODES) ? QF_CODES : QF_WEIGHT_CODES;
    const struct conversion *from = conversion_of(codes);
    *borrowed = NULL;
    if (tensor->valid & floats || !(tensor->valid & BIT(codes)) ||
        canonical(tensor, form) != canonical(tensor, from->to))
        return qf_read(context, tensor, form, out);
    const size_t count = qf_shape_count(&tensor->shape);
    *borrowed = qf_array_take(context, count * sizeof(float));
    if (!*borrowed)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu values", count);
    from->convert(tensor, (*borrowed)->bytes, count);
    *out = (*borrowed)->bytes;
    return QF_OK;
}

qf_status qf_tensor_write(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    give(out, NULL);
    form = canonical(tensor, form);
    QF_TRY(reserve(context, tensor, form));
    keep_only(tensor, form);
    give(out, bytes_of(tensor, form));
    return QF_OK;
}

qf_status qf_tensor_unshare(qf_context *context, qf_tensor *tensor, qf_form form)
{
    form = canonical(tensor, form);
    qf_array *shared = tensor->array[form];
    if (!shared || shared->references == 1 || !(tensor->valid & BIT(form)))
        return QF_OK;
    qf_array_retain(shared);
    qf_status status = reserve(context, tensor, form);
    if (status == QF_OK)
        memcpy(bytes_of(tensor, form), shared->bytes,
               qf_shape_count(&tensor->shape) * forms[form].size);
    qf_array_release(shared);
    return status;
}

qf_status qf_tensor_update(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    QF_TRY(qf_tensor_read(context, tensor, form, out));
    QF_TRY(qf_tensor_unshare(context, tensor, form));
    form = canonical(tensor, form);
    keep_only(tensor, form);
    give(out, bytes_of(tensor, form));
    return QF_OK;
}

qf_status qf_tensor_attach(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    give(out, NULL);
    form = canonical(tensor, form);
    QF_TRY(reserve(context, tensor, form));
    tensor->valid |= BIT(form);
    give(out, bytes_of(tensor, form));
    return QF_OK;
}

void qf_tensor_trim(qf_tensor *tensor)
{
    for (int form = 0; form < QF_FORM_COUNT; form++)
        if (!(tensor->valid & BIT(form)) && !is_pinned(tensor, form)) {
            qf_array_release(tensor->array[form]);
            tensor->array[form] = NULL;
        }
}

static void release_arrays(qf_tensor *tensor)
{
    tensor->valid = 0;
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
    tensor->valid = 0;
    tensor->dropped = false;
    tensor->version = next_version();
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

qf_status qf_tensor_copy(qf_context *context, qf_tensor *to, qf_tensor *from)
{
    static const qf_form cheapest_first[] = {QF_CODES, QF_BF16,  QF_WEIGHT_CODES, QF_INTEGERS,
                                             QF_NHWC,  QF_PLAIN, QF_WORDS};
    QF_TRY(qf_tensor_reshape(context, to, &from->shape));
    qf_tensor_set_zero(to);
    for (size_t i = 0; i < sizeof cheapest_first / sizeof *cheapest_first; i++) {
        qf_form form = cheapest_first[i];
        if (!(from->valid & BIT(form)))
            continue;
        void *target;
        QF_TRY(qf_tensor_write(context, to, form, &target));
        memcpy(target, bytes_of(from, form), qf_shape_count(&from->shape) * forms[form].size);
        break;
    }
    to->code_scale = from->code_scale;
    to->code_zero = from->code_zero;
    return qf_tensor_set_weight_scale(context, to, from->weight_scale, from->weight_scale_count,
                                      from->weight_scale_axis);
}

qf_status qf_tensor_share(qf_context *context, qf_tensor *to, qf_tensor *from)
{
    if (to == from)
        return QF_OK;
    if (to->views || from->views)
        return qf_tensor_copy(context, to, from);
    QF_TRY(qf_tensor_reshape(context, to, &from->shape));
    for (int form = 0; form < QF_FORM_COUNT; form++) {
        qf_array *shared = from->valid & BIT(form) ? from->array[form] : NULL;
        if (shared)
            qf_array_retain(shared);
        qf_array_release(to->array[form]);
        to->array[form] = shared;
    }
    to->valid = from->valid;
    to->dropped = from->dropped;
    to->version = next_version();
    to->code_scale = from->code_scale;
    to->code_zero = from->code_zero;
    return qf_tensor_set_weight_scale(context, to, from->weight_scale, from->weight_scale_count,
                                      from->weight_scale_axis);
}

qf_status qf_tensor_copy_elements(qf_context *context, qf_tensor *to, qf_tensor *from)
{
    if (qf_tensor_is_zero(from)) {
        qf_tensor_set_zero(to);
        return QF_OK;
    }
    const float *source;
    float *target;
    QF_TRY(qf_read(context, from, QF_PLAIN, &source));
    QF_TRY(qf_write(context, to, QF_PLAIN, &target));
    memcpy(target, source, qf_shape_count(&from->shape) * sizeof *source);
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
