/* Layers of R-CNN: regions and proposals: small cases worked out by hand, and plain references that
 * go about it another way than the layers. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(rest, tops, ...)                                                                      \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, tops)

/* ---- regions ---- */

enum { HEIGHT = 7, WIDTH = 9, REGIONS = 6 };

/* Inside, over the borders, outside, a single pixel, corners exchanged, with fractions. */
static const float some_regions[REGIONS * 5] = {
    0, 2, 4, 30, 20, 1, -20, -30, 60, 50, 0, 500,  500,  600,   600,
    1, 8, 8, 8,  8,  0, 30,  20,  2,  4,  1, 3.3f, 5.7f, 17.2f, 11.9f,
};

static void roi_pooling(void **state)
{
    (void)state;
    enum { CHANNELS = 3, H = 3, W = 2 };
    qf_net *net = MAKE("type: 'ROIPooling' roi_pooling_param { pooled_h: 3 pooled_w: 2 "
                       "spatial_scale: 0.25 }",
                       1, "2 3 7 9", "6 5 1 1");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_fill(context, qf_net_blob(net, "x1"), some_regions, REGIONS * 5);
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    for (int at = 0; at < REGIONS * CHANNELS * H * W; at++) {
        const float *r = some_regions + at / (CHANNELS * H * W) * 5;
        const int c = at / (H * W) % CHANNELS, h = at / W % H, w = at % W;
        const double left = round(r[1] / 4), right = fmax(round(r[3] / 4), left);
        const double upper = round(r[2] / 4), lower = fmax(round(r[4] / 4), upper);
        const double bin_w = (right - left + 1) / W, bin_h = (lower - upper + 1) / H;
        double most = -2;
        for (int row = 0; row < HEIGHT; row++) /* does the pixel share anything with the bin? */
            for (int column = 0; column < WIDTH; column++)
                if (column < left + (w + 1) * bin_w && column + 1 > left + w * bin_w &&
                    row < upper + (h + 1) * bin_h && row + 1 > upper + h * bin_h)
                    most = fmax(
                        most,
                        (double)x[(((int)r[0] * CHANNELS + c) * HEIGHT + row) * WIDTH + column]);
        assert_float_equal(y[at], most < -1 ? 0 : most, 0);
    }
    qf_net_destroy(net);
}

static void ps_roi_pooling(void **state)
{
    (void)state;
    enum { OUTPUTS = 2, G = 2, CHANNELS = OUTPUTS * G * G };
    qf_net *net = MAKE("type: 'PSROIPooling' psroi_pooling_param { output_dim: 2 group_size: 2 "
                       "spatial_scale: 0.25 }",
                       1, "2 8 7 9", "6 5");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_fill(context, qf_net_blob(net, "x1"), some_regions, REGIONS * 5);
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    for (int at = 0; at < REGIONS * CHANNELS; at++) {
        const float *r = some_regions + at / CHANNELS * 5;
        const int c = at % CHANNELS, h = at / G % G, w = at % G;
        const double left = round(r[1]) / 4, upper = round(r[2]) / 4;
        const double width = fmax((round(r[3]) + 1) / 4 - left, 0.1) / G;
        const double height = fmax((round(r[4]) + 1) / 4 - upper, 0.1) / G;
        double sum = 0;
        int count = 0;
        for (int row = 0; row < HEIGHT; row++)
            for (int column = 0; column < WIDTH; column++)
                if (column < left + (w + 1) * width && column + 1 > left + w * width &&
                    row < upper + (h + 1) * height && row + 1 > upper + h * height) {
                    sum += (double)x[(((int)r[0] * CHANNELS + c) * HEIGHT + row) * WIDTH + column];
                    count++;
                }
        assert_float_equal(y[at], count ? sum / count : 0, 1e-6);
    }
    qf_net_destroy(net);
}

/* The map as a function of the plane: between pixels a mixture, constant one pixel on, then 0. */
static double map_at(const float *plane, double row, double column)
{
    double sum = 0;
    if (row < -1 || row > HEIGHT || column < -1 || column > WIDTH)
        return 0;
    row = fmin(fmax(row, 0), HEIGHT - 1);
    column = fmin(fmax(column, 0), WIDTH - 1);
    for (int h = 0; h < HEIGHT; h++)
        for (int w = 0; w < WIDTH; w++)
            sum += fmax(0, 1 - fabs(row - h)) * fmax(0, 1 - fabs(column - w)) *
                   (double)plane[h * WIDTH + w];
    return sum;
}

