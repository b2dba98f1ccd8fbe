/* Layers that converters from other frameworks write: each value against a formula of the framework
 * that the layer comes from, written here once more, index by index and in double. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TEST, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

/* ---- indices ---- */

enum { AXES = 6 };

/* The index, axis by axis, of an element in C order. */
static void index_of(const qf_shape *shape, size_t at, int *index)
{
    for (int i = shape->axes; i-- > 0;) {
        index[i] = (int)(at % (size_t)shape->dim[i]);
        at /= (size_t)shape->dim[i];
    }
}

static size_t place_of(const qf_shape *shape, const int *index)
{
    size_t at = 0;
    for (int i = 0; i < shape->axes; i++)
        at = at * (size_t)shape->dim[i] + (size_t)index[i];
    return at;
}

static void fill_all(qf_net *net, int bottoms)
{
    static const char *const names[] = {"x0", "x1"};
    for (int i = 0; i < bottoms; i++)
        test_fill_anyhow(context, qf_net_blob(net, names[i]), 3 + (unsigned)i);
    test_forward(context, net);
}

static void expect_shape(qf_net *net, const char *shape)
{
    char text[256];
    assert_string_equal(qf_shape_text(qf_blob_shape(qf_net_blob(net, "y0")), text, sizeof text),
                        shape);
}

/* Every value of the top is that of the bottom which `source` names; NAN is a value of its own. */
static void expect_moved(qf_net *net, bool (*source)(const int *top, int *bottom, const void *),
                         const void *of, float elsewhere)
{
    const qf_shape *from = qf_blob_shape(qf_net_blob(net, "x0"));
    const qf_shape *to = qf_blob_shape(qf_net_blob(net, "y0"));
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    assert_true(qf_shape_count(to) > 0);
    for (size_t at = 0; at < qf_shape_count(to); at++) {
        int top[AXES], bottom[AXES];
        index_of(to, at, top);
        const float expected = source(top, bottom, of) ? x[place_of(from, bottom)] : elsewhere;
        if (y[at] != expected)
            fail_msg("value %zu is %g, expected %g", at, (double)y[at], (double)expected);
    }
}

/* ---- single values ---- */

static double mish(double x)
{
    return x * tanh(log1p(exp(x)));
}

static double selu(double x)
{
    return x > 0 ? 1.050700987 * x : 1.050700987 * 1.67326324 * expm1(x);
}

static double hard_sigmoid(double x)
{
    return fmin(1, fmax(0, 0.2 * x + 0.5));
}

static double hard_swish(double x)
{
    return x * fmin(6, fmax(0, x + 3)) / 6;
}

static void activations(void **state)
{
    static const struct {
        const char *type;
        double (*value)(double x);
    } rows[] = {{"Mish", mish},
                {"SELU", selu},
                {"SeLU", selu},
                {"SeLu", selu},
                {"HardSigmoid", hard_sigmoid},
                {"HardSwish", hard_swish},
                {"HSwish", hard_swish}};
    enum { COUNT = 241 };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float x[COUNT];
        char *type = test_format("type: '%s'", rows[i].type);
        qf_net *net = MAKE(type, "241");
        for (int k = 0; k < COUNT; k++)
            x[k] = 0.25f * (float)(k - COUNT / 2);
        test_fill(context, qf_net_blob(net, "x0"), x, COUNT);
        test_forward(context, net);
        for (int k = 0; k < COUNT; k++) {
            const double expected = rows[i].value((double)x[k]);
            const double found = (double)test_top(context, net, 0)[k];
            if (!(fabs(found - expected) <= 1e-6 + 2e-6 * fabs(expected)))
                fail_msg("%s of %g is %.9g, expected %.9g", rows[i].type, (double)x[k], found,
                         expected);
        }
        qf_net_destroy(net);
        qf_free(type);
    }
}

/* ---- two blobs ---- */

static float value_at(const qf_shape *shape, const float *x, const qf_shape *top, const int *index)
{
    int own[AXES];
    for (int i = 0; i < shape->axes; i++)
        own[i] = shape->dim[i] == 1 ? 0 : index[top->axes - shape->axes + i];
    return x[place_of(shape, own)];
}

