/* Layers in place behind layers whose backward pass reads what they wrote: every pair, and every
 * pair in place behind a third, by central differences. The gradient is that of a Bias of the whole
 * blob in front, which stays where blobs are dropped. */
#include "harness/fixture.h"
#include "harness/gradients.h"
#include "harness/one_layer.h"
#include "net/net.h"

#include <math.h>
#include <string.h>

#define SHAPE "shape { dim: 2 dim: 3 dim: 2 dim: 3 }"

/* Those that work in place come first; `r`, of the same shape, may be read beside. */
static const struct kind {
    const char *type, *param;
    bool reads_r;
} kinds[] = {
    {"AbsVal", "", false},
    {"BatchNorm", "", false},
    {"Bias", "bias_param { filler { value: 0.3 } }", false},
    {"BNLL", "", false},
    {"Clip", "clip_param { min: -0.3 max: 0.6 }", false},
    {"Dropout", "", false},
    {"Eltwise", "eltwise_param { operation: PROD }", true},
    {"Eltwise", "eltwise_param { coeff: 2 coeff: -3 }", true},
    {"ELU", "", false},
    {"ELU", "elu_param { alpha: -0.5 }", false},
    {"Exp", "exp_param { scale: -0.7 }", false},
    {"HardSigmoid", "hard_sigmoid_param { alpha: 0.7 }", false},
    {"Hswish", "", false},
    {"LRN", "lrn_param { local_size: 3 alpha: 1 }", false},
    {"LRN", "lrn_param { local_size: 3 alpha: 1 norm_region: WITHIN_CHANNEL }", false},
    {"Mish", "", false},
    {"MVN", "", false},
    {"Normalize", "norm_param { channel_shared: false }", false},
    {"Power", "power_param { scale: -2 shift: 0.5 }", false},
    {"Power", "power_param { power: 2 shift: 0.2 }", false},
    {"PReLU", "", false},
    {"ReLU", "", false},
    {"ReLU", "relu_param { negative_slope: 0.2 }", false},
    {"ReLU", "relu_param { negative_slope: -0.5 }", false},
    {"ReLU6", "", false},
    {"Scale", "scale_param { filler { value: -3 } }", false},
    {"SELU", "", false},
    {"SELU", "selu_param { alpha: -0.5 }", false},
    {"Sigmoid", "", false},
    {"Softmax", "", false},
    {"Swish", "swish_param { beta: 1.5 }", false},
    {"TanH", "", false},
    {"Convolution",
     "convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: 'xavier' } }", false},
    {"Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 }", false},
    {"Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 0 dim: 0 } }", false},
    {"Slice", "", false},
};

enum { KINDS = sizeof kinds / sizeof *kinds, IN_PLACE = 32, VALUES = 36 };

static void print_layer(qf_buffer *out, const struct kind *kind, const char *name,
                        const char *bottom, const char *top)
{
    qf_buffer_print(out, "layer { name: '%s' type: '%s' bottom: '%s' %s top: '%s' %s }\n", name,
                    kind->type, bottom, kind->reads_r ? "bottom: 'r'" : "", top, kind->param);
}

static qf_net *build(const struct kind *first, const struct kind *second, bool in_place)
{
    qf_buffer text = {0};
    qf_net *net;
    qf_buffer_print(&text,
                    "force_backward: true layer { name: 'in' type: 'Input' top: 'x' top: 'r' "
                    "input_param { %s %s } }\n"
                    "layer { name: 'bias' type: 'Bias' bottom: 'x' top: '%c' bias_param { axis: 0 "
                    "num_axes: -1 } }\n",
                    SHAPE, SHAPE, in_place ? 'y' : 'b');
    qf_random_seed(&context->random, 5); /* the weights' */
    print_layer(&text, first, "first", in_place ? "y" : "b", "y");
    print_layer(&text, second, "second", "y", "y");
    if (test_net_of(context, qf_buffer_text(&text), QF_TRAIN, &net) != QF_OK)
        fail_msg("%s\n%s", qf_error_text(context), qf_buffer_text(&text));
    qf_buffer_release(&text);
    return net;
}

/* What the tops are weighted by; no two alike. */
static double weight_of(size_t i)
{
    return 0.2 + (double)(i * 37 % 19) / 19;
}

static double loss_of(qf_net *net)
{
    const float *y;
    double sum = 0;
    qf_random_seed(&context->random, 5); /* Dropout's */
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
    for (size_t i = 0; i < VALUES; i++)
        sum += weight_of(i) * (double)y[i];
    return sum;
}

