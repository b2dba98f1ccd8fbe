/* The integer kernels against sums written out: every code, every corner of the shapes. */
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/cpu/multiply/dot_product.h"
#include "device/device.h"
#include "harness/fixture.h"

#include <math.h>
#include <string.h>

static qf_tensor *tensor_of(int axes, const int *dimensions)
{
    qf_tensor *tensor;
    qf_shape shape = qf_shape_make(axes, dimensions);
    assert_ok(context, qf_tensor_create(context, &tensor));
    assert_ok(context, qf_tensor_reshape(context, tensor, &shape));
    return tensor;
}

/* All codes from the smallest to the largest, extremes often: they are what saturates. */
static unsigned random_code(void)
{
    unsigned draw = qf_random_below(&context->random, 512);
    return draw < 256 ? draw : draw < 384 ? 0 : 255;
}

static const uint8_t *fill_codes(qf_tensor *tensor, int zero)
{
    uint8_t *codes;
    assert_ok(context, qf_tensor_write(context, tensor, QF_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        codes[i] = (uint8_t)random_code();
    tensor->code_scale = 0.25f;
    tensor->code_zero = zero;
    return codes;
}

static const int8_t *fill_weights(qf_tensor *tensor)
{
    int8_t *codes;
    assert_ok(context, qf_tensor_write(context, tensor, QF_WEIGHT_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        codes[i] = (int8_t)((int)random_code() - 128);
    return codes;
}

static const int32_t *fill_bias(qf_tensor *tensor)
{
    int32_t *values;
    assert_ok(context, qf_tensor_write(context, tensor, QF_INTEGERS, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = (int32_t)qf_random_below(&context->random, 200001) - 100000;
    return values;
}

static void assert_same_integers(qf_tensor *tensor, const int32_t *expected, const char *what,
                                 size_t number)
{
    const int32_t *found;
    assert_ok(context, qf_tensor_read(context, tensor, QF_INTEGERS, &found));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        if (found[i] != expected[i])
            fail_msg("%s %zu: element %zu is %d, expected %d", what, number, i, found[i],
                     expected[i]);
}

/* batch, channels in and out, groups, input, kernel, stride, dilation, pad, pad behind: each
 * for two axes. */
static const struct {
    int batch, in, out, groups, size[2], kernel[2], stride[2], dilation[2], pad[2], end[2], zero;
} shapes[] = {
    {1, 3, 8, 1, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 128},
    {2, 64, 70, 1, {5, 4}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 0},
    {2, 16, 24, 4, {8, 7}, {3, 2}, {2, 1}, {1, 1}, {1, 0}, {1, 0}, 255},
    {1, 12, 12, 12, {11, 11}, {5, 3}, {1, 2}, {1, 1}, {2, 1}, {2, 1}, 7},
    {3, 20, 17, 1, {12, 12}, {3, 3}, {1, 1}, {2, 3}, {2, 3}, {2, 3}, 131},
    {1, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 128},
    {1, 512, 32, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 64},
    {5, 4, 130, 1, {3, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 77},   /* tiles over images */
    {2, 3, 33, 1, {40, 37}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}, 200}, /* bands of copied rows */
    {4, 8, 20, 1, {27, 26}, {3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 9},   /* bands over images */
    {1, 5, 3, 1, {4, 6}, {1, 1}, {2, 3}, {1, 1}, {0, 0}, {0, 0}, 255}, /* runs that end in a word */
    {3, 2, 64, 1, {2, 2}, {4, 4}, {1, 1}, {1, 1}, {2, 2}, {2, 2}, 128}, /* more border than image */
    {2, 36, 257, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 31},   /* threads share channels
                                                                            */
    {1, 600, 7, 1, {9, 300}, {1, 3}, {1, 1}, {1, 2}, {0, 2}, {0, 2}, 100}, /* long rows */
    {3, 72, 72, 72, {29, 30}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 1}, 140},
    {2, 128, 128, 128, {9, 8}, {2, 2}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 3}, /* read where they lie */
    {1, 16, 16, 16, {12, 10}, {4, 5}, {1, 1}, {2, 1}, {3, 2}, {3, 2}, 250},
    {1, 21, 21, 21, {32, 30}, {4, 4}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 9}, /* upsampling by two */
    {2, 6, 8, 2, {17, 16}, {5, 4}, {3, 2}, {1, 1}, {1, 1}, {1, 1}, 200},
    /* other paddings in front than behind */
    {2, 8, 24, 1, {12, 9}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 140},
    {2, 3, 33, 1, {20, 17}, {7, 5}, {2, 2}, {1, 1}, {2, 1}, {3, 4}, 200},
    {1, 16, 20, 1, {5, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 1}, {2, 0}, 77}, /* beside a pixel */
    {1, 6, 8, 2, {9, 8}, {3, 3}, {1, 1}, {2, 1}, {0, 2}, {3, 0}, 9},
    {2, 40, 40, 40, {9, 8}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 131},
};

static qf_convolution_shape shape_of(size_t i)
{
    qf_convolution_shape s = {.spatial_axes = 2,
                              .batch = shapes[i].batch,
                              .in_channels = shapes[i].in,
                              .out_channels = shapes[i].out,
                              .groups = shapes[i].groups};
    for (int k = 0; k < 2; k++) {
        s.in[k] = shapes[i].size[k];
        s.kernel[k] = shapes[i].kernel[k];
        s.stride[k] = shapes[i].stride[k];
        s.dilation[k] = shapes[i].dilation[k];
        s.pad[k] = shapes[i].pad[k];
        s.pad_end[k] = shapes[i].end[k];
        s.out[k] = (s.in[k] + s.pad[k] + s.pad_end[k] - s.dilation[k] * (s.kernel[k] - 1) - 1) /
                       s.stride[k] +
                   1;
    }
    return s;
}

static void convolutions(void **state)
{
    (void)state;
    const qf_device *device = qf_device_of(context);
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        const bool reversed = i % 2;
        const qf_convolution_shape s = shape_of(i / 2);
        const int small[] = {s.batch, s.in_channels, s.in[0], s.in[1]};
        const int large[] = {s.batch, s.out_channels, s.out[0], s.out[1]};
        qf_tensor *x = tensor_of(4, reversed ? large : small);
        qf_tensor *y = tensor_of(4, reversed ? small : large);
        qf_tensor *w = tensor_of(
            4, (int[]){s.out_channels, s.in_channels / s.groups, s.kernel[0], s.kernel[1]});
        qf_tensor *bias = tensor_of(1, (int[]){reversed ? s.in_channels : s.out_channels});
        qf_convolution *convolution;
        const uint8_t *codes = fill_codes(x, shapes[i / 2].zero);
        const int8_t *weights = fill_weights(w);
        const int32_t *biases = fill_bias(bias);
        int32_t *expected = qf_alloc(qf_shape_count(&y->shape), sizeof *expected);
        assert_ok(context, device->convolve->create(context, &s, &convolution));
        if (reversed) {
            assert_ok(context,
                      device->convolve->transposed_integer(context, convolution, x, w, bias, y));
            qf_deconvolution_integer_reference(&s, codes, x->code_zero, weights, biases, expected);
        } else {
            assert_ok(context,
                      device->convolve->forward_integer(context, convolution, x, w, bias, y));
            qf_convolution_integer_reference(&s, codes, x->code_zero, weights, biases, expected);
        }
        assert_same_integers(y, expected, reversed ? "deconvolution" : "convolution", i / 2);
        qf_free(expected);
        device->convolve->destroy(convolution);
        qf_tensor *all[] = {x, y, w, bias};
        for (size_t k = 0; k < 4; k++)
            qf_tensor_release(all[k]);
    }
}

/* The fast tiles of sums against plain loops: every number of vectors, codes of both extremes. */
static void tiles(void **state)
{
    (void)state;
    enum { TAPS = 3, STEPS = 5, BYTES = 4096, LONGEST = QF_DOT_COLUMNS * QF_DOT_DEPTH * 15 };
    static uint8_t x[BYTES];
    static int8_t w[LONGEST];
    const size_t tap[TAPS * QF_DOT_DEPTH] = {0, 700, 1333, 5, 64, 31, 90, 1000, 411, 2, 1500, 77};
    if (!qf_dot_tile_fast())
        skip();
    for (int round = 0; round < 40; round++) {
        qf_dot_operands operands = {tap, 1 + (size_t)round % TAPS, 1 + (size_t)round % STEPS};
        const int vectors = 1 + round / 2 % 4;
        const uint8_t *position[QF_DOT_ROWS];
        int32_t start[QF_DOT_COLUMNS], found[QF_DOT_ROWS * QF_DOT_COLUMNS],
            expected[QF_DOT_ROWS * QF_DOT_COLUMNS];
        for (int i = 0; i < BYTES; i++)
            x[i] = (uint8_t)random_code();
        for (int i = 0; i < LONGEST; i++)
            w[i] = (int8_t)((int)random_code() - 128);
        for (int i = 0; i < QF_DOT_COLUMNS; i++)
            start[i] = (int32_t)qf_random_below(&context->random, 2000001) - 1000000;
        for (int i = 0; i < QF_DOT_ROWS; i++)
            position[i] = x + qf_random_below(&context->random, 2000);
        if (round % 2) {
            operands.taps = QF_DOT_DEPTH * (1 + (size_t)round % TAPS);
            qf_depthwise_tile_fast()(position, &operands, w, start, vectors, found);
            qf_depthwise_tile_reference(position, &operands, w, start, vectors, expected);
        } else {
            qf_dot_tile_fast()(position, &operands, w, start, vectors, found);
            qf_dot_tile_reference(position, &operands, w, start, vectors, expected);
        }
        for (int row = 0; row < QF_DOT_ROWS; row++)
            assert_memory_equal(found + row * QF_DOT_COLUMNS, expected + row * QF_DOT_COLUMNS,
                                (size_t)vectors * QF_DOT_LANES * sizeof *found);
    }
}

/* Deconvolution of codes as it is trained: integers, scales of each channel and a bias in floats,
 * against the same in float. */
static void deconvolutions_of_training(void **state)
{
    (void)state;
    const qf_device *device = qf_device_of(context);
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        const qf_convolution_shape s = shape_of(i / 2);
        const int part = s.in_channels / s.groups;
        qf_tensor *x = tensor_of(4, (int[]){s.batch, s.out_channels, s.out[0], s.out[1]});
        qf_tensor *w = tensor_of(4, (int[]){s.out_channels, part, s.kernel[0], s.kernel[1]});
        qf_tensor *bias = tensor_of(1, (int[]){s.in_channels});
        qf_tensor *y[2];
        float scale[1024], *biases;
        const float *found[2];
        qf_convolution *convolution;
        fill_codes(x, shapes[i / 2].zero);
        fill_weights(w);
        for (int c = 0; c < part; c++)
            scale[c] = 0.01f * (float)(c + 1);
        assert_ok(context, qf_tensor_set_weight_scale(context, w, scale, i % 2 ? part : 1, i % 2));
        assert_ok(context, qf_write(context, bias, QF_PLAIN, &biases));
        for (int c = 0; c < s.in_channels; c++)
            biases[c] = (float)(c - 3);
        assert_ok(context, device->convolve->create(context, &s, &convolution));
        for (int k = 0; k < 2; k++) {
            y[k] = tensor_of(4, (int[]){s.batch, s.in_channels, s.in[0], s.in[1]});
            context->compute = k ? QF_COMPUTE_FLOAT : QF_COMPUTE_INT8;
            assert_ok(context, device->convolve->transposed(context, convolution, x, w,
                                                            i % 4 ? bias : NULL, y[k]));
            assert_ok(context, qf_read(context, y[k], QF_NHWC, &found[k]));
        }
        context->compute = QF_COMPUTE_AUTO;
        float largest = 0;
        for (size_t k = 0; k < qf_shape_count(&y[0]->shape); k++)
            largest = fmaxf(largest, fabsf(found[1][k]));
        for (size_t k = 0; k < qf_shape_count(&y[0]->shape); k++)
            if (!(fabsf(found[0][k] - found[1][k]) <= 1e-5f * largest))
                fail_msg("shape %zu: element %zu is %g from codes, %g in float", i / 2, k,
                         (double)found[0][k], (double)found[1][k]);
        device->convolve->destroy(convolution);
        qf_tensor *all[] = {x, y[0], y[1], w, bias};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            qf_tensor_release(all[k]);
    }
}

static void inner_products(void **state)
{
    (void)state;
    static const struct {
        int rows, channels, inner, outputs, zero;
        bool transposed;
    } products[] = {{1, 1, 1, 1, 128, false}, {4, 50, 16, 500, 100, false},
                    {3, 7, 9, 10, 0, false},  {8, 500, 1, 10, 255, false},
                    {4, 12, 6, 70, 3, true},  {9, 20, 1, 33, 90, true}};
    const qf_device *device = qf_device_of(context);
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        const int rows = products[i].rows, channels = products[i].channels,
                  inner = products[i].inner, outputs = products[i].outputs;
        const bool transposed = products[i].transposed;
        const qf_inner_product_shape s = {rows, channels * inner, outputs, transposed};
        qf_tensor *x = tensor_of(4, (int[]){rows, channels, inner, 1});
        qf_tensor *w = tensor_of(2, transposed ? (int[]){channels * inner, outputs}
                                               : (int[]){outputs, channels * inner});
        qf_tensor *bias = tensor_of(1, (int[]){outputs}), *y = tensor_of(2, (int[]){rows, outputs});
        qf_inner_product *product;
        const uint8_t *codes = fill_codes(x, products[i].zero); /* channels last */
        const int8_t *weights = fill_weights(w);
        const int32_t *biases = fill_bias(bias);
        int32_t *expected = qf_alloc((size_t)rows * (size_t)outputs, sizeof *expected);
        for (int r = 0; r < rows; r++)
            for (int o = 0; o < outputs; o++) {
                int32_t sum = biases[o];
                for (int c = 0; c < channels; c++)
                    for (int p = 0; p < inner; p++) {
                        const int input = c * inner + p;
                        sum += (codes[(r * inner + p) * channels + c] - products[i].zero) *
                               weights[transposed ? input * outputs + o
                                                  : o * channels * inner + input];
                    }
                expected[r * outputs + o] = sum;
            }
        assert_ok(context, device->multiply->create(context, &s, &product));
        assert_ok(context, device->multiply->forward_integer(context, product, x, w, bias, y));
        assert_same_integers(y, expected, "inner product", i);
        qf_free(expected);
        device->multiply->destroy(product);
        qf_tensor *all[] = {x, y, w, bias};
        for (size_t k = 0; k < 4; k++)
            qf_tensor_release(all[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(deconvolutions_of_training),
        cmocka_unit_test(inner_products),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
