/* The sums of convolutions, in both directions, in floats and in integers. */
#include "device/reference/convolve.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

ptrdiff_t qf_reference_pixel_under(const qf_reference_convolution *c, size_t out, size_t k)
{
    const qf_convolution_shape *s = &c->shape;
    ptrdiff_t pixel = 0, step = 1;
    for (int i = s->spatial_axes - 1; i >= 0; i--) {
        const ptrdiff_t row = (ptrdiff_t)(out % (size_t)s->out[i]);
        const ptrdiff_t element = (ptrdiff_t)(k % (size_t)s->kernel[i]);
        const ptrdiff_t at = row * s->stride[i] - s->pad[i] + element * s->dilation[i];
        if (at < 0 || at >= s->in[i])
            return -1;
        pixel += at * step;
        step *= s->in[i];
        out /= (size_t)s->out[i];
        k /= (size_t)s->kernel[i];
    }
    return pixel;
}

/* The way back: the pixel of y for which element `k` meets pixel `in` of x; -1: there is none. */
static ptrdiff_t pixel_above(const qf_reference_convolution *c, size_t in, size_t k)
{
    const qf_convolution_shape *s = &c->shape;
    ptrdiff_t pixel = 0, step = 1;
    for (int i = s->spatial_axes - 1; i >= 0; i--) {
        const ptrdiff_t row = (ptrdiff_t)(in % (size_t)s->in[i]);
        const ptrdiff_t element = (ptrdiff_t)(k % (size_t)s->kernel[i]);
        const ptrdiff_t from = row + s->pad[i] - element * s->dilation[i];
        if (from < 0 || from % s->stride[i] != 0 || from / s->stride[i] >= s->out[i])
            return -1;
        pixel += from / s->stride[i] * step;
        step *= s->out[i];
        in /= (size_t)s->in[i];
        k /= (size_t)s->kernel[i];
    }
    return pixel;
}

/* A direction: what is read and what is made. Channels are those of a group. */
typedef struct walk {
    const qf_reference_convolution *c;
    bool back;
    size_t groups, from_pixels, from_channels, to_pixels, to_channels;
} walk;

static walk walk_of(const qf_reference_convolution *c, qf_reference_direction direction)
{
    const size_t groups = (size_t)c->shape.groups;
    return direction == QF_TO_IMAGE
               ? (walk){c, true, groups, c->out_pixels, c->group_out, c->in_pixels, c->group_in}
               : (walk){c, false, groups, c->in_pixels, c->group_in, c->out_pixels, c->group_out};
}

static ptrdiff_t meet(const walk *w, size_t to, size_t k)
{
    return w->back ? pixel_above(w->c, to, k) : qf_reference_pixel_under(w->c, to, k);
}

/* Place of a weight in C order: (groups · out, in, kernel). */
static size_t weight_at(const walk *w, size_t group, size_t from, size_t to, size_t k)
{
    const qf_reference_convolution *c = w->c;
    const size_t out = w->back ? from : to, in = w->back ? to : from;
    return ((group * c->group_out + out) * c->group_in + in) * c->kernel + k;
}

static bool is_large(const walk *w)
{
    const size_t results = (size_t)w->c->shape.batch * w->to_pixels * w->groups * w->to_channels;
    return qf_products_repay_threads(results * w->from_channels * w->c->kernel, results);
}

/*
 * The loops, for both types: pixel by pixel of the result, element by element of the kernel, group
 * by group, channel by channel of the source; the innermost over the result's channels. `packed`:
 * weights in the order in which they are met.
 */