static void backward(qf_net *net, float *gradient)
{
    float *dy;
    const float *db;
    qf_blob *bias = qf_net_find_layer(net, "bias")->params[0].blob;
    qf_net_clear_param_diffs(net);
    assert_ok(context, qf_blob_mutable_diff(qf_net_blob(net, "y"), &dy));
    for (size_t i = 0; i < VALUES; i++)
        dy[i] = (float)weight_of(i);
    assert_ok(context, qf_net_backward(net));
    assert_ok(context, qf_read(context, bias->diff, QF_PLAIN, &db));
    memcpy(gradient, db, VALUES * sizeof *gradient);
}

/* Where both sides of a value agree: elsewhere there is a kink, and no gradient. */
static bool slope_of(qf_net *net, size_t i, double *out)
{
    const double step = 4e-3;
    double at[3];
    for (int side = 0; side < 3; side++) {
        float *b;
        assert_ok(context,
                  qf_blob_mutable_data(qf_net_find_layer(net, "bias")->params[0].blob, &b));
        b[i] = (float)((side - 1) * step);
        at[side] = loss_of(net);
        assert_ok(context,
                  qf_blob_mutable_data(qf_net_find_layer(net, "bias")->params[0].blob, &b));
        b[i] = 0;
    }
    *out = (at[2] - at[0]) / (2 * step);
    return fabs(at[2] + at[0] - 2 * at[1]) < 0.03 * fabs(at[2] - at[0]) + 2e-5;
}

static void compare(const struct kind *first, const struct kind *second, const float *got,
                    const double *wanted, const bool *bent)
{
    qf_buffer wrong = {0};
    char *name = test_format("%s %s, then %s %s in place", first->type, first->param, second->type,
                             second->param);
    if (!test_gradient_agrees(&(test_gradient){.name = name,
                                               .count = VALUES,
                                               .expected = wanted,
                                               .unknown = bent,
                                               .of_largest = 0.02},
                              got, &wrong))
        fail_msg("%s", qf_buffer_text(&wrong));
    qf_free(name);
    qf_buffer_release(&wrong);
}

static void check(const struct kind *first, const struct kind *second, bool in_place)
{
    qf_net *net = build(first, second, in_place);
    float got[VALUES], again[VALUES], seen[VALUES];
    double wanted[VALUES];
    bool bent[VALUES]; /* a kink is near: no slope */
    const float *y;
    int smooth = 0;
    test_fill_anyhow(context, qf_net_blob(net, "x"), 3);
    test_fill_anyhow(context, qf_net_blob(net, "r"), 4);
    for (size_t i = 0; i < VALUES; i++) {
        bent[i] = !slope_of(net, i, &wanted[i]);
        smooth += !bent[i];
        if (bent[i])
            wanted[i] = 0;
    }
    assert_true(smooth >= VALUES / 2);
    (void)loss_of(net);
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
    memcpy(seen, y, sizeof seen);
    backward(net, got);
    compare(first, second, got, wanted, bent);
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
    assert_memory_equal(seen, y, sizeof seen); /* what users see is what forward left */
    backward(net, again);
    assert_memory_equal(got, again, sizeof got);
    qf_net_destroy(net);

    net = build(first, second, in_place); /* one that nobody looks into */
    qf_net_keep_blobs(net, false);
    test_fill_anyhow(context, qf_net_blob(net, "x"), 3);
    test_fill_anyhow(context, qf_net_blob(net, "r"), 4);
    for (int pass = 0; pass < 2; pass++) {
        (void)loss_of(net);
        backward(net, got);
        compare(first, second, got, wanted, bent);
    }
    qf_net_destroy(net);
}

static void every_pair(void **state)
{
    (void)state;
    for (size_t a = 0; a < KINDS; a++)
        for (size_t b = 0; b < IN_PLACE; b++)
            check(&kinds[a], &kinds[b], false);
}

static void every_pair_in_place(void **state)
{
    (void)state;
    for (size_t a = 0; a < IN_PLACE; a++)
        for (size_t b = 0; b < IN_PLACE; b++)
            check(&kinds[a], &kinds[b], true);
}

static int start(void **state)
{
    test_start(state);
    qf_context_set_threads(context, 1); /* blobs are tiny, and passes many */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),
        cmocka_unit_test(every_pair_in_place),
    };
    return cmocka_run_group_tests(tests, start, test_stop);
}
