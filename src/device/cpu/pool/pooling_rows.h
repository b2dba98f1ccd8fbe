/* Inside the CPU's pooling: one row of outputs, of NHWC arrays, at a time. */
#ifndef QF_DEVICE_CPU_POOL_POOLING_ROWS_H
#define QF_DEVICE_CPU_POOL_POOLING_ROWS_H

#include "device/families/pool_family.h"

/* `image`, `y` and `place` begin at the row's image and at the row. Places that take a byte, or
 * more
 * (`wide`), are those inside the window, row · kernel width + column; the largest number of the
 * type where no value was above -FLT_MAX. */
void qf_pool_max_floats_row(const qf_pooling_shape *, int row, const float *image, float *y,
                            uint8_t *place);
void qf_pool_max_floats_row_wide(const qf_pooling_shape *, int row, const float *image, float *y,
                                 uint32_t *place);
void qf_pool_max_codes_row(const qf_pooling_shape *, int row, const uint8_t *image, uint8_t *y,
                           uint8_t *place);
void qf_pool_max_codes_row_wide(const qf_pooling_shape *, int row, const uint8_t *image, uint8_t *y,
                                uint32_t *place);
/* Without places, with the same bits. */
void qf_pool_floats_alone_row(const qf_pooling_shape *, int row, const float *image, float *y);
/* Without places, of windows none of which is empty; `highest`: room for a row of the image. */
void qf_pool_codes_alone_row(const qf_pooling_shape *, int row, const uint8_t *image,
                             uint8_t *highest, uint8_t *y);

void qf_pool_average_row(const qf_pooling_shape *, int row, const float *image, float *y);
void qf_pool_average_row_codes(const qf_pooling_shape *, int row, const uint8_t *image, int zero,
                               float scale, float *y);

/* Add to a row of dx what a row of windows gives it, whose row number `h` inside they are. */
void qf_pool_max_gradient(const qf_pooling_shape *, int h, const uint8_t *place, const float *dy,
                          float *dx);
void qf_pool_max_gradient_wide(const qf_pooling_shape *, int h, const uint32_t *place,
                               const float *dy, float *dx);
void qf_pool_average_gradient(const qf_pooling_shape *, int row, const float *dy, float *dx);

#endif
