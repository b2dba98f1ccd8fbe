/* Fields that forks of Caffe gave to its layers, against formulas worked out by hand. */
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

static qf_context *context;

static int start(void **state)
{
    (void)state;
    context = test_context();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    qf_context_destroy(context);
    return 0;
}

/* A layer over one blob; its top has this shape. */
static void expect_shape(const char *bottom, const char *layer, const char *wanted)
{
    qf_net *net;
    char found[256];
    assert_ok(context,
              test_one_layer(context, QF_TEST, (const char *[]){bottom, NULL}, layer, 1, &net));
    qf_shape_text(qf_blob_shape(net->layers[1]->top[0]), found, sizeof found);
    *strstr(found, " (") = '\0'; /* the count */
    assert_string_equal(found, wanted);
    qf_net_destroy(net);
}

static void expect_refused(const char *bottom, const char *layer, const char *part)
{
    qf_net *net;
    assert_fails(context,
                 test_one_layer(context, QF_TEST, (const char *[]){bottom, NULL}, layer, 1, &net),
                 part);
}

/* What the layer makes of these values. */
static void expect_values(const char *bottom, const char *layer, const float *x, size_t count,
                          const char *shape, const float *wanted)
{
    qf_net *net;
    assert_ok(context,
              test_one_layer(context, QF_TEST, (const char *[]){bottom, NULL}, layer, 1, &net));
    test_fill(context, net->layers[1]->bottom[0], x, count);
    test_forward(context, net);
    test_expect(context, net, 0, shape, wanted);
    qf_net_destroy(net);
}

#define POOL(fields) "type: 'Pooling' pooling_param { " fields " }"
#define CONV(fields) "type: 'Convolution' convolution_param { num_output: 4 " fields " }"
#define DECONV(fields) "type: 'Deconvolution' convolution_param { num_output: 4 " fields " }"

