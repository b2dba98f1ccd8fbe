/* Depthwise convolution in integers: what oneDNN is slow at. Exact, on every instruction set. */
#ifndef QF_DEVICE_CPU_CONVOLVE_DEPTHWISE_INTEGER_H
#define QF_DEVICE_CPU_CONVOLVE_DEPTHWISE_INTEGER_H

#include "device/device.h"

bool qf_depthwise_integer_fits(const qf_convolution_shape *shape);
/* Weights (channels, 1, kernel…) → (kernel…, channels). */
void qf_depthwise_integer_pack(const qf_convolution_shape *shape, const int8_t *w, int16_t *packed);
/* Row `row` of one image's output, (columns, channels): Σ (u − zero) · q + bias. `image` is that
 * image's codes; bias may be NULL. One thread. */
void qf_depthwise_integer_row(const qf_convolution_shape *shape, const uint8_t *image, int zero,
                              const int16_t *packed, const int32_t *bias, int row, int32_t *result);

#endif