#define DEFINE_SUMS(suffix, value, weight, sum)                                                    \
    static void pack_##suffix(const walk *w, const weight *from, weight *packed)                   \
    {                                                                                              \
        for (size_t k = 0; k < w->c->kernel; k++)                                                  \
            for (size_t g = 0; g < w->groups; g++)                                                 \
                for (size_t i = 0; i < w->from_channels; i++)                                      \
                    for (size_t o = 0; o < w->to_channels; o++)                                    \
                        *packed++ = from[weight_at(w, g, i, o, k)];                                \
    }                                                                                              \
    QF_CLONES static void add_pixel_##suffix(const walk *w, const value *pixel, int zero,          \
                                             const weight *packed, sum *sums)                      \
    {                                                                                              \
        for (size_t g = 0; g < w->groups; g++, sums += w->to_channels)                             \
            for (size_t i = 0; i < w->from_channels; i++, packed += w->to_channels) {              \
                const sum factor = (sum)*pixel++ - (sum)zero;                                      \
                for (size_t o = 0; o < w->to_channels; o++)                                        \
                    sums[o] += factor * (sum)packed[o];                                            \
            }                                                                                      \
    }                                                                                              \
    static void add_window_##suffix(const walk *w, const value *image, int zero,                   \
                                    const weight *packed, size_t to, sum *sums)                    \
    {                                                                                              \
        const size_t channels = w->groups * w->from_channels;                                      \
        for (size_t k = 0; k < w->c->kernel; k++, packed += channels * w->to_channels) {           \
            const ptrdiff_t pixel = meet(w, to, k);                                                \
            if (pixel >= 0)                                                                        \
                add_pixel_##suffix(w, image + (size_t)pixel * channels, zero, packed, sums);       \
        }                                                                                          \
    }
DEFINE_SUMS(floats, float, float, double)
DEFINE_SUMS(codes, uint8_t, int8_t, int32_t)

static size_t weights_of(const walk *w)
{
    return w->groups * w->from_channels * w->to_channels * w->c->kernel;
}

qf_status qf_reference_sum_codes(qf_context *context, const qf_reference_convolution *c,
                                 qf_reference_direction direction, const uint8_t *x, int zero,
                                 const int8_t *w, const int32_t *bias, int32_t *y)
{
    const walk at = walk_of(c, direction);
    const size_t channels = at.groups * at.to_channels;
    const size_t image = at.from_pixels * at.groups * at.from_channels;
    int8_t *packed = qf_alloc_raw(weights_of(&at), sizeof *packed);
    if (!packed)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution's weights");
    pack_codes(&at, w, packed);
#pragma omp parallel for schedule(static) if (is_large(&at))
    for (size_t row = 0; row < (size_t)c->shape.batch * at.to_pixels; row++) {
        int32_t *sums = y + row * channels;
        for (size_t o = 0; o < channels; o++)
            sums[o] = bias ? bias[o] : 0;
        add_window_codes(&at, x + row / at.to_pixels * image, zero, packed, row % at.to_pixels,
                         sums);
    }
    qf_free(packed);
    return QF_OK;
}

qf_status qf_reference_sum_floats(qf_context *context, const qf_reference_convolution *c,
                                  qf_reference_direction direction, const float *x, const float *w,
                                  const float *bias, float *y)
{
    const walk at = walk_of(c, direction);
    const size_t channels = at.groups * at.to_channels;
    const size_t image = at.from_pixels * at.groups * at.from_channels;
    float *packed = qf_alloc_raw(weights_of(&at), sizeof *packed);
    double *rows = qf_alloc_raw(channels, (size_t)omp_get_max_threads() * sizeof *rows);
    const qf_status status =
        packed && rows ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    if (status == QF_OK) {
        pack_floats(&at, w, packed);
#pragma omp parallel for schedule(static) if (is_large(&at))
        for (size_t row = 0; row < (size_t)c->shape.batch * at.to_pixels; row++) {
            double *sums = rows + (size_t)omp_get_thread_num() * channels;
            for (size_t o = 0; o < channels; o++)
                sums[o] = bias ? (double)bias[o] : 0;
            add_window_floats(&at, x + row / at.to_pixels * image, 0, packed, row % at.to_pixels,
                              sums);
            for (size_t o = 0; o < channels; o++)
                y[row * channels + o] = (float)sums[o];
        }
    }
    qf_free(rows);
    qf_free(packed);
    return status;
}