static void pooling_rounds(void **state)
{
    (void)state;
    static const struct {
        const char *layer, *top;
    } cases[] = {
        {POOL("kernel_size: 3 stride: 2"), "1 2 5 5"},
        {POOL("kernel_size: 3 stride: 2 ceil_mode: true"), "1 2 5 5"},
        {POOL("kernel_size: 3 stride: 2 ceil_mode: false"), "1 2 4 4"},
        {POOL("kernel_size: 3 stride: 2 round_mode: FLOOR"), "1 2 4 4"},
        {POOL("kernel_size: 3 stride: 2 round_below: true"), "1 2 4 4"},
        {POOL("kernel_size: 3 stride: 2 round_below: false"), "1 2 5 5"},
        /* round_mode goes before ceil_mode */
        {POOL("kernel_size: 3 stride: 2 ceil_mode: false round_mode: CEIL"), "1 2 5 5"},
        {POOL("kernel_size: 3 stride: 2 ceil_mode: true round_mode: FLOOR"), "1 2 4 4"},
        {POOL("pool: AVE global_pooling: true ceil_mode: false"), "1 2 1 1"},
        /* with padding, a window that begins behind the image is dropped */
        {POOL("kernel_size: 2 stride: 3 pad_l: 1"), "1 2 4 4"},
        {POOL("kernel_size: 2 stride: 3 pad_r: 1"), "1 2 4 4"},
        {POOL("kernel_size: 3 stride: 2 pad_r: 1 pad_b: 1 ceil_mode: false"), "1 2 5 5"},
        {POOL("kernel_size: 3 stride: 2 pad_l: 1 pad_b: 2 ceil_mode: false"), "1 2 5 5"},
        {POOL("kernel_size: 3 stride: 2 pad_type: 1"), "1 2 5 5"},
        {POOL("kernel_size: 1 stride: 3 pad_type: 1"), "1 2 4 4"},
        {POOL("kernel_size: 3 stride: 2 pad_type: 0 pad_l: 0 pad_r: 0"), "1 2 5 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_shape("1 2 10 10", cases[i].layer, cases[i].top);
}

static void convolutions_pad_sides(void **state)
{
    (void)state;
    expect_shape("1 2 10 11", CONV("kernel_size: 3 stride: 2 pad_r: 1 pad_b: 1"), "1 4 5 5");
    expect_shape("1 2 10 11", CONV("kernel_size: 3 pad_l: 2 pad_t: 1"), "1 4 9 11");
    expect_shape("1 2 10 11", CONV("kernel_size: 3 stride: 2 pad_type: 1"), "1 4 5 6");
    expect_shape("1 2 10 11", CONV("kernel_size: 3 dilation: 2 pad_type: 1"), "1 4 10 11");
    expect_shape("1 2 7", CONV("kernel_size: 4 stride: 3 pad_type: 1"), "1 4 3");
    expect_shape("1 2 4 5", DECONV("kernel_size: 3 stride: 2 pad_l: 1 pad_b: 1"), "1 4 8 10");
    /* TensorFlow's and PyTorch's output padding */
    expect_shape("1 2 4 5", DECONV("kernel_size: 3 stride: 2 pad_l: 1 pad_t: 1 pad_r: 0 pad_b: -1"),
                 "1 4 9 10");
    expect_shape("1 2 9 9", "type: 'Im2col' convolution_param { kernel_size: 3 pad_l: 1 pad_b: 2 }",
                 "1 18 9 8");
}

static void wrong_padding(void **state)
{
    (void)state;
    static const struct {
        const char *layer, *part;
    } cases[] = {
        {CONV("kernel_size: 3 pad: 1 pad_l: 1"), "give either pad"},
        {CONV("kernel_size: 3 pad_h: 0 pad_t: 1"), "give either pad"},
        {CONV("kernel_size: 3 pad_type: 1 pad_t: 1"), "give either pad"},
        {CONV("kernel_size: 3 pad_type: 2"), "pad_type is 2, expected 0, or 1"},
        {CONV("kernel_size: 3 pad_t: -1"), "pad_t is -1, expected 0 or more"},
        {CONV("kernel_size: 3 pad_b: -1"), "pad_b is -1, expected 0 or more"},
        {CONV("kernel_size: 3 pad_r: 2000000000"), "pad_r is 2000000000"},
        {DECONV("kernel_size: 3 stride: 2 pad_r: -2"), "pad_r is -2, expected a number above"},
        {DECONV("kernel_size: 3 stride: 2 pad_l: -1"), "pad_l is -1, expected 0 or more"},
        {DECONV("kernel_size: 3 pad_type: 1"), "pad_type 1 is not for Deconvolution"},
        {POOL("kernel_size: 3 pad: 1 pad_l: 1"), "give either pad"},
        {POOL("kernel_size: 3 pad: 1 pad_type: 1"), "give either pad"},
        {POOL("kernel_size: 3 pad_l: 3"), "pad 3 must be smaller than the kernel 3"},
        {POOL("kernel_size: 3 pad_b: 4"), "pad 4 must be smaller than the kernel 3"},
        {POOL("kernel_size: 3 pad_b: 4294967295"), "found kernel 3, stride 1, pad -1"},
        {POOL("kernel_size: 3 pad_type: 7"), "pad_type is 7"},
        {POOL("pool: STOCHASTIC kernel_size: 3 pad_r: 1"), "STOCHASTIC pooling cannot have pad"},
        {POOL("global_pooling: true pad_r: 1"), "with global_pooling pad must be 0"},
        {POOL("pool: AVE_EXC_PAT kernel_size: 3"), "did you mean 'AVE_EXC_PAD'?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused("1 2 10 10", cases[i].layer, cases[i].part);
    expect_refused("1 2 10", CONV("kernel_size: 3 pad_r: 1"), "are for 2 spatial axes");
}

/* 1 … 9 in a square; windows of 2 x 2 over all corners, edges and the middle. */
static void averages_without_padding(void **state)
{
    (void)state;
    const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const float inside[] = {1, 1.5f, 2.5f, 3, 2.5f, 3, 4, 4.5f, 5.5f, 6, 7, 7.5f, 7, 7.5f, 8.5f, 9};
    expect_values("1 1 3 3", POOL("pool: AVE_EXC_PAD kernel_size: 2 pad: 1"), x, 9, "1 1 4 4 (16)",
                  inside);
    expect_values("1 1 3 3", POOL("pool: AVE_TF kernel_size: 2 pad: 1"), x, 9, "1 1 4 4 (16)",
                  inside);
    /* rounded up, the last window of each axis has one row or column of pixels */
    const float ceiling[] = {3, 4.5f, 7.5f, 9};
    expect_values("1 1 3 3", POOL("pool: AVE_EXC_PAD kernel_size: 2 stride: 2"), x, 9,
                  "1 1 2 2 (4)", ceiling);
    expect_values("1 1 3 3", POOL("pool: AVE kernel_size: 2 stride: 2"), x, 9, "1 1 2 2 (4)",
                  ceiling);
    /* SAME of an odd rest: the padding is at the end */
    expect_values("1 1 3 3", POOL("pool: AVE_TF kernel_size: 2 pad_type: 1 stride: 2"), x, 9,
                  "1 1 2 2 (4)", ceiling);
    const float counted[] = {3, 2.25f, 3.75f, 2.25f};
    expect_values("1 1 3 3", POOL("pool: AVE kernel_size: 2 stride: 2 pad_r: 1 pad_b: 1"), x, 9,
                  "1 1 2 2 (4)", counted);
    const float zero[] = {1, 0, 0, 0}; /* no pixels at all */
    expect_values("1 1 2 2", POOL("pool: AVE_EXC_PAD kernel_size: 1 stride: 2"), x, 4,
                  "1 1 2 2 (4)", zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_rounds),
        cmocka_unit_test(convolutions_pad_sides),
        cmocka_unit_test(wrong_padding),
        cmocka_unit_test(averages_without_padding),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
