/* Exact sums of codes in plain C, where oneDNN's int8 kernels saturate. */
#include "device/cpu/convolve/onednn_convolution.h"

/* Walks all (output position, kernel position) pairs that meet inside the input. */
typedef struct walk {
    const qf_convolution_shape *shape;
    size_t in_count, out_count, kernel_count; /* products of the spatial sizes */
} walk;

static size_t product(const int *sizes, int count)
{
    size_t result = 1;
    for (int i = 0; i < count; i++)
        result *= (size_t)sizes[i];
    return result;
}

static walk make_walk(const qf_convolution_shape *s)
{
    return (walk){s, product(s->in, s->spatial_axes), product(s->out, s->spatial_axes),
                  product(s->kernel, s->spatial_axes)};
}

/* Flat input position under output position `out` and kernel position `k`; −1: in the padding. */
static ptrdiff_t input_position(const walk *w, size_t out, size_t k)
{
    const qf_convolution_shape *s = w->shape;
    ptrdiff_t position = 0, step = 1;
    for (int i = s->spatial_axes - 1; i >= 0; i--) {
        ptrdiff_t o = (ptrdiff_t)(out % (size_t)s->out[i]),
                  q = (ptrdiff_t)(k % (size_t)s->kernel[i]);
        ptrdiff_t at = o * s->stride[i] - s->pad[i] + q * s->dilation[i];
        if (at < 0 || at >= s->in[i])
            return -1;
        position += at * step;
        step *= s->in[i];
        out /= (size_t)s->out[i];
        k /= (size_t)s->kernel[i];
    }
    return position;
}

void qf_convolution_integer_reference(const qf_convolution_shape *s, const uint8_t *x, int zero,
                                      const int8_t *w, const int32_t *bias, int32_t *y)
{
    const walk at = make_walk(s);
    const size_t group_in = (size_t)(s->in_channels / s->groups);
    const size_t group_out = (size_t)(s->out_channels / s->groups);
#pragma omp parallel for
    for (size_t row = 0; row < (size_t)s->batch * at.out_count; row++) {
        const uint8_t *image = x + row / at.out_count * at.in_count * (size_t)s->in_channels;
        int32_t *result = y + row * (size_t)s->out_channels;
        for (size_t o = 0; o < (size_t)s->out_channels; o++)
            result[o] = bias ? bias[o] : 0;
        for (size_t k = 0; k < at.kernel_count; k++) {
            ptrdiff_t position = input_position(&at, row % at.out_count, k);
            if (position < 0)
                continue;
            const uint8_t *pixel = image + (size_t)position * (size_t)s->in_channels;
            for (size_t o = 0; o < (size_t)s->out_channels; o++) {
                const uint8_t *in = pixel + o / group_out * group_in;
                for (size_t i = 0; i < group_in; i++)
                    result[o] += (in[i] - zero) * w[(o * group_in + i) * at.kernel_count + k];
            }
        }
    }
}

void qf_deconvolution_integer_reference(const qf_convolution_shape *s, const uint8_t *x, int zero,
                                        const int8_t *w, const int32_t *bias, int32_t *y)
{
    const walk at = make_walk(s);
    const size_t group_in = (size_t)(s->in_channels / s->groups); /* of y: the larger image */
    const size_t group_out = (size_t)(s->out_channels / s->groups);
#pragma omp parallel for
    for (size_t n = 0; n < (size_t)s->batch; n++) {
        int32_t *image = y + n * at.in_count * (size_t)s->in_channels;
        for (size_t i = 0; i < at.in_count * (size_t)s->in_channels; i++)
            image[i] = bias ? bias[i % (size_t)s->in_channels] : 0;
        for (size_t row = 0; row < at.out_count; row++)
            for (size_t k = 0; k < at.kernel_count; k++) {
                ptrdiff_t position = input_position(&at, row, k);
                if (position < 0)
                    continue;
                const uint8_t *pixel = x + (n * at.out_count + row) * (size_t)s->out_channels;
                int32_t *result = image + (size_t)position * (size_t)s->in_channels;
                for (size_t o = 0; o < (size_t)s->out_channels; o++)
                    for (size_t i = 0; i < group_in; i++)
                        result[o / group_out * group_in + i] +=
                            (pixel[o] - zero) * w[(o * group_in + i) * at.kernel_count + k];
            }
    }
}
