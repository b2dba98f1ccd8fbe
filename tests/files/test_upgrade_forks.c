/* Layers that forks of Caffe have under names of their own, against what they say in Caffe's words
 * and against formulas. */
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHANNELS = 300, PIXELS = 6, BATCH = 2 }; /* enough for arrays that stay in the file */

static int set_up(void **state)
{
    test_start_in_folder(state);
    qf_context_set_seed(context, 1);
    return 0;
}

static qf_status try_net(const char *text, qf_phase phase, qf_net **out)
{
    assert_ok(context, qf_file_write(context, "net.prototxt", text, strlen(text), 0644));
    return qf_net_create(context, "net.prototxt", phase, 0, NULL, 0, out);
}

static qf_net *net_of(const char *text, qf_phase phase)
{
    qf_net *net;
    assert_ok(context, try_net(text, phase, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 3);
    return net;
}

/* Two layers called `it` in nets of one input: with the same weights they compute the same. */
static void expect_same(const char *fork, const char *caffe)
{
    const char *parts[] = {fork, caffe};
    qf_net *nets[2];
    for (int i = 0; i < 2; i++) {
        char *text = test_format("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { "
                                 "dim: 2 dim: 3 dim: 9 dim: 11 } } } layer { name: 'it' bottom: "
                                 "'x' top: 'y' %s }",
                                 parts[i]);
        nets[i] = net_of(text, QF_TEST);
        qf_free(text);
    }
    assert_ok(context, qf_net_save_weights(nets[0], "it.caffemodel"));
    assert_ok(context, qf_net_load_weights(nets[1], "it.caffemodel"));
    const float *y[2];
    for (int i = 0; i < 2; i++) {
        test_forward(context, nets[i]);
        assert_ok(context, qf_blob_data(qf_net_blob(nets[i], "y"), &y[i]));
    }
    const size_t count = qf_blob_count(qf_net_blob(nets[0], "y"));
    assert_int_equal(count, qf_blob_count(qf_net_blob(nets[1], "y")));
    for (size_t i = 0; i < count; i++)
        assert_float_equal(y[0][i], y[1][i], 1e-5);
    qf_net_destroy(nets[0]);
    qf_net_destroy(nets[1]);
}

#define FILLER "weight_filler { type: 'xavier' } "

static void hole_is_dilation(void **state)
{
    (void)state;
    qf_net *net;
    expect_same("type: 'Convolution' convolution_param { num_output: 4 kernel_size: 3 pad: 2 "
                "hole: 2 " FILLER "}",
                "type: 'Convolution' convolution_param { num_output: 4 kernel_size: 3 pad: 2 "
                "dilation: 2 }");
    expect_same("type: 'Convolution' convolution_param { num_output: 4 kernel_size: 3 "
                "hole_h: 3 hole_w: 4 " FILLER "}",
                "type: 'Convolution' convolution_param { num_output: 4 kernel_size: 3 "
                "dilation: 3 dilation: 4 }");
    /* DeepLab's files are old ones. */
    expect_same("type: 'Convolution' convolution_param { num_output: 2 kernel_size: 3 "
                "hole_w: 2 " FILLER "}",
                "type: 'Convolution' convolution_param { num_output: 2 kernel_size: 3 "
                "dilation: 1 dilation: 2 }");
    assert_fails(context,
                 try_net("layer { name: 'it' type: 'Convolution' bottom: 'x' top: 'y' "
                         "convolution_param { hole: 2 dilation: 2 } }",
                         QF_TEST, &net),
                 "layer it: hole and dilation mean the same");
    net = net_of("input: 'x' input_dim: 1 input_dim: 1 input_dim: 5 input_dim: 5 layers { name: "
                 "'it' type: CONVOLUTION bottom: 'x' top: 'y' convolution_param { num_output: 1 "
                 "kernel_size: 3 hole: 2 } }",
                 QF_TEST);
    assert_int_equal(qf_blob_count(qf_net_blob(net, "y")), 1);
    qf_net_destroy(net);
}

static void convolution_depthwise(void **state)
{
    (void)state;
    expect_same("type: 'ConvolutionDepthwise' convolution_param { num_output: 3 kernel_size: 3 "
                "stride: 2 pad: 1 " FILLER "}",
                "type: 'Convolution' convolution_param { num_output: 3 group: 3 kernel_size: 3 "
                "stride: 2 pad: 1 }");
}

/* ---- BN ---- */

static float value_of(int blob, int channel)
{
    static const float base[] = {0.5f, -1, 0.25f, 0.75f}; /* slope, bias, mean, variance */
    return base[blob] + 0.01f * (float)(channel % 50);
}

static const char *const files[] = {"bn.caffemodel", "bn.caffemodel.h5"};
static const char *weights_file; /* one of them */

/* A caffemodel of the fork: blobs of 1 x CHANNELS x 1 x 1. */
static void put_weights(size_t blobs)
{
    Caffe__NetParameter *net;
    Caffe__LayerParameter *layer;
    assert_ok(context, qf_message_new(context, &caffe__net_parameter__descriptor, &net));
    assert_ok(context, qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
    assert_ok(context, qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer));
    assert_ok(context, qf_set_string(context, &layer->name, "bn"));
    assert_ok(context, qf_set_string(context, &layer->type, "BN"));
    assert_ok(context, qf_append_string(context, &layer->n_bottom, &layer->bottom, "x"));
    assert_ok(context, qf_append_string(context, &layer->n_top, &layer->top, "y"));
    for (size_t b = 0; b < blobs; b++) {
        static const int64_t dims[] = {1, CHANNELS, 1, 1};
        Caffe__BlobProto *blob;
        assert_ok(context, qf_message_new(context, &caffe__blob_proto__descriptor, &blob));
        assert_ok(context, qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob));
        assert_ok(context, qf_message_new(context, &caffe__blob_shape__descriptor, &blob->shape));
        for (int i = 0; i < 4; i++)
            assert_ok(context, qf_append(context, &blob->shape->n_dim, &blob->shape->dim, &dims[i],
                                         sizeof dims[i]));
        for (int c = 0; c < CHANNELS; c++) {
            const float value = value_of((int)b, c);
            assert_ok(context,
                      qf_append(context, &blob->n_data, &blob->data, &value, sizeof value));
        }
    }
    for (int i = 0; i < 2; i++)
        test_write_weights(context, files[i], net);
    qf_message_free(net);
}

