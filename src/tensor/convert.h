/* Conversions between number formats, vectorised and threaded. */
#ifndef QF_TENSOR_CONVERT_H
#define QF_TENSOR_CONVERT_H

#include <stddef.h>
#include <stdint.h>

/* to = (code − zero) · scale. */
void qf_codes_to_float(const uint8_t *codes, float *to, size_t n, int zero, float scale);
/* code − zero in bf16, exactly: the upper halves of floats. */
void qf_codes_to_bf16(const uint8_t *codes, uint16_t *to, size_t n, int zero);
/* Codes of weights in bf16, exactly. */
void qf_weight_codes_to_bf16(const int8_t *codes, uint16_t *to, size_t n);
/* to = from · scale[column], rounded to the nearest bf16, ties to even; rows of `columns` values.
 */
void qf_rows_to_bf16(const float *from, const float *scale, uint16_t *to, size_t rows,
                     size_t columns);
/* The same on the calling thread alone, and back: to = from / scale[column]. */
void qf_rows_to_bf16_part(const float *from, const float *scale, uint16_t *to, size_t rows,
                          size_t columns);
void qf_rows_from_bf16(const uint16_t *from, const float *scale, float *to, size_t rows,
                       size_t columns);

/* Without a scale, on the calling thread alone. */
void qf_bf16_to_float_part(const uint16_t *from, float *to, size_t n);

#endif
