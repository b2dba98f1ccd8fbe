/* Layers that run as one at inference, against the same layers one by one: float nets up to the
 * rounding of folded weights, deploy models in every bit. */
#include "device/cpu/quantise/quantise_loops.h"
#include "harness/fixture.h"
#include "net/schedule/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int stop(void **state)
{
    unsetenv("QAFFE_FUSION");
    return test_stop_in_folder(state);
}

/* ---- nets ---- */

#define INPUT(dims)                                                                                \
    "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { " dims " } } } "
#define CONV(name, from, more)                                                                     \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name                  \
    "' convolution_param { weight_filler { type: 'msra' } bias_filler { type: 'uniform' min: -1 "  \
    "max: 1 } " more " } } "
#define NORM(name)                                                                                 \
    "layer { name: '" name "_bn' type: 'BatchNorm' bottom: '" name "' top: '" name                 \
    "' } layer { name: '" name "_scale' type: 'Scale' bottom: '" name "' top: '" name              \
    "' scale_param { bias_term: true filler { type: 'uniform' min: -1.5 max: 1.5 } bias_filler { " \
    "type: 'uniform' min: -1 max: 1 } } } "
#define RELU(name)                                                                                 \
    "layer { name: '" name "_relu' type: 'ReLU' bottom: '" name "' top: '" name "' } "
#define SUM(name, a, b)                                                                            \
    "layer { name: '" name "' type: 'Eltwise' bottom: '" a "' bottom: '" b "' top: '" name "' } "
#define POOL(name, from, more)                                                                     \
    "layer { name: '" name "' type: 'Pooling' bottom: '" from "' top: '" name                      \
    "' pooling_param { " more " } } "
#define DENSE(name, from, outputs)                                                                 \
    "layer { name: '" name "' type: 'InnerProduct' bottom: '" from "' top: '" name                 \
    "' inner_product_param { num_output: " outputs " weight_filler { type: 'xavier' } } } "