static qf_net *bn_net(const char *rest, qf_phase phase)
{
    char *text = test_format("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: "
                             "%d dim: %d dim: 2 dim: 3 } } } layer { name: 'bn' type: 'BN' bottom: "
                             "'x' top: 'y' %s }",
                             BATCH, CHANNELS, rest);
    qf_net *net = net_of(text, phase);
    qf_free(text);
    assert_ok(context, qf_net_load_weights(net, weights_file));
    test_forward(context, net);
    return net;
}

static float input_at(const float *x, int image, int channel, int pixel)
{
    return x[(image * CHANNELS + channel) * PIXELS + pixel];
}

/* y = slope · (x − mean) / √(variance + eps) + bias, per channel. */
static void expect_normalised(qf_net *net, float (*mean)(const float *, int),
                              float (*variance)(const float *, int), float eps)
{
    const float *x, *y;
    assert_ok(context, qf_blob_data(qf_net_blob(net, "x"), &x));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &y));
    for (int n = 0; n < BATCH; n++)
        for (int c = 0; c < CHANNELS; c++)
            for (int p = 0; p < PIXELS; p++)
                assert_float_equal(input_at(y, n, c, p),
                                   value_of(0, c) * (input_at(x, n, c, p) - mean(x, c)) /
                                           sqrtf(variance(x, c) + eps) +
                                       value_of(1, c),
                                   1e-4);
    qf_net_destroy(net);
}

static float stored_mean(const float *x, int channel)
{
    (void)x;
    return value_of(2, channel);
}

static float stored_variance(const float *x, int channel)
{
    (void)x;
    return value_of(3, channel);
}

static float batch_mean(const float *x, int channel)
{
    float sum = 0;
    for (int n = 0; n < BATCH; n++)
        for (int p = 0; p < PIXELS; p++)
            sum += input_at(x, n, channel, p);
    return sum / (BATCH * PIXELS);
}

static float batch_variance(const float *x, int channel)
{
    const float mean = batch_mean(x, channel);
    float sum = 0;
    for (int n = 0; n < BATCH; n++)
        for (int p = 0; p < PIXELS; p++)
            sum += (input_at(x, n, channel, p) - mean) * (input_at(x, n, channel, p) - mean);
    return sum / (BATCH * PIXELS);
}

