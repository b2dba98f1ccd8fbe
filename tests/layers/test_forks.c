/* Layers of Caffe's forks that are not of detectors: small cases worked out by hand, and plain
 * formulas. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TEST, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

/* ---- order of elements ---- */

/* y[i0 i1 …] = x[j], where j[order[k]] = i[k]. */
static void check_permute(const char *shape, const char *param, int axes, const int *order)
{
    qf_net *net = MAKE(param, shape);
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_forward(context, net);
    const qf_shape *from = qf_blob_shape(qf_net_blob(net, "x0"));
    const qf_shape *to = qf_blob_shape(qf_net_blob(net, "y0"));
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    assert_int_equal(to->axes, axes);
    for (size_t at = 0; at < qf_shape_count(to); at++) {
        int place[8] = {0};
        size_t rest = at, source = 0;
        for (int k = axes - 1; k >= 0; k--) {
            place[order[k]] = (int)(rest % (size_t)to->dim[k]);
            rest /= (size_t)to->dim[k];
        }
        for (int k = 0; k < axes; k++)
            source = source * (size_t)from->dim[k] + (size_t)place[k];
        assert_float_equal(y[at], x[source], 0);
    }
    qf_net_destroy(net);
}

static void permute(void **state)
{
    (void)state;
    check_permute("2 3 4 5",
                  "type: 'Permute' permute_param { order: 0 order: 2 order: 3 order: 1 }", 4,
                  (const int[]){0, 2, 3, 1});
    check_permute("2 3 4 5", "type: 'Permute' permute_param { order: 3 order: 1 }", 4,
                  (const int[]){3, 1, 0, 2});
    check_permute("5 16", "type: 'Permute' permute_param { order: 1 order: 0 }", 2,
                  (const int[]){1, 0});
    check_permute("2 1 3 2 2",
                  "type: 'Permute' permute_param { order: 4 order: 2 order: 0 order: 3 order: 1 }",
                  5, (const int[]){4, 2, 0, 3, 1});
    check_permute("3 4", "type: 'Permute'", 2, (const int[]){0, 1});
}

