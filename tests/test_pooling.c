/* Pooling against sums written out: windows, padding, ties, codes, gradients. */
#include "device/device.h"
#include "harness/fixture.h"

#include <float.h>
#include <string.h>

static qf_tensor *tensor_of(int batch, int channels, const int *size)
{
    qf_tensor *tensor;
    qf_shape shape = qf_shape_make(4, (int[]){batch, channels, size[0], size[1]});
    assert_ok(context, qf_tensor_create(context, &tensor));
    assert_ok(context, qf_tensor_reshape(context, tensor, &shape));
    return tensor;
}

/* batch, channels, input, kernel, stride, pad; channels beyond a tile, kernels beyond a byte,
 * strides that leave gaps. */
static const qf_pooling_shape shapes[] = {
    {.batch = 2,
     .channels = 3,
     .in = {7, 6},
     .kernel = {3, 2},
     .stride = {2, 2},
     .pad = {0, 0},
     .pad_end = {0, 0}},
    {.batch = 1,
     .channels = 300,
     .in = {9, 9},
     .kernel = {3, 3},
     .stride = {2, 2},
     .pad = {1, 1},
     .pad_end = {1, 1}},
    {.batch = 2,
     .channels = 17,
     .in = {8, 8},
     .kernel = {3, 3},
     .stride = {1, 1},
     .pad = {1, 2},
     .pad_end = {1, 2}},
    {.batch = 1, .channels = 5, .in = {18, 17}, .kernel = {16, 17}, .stride = {1, 1}},
    {.batch = 2, .channels = 64, .in = {7, 7}, .kernel = {7, 7}, .stride = {1, 1}},
    {.batch = 1, .channels = 4, .in = {6, 6}, .kernel = {1, 1}, .stride = {4, 4}}, /* gaps */
    /* other paddings in front than behind; TensorFlow's SAME of even sizes */
    {.batch = 2,
     .channels = 20,
     .in = {8, 6},
     .kernel = {3, 3},
     .stride = {2, 2},
     .pad_end = {1, 1}},
    {.batch = 1,
     .channels = 300,
     .in = {7, 8},
     .kernel = {3, 4},
     .stride = {2, 1},
     .pad = {2, 0},
     .pad_end = {0, 3}},
    {.batch = 1,
     .channels = 3,
     .in = {5, 5},
     .kernel = {4, 3},
     .stride = {3, 2},
     .pad = {0, 2},
     .pad_end = {3, 1}}, /* rounded up: windows end behind the padding */
};

typedef enum method { MAX, AVE, AVE_EXC_PAD } method;

static qf_pooling_shape shape_of(size_t i, method pool)
{
    qf_pooling_shape s = shapes[i];
    s.average = pool != MAX;
    s.without_padding = pool == AVE_EXC_PAD;
    const bool padded = s.pad[0] || s.pad[1] || s.pad_end[0] || s.pad_end[1];
    for (int k = 0; k < 2; k++) {
        s.out[k] =
            (s.in[k] + s.pad[k] + s.pad_end[k] - s.kernel[k] + s.stride[k] - 1) / s.stride[k] + 1;
        if (padded && (s.out[k] - 1) * s.stride[k] >= s.in[k] + s.pad[k])
            s.out[k]--;
    }
    return s;
}

/* Few different values, so that many are equal. */
static uint8_t *make_codes(size_t n)
{
    uint8_t *codes = qf_alloc(n, 1);
    assert_non_null(codes);
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)(qf_random_below(&context->random, 6) * 51);
    return codes;
}

typedef struct expected {
    float *y, *mask, *dx; /* NHWC */
} expected;

/* Of a window those inside the image; 1 if there is none. */
static float count_pixels(const qf_pooling_shape *s, int h0, int v0)
{
    int count = 0;
    for (int h = h0; h < h0 + s->kernel[0]; h++)
        for (int v = v0; v < v0 + s->kernel[1]; v++)
            count += h >= 0 && h < s->in[0] && v >= 0 && v < s->in[1];
    return count ? (float)count : 1;
}

