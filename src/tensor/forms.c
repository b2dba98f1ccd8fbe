/* The forms of a value on the host, and how floats are made of them. */
#include "tensor/forms.h"

#include "base/parallel.h"
#include "tensor/convert.h"

#include <stddef.h>

const qf_form_kind qf_forms[QF_FORM_COUNT] = {
    [QF_PLAIN] = {"float", sizeof(float)},
    [QF_NHWC] = {"float (channels last)", sizeof(float)},
    [QF_CODES] = {"8-bit codes", sizeof(uint8_t)},
    [QF_BF16] = {"bf16", sizeof(uint16_t)},
    [QF_WEIGHT_CODES] = {"8-bit weight codes", sizeof(int8_t)},
    [QF_INTEGERS] = {"32-bit integers", sizeof(int32_t)},
    [QF_WORDS] = {"64-bit words", sizeof(uint64_t)},
};

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

/* To share the work of a batch of one, images are cut into bands of rows. */
void qf_exchange_orders(const float *from, float *to, size_t batch, size_t rows, size_t columns)
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

static void codes_to_float(const qf_tensor *tensor, const void *from, float *to, size_t count)
{
    qf_codes_to_float(from, to, count, tensor->code_zero, tensor->code_scale);
}

static void weight_codes_to_float(const qf_tensor *tensor, const void *from, float *to,
                                  size_t count)
{
    const int8_t *codes = from;
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

static void bf16_to_float(const qf_tensor *tensor, const void *from, float *to, size_t count)
{
    const size_t channels = qf_tensor_extent(&tensor->shape).channels;
    qf_rows_from_bf16(from, tensor->weight_scale, to, count / channels, channels);
}

static void integers_to_float(const qf_tensor *tensor, const void *from, float *to, size_t count)
{
    (void)tensor;
    const int32_t *integers = from;
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(count))
    for (size_t i = 0; i < count; i++)
        to[i] = (float)integers[i];
}

static void words_to_float(const qf_tensor *tensor, const void *from, float *to, size_t count)
{
    (void)tensor;
    const uint64_t *words = from;
    for (size_t i = 0; i < count; i++)
        to[i] = (float)words[i];
}

static const struct {
    qf_form order; /* of the floats that it gives */
    void (*convert)(const qf_tensor *tensor, const void *from, float *to, size_t count);
} to_float[QF_FORM_COUNT] = {
    [QF_CODES] = {QF_NHWC, codes_to_float},
    [QF_BF16] = {QF_NHWC, bf16_to_float},
    [QF_WEIGHT_CODES] = {QF_PLAIN, weight_codes_to_float},
    [QF_INTEGERS] = {QF_NHWC, integers_to_float},
    [QF_WORDS] = {QF_PLAIN, words_to_float},
};

qf_form qf_form_order(qf_form form)
{
    return to_float[form].convert ? to_float[form].order : form;
}

void qf_form_to_float(const qf_tensor *tensor, qf_form form, const void *from, float *to)
{
    to_float[form].convert(tensor, from, to, qf_shape_count(&tensor->shape));
}