static float zero(const float *x, int channel)
{
    (void)x;
    (void)channel;
    return 0;
}

static float one(const float *x, int channel)
{
    (void)x;
    (void)channel;
    return 1;
}

#define PSPNET(more)                                                                               \
    "param { lr_mult: 1 } param { lr_mult: 2 } param { lr_mult: 0 } param { lr_mult: 0 } "         \
    "bn_param { slope_filler { type: 'constant' value: 1 } bias_filler { type: 'constant' "        \
    "value: 0 } momentum: 0.95 eps: 0.1 " more " }"
#define SEGNET(more)                                                                               \
    "bn_param { scale_filler { type: 'constant' value: 1 } shift_filler { type: 'constant' "       \
    "value: 0.001 } " more " }"

static void check_pspnet(void)
{
    expect_normalised(bn_net(PSPNET(""), QF_TEST), stored_mean, stored_variance, 0.1f);
    expect_normalised(bn_net("", QF_TEST), stored_mean, stored_variance, 1e-5f);
    expect_normalised(bn_net(PSPNET(""), QF_TRAIN), batch_mean, batch_variance, 0.1f);
    expect_normalised(bn_net(PSPNET("frozen: true"), QF_TRAIN), stored_mean, stored_variance, 0.1f);

    qf_net *net = bn_net(PSPNET(""), QF_TRAIN); /* learnable: slope and bias, at their rates */
    assert_int_equal(net->learnable_count, 5);
    for (int i = 0; i < 5; i++)
        assert_float_equal(net->learnables[i].lr_mult, i < 3 ? 0 : i - 2, 0);
    qf_net_destroy(net);
    net = bn_net(PSPNET("frozen: true"), QF_TRAIN);
    for (int i = 0; i < 5; i++)
        assert_float_equal(net->learnables[i].lr_mult, 0, 0);
    qf_net_destroy(net);
}

static void bn_of_pspnet(void **state)
{
    (void)state;
    put_weights(4);
    for (int i = 0; i < 2; i++) {
        weights_file = files[i];
        check_pspnet();
    }
}

static void check_segnet(void)
{
    expect_normalised(bn_net(SEGNET("bn_mode: INFERENCE"), QF_TEST), zero, one, 0);
    expect_normalised(bn_net(SEGNET(""), QF_TEST), batch_mean, batch_variance, 1e-5f);
    expect_normalised(bn_net(SEGNET("bn_mode: LEARN"), QF_TRAIN), batch_mean, batch_variance,
                      1e-5f);
}

static void bn_of_segnet(void **state)
{
    (void)state;
    put_weights(2);
    for (int i = 0; i < 2; i++) {
        weights_file = files[i];
        check_segnet();
    }
}

static void bn_that_is_neither(void **state)
{
    (void)state;
    qf_net *net;
    put_weights(3);
    char *text = test_format("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: "
                             "1 dim: %d dim: 1 dim: 1 } } } layer { name: 'bn' type: 'BN' bottom: "
                             "'x' top: 'y' }",
                             CHANNELS);
    net = net_of(text, QF_TEST);
    assert_fails(context, qf_net_load_weights(net, "bn.caffemodel"), "layer bn: a BN has 2 blobs");
    qf_net_destroy(net);
    qf_free(text);
    assert_fails(context, try_net("layer { name: 'bn' type: 'BN' top: 'y' }", QF_TEST, &net),
                 "layer bn: a BN has one bottom");
}

/* In AMCT's flow it is folded as any BatchNorm. */
static void bn_is_folded(void **state)
{
    (void)state;
    qf_plan *plan = NULL;
    qf_net *net = net_of("layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 "
                         "dim: 3 dim: 8 dim: 8 } } } layer { name: 'conv' type: 'Convolution' "
                         "bottom: 'x' top: 'y' convolution_param { num_output: 4 kernel_size: 3 "
                         "weight_filler { type: 'xavier' } } } layer { name: 'bn' type: 'BN' "
                         "bottom: 'y' top: 'y' " PSPNET("frozen: true") " }",
                         QF_TEST);
    assert_ok(context, qf_net_save_weights(net, "folded.caffemodel"));
    qf_net_destroy(net);
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "folded.caffemodel", NULL));
    assert_ok(context, qf_quant_retrain_plan(context, "net.prototxt", "folded.caffemodel",
                                             "config.json", NULL, &plan));
    int folded = 0;
    for (size_t i = 0; i < plan->rows; i++)
        folded += strncmp(plan->row[i]->layer, "bn", 2) == 0 &&
                  strcmp(plan->row[i]->treatment, "folded") == 0;
    assert_int_equal(folded, 2);
    qf_plan_destroy(plan);
}