static void check_align(const char *param, int samples, bool end_inside)
{
    enum { CHANNELS = 2, H = 2, W = 3 };
    char *rest = test_format("type: 'ROIAlign' roi_align_param { pooled_h: 2 pooled_w: 3 "
                             "spatial_scale: 0.25 %s }",
                             param);
    qf_net *net = MAKE(rest, 1, "2 2 7 9", "1 6 1 5");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_fill(context, qf_net_blob(net, "x1"), some_regions, REGIONS * 5);
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 0);
    for (int at = 0; at < REGIONS * CHANNELS * H * W; at++) {
        const float *r = some_regions + at / (CHANNELS * H * W) * 5;
        const float *plane = x + ((int)r[0] * CHANNELS + at / (H * W) % CHANNELS) * HEIGHT * WIDTH;
        const double left = r[1] / 4, upper = r[2] / 4, more = end_inside ? 0.25 : 0;
        const double width = fmax(r[3] / 4 + more - left, 1) / W;
        const double height = fmax(r[4] / 4 + more - upper, 1) / H;
        const int across = samples ? samples : (int)ceil(width);
        const int down = samples ? samples : (int)ceil(height);
        double sum = 0;
        for (int i = 0; i < down * across; i++)
            sum += map_at(plane, upper + height * (at / W % H + (i / across + 0.5) / down),
                          left + width * (at % W + (i % across + 0.5) / across));
        assert_float_equal(y[at], sum / (down * across), 1e-5);
    }
    qf_net_destroy(net);
    qf_free(rest);
}

static void roi_align(void **state)
{
    (void)state;
    check_align("", 0, false);
    check_align("sampling_ratio: 2", 2, false);
    check_align("sampling_ratio: 3 roi_end_mode: 1", 3, true);
}

/* ---- proposals ---- */

/* The nine anchors that Faster R-CNN publishes. */
static const float anchors[9][4] = {
    {-84, -40, 99, 55}, {-176, -88, 191, 103},  {-360, -184, 375, 199},
    {-56, -56, 71, 71}, {-120, -120, 135, 135}, {-248, -248, 263, 263},
    {-36, -80, 51, 95}, {-80, -168, 95, 183},   {-168, -344, 183, 359},
};

static void set(qf_net *net, const char *name, size_t index, float value)
{
    float *data;
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, name), &data));
    data[index] = value;
}

