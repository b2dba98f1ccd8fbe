/* Loops that convert numbers and orders: codes, bf16, integers, NHWC. */
#include "tensor/convert.h"

#include "base/vector.h"

#include <string.h>

enum { PART = 1 << 14 };

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

QF_CLONES static void codes_part(const uint8_t *codes, float *to, size_t n, int zero, float scale)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((int)codes[i] - zero) * scale;
}

QF_CLONES static void codes_bf16_part(const uint8_t *codes, uint16_t *to, size_t n, int zero)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        to[i] = (uint16_t)(bits_of((float)((int)codes[i] - zero)) >> 16);
}

QF_CLONES static void weight_codes_bf16_part(const int8_t *codes, uint16_t *to, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        to[i] = (uint16_t)(bits_of((float)codes[i]) >> 16);
}

/* NaN stays NaN: the addition would carry it over to infinity or zero. */
QF_CLONES static void row_bf16(const float *from, const float *scale, uint16_t *to, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float value = from[i] * scale[i];
        const uint32_t bits = bits_of(value);
        const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        to[i] = (uint16_t)(value == value ? rounded : 0x7fc0);
    }
}

void qf_codes_to_float(const uint8_t *codes, float *to, size_t n, int zero, float scale)
{
#pragma omp parallel for schedule(static) if (n > PART)
    for (size_t at = 0; at < n; at += PART)
        codes_part(codes + at, to + at, n - at < PART ? n - at : PART, zero, scale);
}

void qf_codes_to_bf16(const uint8_t *codes, uint16_t *to, size_t n, int zero)
{
#pragma omp parallel for schedule(static) if (n > PART)
    for (size_t at = 0; at < n; at += PART)
        codes_bf16_part(codes + at, to + at, n - at < PART ? n - at : PART, zero);
}

void qf_weight_codes_to_bf16(const int8_t *codes, uint16_t *to, size_t n)
{
#pragma omp parallel for schedule(static) if (n > PART)
    for (size_t at = 0; at < n; at += PART)
        weight_codes_bf16_part(codes + at, to + at, n - at < PART ? n - at : PART);
}

void qf_rows_to_bf16(const float *from, const float *scale, uint16_t *to, size_t rows,
                     size_t columns)
{
#pragma omp parallel for schedule(static) if (rows * columns > PART)
    for (size_t row = 0; row < rows; row++)
        row_bf16(from + row * columns, scale, to + row * columns, columns);
}

void qf_rows_to_bf16_part(const float *from, const float *scale, uint16_t *to, size_t rows,
                          size_t columns)
{
    for (size_t row = 0; row < rows; row++)
        row_bf16(from + row * columns, scale, to + row * columns, columns);
}

QF_CLONES static void row_from_bf16(const uint16_t *from, const float *scale, float *to, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        to[i] = value / scale[i];
    }
}

QF_CLONES static void bf16_to_float(const uint16_t *from, float *to, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(&to[i], &bits, sizeof bits);
    }
}

void qf_bf16_to_float_part(const uint16_t *from, float *to, size_t n)
{
    bf16_to_float(from, to, n);
}

void qf_rows_from_bf16(const uint16_t *from, const float *scale, float *to, size_t rows,
                       size_t columns)
{
#pragma omp parallel for schedule(static) if (rows * columns > PART)
    for (size_t row = 0; row < rows; row++)
        row_from_bf16(from + row * columns, scale, to + row * columns, columns);
}