static const struct {
    const char *name, *text;
    const char *fused_float, *fused_deploy; /* layers that must be the first of a group */
} nets[] = {
    {"ResNet block",
     INPUT("dim: 2 dim: 3 dim: 17 dim: 17") CONV("c1", "data",
                                                 "num_output: 16 kernel_size: 7 stride: 2 pad: 3")
         NORM("c1") RELU("c1") POOL("p1", "c1", "pool: MAX kernel_size: 3 stride: 2")
             CONV("b1", "p1", "num_output: 32 kernel_size: 1 bias_term: false") NORM("b1")
                 CONV("b2a", "p1", "num_output: 8 kernel_size: 1 bias_term: false") NORM("b2a")
                     RELU("b2a") CONV("b2b", "b2a",
                                      "num_output: 8 kernel_size: 3 pad: 1 bias_term: false")
                         NORM("b2b") RELU("b2b")
                             CONV("b2c", "b2b", "num_output: 32 kernel_size: 1 bias_term: false")
                                 NORM("b2c") SUM("s", "b1", "b2c") RELU("s")
                                     CONV("c2a", "s", "num_output: 32 kernel_size: 3 pad: 1")
                                         NORM("c2a") SUM("s2", "c2a", "s") RELU("s2")
                                             POOL("p2", "s2", "pool: AVE global_pooling: true")
                                                 DENSE("fc", "p2", "10"),
     "b2c", "b2c"},
    {"MobileNet block",
     INPUT("dim: 2 dim: 3 dim: 15 dim: 13") CONV(
         "c1", "data",
         "num_output: 32 kernel_size: 3 stride: 2 pad: 1 bias_term: false") NORM("c1") RELU("c1")
         CONV("dw", "c1", "num_output: 32 group: 32 kernel_size: 3 pad: 1 bias_term: false") NORM(
             "dw") RELU("dw") CONV("pw", "dw", "num_output: 72 kernel_size: 1 bias_term: false")
             NORM("pw") RELU("pw")
                 CONV("dw2", "pw", "num_output: 72 group: 72 kernel_size: 3 stride: 2 pad: 1")
                     RELU("dw2") CONV("pw2", "dw2", "num_output: 24 kernel_size: 1 stride: 2"),
     "dw", "dw"},
    {"fire module",
     INPUT("dim: 1 dim: 3 dim: 21 dim: 21") CONV("c1", "data",
                                                 "num_output: 16 kernel_size: 3 stride: 2")
         RELU("c1") POOL("p1", "c1", "pool: MAX kernel_size: 3 stride: 2")
             CONV("sq", "p1", "num_output: 8 kernel_size: 1") RELU("sq")
                 CONV("e1", "sq", "num_output: 16 kernel_size: 1") RELU("e1")
                     CONV("e3", "sq", "num_output: 24 kernel_size: 3 pad: 1") RELU(
                         "e3") "layer { name: 'cat' type: 'Concat' bottom: 'e1' bottom: 'e3' top: "
                               "'cat' } " CONV("last", "cat", "num_output: 10 kernel_size: 1") RELU(
                                   "last") POOL("p2", "last", "pool: AVE global_pooling: true"),
     "e3", "e3"},
    {"groups, not in place, negative slope",
     INPUT("dim: 3 dim: 8 dim: 9 dim: 9") CONV(
         "c1", "data",
         "num_output: 16 group: 2 kernel_size: 3 pad: 1") "layer { name: 'n' type: 'BatchNorm' "
                                                          "bottom: 'c1' top: 'n' } "
                                                          "layer { name: 'r' type: 'ReLU' bottom: "
                                                          "'n' top: 'r' relu_param { "
                                                          "negative_slope: 0.1 } } " CONV(
                                                              "c2", "r",
                                                              "num_output: 16 kernel_size: 3 pad: "
                                                              "2 dilation: 2") "layer { name: 't' "
                                                                               "type: 'ReLU' "
                                                                               "bottom: 'c2' top: "
                                                                               "'t' } " SUM(
                                                                                   "s", "t", "r")
                                                                                   CONV("c3", "s",
                                                                                        "num_"
                                                                                        "output: 6 "
                                                                                        "kernel_"
                                                                                        "size: 2"),
     "c1", "c2"},
    /* clang-format off */
    {"fields of forks",
     INPUT("dim: 2 dim: 3 dim: 17 dim: 14")
     CONV("c1", "data", "num_output: 16 kernel_size: 3 stride: 2 pad_r: 1 pad_b: 1")
     "layer { name: 'n1' type: 'BatchNorm' bottom: 'c1' top: 'c1' batch_norm_param { eps: 0.1 "
     "add_eps_before_sqrt: false scale_bias: true scale_filler { type: 'uniform' min: -15 max: 15 "
     "} } } "
     "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' relu_param { relu6: true } } "
     CONV("dw", "c1", "num_output: 16 group: 16 kernel_size: 3 stride: 2 pad_type: 1")
     NORM("dw") RELU("dw")
     POOL("p1", "dw", "kernel_size: 3 pad_r: 1 pad_t: 2 pad_b: 1 ceil_mode: false")
     CONV("c2", "p1", "num_output: 24 kernel_size: 1 pad_b: 1") RELU("c2")
     POOL("p2", "c2", "pool: AVE_EXC_PAD kernel_size: 2 stride: 2")
     POOL("p3", "p2", "pool: AVE_TF kernel_size: 3 pad: 1")
     POOL("p4", "p3", "pool: AVE kernel_size: 2 pad_l: 1 pad_b: 1")
     "layer { name: 'up' type: 'Deconvolution' bottom: 'p4' top: 'up' convolution_param { "
     "num_output: 12 kernel_size: 3 stride: 2 pad_l: 1 pad_t: 1 pad_b: -1 weight_filler { type: "
     "'msra' } } } "
     CONV("c3", "up", "num_output: 6 kernel_size: 3 pad_t: 2 pad_l: 1") RELU("c3")
     DENSE("fc", "c3", "5"),
     "c1", "c2"},
    /* clang-format on */
    {"deconvolution and one that reads its own addend",
     INPUT("dim: 2 dim: 4 dim: 6 dim: 6") "layer { name: 'up' type: 'Deconvolution' bottom: 'data' "
                                          "top: 'up' convolution_param { "
                                          "num_output: 6 kernel_size: 3 stride: 2 weight_filler { "
                                          "type: 'msra' } } } " RELU("up")
                                              CONV("c1", "up", "num_output: 6 kernel_size: 1") SUM(
                                                  "s", "c1", "up") RELU("s") DENSE("fc", "s", "7")
                                                  RELU("fc") DENSE("fc2", "fc", "5"),
     "c1", "c1"},
};
enum { NETS = sizeof nets / sizeof *nets };

static void fill(float *values, size_t count, float low, float high)
{
    for (size_t i = 0; i < count; i++)
        values[i] = qf_random_uniform(&context->random, low, high);
}