static void check_arithmetic(const char *rest, char sign, const char *first, const char *second,
                             const char *shape)
{
    qf_net *net = MAKE(rest, first, second);
    fill_all(net, 2);
    expect_shape(net, shape);
    const qf_shape *a = qf_blob_shape(qf_net_blob(net, "x0"));
    const qf_shape *b = qf_blob_shape(qf_net_blob(net, "x1"));
    const qf_shape *top = qf_blob_shape(qf_net_blob(net, "y0"));
    for (size_t at = 0; at < qf_shape_count(top); at++) {
        int index[AXES];
        index_of(top, at, index);
        const double m = (double)value_at(a, test_bottom(context, net, 0), top, index);
        const double n = (double)value_at(b, test_bottom(context, net, 1), top, index);
        const double expected = sign == '+'   ? m + n
                                : sign == '-' ? m - n
                                : sign == '*' ? m * n
                                              : m / n;
        const double found = (double)test_top(context, net, 0)[at];
        if (!(fabs(found - expected) <= 1e-6 * (1 + fabs(expected))))
            fail_msg("%s: value %zu is %.9g, expected %.9g", rest, at, found, expected);
    }
    qf_net_destroy(net);
}

static void arithmetic(void **state)
{
    (void)state;
    check_arithmetic("type: 'Add'", '+', "2 3 4 5", "2 3 4 5", "2 3 4 5 (120)");
    check_arithmetic("type: 'Add'", '+', "2 3 4 5", "5", "2 3 4 5 (120)");
    check_arithmetic("type: 'Sub'", '-', "4 1", "2 3 4 5", "2 3 4 5 (120)");
    check_arithmetic("type: 'Mul'", '*', "2 3 4 5", "2 3 1 1", "2 3 4 5 (120)");
    check_arithmetic("type: 'BroadcastMul'", '*', "2 3 1 1", "2 3 4 5", "2 3 4 5 (120)");
    check_arithmetic("type: 'Mul'", '*', "3 1 5", "2 1 4 1", "2 3 4 5 (120)");
    check_arithmetic("type: 'Div'", '/', "2 3 4", "2 1 4", "2 3 4 (24)");
    check_arithmetic("type: 'Div'", '/', "1 3 1", "2 1 4", "2 3 4 (24)");
}

static void learned_factor(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Mul' mul_param { mul_shape: 2 mul_shape: 1 }", "1 2 2");
    TEST_FILL(net, "x0", 1, 2, 3, 4);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 2 (4)", 1, 2, 3, 4);
    test_fill(context, net->layers[1]->params[0].blob, (const float[]){-2, 0.5f}, 2);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 2 2 (4)", -2, -4, 1.5f, 2);
    qf_net_destroy(net);
}

/* ---- shapes ---- */

static void check_shape(const char *rest, const char *bottom, const char *top)
{
    qf_net *net = MAKE(rest, bottom);
    fill_all(net, 1);
    expect_shape(net, top);
    const size_t count = qf_blob_count(qf_net_blob(net, "x0"));
    assert_memory_equal(test_bottom(context, net, 0), test_top(context, net, 0),
                        count * sizeof(float));
    qf_net_destroy(net);
}

static void axes_of_length_one(void **state)
{
    (void)state;
    check_shape("type: 'Squeeze' squeeze_param { axis: 2 axis: -1 }", "1 3 1 1", "1 3 (3)");
    check_shape("type: 'Squeeze'", "1 3 1 2", "3 2 (6)");
    check_shape("type: 'ExpandDimsND' expand_dims_nd_param { axis: 1 }", "2 3", "2 1 3 (6)");
    check_shape("type: 'ExpandDimsND' expand_dims_nd_param { axis: 0 axis: 2 }", "2 3",
                "1 2 3 1 (6)");
    check_shape("type: 'ExpandDimsND' expand_dims_nd_param { axis: -1 }", "2 3", "2 3 1 (6)");
}

static bool transposed(const int *top, int *bottom, const void *of)
{
    const int *dim = of;
    for (int i = 0; i < 4; i++)
        bottom[dim[i]] = top[i];
    return true;
}

static void transpose(void **state)
{
    (void)state;
    qf_net *net =
        MAKE("type: 'Transpose' transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }", "2 3 4 5");
    fill_all(net, 1);
    expect_shape(net, "5 4 2 3 (120)");
    expect_moved(net, transposed, (const int[]){3, 2, 0, 1}, 0);
    qf_net_destroy(net);
}

/* ---- channels and pixels ---- */

typedef struct blocks {
    int block, depth; /* of the wide blob */
    enum { NHWC, DCR, CRD } order;
} blocks;