static void shuffle_channel(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'ShuffleChannel' shuffle_channel_param { group: 3 }", "1 6 1 2");
    TEST_FILL(net, "x0", 0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 6 1 2 (12)", 0, 1, 20, 21, 40, 41, 10, 11, 30, 31, 50, 51);
    qf_net_destroy(net);
}

static void reverse(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Reverse' reverse_param { axis: 0 axis: -1 }", "2 2 3");
    TEST_FILL(net, "x0", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 2 3 (12)", 9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4);
    qf_net_destroy(net);
    net = MAKE("type: 'Reverse' reverse_param { axis: 1 }", "1 3 2");
    TEST_FILL(net, "x0", 1, 2, 3, 4, 5, 6);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 3 2 (6)", 5, 6, 3, 4, 1, 2);
    qf_net_destroy(net);
}

/* 16 numbers as one image of 4 × 4; its four quarters of every second pixel follow each other. */
static void reorg(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Reorg' reorg_param { stride: 2 }", "1 4 2 2");
    TEST_FILL(net, "x0", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 16 1 1 (16)", 0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15);
    qf_net_destroy(net);
    net = MAKE("type: 'Reorg' reorg_param { reverse: true }", "1 4 2 2");
    TEST_FILL(net, "x0", 0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 4 4 (16)", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    qf_net_destroy(net);
}

static void pass_through(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'PassThrough' pass_through_param { block_height: 2 block_width: 1 }",
                       "1 2 2 2");
    TEST_FILL(net, "x0", 0, 1, 2, 3, 10, 11, 12, 13);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 4 1 2 (8)", 0, 1, 10, 11, 2, 3, 12, 13);
    qf_net_destroy(net);
    net = MAKE("type: 'PassThrough' pass_through_param { num_output: 8 block_height: 2 "
               "block_width: 2 }",
               "1 2 2 2");
    TEST_FILL(net, "x0", 0, 1, 2, 3, 10, 11, 12, 13);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 8 1 1 (8)", 0, 10, 1, 11, 2, 12, 3, 13);
    qf_net_destroy(net);
}

/* ---- sizes of images ---- */

static void interp(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Interp' interp_param { zoom_factor: 2 }", "1 1 2 2");
    TEST_FILL(net, "x0", 0, 1, 2, 3);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 3 3 (9)", 0, 0.5, 1, 1, 1.5, 2, 2, 2.5, 3);
    qf_net_destroy(net);

    net = MAKE("type: 'Interp' interp_param { height: 1 width: 5 }", "1 2 2 3");
    TEST_FILL(net, "x0", 0, 2, 4, 6, 8, 10, 0, -2, -4, 1, 1, 1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 1 5 (10)", 0, 1, 2, 3, 4, 0, -1, -2, -3, -4);
    qf_net_destroy(net);

    /* The border goes, then every second pixel. */
    net =
        MAKE("type: 'Interp' interp_param { shrink_factor: 2 pad_beg: -1 pad_end: -1 }", "1 1 3 7");
    TEST_FILL(net, "x0", 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 1 3 (3)", 2, 4, 6);
    qf_net_destroy(net);

    net = MAKE("type: 'Interp' interp_param { shrink_factor: 2 zoom_factor: 4 }", "1 1 1 5");
    TEST_FILL(net, "x0", 0, 100, 4, 100, 8);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 1 9 (9)", 0, 50, 100, 52, 4, 52, 100, 54, 8);
    qf_net_destroy(net);
}

static void upsample(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Upsample' upsample_param { scale: 2 }", "1 2 1 2");
    TEST_FILL(net, "x0", 1, 2, 3, 4);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 2 4 (16)", 1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4);
    qf_net_destroy(net);

    net = MAKE("type: 'Upsample' upsample_param { scale: 0.5 stride_h: 1 stride_w: 3 }", "1 1 2 1");
    TEST_FILL(net, "x0", 1, 2);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 2 3 (6)", 0.5, 0.5, 0.5, 1, 1, 1);
    qf_net_destroy(net);

    net =
        MAKE("type: 'Upsample' upsample_param { scale: 2 pad_out_w: true }", "1 2 1 2", "1 2 1 2");
    TEST_FILL(net, "x0", 1, 2, 3, 4);
    TEST_FILL(net, "x1", 0, 5, 4, 2);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 2 3 (12)", 1, 0, 0, 0, 0, 2, 0, 0, 4, 0, 3, 0);
    TEST_FILL(net, "x1", 0, 6, 4, 2);
    assert_fails(context, qf_net_forward(net, NULL), "points to pixel 6 of 6");
    TEST_FILL(net, "x1", 0, NAN, 4, 2);
    assert_fails(context, qf_net_forward(net, NULL), "points to pixel nan");
    qf_net_destroy(net);

    net = MAKE("type: 'Upsample' upsample_param { upsample_h: 3 upsample_w: 5 }", "1 1 1 2",
               "1 1 1 2");
    TEST_FILL(net, "x0", 1, 2);
    TEST_FILL(net, "x1", 14, 0);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 3 5 (15)", 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
    qf_net_destroy(net);
}

/* ---- single values ---- */

static void activations(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'ReLU6'", "7");
    TEST_FILL(net, "x0", -1, 0, 0.5, 5.9, 6, 6.1, 100);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "7 (7)", 0, 0, 0.5, 5.9f, 6, 6, 6);
    qf_net_destroy(net);

    net = MAKE("type: 'Hswish'", "7");
    TEST_FILL(net, "x0", -4, -3, -1, 0, 1, 3, 4);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "7 (7)", 0, 0, -1.f / 3, 0, 2.f / 3, 3, 4);
    qf_net_destroy(net);

    net = MAKE("type: 'CReLU' crelu_param { negative_slope: 0.5 }", "2 2 1 2");
    TEST_FILL(net, "x0", 1, -2, 3, -4, 5, 6, -7, 8);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 4 1 2 (16)", 1, -1, 3, -2, -0.5, 2, -1.5, 4, 5, 6, -3.5, 8, -2.5, -3, 7,
                -4);
    qf_net_destroy(net);

    net = MAKE("type: 'CReLU' crelu_param { concat_axis: -1 }", "1 1 1 2");
    TEST_FILL(net, "x0", 1, -2);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 1 4 (4)", 1, 0, 0, 2);
    qf_net_destroy(net);
}

/* Kept as they are in TRAIN, scaled by what is kept in TEST. */
static void dropout_scaled_in_test(void **state)
{
    (void)state;
    qf_net *net =
        MAKE("type: 'Dropout' dropout_param { scale_train: false dropout_ratio: 0.2 }", "3");
    TEST_FILL(net, "x0", 1, 2, 3);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "3 (3)", 0.8f, 1.6f, 2.4f);
    qf_net_destroy(net);
    assert_ok(context,
              test_one_layer(context, QF_TRAIN, (const char *const[]){"200", NULL},
                             "type: 'Dropout' dropout_param { scale_train: false }", 1, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    int kept = 0;
    for (int i = 0; i < 200; i++) {
        assert_true(y[i] == 0 || y[i] == x[i]);
        kept += y[i] != 0;
    }
    assert_in_range(kept, 60, 140);
    qf_net_destroy(net);
}

static void axpy(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Axpy'", "2 2 1 1", "2 2 1 2", "2 2 1 2");
    TEST_FILL(net, "x0", 1, 2, 3, 4);
    TEST_FILL(net, "x1", 1, 1, 2, 2, 3, 3, 4, 4);
    TEST_FILL(net, "x2", 0, 1, 0, 1, 0, 1, 0, 1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 2 1 2 (8)", 1, 2, 4, 5, 9, 10, 16, 17);
    qf_net_destroy(net);
}

static void normalize(void **state)
{
    (void)state;
    /* Pixels (3, 4) and (0, 5): both have length 5. */
    qf_net *net = MAKE("type: 'Normalize' norm_param { across_spatial: false channel_shared: false "
                       "scale_filler { type: 'constant' value: 20 } }",
                       "1 2 1 2");
    TEST_FILL(net, "x0", 3, 0, 4, 5);
    test_fill(context, net->layers[1]->params[0].blob, (const float[]){20, 10}, 2);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 1 2 (4)", 12, 0, 8, 10);
    qf_net_destroy(net);

    net = MAKE("type: 'Normalize'", "2 2 1 2");
    TEST_FILL(net, "x0", 1, 1, 1, 1, 0, 0, 0, 2);
    test_forward(context, net);
    assert_int_equal(net->layers[1]->params[0].blob->data->shape.axes, 0);
    TEST_EXPECT(net, 0, "2 2 1 2 (8)", 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 1);
    qf_net_destroy(net);
}

/* ---- products of matrices ---- */

static float element(const float *a, bool transposed, size_t row, size_t column, size_t rows,
                     size_t columns)
{
    return transposed ? a[column * rows + row] : a[row * columns + column];
}

static void check_product(const char *a, const char *b, const char *rest, bool transpose_a,
                          bool transpose_b, size_t batch, size_t m, size_t k, size_t n)
{
    qf_net *net = MAKE(rest, a, b);
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_fill_anyhow(context, qf_net_blob(net, "x1"), 2);
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *y = test_bottom(context, net, 1);
    const float *z = test_top(context, net, 0);
    const bool one = qf_blob_count(qf_net_blob(net, "x1")) == k * n;
    assert_int_equal(qf_blob_count(qf_net_blob(net, "y0")), batch * m * n);
    for (size_t i = 0; i < batch * m * n; i++) {
        const size_t which = i / n / m;
        double sum = 0;
        for (size_t j = 0; j < k; j++)
            sum += (double)element(x + which * m * k, transpose_a, i / n % m, j, m, k) *
                   (double)element(y + (one ? 0 : which * k * n), transpose_b, j, i % n, k, n);
        assert_float_equal(z[i], (float)sum, 1e-5f);
    }
    qf_net_destroy(net);
}

static void products(void **state)
{
    (void)state;
    check_product("2 3 4 5", "2 3 5 6", "type: 'MatMul'", false, false, 6, 4, 5, 6);
    check_product("3 5 4", "3 5 6", "type: 'MatMul' matmul_param { transpose_a: true }", true,
                  false, 3, 4, 5, 6);
    check_product("2 4 5", "6 5", "type: 'MatMul' matmul_param { transpose_b: true }", false, true,
                  2, 4, 5, 6);
    check_product("4 5", "5 2", "type: 'BatchMatMul'", false, false, 1, 4, 5, 2);
    check_product("2 5 4", "2 6 5",
                  "type: 'BatchMatMul' batch_matmul_param { adj_x1: true adj_x2: true }", true,
                  true, 2, 4, 5, 6);
    qf_net *net = MAKE("type: 'MatMul' matmul_param { blob_shape: 2 blob_shape: 2 }", "1 2 2");
    TEST_FILL(net, "x0", 1, 2, 3, 4);
    test_fill(context, net->layers[1]->params[0].blob, (const float[]){0, 1, 1, 0}, 4);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 2 (4)", 2, 1, 4, 3);
    qf_net_destroy(net);
}

/* ---- numbers of parameters ---- */

/* A weights file that has other things under numbers which are used here: a string where
 * interp_param (158) has an integer, a float as psroi_pooling_param (207). */
static void weights_of_another_fork(void **state)
{
    (void)state;
    uint8_t bytes[] = {
        0xa2, 0x06, 36,                        /* layer */
        0x0a, 2,    'i',  't',                 /* name */
        0x3a, 17,   0x3a, 3,    0x0a, 1,    2, /* blobs { shape { dim: 2 } */
        0x2a, 8,    0,    0,    0x80, 0x3f, 0,
        0,    0,    0x40, 0x18, 0,               /* data: 1 data: 2 width: 0 } */
        0xf2, 0x09, 4,    0x0a, 2,    'x',  'y', /* 158 { 1: "xy" } */
        0xfd, 0x0c, 0,    0,    0x80, 0x3f,      /* 207: 1.0 */
    };
    char *folder = test_make_directory(), *path = test_format("%s/w.caffemodel", folder);
    Caffe__NetParameter *net;
    assert_ok(context, qf_file_write(context, path, bytes, sizeof bytes, 0640));
    assert_ok(context, qf_net_param_read_binary(context, path, &net));
    assert_int_equal(net->n_layer, 1);
    assert_string_equal(net->layer[0]->name, "it");
    assert_int_equal(net->layer[0]->n_blobs, 1);
    assert_int_equal(net->layer[0]->blobs[0]->n_data, 2);
    assert_float_equal(net->layer[0]->blobs[0]->data[1], 2, 0);
    assert_null(net->layer[0]->interp_param);
    assert_null(net->layer[0]->psroi_pooling_param);
    qf_message_free(net);

    bytes[15] = 9; /* but a damaged blob is not passed over */
    assert_ok(context, qf_file_write(context, path, bytes, sizeof bytes, 0640));
    assert_fails(context, qf_net_param_read_binary(context, path, &net), "damaged");
    test_remove_directory(folder);
    qf_free(path);
    qf_free(folder);
}

/* NVIDIA's Caffe: raw_data_type (10) and raw_data (12), as doubles, floats or halves. */
static void weights_of_nvidia(void **state)
{
    (void)state;
    static const struct {
        uint8_t size, bytes[32];
    } blobs[] = {
        {30, {0x3a, 3,    0x0a, 1, 2, 0x50, 0, 0x62, 16,   0,    0,    0, 0,    0, 0,
              0xf0, 0x3f, 0,    0, 0, 0,    0, 0,    0xe0, 0xbf, 0x58, 1, 0x6a, 1, 7}},
        {22, {0x3a, 3,    0x0a, 1, 2, 0x50, 1,    0x62, 8,    0, 0,
              0x80, 0x3f, 0,    0, 0, 0xbf, 0x58, 1,    0x6a, 1, 7}},
        {13, {0x3a, 3, 0x0a, 1, 2, 0x50, 2, 0x62, 4, 0, 0x3c, 0, 0xb8}},
    };
    char *folder = test_make_directory(), *path = test_format("%s/w.caffemodel", folder);
    for (size_t i = 0; i < sizeof blobs / sizeof *blobs; i++) {
        uint8_t bytes[48] = {0xa2, 6, (uint8_t)(blobs[i].size + 5), 0x0a, 1, 'c', 0x3a};
        Caffe__NetParameter *net;
        bytes[7] = blobs[i].size;
        memcpy(bytes + 8, blobs[i].bytes, blobs[i].size);
        assert_ok(context, qf_file_write(context, path, bytes, 8u + blobs[i].size, 0640));
        assert_ok(context, qf_net_param_read_binary(context, path, &net));
        const Caffe__BlobProto *blob = net->layer[0]->blobs[0];
        assert_int_equal(i == 0 ? blob->n_double_data : blob->n_data, 2);
        assert_true((i == 0 ? blob->double_data[0] : (double)blob->data[0]) == 1);
        assert_true((i == 0 ? blob->double_data[1] : (double)blob->data[1]) == -0.5);
        assert_false(blob->has_int8_data || blob->n_int32_data || blob->has_half_data);
        qf_message_free(net);
    }
    test_remove_directory(folder);
    qf_free(path);
    qf_free(folder);
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'Permute' permute_param { order: 4 }", {"1 2 3 4"}, "order 4 does not exist"},
        {"type: 'Permute' permute_param { order: 1 order: 1 }", {"1 2 3"}, "names axis 1 twice"},
        {"type: 'Normalize'", {"4"}, "channels on axis 1"},
        {"type: 'Normalize' norm_param { eps: -1 }", {"1 2"}, "eps must not be negative"},
        {"type: 'ShuffleChannel' shuffle_channel_param { group: 4 }", {"1 6 2 2"}, "group 4"},
        {"type: 'ShuffleChannel' shuffle_channel_param { group: 0 }", {"1 6 2 2"}, "group 0"},
        {"type: 'Axpy'", {"1 2 1 2", "1 2 1 2", "1 2 1 2"}, "one factor for each"},
        {"type: 'Axpy'", {"1 2", "1 2 1 2", "1 2 2 1"}, "do not match"},
        {"type: 'Interp'", {"1 1 2 2"}, "needs height and width"},
        {"type: 'Interp' interp_param { zoom_factor: 0 }", {"1 1 2 2"}, "at least 1"},
        {"type: 'Interp' interp_param { zoom_factor: 2147483647 }", {"1 1 9 9"}, "at least 1"},
        {"type: 'Interp' interp_param { zoom_factor: 2 pad_beg: -2147483648 }",
         {"1 1 2 2"},
         "at least 1"},
        {"type: 'Interp' interp_param { height: -1 width: 4 }", {"1 1 2 2"}, "at least 1"},
        {"type: 'Interp' interp_param { zoom_factor: 2 pad_beg: 1 }", {"1 1 2 2"}, "cut pixels"},
        {"type: 'Upsample' upsample_param { scale: 1.5 }", {"1 1 2 2"}, "whole number"},
        {"type: 'Upsample' upsample_param { scale: nan }", {"1 1 2 2"}, "whole number"},
        {"type: 'Upsample' upsample_param { stride: 0 }", {"1 1 2 2"}, "factor 0"},
        {"type: 'Upsample'", {"1 1 2 2", "1 1 2 3"}, "one shape"},
        {"type: 'Reorg' reorg_param { stride: 0 }", {"1 4 2 2"}, "stride 0"},
        {"type: 'Reorg' reorg_param { stride: 3 }", {"1 9 2 2"}, "stride 3"},
        {"type: 'Reorg'", {"1 2 2 2"}, "stride 2"},
        {"type: 'Reorg' reorg_param { stride: 4294967295 }", {"1 1 1 1"}, "stride 4294967295"},
        {"type: 'PassThrough'", {"1 4 2 2"}, "blocks of 0 × 0"},
        {"type: 'PassThrough' pass_through_param { block_height: 2 block_width: 2 num_output: 3 }",
         {"1 4 2 2"},
         "do not make 3"},
        {"type: 'PassThrough' pass_through_param { block_height: 4294967295 block_width: "
         "4294967295 }",
         {"1 4 2 2"},
         "do not fit"},
        {"type: 'CReLU' crelu_param { concat_axis: 4 }", {"1 4 2 2"}, "axis 4"},
        {"type: 'Reverse' reverse_param { axis: -3 }", {"4 2"}, "axis -3"},
        {"type: 'MatMul'", {"2 3"}, "needs two bottoms"},
        {"type: 'MatMul' matmul_param { blob_shape: 3 blob_shape: 4294967295 }", {"2 3"}, "large"},
        {"type: 'MatMul'", {"2 3", "4 5"}, "cannot be multiplied"},
        {"type: 'MatMul'", {"2 3 4", "3 4 5"}, "cannot be multiplied"},
        {"type: 'MatMul'", {"4", "4"}, "cannot be multiplied"},
        {"type: 'BatchMatMul' batch_matmul_param { adj_x2: true }",
         {"2 3", "3 2"},
         "cannot be multiplied"},
    };
    (void)state;
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
}

static void refused_in_place(void **state)
{
    (void)state;
    static const char text[] = "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { "
                               "dim: 1 dim: 4 dim: 2 dim: 2 "
                               "} } } layer { name: 'it' type: 'Upsample' bottom: 'x' top: 'x' "
                               "upsample_param { scale: 2 } }";
    qf_net *net;
    assert_fails(context, test_net_of(context, text, QF_TEST, &net), "cannot work in place");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permute),
        cmocka_unit_test(shuffle_channel),
        cmocka_unit_test(reverse),
        cmocka_unit_test(reorg),
        cmocka_unit_test(pass_through),
        cmocka_unit_test(interp),
        cmocka_unit_test(upsample),
        cmocka_unit_test(activations),
        cmocka_unit_test(axpy),
        cmocka_unit_test(dropout_scaled_in_test),
        cmocka_unit_test(normalize),
        cmocka_unit_test(products),
        cmocka_unit_test(weights_of_another_fork),
        cmocka_unit_test(weights_of_nvidia),
        cmocka_unit_test(refused),
        cmocka_unit_test(refused_in_place),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