static void fill_blob(qf_blob *blob, float low, float high)
{
    float *values;
    assert_ok(context, qf_blob_mutable_data(blob, &values));
    fill(values, qf_blob_count(blob), low, high);
}

/* The net with ReLU6 for ReLU, and values that it cuts off. */
static char *with_relu6(const char *text)
{
    char *limited = test_replace(text, "type: 'ReLU'", "type: 'ReLU6'");
    char *larger = test_replace(limited, "min: -1.5 max: 1.5", "min: -12 max: 12");
    qf_free(limited);
    return larger;
}

static qf_net *open_net(const char *model, const char *weights, bool fusion, bool keep)
{
    qf_net *net;
    setenv("QAFFE_FUSION", fusion ? "1" : "0", 1);
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    if (weights)
        assert_ok(context, qf_net_load_weights(net, weights));
    qf_net_keep_blobs(net, keep);
    return net;
}

/* Statistics that BatchNorm might have learned. */
static void write_float_net(const char *text)
{
    assert_ok(context, qf_file_write(context, "net.prototxt", text, strlen(text), 0640));
    qf_net *net = open_net("net.prototxt", NULL, false, true);
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->type->name, "BatchNorm") == 0) {
            fill_blob(net->layers[l]->params[0].blob, -1, 1);
            fill_blob(net->layers[l]->params[1].blob, 0.5f, 1.5f);
            fill_blob(net->layers[l]->params[2].blob, 1, 1);
        }
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
}

static void feed(qf_net *net, const float *input)
{
    float *values;
    qf_blob *data = net->blobs[net->inputs[0]];
    assert_ok(context, qf_blob_mutable_data(data, &values));
    memcpy(values, input, qf_blob_count(data) * sizeof *values);
}

static float *make_input(const qf_net *net)
{
    const size_t count = qf_blob_count(net->blobs[net->inputs[0]]);
    float *input = qf_alloc(count, sizeof *input);
    fill(input, count, -2, 2);
    return input;
}

/* Largest difference of two blobs in parts of the largest value. */
static double difference(qf_blob *a, qf_blob *b)
{
    const float *x, *y;
    double largest = 0, worst = 0;
    assert_ok(context, qf_blob_data(a, &x));
    assert_ok(context, qf_blob_data(b, &y));
    assert_int_equal(qf_blob_count(a), qf_blob_count(b));
    for (size_t i = 0; i < qf_blob_count(a); i++) {
        largest = fmax(largest, fabs((double)x[i]));
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    }
    return largest > 0 ? worst / largest : worst;
}

static void assert_equal_blobs(const qf_net *expected, const qf_net *found, bool all,
                               double tolerance, const char *what)
{
    for (int i = 0; i < (all ? expected->blob_count : expected->output_count); i++) {
        const int index = all ? i : expected->outputs[i];
        const double worst = difference(expected->blobs[index], found->blobs[index]);
        if (!(worst <= tolerance))
            fail_msg("%s: blob %s differs by %g", what, expected->blobs[index]->name, worst);
    }
}

static void assert_group_starts(const qf_net *net, const char *layer, const char *what)
{
    const qf_net_plan *plan = net->plan;
    for (int g = 0; g < plan->group_count; g++)
        if (strcmp(net->layers[plan->groups[g].first]->name, layer) == 0 && plan->groups[g].ran)
            return;
    fail_msg("%s: layer %s ran by itself", what, layer);
}

/* One by one; fused with all blobs kept; fused without; in two parts cut at each layer. */
static void compare_ways(const char *model, const char *weights, double tolerance,
                         const char *fused, const char *what)
{
    qf_net *plain = open_net(model, weights, false, true),
           *kept = open_net(model, weights, true, true),
           *dropped = open_net(model, weights, true, false);
    float *input = make_input(plain);
    for (int round = 0; round < 2; round++) {
        input[0] += (float)round;
        feed(plain, input);
        feed(kept, input);
        feed(dropped, input);
        assert_ok(context, qf_net_forward(plain, NULL));
        assert_ok(context, qf_net_forward(kept, NULL));
        assert_ok(context, qf_net_forward(dropped, NULL));
        assert_equal_blobs(plain, kept, true, tolerance, what);
        assert_equal_blobs(plain, dropped, false, tolerance, what);
    }
    assert_group_starts(dropped, fused, what);
    for (int cut = 0; cut + 1 < plain->layer_count; cut++) {
        assert_ok(context, qf_net_forward_range(kept, 0, cut, NULL));
        assert_ok(context, qf_net_forward_range(kept, cut + 1, kept->layer_count - 1, NULL));
        assert_equal_blobs(plain, kept, true, tolerance, what);
        feed(dropped, input);
        assert_ok(context, qf_net_forward_range(dropped, 0, cut, NULL));
        assert_ok(context, qf_net_forward_range(dropped, cut + 1, dropped->layer_count - 1, NULL));
        assert_equal_blobs(plain, dropped, false, tolerance, what);
    }
    qf_free(input);
    qf_net_destroy(plain);
    qf_net_destroy(kept);
    qf_net_destroy(dropped);
}