/* The place in the deep blob of one in the wide blob. */
static bool deep_place(const int *wide, int *deep, const void *of)
{
    const blocks *b = of;
    const int c = b->order == NHWC ? 3 : 1, h = b->order == NHWC ? 1 : 2;
    const int number = wide[h] % b->block * b->block + wide[h + 1] % b->block;
    deep[0] = wide[0];
    deep[h] = wide[h] / b->block;
    deep[h + 1] = wide[h + 1] / b->block;
    deep[c] =
        b->order == CRD ? wide[c] * b->block * b->block + number : number * b->depth + wide[c];
    return true;
}

static void check_to_space(const char *rest, const char *bottom, const char *top, blocks of)
{
    qf_net *net = MAKE(rest, bottom);
    fill_all(net, 1);
    expect_shape(net, top);
    expect_moved(net, deep_place, &of, 0);
    qf_net_destroy(net);
}

/* There and back again. */
static void check_inverse(const char *there, const char *back, const char *shape)
{
    char *text =
        test_format("layer { name: 'x' type: 'Input' top: 'x' input_param { shape { %s } } "
                    "}\nlayer { name: 'there' bottom: 'x' top: 'y' %s }\n"
                    "layer { name: 'back' bottom: 'y' top: 'z' %s }\n",
                    shape, there, back);
    qf_net *net;
    const float *x, *z;
    assert_ok(context, test_net_of(context, text, QF_TEST, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 5);
    test_forward(context, net);
    assert_ok(context, qf_read(context, qf_net_blob(net, "x")->data, QF_PLAIN, &x));
    assert_ok(context, qf_read(context, qf_net_blob(net, "z")->data, QF_PLAIN, &z));
    assert_memory_equal(z, x, qf_blob_count(qf_net_blob(net, "x")) * sizeof(float));
    qf_net_destroy(net);
    qf_free(text);
}

static void depth_and_space(void **state)
{
    (void)state;
    check_to_space(
        "type: 'DepthToSpace' depth_to_space_param { block_size: 2 data_format: 'NCHW' }",
        "2 12 2 3", "2 3 4 6 (144)", (blocks){2, 3, DCR});
    check_to_space("type: 'DepthToSpace' depth_to_space_param { block_size: 2 }", "2 2 3 12",
                   "2 4 6 3 (144)", (blocks){2, 3, NHWC});
    check_to_space("type: 'DepthToSpace' depth_to_space_param { block_size: 3 data_format: 'CRD' }",
                   "1 18 2 1", "1 2 6 3 (36)", (blocks){3, 2, CRD});
    check_to_space("type: 'PixelShuffle' pixel_shuffle_param { upscale_factor: 2 }", "2 12 2 3",
                   "2 3 4 6 (144)", (blocks){2, 3, CRD});
    check_to_space("type: 'Reshape' reshape_param { pixelshuffler: 2 }", "2 12 2 3",
                   "2 3 4 6 (144)", (blocks){2, 3, CRD});
    check_to_space("type: 'UpsampleDarknet' upsample_darknet_param { stride: 1 }", "2 3 2 3",
                   "2 3 2 3 (36)", (blocks){1, 3, DCR});
    check_inverse("type: 'SpaceToDepth' space_to_depth_param { block_size: 2 data_format: 'NCHW' }",
                  "type: 'DepthToSpace' depth_to_space_param { block_size: 2 data_format: 'NCHW' }",
                  "dim: 2 dim: 3 dim: 4 dim: 6");
    check_inverse("type: 'SpaceToDepth' space_to_depth_param { block_size: 2 }",
                  "type: 'DepthToSpace' depth_to_space_param { block_size: 2 }",
                  "dim: 2 dim: 4 dim: 6 dim: 3");
}

static bool repeated(const int *top, int *bottom, const void *of)
{
    const int stride = *(const int *)of;
    for (int i = 0; i < 4; i++)
        bottom[i] = i < 2 ? top[i] : top[i] / stride;
    return true;
}

static void upsample_darknet(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'UpsampleDarknet' upsample_darknet_param { stride: 3 }", "2 3 2 2");
    fill_all(net, 1);
    expect_shape(net, "2 3 6 6 (216)");
    expect_moved(net, repeated, &(int){3}, 0);
    qf_net_destroy(net);
}

/* ---- batches ---- */

/* A blob of 2 images of 3 × 5 × 4, blocks of 1 × 2 × 3, paddings (1, 0) and (3, 2). */
static bool space_of_batch(const int *top, int *bottom, const void *of)
{
    const int number = top[0] / 2;
    (void)of;
    bottom[0] = top[0] % 2;
    bottom[1] = top[1];
    bottom[2] = top[2] * 2 + number / 3 - 1;
    bottom[3] = top[3] * 3 + number % 3 - 3;
    return bottom[2] >= 0 && bottom[2] < 5 && bottom[3] >= 0 && bottom[3] < 4;
}

#define BLOCKS "block_shape: 1 block_shape: 2 block_shape: 3"

static void space_and_batch(void **state)
{
    static const char there[] = "type: 'SpaceToBatchND' space_to_batch_nd_param { " BLOCKS
                                " paddings: 0 paddings: 0 paddings: 1 paddings: 0 paddings: 3 "
                                "paddings: 2 }";
    static const char back[] = "type: 'BatchToSpaceND' batch_to_space_nd_param { " BLOCKS
                               " crops: 0 crops: 0 crops: 1 crops: 0 crops: 3 crops: 2 }";
    (void)state;
    qf_net *net = MAKE(there, "2 3 5 4");
    fill_all(net, 1);
    expect_shape(net, "12 3 3 3 (324)");
    expect_moved(net, space_of_batch, NULL, 0);
    qf_net_destroy(net);
    check_inverse(there, back, "dim: 2 dim: 3 dim: 5 dim: 4");
}

/* ---- paddings ---- */

typedef struct frame {
    int axes;
    int size[4], before[4];
    char mode; /* of MirrorPad, its first letter */
} frame;

static bool inside_frame(const int *top, int *bottom, const void *of)
{
    const frame *f = of;
    for (int i = 0; i < f->axes; i++) {
        const int at = top[i] - f->before[i], n = f->size[i];
        if (f->mode == 'C' && (at < 0 || at >= n))
            return false;
        bottom[i] = at >= 0 && at < n ? at
                    : f->mode == 'E'  ? (at < 0 ? 0 : n - 1)
                    : f->mode == 'R'  ? (at < 0 ? -at : 2 * n - 2 - at)
                                      : (at < 0 ? -at - 1 : 2 * n - 1 - at);
    }
    return true;
}

#define PADDINGS                                                                                   \
    "paddings: 1 paddings: 0 paddings: 0 paddings: 0 paddings: 2 paddings: 1 paddings: 0 "         \
    "paddings: 3"

static void paddings(void **state)
{
    static const char *const rows[] = {
        "C type: 'Pad' pad_param { constant_values: -2.5 " PADDINGS " }",
        "C type: 'MirrorPad' mirror_pad_param { constant_values: -2.5 " PADDINGS " }",
        "R type: 'MirrorPad' mirror_pad_param { mode: 'REFLECT' " PADDINGS " }",
        "S type: 'MirrorPad' mirror_pad_param { mode: 'SYMMETRIC' " PADDINGS " }",
        "E type: 'MirrorPad' mirror_pad_param { mode: 'EDGE' " PADDINGS " }"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const frame f = {4, {2, 3, 3, 4}, {1, 0, 2, 0}, rows[i][0]};
        qf_net *net = MAKE(rows[i] + 2, "2 3 3 4");
        fill_all(net, 1);
        expect_shape(net, "3 3 6 7 (378)");
        expect_moved(net, inside_frame, &f, -2.5f);
        qf_net_destroy(net);
    }
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'Squeeze' squeeze_param { axis: 1 }",
         {"2 3 1"},
         "axis 1 of 'x0' has length 3, only those of length 1 can go; its shape is 2 3 1 (6)"},
        {"type: 'Squeeze' squeeze_param { axis: 3 }", {"2 3 1"}, "axis"},
        {"type: 'ExpandDimsND' expand_dims_nd_param { axis: 3 }",
         {"2 3"},
         "an axis cannot be put at 3, 'x0' has 2 axes"},
        {"type: 'Add'", {"2 3"}, "Add needs two bottoms"},
        {"type: 'Mul'",
         {"2 3 4", "2 4"},
         "the shapes 2 3 4 (24) and 2 4 (8) do not fit: counted from the last, each axis must have "
         "one length in both, or 1 in one of them"},
        {"type: 'Transpose' transpose_param { dim: 0 }",
         {"2 3"},
         "transpose_param has 1 dim, expected one for each of the 2 axes of 'x0'"},
        {"type: 'Transpose' transpose_param { dim: 0 dim: 2 }", {"2 3"}, "dim 2 does not exist"},
        {"type: 'Transpose' transpose_param { dim: 1 dim: 1 }", {"2 3"}, "names axis 1 twice"},
        {"type: 'DepthToSpace'", {"1 4 1 1"}, "depth_to_space_param.block_size is missing"},
        {"type: 'DepthToSpace' depth_to_space_param { block_size: 2 data_format: 'NCHW' }",
         {"1 6 1 1"},
         "'x0' has 6 channels, which 2 × 2 does not divide"},
        {"type: 'SpaceToDepth' space_to_depth_param { block_size: 2 data_format: 'NCHW' }",
         {"1 6 4 3"},
         "'x0' has 4 × 3 pixels, which blocks of 2 × 2 do not fill"},
        {"type: 'SpaceToDepth' space_to_depth_param { block_size: 0 }", {"1 1 1 1"}, "is 0"},
        {"type: 'DepthToSpace' depth_to_space_param { block_size: 2 data_format: 'CHW' }",
         {"1 4 1 1"},
         "data_format is 'CHW'"},
        {"type: 'PixelShuffle'", {"1 4 1 1"}, "upscale_factor is 0, expected 1"},
        {"type: 'Reshape' reshape_param { pixelshuffler: -1 }", {"1 4 1 1"}, "upscale_factor is"},
        {"type: 'UpsampleDarknet' upsample_darknet_param { stride: 0 }",
         {"1 4 1 1"},
         "stride is 0, expected 1"},
        {"type: 'Pad' pad_param { paddings: 1 }",
         {"1 4 1 1"},
         "there are 1 paddings, expected two for each of the 4 axes of 'x0'"},
        {"type: 'MirrorPad' mirror_pad_param { paddings: 0 paddings: 3 mode: 'REFLECT' }",
         {"3"},
         "axis 0 of 'x0' has length 3, too short for a padding of 3 in this mode"},
        {"type: 'MirrorPad' mirror_pad_param { paddings: 0 paddings: 3 mode: 'WRAP' }",
         {"3"},
         "mode is 'WRAP', expected CONSTANT, REFLECT, SYMMETRIC or EDGE"},
        {"type: 'ResizeBilinear' resize_bilinear_param { output_height: -1 }",
         {"1 1 1 1"},
         "must be positive; found -1"},
        {"type: 'ResizeBilinear' resize_bilinear_param { align_corners: true half_pixel_centers: "
         "true }",
         {"1 1 1 1"},
         "only one of align_corners and the half-pixel flags can be true"},
        {"type: 'ResizeNearestNeighbor' resize_nearest_neighbor_param { scale_height: 0.1 }",
         {"1 4 4 1"},
         "axis 1 of 'x0' would have 0 pixels of 4"},
        {"type: 'ResizeBilinear' resize_bilinear_param { data_format: 'NCHWD' }",
         {"1 4 4 1"},
         "data_format is 'NCHWD', expected 'NCHW' or 'NHWC'"},
        {"type: 'SpaceToBatchND' space_to_batch_nd_param { block_shape: 2 paddings: 0 paddings: 0 "
         "}",
         {"1 3"},
         "axis 1 of 'x0' has length 3, with paddings 3, which the block of 2 does not divide"},
        {"type: 'SpaceToBatchND' space_to_batch_nd_param { block_shape: 2 }",
         {"1 3"},
         "0 paddings"},
        {"type: 'BatchToSpaceND' batch_to_space_nd_param { block_shape: 2 crops: 0 crops: 0 }",
         {"3 3"},
         "'x0' has 3 images, which the 2 positions of a block do not divide"},
        {"type: 'BatchToSpaceND' batch_to_space_nd_param { block_shape: 9999 crops: 0 crops: 0 }",
         {"3 3"},
         "block_shape 9999"},
    };
    (void)state;
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations),      cmocka_unit_test(arithmetic),
        cmocka_unit_test(learned_factor),   cmocka_unit_test(axes_of_length_one),
        cmocka_unit_test(transpose),        cmocka_unit_test(depth_and_space),
        cmocka_unit_test(upsample_darknet), cmocka_unit_test(space_and_batch),
        cmocka_unit_test(paddings),         cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