static void proposal(void **state)
{
    (void)state;
    enum { SIDE = 31, PLANE = SIDE * SIDE, LAST = PLANE - 1 };
    qf_net *net = MAKE("type: 'Proposal' proposal_param { pre_nms_topn: 1 }", 2, "1 18 31 31",
                       "1 36 31 31", "1 3");
    TEST_FILL(net, "x2", 1000, 2000, 1);
    for (size_t k = 0; k < 9; k++) { /* in the last cell, at (480, 480) */
        const float *a = anchors[k];
        set(net, "x0", (9 + k) * PLANE + LAST, 0.5f + (float)k / 20);
        test_forward(context, net);
        TEST_EXPECT(net, 0, "1 5 (5)", 0, 480 + a[0], 480 + a[1], 481 + a[2], 481 + a[3]);
        TEST_EXPECT(net, 1, "1 1 (1)", 0.5f + (float)k / 20);
    }
    /* The last one half its width to the right, twice as high, cut at the lower border. */
    set(net, "x1", 32 * PLANE + LAST, 0.5f);
    set(net, "x1", 35 * PLANE + LAST, logf(2));
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 5 (5)", 0, 480 - 168 + 176, 0, 481 + 183 + 176, 999);
    qf_net_destroy(net);

    /* One cell, anchors of 16 and 160 pixels; the small one is too small for a scale of 2. */
    static const char *const shapes[] = {"2 4 1 1", "2 8 1 1", "1 3", NULL};
    static const char param[] = "type: 'Proposal' proposal_param { ratio: 1 scale: 1 scale: 10 "
                                "min_size: %s output_actual_rois_num: true nms_thresh: %s }";
    const struct {
        const char *min_size, *threshold, *shape;
        float rows[20], counts[2];
    } cases[] = {
        {"4",
         "0.7",
         "4 5 (20)",
         {0, 0, 0, 88, 88, 0, 0, 0, 16, 16, 1, 0, 0, 16, 16, 1, 0, 0, 88, 88},
         {2, 2}},
        {"10", "0.7", "2 5 (10)", {0, 0, 0, 88, 88, 1, 0, 0, 88, 88}, {1, 1}},
        {"4", "0.01", "2 5 (10)", {0, 0, 0, 88, 88, 1, 0, 0, 16, 16}, {1, 1}},
        {"100", "0.7", "2 5 (10)", {0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, {0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *rest = test_format(param, cases[i].min_size, cases[i].threshold);
        net = test_make_layer(context, QF_TRAIN, shapes, rest, 2);
        TEST_FILL(net, "x0", 9, 9, 0.2f, 0.6f, 9, 9, 0.7f, 0.6f);
        TEST_FILL(net, "x2", 200, 200, 2);
        test_forward(context, net);
        test_expect(context, net, 0, cases[i].shape, cases[i].rows);
        test_expect(context, net, 1, "2 (2)", cases[i].counts);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'ROIPooling'", {"1 1 2 2", "1 5"}, "pooled_h and pooled_w"},
        {"type: 'ROIPooling' roi_pooling_param { pooled_h: 4294967295 pooled_w: 1 }",
         {"1 1 2 2", "1 5"},
         "pooled_h and pooled_w"},
        {"type: 'ROIPooling' roi_pooling_param { pooled_h: 2147483647 pooled_w: 2147483647 }",
         {"1 1 2 2", "1 5"},
         ""},
        {"type: 'ROIPooling' roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 0 }",
         {"1 1 2 2", "1 5"},
         "spatial_scale"},
        {"type: 'ROIPooling' roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
         {"1 1 2 2", "5 4"},
         "rows of 5 numbers"},
        {"type: 'ROIPooling' roi_pooling_param { pooled_h: 1 pooled_w: 1 }",
         {"1 1 2", "1 5"},
         "4 axes"},
        {"type: 'PSROIPooling' psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 1 "
         "}",
         {"1 8 2 2", "1 5"},
         "output_dim 2"},
        {"type: 'PSROIPooling' psroi_pooling_param { output_dim: -1 group_size: 3 spatial_scale: 1 "
         "}",
         {"1 8 2 2", "1 5"},
         "at least 1"},
        {"type: 'PSROIPooling' psroi_pooling_param { output_dim: 2 group_size: 2 }",
         {"1 8 2 2", "1 5"},
         "spatial_scale"},
        {"type: 'ROIAlign' roi_align_param { pooled_h: 2 pooled_w: 2 sampling_ratio: 2147483647 }",
         {"1 1 2 2", "1 5"},
         "sampling_ratio"},
        {"type: 'ROIAlign' roi_align_param { pooled_h: 2 pooled_w: 2 roi_end_mode: 7 }",
         {"1 1 2 2", "1 5"},
         "roi_end_mode"},
        {"type: 'Proposal'", {"1 2 1 1", "1 36 1 1", "1 3"}, "18 channels for 9 anchors"},
        {"type: 'Proposal'", {"1 18 1 1", "1 36 1 2", "1 3"}, "differ in size"},
        {"type: 'Proposal'", {"1 18 1 1", "1 36 1 1", "1 2"}, "one row (height, width, scale)"},
        {"type: 'Proposal'", {"1 18 1 1", "1 36 1 1", "3 3"}, "one row (height, width, scale)"},
        {"type: 'Proposal' proposal_param { ratio: 0 }", {"1 6 1 1", "1 12 1 1", "1 3"}, "ratio"},
        {"type: 'Proposal' proposal_param { scale: inf }", {"1 6 1 1", "1 12 1 1", "1 3"}, "scale"},
        {"type: 'Proposal' proposal_param { feat_stride: -1 }",
         {"1 18 1 1", "1 36 1 1", "1 3"},
         "feat_stride"},
        {"type: 'Proposal' proposal_param { post_nms_topn: 0 }",
         {"1 18 1 1", "1 36 1 1", "1 3"},
         "post_nms_topn"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

/* Values that only a forward pass sees. */
static void refused_values(void **state)
{
    (void)state;
    static const char *const types[] = {
        "type: 'ROIPooling' roi_pooling_param { pooled_h: 2 pooled_w: 2 }",
        "type: 'ROIAlign' roi_align_param { pooled_h: 2 pooled_w: 2 }",
        "type: 'PSROIPooling' psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 1 }",
    };
    for (size_t i = 0; i < 3; i++) {
        qf_net *net = MAKE(types[i], 1, "2 4 3 3", "1 5");
        TEST_FILL(net, "x1", 2, 0, 0, 1, 1);
        assert_fails(context, qf_net_forward(net, NULL), "lies in image 2, but the batch has 2");
        TEST_FILL(net, "x1", -1, 0, 0, 1, 1);
        assert_fails(context, qf_net_forward(net, NULL), "lies in image -1");
        TEST_FILL(net, "x1", NAN, 0, 0, 1, 1);
        assert_fails(context, qf_net_forward(net, NULL), "lies in image nan");
        TEST_FILL(net, "x1", 1, 0, NAN, 1, 1);
        assert_fails(context, qf_net_forward(net, NULL), "no number");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
        TEST_FILL(net, "x1", 1, -INFINITY, -1e30f, INFINITY, 3e38f);
        test_forward(context, net);
        for (size_t k = 0; k < qf_blob_count(qf_net_blob(net, "y0")); k++)
            assert_true(fabsf(test_top(context, net, 0)[k]) <= 1);
        qf_net_destroy(net);

        net = MAKE(types[i], 1, "2 4 3 3", "0 5"); /* no regions */
        test_forward(context, net);
        assert_int_equal(qf_blob_count(qf_net_blob(net, "y0")), 0);
        assert_ok(context, qf_net_backward(net));
        qf_net_destroy(net);
    }

    qf_net *net = MAKE("type: 'Proposal'", 1, "1 18 1 1", "1 36 1 1", "1 3");
    TEST_FILL(net, "x2", NAN, 9, 1);
    assert_fails(context, qf_net_forward(net, NULL), "image 0 has");
    TEST_FILL(net, "x2", 0, 0, 0);
    test_forward(context, net); /* an input that nobody has filled */
    TEST_EXPECT(net, 0, "1 5 (5)", 0, 0, 0, 0, 0);
    TEST_FILL(net, "x2", 100, 100, 1);
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    for (size_t i = 0; i < 36; i++)
        set(net, "x1", i, i % 3 == 0 ? NAN : 1e30f);
    test_forward(context, net);
    for (size_t i = 0; i < qf_blob_count(qf_net_blob(net, "y0")); i++)
        assert_true(test_top(context, net, 0)[i] >= 0 && test_top(context, net, 0)[i] <= 99);
    qf_net_destroy(net);
}

/* py-faster-rcnn's layer in Python, where there is no Python. */
static void proposal_of_python(void **state)
{
    (void)state;
    qf_net *net = MAKE("type: 'Python' python_param { module: 'rpn.proposal_layer' layer: "
                       "'ProposalLayer' param_str: \"'feat_stride': 8\\n'scales': [4, 8]\" }",
                       1, "1 12 5 6", "1 24 5 6", "1 3");
    const qf_layer *layer = net->layers[net->layer_count - 1];
    assert_string_equal(layer->type->name, "Proposal");
    const Caffe__ProposalParameter *p = layer->param->proposal_param;
    assert_true(p->feat_stride == 8 && p->n_scale == 2 && p->scale[1] == 8);
    assert_true(p->pre_nms_topn == 12000 && p->post_nms_topn == 2000);
    assert_int_equal(qf_blob_shape(layer->top[0])->dim[1], 5);
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roi_pooling),        cmocka_unit_test(ps_roi_pooling),
        cmocka_unit_test(roi_align),          cmocka_unit_test(proposal),
        cmocka_unit_test(proposal_of_python), cmocka_unit_test(refused),
        cmocka_unit_test(refused_values),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