static void float_nets_agree(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++) {
        char *relu6 = with_relu6(nets[i].text);
        write_float_net(nets[i].text);
        compare_ways("net.prototxt", "net.caffemodel", 1e-5, nets[i].fused_float, nets[i].name);
        write_float_net(relu6);
        compare_ways("net.prototxt", "net.caffemodel", 1e-4, nets[i].fused_float, nets[i].name);
        qf_free(relu6);
    }
}

/* Parameters may change between passes. */
static void folded_weights_follow_parameters(void **state)
{
    (void)state;
    write_float_net(nets[0].text);
    qf_net *plain = open_net("net.prototxt", "net.caffemodel", false, true),
           *fused = open_net("net.prototxt", "net.caffemodel", true, false);
    float *input = make_input(plain);
    for (int l = 0; l < plain->layer_count; l++)
        for (int p = 0; p < plain->layers[l]->param_count; p++) {
            float *a, *b;
            assert_ok(context, qf_blob_mutable_data(plain->layers[l]->params[p].blob, &a));
            assert_ok(context, qf_blob_mutable_data(fused->layers[l]->params[p].blob, &b));
            a[0] = b[0] = a[0] * 1.25f;
            feed(plain, input);
            feed(fused, input);
            assert_ok(context, qf_net_forward(plain, NULL));
            assert_ok(context, qf_net_forward(fused, NULL));
            assert_equal_blobs(plain, fused, false, 1e-5, plain->layers[l]->name);
        }
    qf_free(input);
    qf_net_destroy(plain);
    qf_net_destroy(fused);
}

static void export_net(const char *text)
{
    const char *config = "batch_num: 1 retrain_data_quant_config { ulq_quantize { } } "
                         "retrain_weight_quant_config { arq_retrain { channel_wise: true } }";
    write_float_net(text);
    assert_ok(context, qf_file_write(context, "config.cfg", config, strlen(config), 0640));
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "net.caffemodel", "config.cfg"));
    assert_ok(context, qf_create_quant_retrain_model(context, "net.prototxt", "net.caffemodel",
                                                     "config.json", "qat.prototxt",
                                                     "qat.caffemodel", "record.txt"));
    qf_net *net = open_net("qat.prototxt", "qat.caffemodel", true, true);
    float *input = make_input(net);
    feed(net, input);
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_net_save_weights(net, "qat.caffemodel"));
    qf_free(input);
    qf_net_destroy(net);
    assert_ok(context,
              qf_save_quant_retrain_model(context, "qat.prototxt", "qat.caffemodel", QF_SAVE_DEPLOY,
                                          "out", "record.txt", "config.json"));
}

/* How many layers of the deploy model run as one with others. */
static int count_fused(void)
{
    int count = 0;
    qf_net *net =
        open_net("out_deploy_model.prototxt", "out_deploy_weights.caffemodel", true, false);
    assert_ok(context, qf_net_forward(net, NULL));
    for (int g = 0; g < net->plan->group_count; g++)
        if (net->plan->groups[g].ran)
            count += net->plan->groups[g].last - net->plan->groups[g].first + 1;
    qf_net_destroy(net);
    return count;
}

static void deploy_models_agree_in_every_bit(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++) {
        char *relu6 = with_relu6(nets[i].text);
        export_net(nets[i].text);
        compare_ways("out_deploy_model.prototxt", "out_deploy_weights.caffemodel", 0,
                     nets[i].fused_deploy, nets[i].name);
        const int fused = count_fused();
        export_net(relu6);
        compare_ways("out_deploy_model.prototxt", "out_deploy_weights.caffemodel", 0,
                     nets[i].fused_deploy, nets[i].name);
        assert_int_equal(count_fused(), fused);
        qf_free(relu6);
    }
}