/* Caffe's definition; x and dy in NHWC. */
static void reference(const qf_pooling_shape *s, const float *x, const float *dy, expected *e)
{
    const int channels = s->channels;
    size_t at = 0;
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++)
            for (int column = 0; column < s->out[1]; column++)
                for (int c = 0; c < channels; c++, at++) {
                    const int h0 = row * s->stride[0] - s->pad[0],
                              v0 = column * s->stride[1] - s->pad[1];
                    float sum = 0, best = -FLT_MAX;
                    int where = -1, ends[2] = {h0 + s->kernel[0], v0 + s->kernel[1]};
                    for (int k = 0; k < 2; k++)
                        if (ends[k] > s->in[k] + s->pad_end[k])
                            ends[k] = s->in[k] + s->pad_end[k];
                    float area = (float)((ends[0] - h0) * (ends[1] - v0));
                    if (s->without_padding)
                        area = count_pixels(s, h0, v0);
                    for (int pass = 0; pass < 2; pass++)
                        for (int h = h0 > 0 ? h0 : 0; h < ends[0] && h < s->in[0]; h++)
                            for (int v = v0 > 0 ? v0 : 0; v < ends[1] && v < s->in[1]; v++) {
                                const size_t from =
                                    ((size_t)(image * s->in[0] + h) * (size_t)s->in[1] +
                                     (size_t)v) *
                                        (size_t)channels +
                                    (size_t)c;
                                if (pass == 1 && (s->average || where == h * s->in[1] + v))
                                    e->dx[from] += s->average ? dy[at] / area : dy[at];
                                if (pass == 1)
                                    continue;
                                sum += x[from];
                                if (x[from] > best) {
                                    best = x[from];
                                    where = h * s->in[1] + v;
                                }
                            }
                    e->y[at] = s->average ? sum / area : best;
                    e->mask[at] = (float)where;
                }
}

static void assert_equal(qf_tensor *tensor, const float *wanted, const char *what, size_t shape)
{
    const float *found;
    assert_ok(context, qf_read(context, tensor, QF_NHWC, &found));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        if (!(found[i] == wanted[i]))
            fail_msg("%s of shape %zu: element %zu is %g, expected %g", what, shape, i,
                     (double)found[i], (double)wanted[i]);
}

/* Values are 0.5 · (code − 100): exact in float, also their sums. */
static void check(size_t index, method pool, bool as_codes)
{
    const bool average = pool != MAX;
    const qf_device *device = qf_device_of(context);
    const qf_pooling_shape s = shape_of(index, pool);
    qf_tensor *x = tensor_of(s.batch, s.channels, s.in), *y = tensor_of(s.batch, s.channels, s.out),
              *mask = tensor_of(s.batch, s.channels, s.out),
              *dy = tensor_of(s.batch, s.channels, s.out),
              *dx = tensor_of(s.batch, s.channels, s.in);
    const size_t in = qf_shape_count(&x->shape), out = qf_shape_count(&y->shape);
    uint8_t *codes = make_codes(in);
    float *values = qf_alloc(in, sizeof(float)), *gradient;
    expected e = {qf_alloc(out, sizeof(float)), qf_alloc(out, sizeof(float)),
                  qf_alloc(in, sizeof(float))};
    for (size_t i = 0; i < in; i++)
        values[i] = 0.5f * (float)(codes[i] - 100);
    assert_ok(context, qf_write(context, dy, QF_NHWC, &gradient));
    for (size_t i = 0; i < out; i++)
        gradient[i] = (float)qf_random_below(&context->random, 100) - 50;
    reference(&s, values, gradient, &e);
    void *target;
    assert_ok(context, qf_tensor_write(context, x, as_codes ? QF_CODES : QF_NHWC, &target));
    memcpy(target, as_codes ? (void *)codes : (void *)values, in * (as_codes ? 1 : sizeof(float)));
    x->code_scale = 0.5f;
    x->code_zero = 100;
    qf_pooling *pooling;
    assert_ok(context, device->pool->create(context, &s, &pooling));
    if (average && as_codes)
        assert_ok(context, device->pool->forward_integer(context, pooling, x, 0.5f, y));
    else
        assert_ok(context,
                  device->pool->forward(context, pooling, x, y, average ? NULL : mask, true));
    const bool gaps = (s.out[0] - 1) * s.stride[0] - s.pad[0] >= s.in[0];
    if (!average && as_codes)
        assert_int_equal(qf_tensor_has(y, QF_CODES), !gaps);
    if (!average && as_codes && !gaps)
        assert_false(qf_tensor_has(y, QF_NHWC)); /* no floats were made */
    assert_equal(y, e.y, average ? "average" : "maximum", index);
    if (!average)
        assert_equal(mask, e.mask, "mask", index);
    assert_ok(context, device->pool->backward(context, pooling, dy, dx));
    assert_equal(dx, e.dx, "gradient", index);
    device->pool->destroy(pooling);
    qf_tensor *all[] = {x, y, mask, dy, dx};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        qf_tensor_release(all[k]);
    void *arrays[] = {codes, values, e.y, e.mask, e.dx};
    for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++)
        qf_free(arrays[k]);
}

static void all_shapes(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        qf_context_set_threads(context, threads);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int pool = MAX; pool <= AVE_EXC_PAD; pool++) {
                check(i, (method)pool, false);
                check(i, (method)pool, true);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_shapes)};
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
