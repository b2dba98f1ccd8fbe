/* Fields that forks of Caffe gave to its layers, against formulas worked out by hand. */
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

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
        {CONV("kernel_size: 3 pad_t: 2000000000"), "pad_t is 2000000000"},
        {CONV("kernel_size: 9 dilation: 1048576 pad_type: 1"), "outputs from an input of 10"},
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

static void relu_with_bounds(void **state)
{
    (void)state;
    const float x[] = {-3, 0.5f, 2, 5, 6.5f, 100};
    const float six[] = {0, 0.5f, 2, 5, 6, 6}, four[] = {0, 0.5f, 2, 4, 4, 4},
                both[] = {1, 1, 2, 4, 4, 4}, least[] = {1, 1, 2, 5, 6.5f, 100},
                plain[] = {0, 0.5f, 2, 5, 6.5f, 100};
    static const char form[] = "1 6 (6)";
    expect_values("1 6", "type: 'ReLU' relu_param { relu6: true }", x, 6, form, six);
    expect_values("1 6", "type: 'ReLU' relu_param { relu6: true engine: CAFFE maximum: 9 }", x, 6,
                  form, six);
    expect_values("1 6", "type: 'ReLU' relu_param { relu6: true maximum: 4 }", x, 6, form, four);
    expect_values("1 6", "type: 'ReLU' relu_param { maximum: 4 minimum: 1 }", x, 6, form, both);
    expect_values("1 6", "type: 'ReLU' relu_param { minimum: 1 }", x, 6, form, least);
    expect_values("1 6", "type: 'ReLU' relu_param { minimum: -1 }", x, 6, form, plain);
    expect_values("1 6", "type: 'ReLU' relu_param { relu6: false }", x, 6, form, plain);
    expect_refused("1 6", "type: 'ReLU' relu_param { relu6: true negative_slope: 0.1 }",
                   "layer it: a ReLU with relu6, maximum or minimum cannot have a negative_slope");
    expect_refused("1 6", "type: 'ReLU' relu_param { maximum: 1 minimum: 2 }", "min not above max");
    qf_net *net;
    assert_ok(context, test_one_layer(context, QF_TEST, (const char *[]){"1 6", NULL},
                                      "type: 'ReLU' relu_param { relu6: true }", 1, &net));
    assert_string_equal(net->layers[1]->type->name, "ReLU6");
    qf_net_destroy(net);
}

/* ---- BatchNorm ---- */

static void fill_param(qf_net *net, int layer, int param, float first, float second)
{
    test_fill(context, net->layers[layer]->params[param].blob, (float[]){first, second}, 2);
}

static void eps_behind_the_root(void **state)
{
    (void)state;
    qf_net *net;
    const float x[] = {1, 2, 3, 4};
    assert_ok(context,
              test_one_layer(context, QF_TEST, (const char *[]){"1 2 1 2", NULL},
                             "type: 'BatchNorm' batch_norm_param { eps: 0.5 add_eps_before_sqrt: "
                             "false }",
                             1, &net));
    fill_param(net, 1, 0, 1, 2);
    fill_param(net, 1, 1, 4, 2.25f);
    test_fill(context, net->layers[1]->params[2].blob, (float[]){1}, 1);
    test_fill(context, net->layers[1]->bottom[0], x, 4);
    test_forward(context, net);
    test_expect(context, net, 0, "1 2 1 2 (4)", (float[]){0, 0.4f, 0.5f, 1});
    qf_net_destroy(net);
}

enum { CHANNELS = 300 }; /* enough for arrays that stay in the file */

/* Weights of one BatchNorm, as NVIDIA's Caffe writes them; two values in turn. */
static char *five_blobs(const char *folder, const char *ending, bool early)
{
    static const float blobs[][2] = {{1, 2}, {4, 2.25f}, {1}, {2, -1}, {0.5f, 10}};
    static const int late_order[] = {0, 1, 2, 3, 4}, early_order[] = {3, 4, 0, 1, 2};
    Caffe__NetParameter *weights;
    Caffe__LayerParameter *layer;
    assert_ok(context, qf_message_new(context, &caffe__net_parameter__descriptor, &weights));
    assert_ok(context, qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
    assert_ok(context,
              qf_append(context, &weights->n_layer, &weights->layer, &layer, sizeof layer));
    assert_ok(context, qf_set_string(context, &layer->name, "it"));
    assert_ok(context, qf_set_string(context, &layer->type, "BatchNorm"));
    for (int b = 0; b < 5; b++) {
        const int from = (early ? early_order : late_order)[b];
        const int64_t count = from == 2 ? 1 : CHANNELS;
        Caffe__BlobProto *blob;
        assert_ok(context, qf_message_new(context, &caffe__blob_proto__descriptor, &blob));
        assert_ok(context, qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob));
        assert_ok(context, qf_message_new(context, &caffe__blob_shape__descriptor, &blob->shape));
        assert_ok(context,
                  qf_append(context, &blob->shape->n_dim, &blob->shape->dim, &count, sizeof count));
        for (int64_t i = 0; i < count; i++)
            assert_ok(context, qf_append(context, &blob->n_data, &blob->data, &blobs[from][i % 2],
                                         sizeof(float)));
    }
    char *path = test_format("%s/nv.caffemodel%s", folder, ending);
    test_write_weights(context, path, weights);
    qf_message_free(weights);
    return path;
}

static void note_lost_scale(void *user, qf_log_level level, const char *file, int line,
                            const char *text)
{
    (void)level, (void)file, (void)line;
    *(bool *)user |= strstr(text, "needs scale_bias: true") != NULL;
}