/* Concat hands on the codes of its bottoms, which were made for the Quant behind it. */
static void codes_pass_through_concat(void **state)
{
    (void)state;
    export_net(nets[2].text);
    qf_net *net =
        open_net("out_deploy_model.prototxt", "out_deploy_weights.caffemodel", true, false);
    float *input = make_input(net);
    int concat = 0;
    while (strcmp(net->layers[concat]->type->name, "Concat") != 0)
        concat++;
    feed(net, input);
    assert_ok(context, qf_net_forward_range(net, 0, concat, NULL));
    const qf_tensor *joined = net->layers[concat]->top[0]->data;
    assert_true(qf_tensor_has(joined, QF_CODES) && !qf_tensor_has(joined, QF_NHWC));
    qf_free(input);
    qf_net_destroy(net);
}

/* A TEST net's first backward pass repeats what forward left out. */
static void backward_repeats_forward(void **state)
{
    (void)state;
    char *text = test_format("force_backward: true %s", nets[0].text);
    write_float_net(text);
    qf_free(text);
    qf_net *plain = open_net("net.prototxt", "net.caffemodel", false, true),
           *fused = open_net("net.prototxt", "net.caffemodel", true, true);
    float *input = make_input(plain);
    for (int round = 0; round < 2; round++) {
        qf_net *const both[] = {plain, fused};
        for (int k = 0; k < 2; k++) {
            float *diff;
            feed(both[k], input);
            assert_ok(context, qf_net_forward(both[k], NULL));
            qf_blob *out = both[k]->blobs[both[k]->outputs[0]];
            assert_ok(context, qf_blob_mutable_diff(out, &diff));
            for (size_t i = 0; i < qf_blob_count(out); i++)
                diff[i] = (float)i - 4.5f;
            assert_ok(context, qf_net_backward(both[k]));
        }
        const float *a, *b;
        assert_ok(context, qf_blob_diff(plain->blobs[plain->inputs[0]], &a));
        assert_ok(context, qf_blob_diff(fused->blobs[fused->inputs[0]], &b));
        double sum = 0;
        for (size_t i = 0; i < qf_blob_count(plain->blobs[plain->inputs[0]]); i++) {
            assert_true(a[i] == b[i]);
            sum += fabs((double)a[i]);
        }
        assert_true(sum > 0);
    }
    qf_net_destroy(plain);
    qf_net_destroy(fused);
    fused = open_net("net.prototxt", "net.caffemodel", true, false);
    feed(fused, input);
    assert_ok(context, qf_net_forward(fused, NULL));
    assert_fails(context, qf_net_backward(fused), "qf_net_keep_blobs(net, true)");
    qf_net_destroy(fused);
    qf_free(input);
}

/* ---- kernels ---- */

/* Every quotient near a tie, beside it, and what is no number. */
static void quantisation_is_exact(void **state)
{
    (void)state;
    enum { COUNT = 4096 };
    static float x[COUNT];
    static uint8_t codes[COUNT];
    for (int round = 0; round < 200; round++) {
        const float scale = round < 4 ? 0x1p-3f : qf_random_uniform(&context->random, 1e-4f, 8);
        const int32_t offset_d = (int32_t)qf_random_below(&context->random, 256) - 128;
        for (int i = 0; i < COUNT; i++) {
            const float steps = (float)qf_random_below(&context->random, 1200) / 2 - 300;
            x[i] = steps * scale;
            for (uint32_t n = qf_random_below(&context->random, 4); n > 0; n--)
                x[i] = nextafterf(x[i], i & 1 ? INFINITY : -INFINITY);
        }
        x[0] = NAN;
        x[1] = INFINITY;
        x[2] = -INFINITY;
        x[3] = -0.0f;
        x[4] = 0x1.fffffep-2f * scale;
        x[5] = 1e30f;
        qf_quant_codes(x, codes, COUNT, scale, offset_d, -128);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(codes[i] - 128, qf_quant_code(x[i], scale, offset_d));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantisation_is_exact),
        cmocka_unit_test(float_nets_agree),
        cmocka_unit_test(folded_weights_follow_parameters),
        cmocka_unit_test(backward_repeats_forward),
        cmocka_unit_test(deploy_models_agree_in_every_bit),
        cmocka_unit_test(codes_pass_through_concat),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, stop);
}
