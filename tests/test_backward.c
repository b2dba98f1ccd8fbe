/* Gradients of convolutions against sums written out in double: every way that the CPU takes for a
 * shape, in float and in bf16, from floats and from codes. */
#include "device/cpu/onednn.h"
#include "device/device.h"
#include "harness/fixture.h"
#include "tensor/convert.h"

#include <math.h>
#include <string.h>

static const qf_convolution_shape shapes[] = {
    /* axes, batch, in, out, groups, sizes, (results), kernel, stride, dilation, pad,
     * pad behind */
    {2, 2, 5, 7, 1, {4, 3}, {4, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},   /* pixels */
    {2, 2, 6, 9, 1, {7, 8}, {4, 3}, {1, 1}, {2, 3}, {1, 1}, {0, 0}, {0, 0}},   /* every other */
    {2, 1, 64, 48, 1, {2, 2}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, /* many weights */
    {1, 3, 4, 5, 1, {9}, {3}, {1}, {4}, {1}, {0}, {0}},                        /* one axis */
    {3, 1, 3, 2, 1, {3, 4, 5}, {2, 4, 3}, {1, 1, 1}, {2, 1, 2}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
    {2, 3, 3, 16, 1, {15, 13}, {8, 7}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}}, /* an image */
    {2, 1, 1, 20, 1, {9, 12}, {5, 8}, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},  /* LeNet's */
    {2, 2, 4, 3, 1, {11, 6}, {4, 3}, {3, 2}, {3, 2}, {2, 1}, {2, 0}, {2, 0}},   /* gaps in rows */
    {2, 2, 2, 3, 1, {5, 5}, {2, 2}, {2, 2}, {3, 3}, {1, 1}, {0, 0}, {0, 0}},    /* unread pixels */
    {2, 2, 3, 5, 1, {6, 6}, {4, 2}, {3, 3}, {1, 1}, {1, 2}, {0, 0}, {0, 0}}, /* gaps in columns */
    {2, 2, 16, 24, 1, {6, 5}, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 6, 8, 2, {5, 5}, {3, 3}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    /* other paddings in front than behind */
    {2, 2, 5, 7, 1, {6, 5}, {4, 3}, {3, 3}, {2, 2}, {1, 1}, {0, 1}, {2, 0}},
    {2, 2, 3, 16, 1, {12, 10}, {6, 5}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}}, /* SAME */
    {2, 1, 6, 8, 2, {5, 5}, {5, 6}, {3, 3}, {1, 1}, {1, 1}, {2, 1}, {0, 2}},
    {2, 2, 8, 4, 1, {4, 5}, {5, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 1}, {1, 0}}, /* beside a pixel */
};

static size_t product(const int *sizes, int axes)
{
    size_t result = 1;
    for (int i = 0; i < axes; i++)
        result *= (size_t)sizes[i];
    return result;
}

static qf_tensor *tensor_of(int axes, int first, int second, const int *rest)
{
    qf_tensor *tensor;
    qf_shape shape = {.axes = axes + 2, .dim = {first, second}};
    for (int i = 0; i < axes; i++)
        shape.dim[2 + i] = rest[i];
    assert_ok(context, qf_tensor_create(context, &tensor));
    assert_ok(context, qf_tensor_reshape(context, tensor, &shape));
    return tensor;
}

static void fill_values(qf_tensor *tensor, qf_form form)
{
    float *values;
    assert_ok(context, qf_write(context, tensor, form, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = qf_random_gaussian(&context->random, 0.1f, 1);
}

static void fill_codes(qf_tensor *x, qf_tensor *w)
{
    uint8_t *codes;
    int8_t *weights;
    float scale[64];
    assert_ok(context, qf_tensor_write(context, x, QF_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        codes[i] = (uint8_t)qf_random_below(&context->random, 256);
    x->code_scale = 0.03f;
    x->code_zero = 101;
    assert_ok(context, qf_tensor_write(context, w, QF_WEIGHT_CODES, &weights));
    for (size_t i = 0; i < qf_shape_count(&w->shape); i++)
        weights[i] = (int8_t)((int)qf_random_below(&context->random, 255) - 127);
    for (int o = 0; o < w->shape.dim[0]; o++)
        scale[o] = 0.01f * (float)(o + 1);
    assert_ok(context, qf_tensor_set_weight_scale(context, w, scale, w->shape.dim[0], 0));
}

/* Flat input pixel under output pixel `out` and kernel element `k`; −1: in the padding. */
static ptrdiff_t pixel_under(const qf_convolution_shape *s, size_t out, size_t k)
{
    ptrdiff_t result = 0, step = 1;
    for (int i = s->spatial_axes - 1; i >= 0; i--) {
        const int at = (int)(out % (size_t)s->out[i]) * s->stride[i] - s->pad[i] +
                       (int)(k % (size_t)s->kernel[i]) * s->dilation[i];
        if (at < 0 || at >= s->in[i])
            return -1;
        result += at * step;
        step *= s->in[i];
        out /= (size_t)s->out[i];
        k /= (size_t)s->kernel[i];
    }
    return result;
}

typedef struct sums {
    double *dx, *dw;
    double *dx_magnitude, *dw_magnitude; /* of the terms: what rounding is proportional to */
} sums;

/* All arrays NHWC but w and dw, which are in C order. */
static void add_reference(const qf_convolution_shape *s, const float *x, const float *w,
                          const double *dy, sums *to)
{
    const size_t in_pixels = product(s->in, s->spatial_axes);
    const size_t out_pixels = product(s->out, s->spatial_axes);
    const size_t kernel = product(s->kernel, s->spatial_axes);
    const size_t in = (size_t)(s->in_channels / s->groups), out = (size_t)s->out_channels;
    for (size_t row = 0; row < (size_t)s->batch * out_pixels; row++)
        for (size_t k = 0; k < kernel; k++) {
            const ptrdiff_t under = pixel_under(s, row % out_pixels, k);
            if (under < 0)
                continue;
            const size_t pixel = row / out_pixels * in_pixels + (size_t)under;
            for (size_t o = 0; o < out; o++)
                for (size_t i = 0; i < in; i++) {
                    const size_t group = o / (out / (size_t)s->groups);
                    const size_t at_x = pixel * (size_t)s->in_channels + group * in + i;
                    const size_t at_w = (o * in + i) * kernel + k;
                    const double for_x = dy[row * out + o] * (double)w[at_w];
                    const double for_w = dy[row * out + o] * (double)x[at_x];
                    to->dx[at_x] += for_x;
                    to->dw[at_w] += for_w;
                    to->dx_magnitude[at_x] += fabs(for_x);
                    to->dw_magnitude[at_w] += fabs(for_w);
                }
        }
}

static void assert_near(qf_tensor *tensor, qf_form form, const double *expected,
                        const double *magnitude, double times, const char *what, size_t number)
{
    const float *found;
    assert_ok(context, qf_read(context, tensor, form, &found));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        if (!(fabs((double)found[i] - times * expected[i]) <= 2e-6 * times * magnitude[i]))
            fail_msg("%s of shape %zu: element %zu is %.9g, expected %.9g", what, number, i,
                     (double)found[i], times * expected[i]);
}

/* What the kernels make of dy: itself, or in bf16 what is left of it when it was multiplied by the
 * weights' scales. */
static void read_gradient(qf_tensor *dy, const qf_tensor *w, bool bf16, double *to)
{
    const size_t count = qf_shape_count(&dy->shape), channels = (size_t)dy->shape.dim[1];
    const float *values;
    assert_ok(context, qf_read(context, dy, QF_NHWC, &values));
    uint16_t *rounded = qf_alloc(count, sizeof *rounded);
    if (bf16)
        qf_rows_to_bf16(values, w->weight_scale, rounded, count / channels, channels);
    for (size_t i = 0; i < count; i++) {
        float value = values[i];
        if (bf16) {
            qf_bf16_to_float_part(&rounded[i], &value, 1);
            value /= w->weight_scale[i % channels];
        }
        to[i] = (double)value;
    }
    qf_free(rounded);
}

static void check(size_t number, bool codes, bool bf16)
{
    const qf_device *device = qf_device_of(context);
    const qf_convolution_shape *s = &shapes[number];
    qf_tensor *x = tensor_of(s->spatial_axes, s->batch, s->in_channels, s->in);
    qf_tensor *dx = tensor_of(s->spatial_axes, s->batch, s->in_channels, s->in);
    qf_tensor *dy = tensor_of(s->spatial_axes, s->batch, s->out_channels, s->out);
    qf_tensor *w =
        tensor_of(s->spatial_axes, s->out_channels, s->in_channels / s->groups, s->kernel);
    qf_tensor *dw =
        tensor_of(s->spatial_axes, s->out_channels, s->in_channels / s->groups, s->kernel);
    const size_t in = qf_shape_count(&x->shape), weights = qf_shape_count(&w->shape);
    sums to = {qf_alloc(in, sizeof(double)), qf_alloc(weights, sizeof(double)),
               qf_alloc(in, sizeof(double)), qf_alloc(weights, sizeof(double))};
    double *gradient = qf_alloc(qf_shape_count(&dy->shape), sizeof *gradient);
    const float *values, *weight_values;
    qf_convolution *convolution;
    fill_values(dy, QF_NHWC);
    if (codes) {
        fill_codes(x, w);
    } else {
        fill_values(x, QF_NHWC);
        fill_values(w, QF_PLAIN);
    }
    context->backward = bf16 ? QF_BACKWARD_BF16 : QF_BACKWARD_F32;
    assert_ok(context, device->convolve->create(context, s, &convolution));
    const bool rounds = device->convolve->takes_bf16(context, convolution, x, w);
    assert_true(!rounds || (bf16 && codes));
    assert_true(rounds || !bf16 || !qf_onednn_has_bf16() || s->groups > 1);
    for (int pass = 1; pass <= 2; pass++) { /* the second is added to the first */
        assert_ok(context, device->convolve->backward(context, convolution, x, w, dy, dw, dx));
        if (pass == 1) {
            read_gradient(dy, w, rounds, gradient);
            assert_ok(context, qf_read(context, x, QF_NHWC, &values));
            assert_ok(context, qf_read(context, w, QF_PLAIN, &weight_values));
            add_reference(s, values, weight_values, gradient, &to);
        }
        assert_near(dx, QF_NHWC, to.dx, to.dx_magnitude, 1, "data gradient", number);
        assert_near(dw, QF_PLAIN, to.dw, to.dw_magnitude, pass, "gradient of the weights", number);
    }
    device->convolve->destroy(convolution);
    void *arrays[] = {to.dx, to.dw, to.dx_magnitude, to.dw_magnitude, gradient};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        qf_free(arrays[i]);
    qf_tensor *all[] = {x, dx, dy, w, dw};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        qf_tensor_release(all[i]);
}

static void from_floats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(i, false, false);
}

static void from_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(i, true, false);
}

static void in_bf16(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(i, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_floats),
        cmocka_unit_test(from_codes),
        cmocka_unit_test(in_bf16),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