static void check_scale_in_batch_norm(const char *ending)
{
    qf_net *net;
    char *folder = test_make_directory(), *path = five_blobs(folder, ending, false);
    const float x[] = {1, 3, 2, 5};
    const char *const bottoms[] = {"1 300 1 2", NULL};
    assert_ok(context,
              test_one_layer(context, QF_TEST, bottoms,
                             "type: 'BatchNorm' param { lr_mult: 1 } param { lr_mult: 1 } "
                             "param { lr_mult: 1 } param { lr_mult: 3 } batch_norm_param { eps: "
                             "1e-9 use_global_stats: false scale_bias: true scale_filler { value: "
                             "7 } bias_filler { value: 8 } }",
                             1, &net));
    assert_int_equal(net->layer_count, 3);
    const qf_layer *scale = net->layers[2];
    const float *values;
    assert_string_equal(scale->name, "it_scale");
    assert_ok(context, qf_blob_data(scale->params[0].blob, &values));
    assert_float_equal(values[1], 7, 0);
    assert_ok(context, qf_blob_data(scale->params[1].blob, &values));
    assert_float_equal(values[1], 8, 0);
    assert_float_equal(scale->params[0].lr_mult, 3, 0);
    assert_float_equal(scale->params[1].lr_mult, 1, 0);
    assert_float_equal(net->layers[1]->params[0].lr_mult, 0, 0);
    assert_ok(context, qf_net_load_weights(net, path));
    float *input;
    assert_ok(context, qf_blob_mutable_data(net->layers[1]->bottom[0], &input));
    for (int i = 0; i < CHANNELS * 2; i++)
        input[i] = x[i % 4];
    test_forward(context, net);
    const float wanted[] = {0.5f, 2.5f, 10, 8};
    assert_ok(context, qf_blob_data(qf_net_blob(net, "y0"), &values));
    for (int i = 0; i < CHANNELS * 2; i++)
        assert_float_equal(values[i], wanted[i % 4], 1e-4);
    qf_net_destroy(net);
    /* the weights that a plain BatchNorm takes: the rest is not lost in silence */
    bool warned = false;
    assert_ok(context, test_one_layer(context, QF_TEST, bottoms, "type: 'BatchNorm'", 1, &net));
    qf_context_set_log(context, note_lost_scale, &warned, QF_WARNING);
    assert_ok(context, qf_net_load_weights(net, path));
    qf_context_set_log(context, NULL, NULL, QF_WARNING);
    assert_true(warned);
    qf_net_destroy(net);
    qf_free(path);
    path = five_blobs(folder, ending, true);
    assert_ok(context, test_one_layer(context, QF_TEST, bottoms, "type: 'BatchNorm'", 1, &net));
    assert_fails(context, qf_net_load_weights(net, path), "in the order of an early NVIDIA Caffe");
    qf_net_destroy(net);
    qf_free(path);
    test_remove_directory(folder);
    qf_free(folder);
}

static void scale_in_batch_norm(void **state)
{
    (void)state;
    check_scale_in_batch_norm("");
    check_scale_in_batch_norm(".h5");
}

/* ---- Parameter, Interp ---- */

static void parameter_is_filled(void **state)
{
    (void)state;
    static const char *const fields[] = {"blob_filler", "filler"};
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    for (int i = 0; i < 2; i++) {
        qf_net *net;
        const float *values;
        char *text = test_format("layer { name: 'it' type: 'Parameter' top: 'y' parameter_param { "
                                 "shape { dim: 2 } %s { type: 'constant' value: 5 } } }",
                                 fields[i]);
        assert_ok(context, qf_file_write(context, path, text, strlen(text), 0640));
        assert_ok(context, qf_net_create(context, path, QF_TEST, 0, NULL, 0, &net));
        test_forward(context, net);
        assert_ok(context, qf_blob_data(qf_net_blob(net, "y"), &values));
        assert_float_equal(values[0], 5, 0);
        assert_float_equal(values[1], 5, 0);
        qf_net_destroy(net);
        qf_free(text);
    }
    test_remove_directory(folder);
    qf_free(path);
    qf_free(folder);
}

static void interp_takes_a_size(void **state)
{
    (void)state;
    qf_net *net;
    const char *const bottoms[] = {"1 1 1 2", "1 3 2 3", NULL};
    assert_ok(context,
              test_one_layer(context, QF_TEST, bottoms,
                             "type: 'Interp' interp_param { use_blob_size: true }", 1, &net));
    test_fill(context, net->layers[1]->bottom[0], (float[]){1, 3}, 2);
    test_forward(context, net);
    test_expect(context, net, 0, "1 1 2 3 (6)", (float[]){1, 2, 3, 1, 2, 3});
    qf_net_destroy(net);
    assert_fails(context,
                 test_one_layer(context, QF_TEST, bottoms,
                                "type: 'Interp' interp_param { zoom_factor: 2 }", 1, &net),
                 "does not say use_blob_size: true");
    expect_refused("1 1 1 2", "type: 'Interp' interp_param { use_blob_size: true }",
                   "needs a second bottom");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_rounds),      cmocka_unit_test(convolutions_pad_sides),
        cmocka_unit_test(wrong_padding),       cmocka_unit_test(averages_without_padding),
        cmocka_unit_test(relu_with_bounds),    cmocka_unit_test(eps_behind_the_root),
        cmocka_unit_test(scale_in_batch_norm), cmocka_unit_test(parameter_is_filled),
        cmocka_unit_test(interp_takes_a_size),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