/* ---- Intel's BatchNorm, Flip, AMSoftmax's Softmax ---- */

#define FILLED "batch_norm_param { filler { value: 3 } bias_filler { value: 2 } "
#define NORM "layer { name: 'it' type: 'BatchNorm' bottom: 'x' top: 'y' " FILLED
#define INPUT                                                                                      \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 dim: 9 dim: "   \
    "11 } } } "

/* Its own Scale is what Intel's BatchNorm has in it; a Scale behind it is that one. */
static void bn_of_intel(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *scale; /* NULL: none */
        float factor, shift;
    } nets[] = {
        {INPUT NORM "} }", "it_scale", 3, 2},
        {INPUT NORM "use_weight_bias: false } }", NULL, 0, 0},
        {INPUT NORM "} } layer { name: 'own' type: 'Scale' bottom: 'y' top: 'y' scale_param { "
                    "filler { value: 5 } bias_term: true bias_filler { value: 7 } } }",
         "own", 5, 7},
    };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        qf_net *net = net_of(nets[i].text, QF_TEST);
        const float *values;
        assert_int_equal(net->layer_count, nets[i].scale ? 3 : 2);
        if (nets[i].scale) {
            const qf_layer *scale = net->layers[2];
            assert_string_equal(scale->name, nets[i].scale);
            assert_ok(context, qf_blob_data(scale->params[0].blob, &values));
            assert_float_equal(values[2], nets[i].factor, 0);
            assert_ok(context, qf_blob_data(scale->params[1].blob, &values));
            assert_float_equal(values[2], nets[i].shift, 0);
        }
        qf_net_destroy(net);
    }
}

/* Statistics of parts of a batch are another function than those of all of it. */
static void statistics_of_parts(void **state)
{
    (void)state;
    qf_net *net;
    static const char *const layer = INPUT "layer { name: 'it' type: 'BatchNorm' bottom: 'x' top: "
                                           "'y' } ";
    char *two = test_format("bn_stats_batch_size: 2 %s", layer);
    char *one = test_format("bn_stats_batch_size: 1 %s", layer);
    qf_net_destroy(net_of(two, QF_TRAIN));
    qf_net_destroy(net_of(one, QF_TEST));
    assert_fails(context, try_net(one, QF_TRAIN, &net), "stats_batch_size is 1");
    qf_free(one);
    qf_free(two);
}

static void flip_is_reverse(void **state)
{
    (void)state;
    expect_same("type: 'Flip'", "type: 'Reverse' reverse_param { axis: 3 }");
    expect_same("type: 'Flip' flip_param { flip_width: false flip_height: true }",
                "type: 'Reverse' reverse_param { axis: 2 }");
    expect_same("type: 'Flip' flip_param { flip_height: true }",
                "type: 'Reverse' reverse_param { axis: 2 axis: 3 }");
}

static void softmax_by_its_name(void **state)
{
    (void)state;
    qf_net *net;
    expect_same("type: 'Softmax' softmax_param { normalize_type: 'Softmax' }", "type: 'Softmax'");
    assert_fails(context,
                 try_net(INPUT "layer { name: 'it' type: 'Softmax' bottom: 'x' top: 'y' "
                               "softmax_param { normalize_type: 'L2' } }",
                         QF_TEST, &net),
                 "normalize_type is 'L2', expected 'Softmax'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hole_is_dilation),   cmocka_unit_test(convolution_depthwise),
        cmocka_unit_test(bn_of_pspnet),       cmocka_unit_test(bn_of_segnet),
        cmocka_unit_test(bn_that_is_neither), cmocka_unit_test(bn_is_folded),
        cmocka_unit_test(bn_of_intel),        cmocka_unit_test(statistics_of_parts),
        cmocka_unit_test(flip_is_reverse),    cmocka_unit_test(softmax_by_its_name),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
