/*
 * Depthwise convolution of 8-bit codes in two axes: a product of a code's distance from its zero
 * point (−255 … 255) and a weight (−128 … 127) fits in 16 bits, sums are taken in 32. Channels are
 * the vector; a row of the output is made at a time.
 */
#include "device/cpu/convolve/depthwise_integer.h"

#include "base/vector.h"

#include <string.h>

enum { BLOCK = 64 };

bool qf_depthwise_integer_fits(const qf_convolution_shape *s)
{
    return s->spatial_axes == 2 && s->groups == s->in_channels && s->groups == s->out_channels;
}

void qf_depthwise_integer_pack(const qf_convolution_shape *s, const int8_t *w, int16_t *packed)
{
    const size_t kernel = (size_t)s->kernel[0] * (size_t)s->kernel[1];
    const size_t channels = (size_t)s->out_channels;
    for (size_t k = 0; k < kernel; k++)
        for (size_t c = 0; c < channels; c++)
            packed[k * channels + c] = w[c * kernel + k];
}

/* The kernel positions first … end − 1 that lie inside the input, for an output position. */
typedef struct span {
    int first, end, origin;
} span;

static span make_span(const qf_convolution_shape *s, int axis, int out)
{
    span result = {0, s->kernel[axis], out * s->stride[axis] - s->pad[axis]};
    while (result.first < result.end && result.origin + result.first * s->dilation[axis] < 0)
        result.first++;
    while (result.end > result.first &&
           result.origin + (result.end - 1) * s->dilation[axis] >= s->in[axis])
        result.end--;
    return result;
}

/* `n` channels of one output position; a constant where this is called for whole blocks. */
static inline __attribute__((always_inline)) void
add_products(const qf_convolution_shape *s, const uint8_t *x, int16_t zero, const int16_t *w,
             const int32_t *bias, span y_span, span x_span, int32_t *result, const size_t n)
{
    const size_t channels = (size_t)s->in_channels;
    int32_t sum[BLOCK];
    for (size_t i = 0; i < n; i++)
        sum[i] = bias ? bias[i] : 0;
    for (int ky = y_span.first; ky < y_span.end; ky++)
        for (int kx = x_span.first; kx < x_span.end; kx++) {
            const size_t row = (size_t)(y_span.origin + ky * s->dilation[0]);
            const size_t column = (size_t)(x_span.origin + kx * s->dilation[1]);
            const uint8_t *from = x + (row * (size_t)s->in[1] + column) * channels;
            const int16_t *weight = w + (size_t)(ky * s->kernel[1] + kx) * channels;
#pragma omp simd
            for (size_t i = 0; i < n; i++)
                sum[i] += (int16_t)((int16_t)(from[i] - zero) * weight[i]);
        }
    memcpy(result, sum, n * sizeof *sum);
}

QF_CLONES static void integer_row(const qf_convolution_shape *s, const uint8_t *image, int zero,
                                  const int16_t *w, const int32_t *bias, int row, int32_t *result)
{
    const size_t channels = (size_t)s->in_channels;
    const span y_span = make_span(s, 0, row);
    for (size_t c = 0; c < channels; c += BLOCK)
        for (int column = 0; column < s->out[1]; column++) {
            const span x_span = make_span(s, 1, column);
            const int32_t *b = bias ? bias + c : NULL;
            int32_t *to = result + (size_t)column * channels + c;
            if (channels - c >= BLOCK)
                add_products(s, image + c, (int16_t)zero, w + c, b, y_span, x_span, to, BLOCK);
            else
                add_products(s, image + c, (int16_t)zero, w + c, b, y_span, x_span, to,
                             channels - c);
        }
}

void qf_depthwise_integer_row(const qf_convolution_shape *s, const uint8_t *image, int zero,
                              const int16_t *w, const int32_t *bias, int row, int32_t *result)
{
    integer_row(s, image, zero, w, bias, row, result);
}
