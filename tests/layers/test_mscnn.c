/* MS-CNN's layers, compared with plain double arithmetic on centres and sizes, where the layers
 * work with corners. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(phase, rest, tops, ...)                                                               \
    test_make_layer(context, phase, (const char *const[]){__VA_ARGS__, NULL}, rest, tops)

typedef struct box {
    double x, y, w, h; /* the left upper corner */
} box;

static double shared(double a, double a_size, double b, double b_size)
{
    const double length = fmin(a + a_size, b + b_size) - fmax(a, b);
    return length > 0 ? length : 0;
}

static double common(box a, box b)
{
    return shared(a.x, a.w, b.x, b.w) * shared(a.y, a.h, b.y, b.h);
}

static double iou(box a, box b)
{
    return common(a, b) / (a.w * a.h + b.w * b.h - common(a, b));
}

static double clip(double value, double most)
{
    return fmin(fmax(value, -most), most);
}

/* ---- boxes of maps ---- */

enum { H = 2, W = 3, PLANE = H * W, CLASSES = 3, CHANNELS = CLASSES + 4 };

static box cell_box(const float *offsets, int cell, double field_w, double field_h, double stride,
                    const double *deviation)
{
    double o[4];
    for (int k = 0; k < 4; k++)
        o[k] = clip((double)offsets[k * PLANE] * deviation[k], k < 2 ? 0.5 : log(2));
    const double w = field_w * exp(o[2]), h = field_h * exp(o[3]);
    return (box){o[0] * field_w + (cell % W + 0.5) * stride - w / 2,
                 o[1] * field_h + (cell / W + 0.5) * stride - h / 2, w, h};
}

/* All boxes of image `item`, the best first; returns how many. */
static int expected_regions(const float *const *maps, int item, const double *deviation,
                            const char *part, box *boxes, double *scores)
{
    static const double fields[2] = {20, 30}, strides[2] = {8, 16};
    int count = 0, kept = 0;
    for (int m = 0; m < 2; m++)
        for (int cell = 0; cell < PLANE; cell++) {
            const float *x = maps[m] + item * CHANNELS * PLANE + cell;
            const double score = fmax((double)x[PLANE], (double)x[2 * PLANE]) - (double)x[0];
            box b = cell_box(x + CLASSES * PLANE, cell, fields[m], fields[m] / 2, strides[m],
                             deviation);
            b.x = fmax(b.x, 0);
            b.y = fmax(b.y, 0);
            b.w = fmin(b.w, W * strides[m] - b.x);
            b.h = fmin(b.h, H * strides[m] - b.y);
            if (score < -0.5 || b.w < 4 || b.h < 4)
                continue;
            int at = count++;
            for (; at > 0 && scores[at - 1] < score; at--) {
                boxes[at] = boxes[at - 1];
                scores[at] = scores[at - 1];
            }
            boxes[at] = b;
            scores[at] = score;
        }
    for (int i = 0; i < (count < 9 ? count : 9); i++) {
        bool alone = true;
        for (int k = 0; k < kept; k++) {
            const double both = common(boxes[k], boxes[i]), first = boxes[k].w * boxes[k].h;
            const double second = boxes[i].w * boxes[i].h;
            const double share = strcmp(part, "IOU") == 0    ? both / (first + second - both)
                                 : strcmp(part, "IOMU") == 0 ? both / fmin(first, second)
                                                             : both / first;
            alone &= share <= 0.4;
        }
        if (alone) {
            boxes[kept] = boxes[i];
            scores[kept++] = scores[i];
        }
    }
    return kept < 5 ? kept : 5;
}

static void check_regions(const char *part, const char *norm, const double *deviation)
{
    char *rest = test_format("type: 'BoxOutput' %s box_output_param { fg_thr: -0.5 iou_thr: 0.4 "
                             "nms_type: '%s' field_w: 20 field_h: 10 downsample_rate: 8 "
                             "field_w: 30 field_h: 15 downsample_rate: 16 max_nms_num: 9 "
                             "max_post_nms_num: 5 min_size: 4 }",
                             norm, part);
    qf_net *net = MAKE(QF_TEST, rest, 2, "2 7 2 3", "2 7 2 3");
    int row = 0;
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 3);
    test_fill_anyhow(context, qf_net_blob(net, "x1"), 4);
    test_forward(context, net);
    const float *const maps[] = {test_bottom(context, net, 0), test_bottom(context, net, 1)};
    const float *regions = test_top(context, net, 0), *scored = test_top(context, net, 1);
    for (int item = 0; item < 2; item++) {
        box boxes[2 * PLANE];
        double scores[2 * PLANE];
        const int count = expected_regions(maps, item, deviation, part, boxes, scores);
        assert_true(count > 1);
        for (int i = 0; i < count; i++, row++) {
            const double expected[] = {
                item,     boxes[i].x, boxes[i].y, boxes[i].x + boxes[i].w, boxes[i].y + boxes[i].h,
                scores[i]};
            for (int k = 0; k < 6; k++) {
                assert_float_equal(scored[row * 6 + k], expected[k], 1e-4);
                if (k < 5)
                    assert_float_equal(regions[row * 5 + k], expected[k], 1e-4);
            }
        }
    }
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 0), row);
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y1"), 0), row);
    qf_net_destroy(net);
    qf_free(rest);
}

static void regions_of_maps(void **state)
{
    static const double ones[] = {1, 1, 1, 1}, given[] = {0.1, 0.2, 0.5, 0.4};
    (void)state;
    check_regions("IOU", "", ones);
    check_regions("IOMU", "", ones);
    check_regions("IOFU",
                  "bbox_reg_param { bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 "
                  "bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.5 bbox_std: 0.4 }",
                  given);
    qf_net *net = MAKE(QF_TEST,
                       "type: 'BoxOutput' box_output_param { fg_thr: 5 field_w: 20 field_h: 10 "
                       "downsample_rate: 8 }",
                       2, "1 6 1 1");
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 5 1 1 (5)", 0, 1, 1, 10, 10);
    TEST_EXPECT(net, 1, "1 6 1 1 (6)", 0, 0, 0, 0, 0, 0);
    qf_net_destroy(net);
}

/* ---- the loss ---- */

/* Two objects, an ignored one (7), and background of which one cell is nearly an object. */
static const float labels[6 * PLANE] = {
    1,   0,   2,   0,   7,   0,  /* labels */
    3,   0,   22,  0,   9,   0,  /* centres */
    5,   0,   3,   0,   9,   0,  /* */
    9,   0,   1,   0,   9,   0,  /* sizes, one below 2 */
    7,   0,   12,  0,   9,   0,  /* */
    .8f, .1f, .6f, .3f, .9f, .2f /* overlaps */
};
#define LOSS                                                                                       \
    "type: 'DetectionLoss' loss_param { ignore_label: 7 } detection_loss_param { cls_num: 3 "      \
    "lambda: 0.7 field_w: 10 field_h: 8 downsample_rate: 8 bg_threshold: 0.25 "

static double class_cost(const float *x, int cell, int label)
{
    double sum = 0;
    for (int k = 0; k < CLASSES; k++)
        sum += exp((double)x[k * PLANE + cell]);
    return log(sum) - (double)x[label * PLANE + cell];
}

static double offset_cost(const float *x, int cell, bool smooth)
{
    const double target[] = {((double)labels[PLANE + cell] - (cell % W + 0.5) * 8) / 10,
                             ((double)labels[2 * PLANE + cell] - (cell / W + 0.5) * 8) / 8,
                             log(fmax((double)labels[3 * PLANE + cell], 2) / 10),
                             log(fmax((double)labels[4 * PLANE + cell], 2) / 8)};
    double sum = 0;
    for (int k = 0; k < 4; k++) {
        const double value = (double)x[(CLASSES + k) * PLANE + cell];
        const double d = fabs(clip(value, k < 2 ? 0.5 : log(2)) - target[k]);
        sum += smooth && d >= 1 ? d - 0.5 : d * d / 2;
    }
    return sum;
}

static void losses(void **state)
{
    static const struct {
        const char *param;
        double object[2], other; /* what cells 0, 2, and those without an object weigh */
        double count;
        bool smooth;
    } rows[] = {
        {"sample_mode: 'all' }", {1, 1}, 1, 4, true},
        {"sample_mode: 'all' bb_smooth: false iou_weighted: true }", {0.8, 0.6}, 1, 4, false},
        /* Of 4 cells 1 / (1 + 3) of the weight is the objects'. */
        {"sample_mode: 'bootstrap' bg_multiple: 3 pos_neg_weighted: true }",
         {0.5, 0.5},
         1.5,
         4,
         true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *rest = test_format("%s%s", LOSS, rows[i].param);
        qf_net *net = MAKE(QF_TRAIN, rest, 2, "1 7 2 3", "1 6 2 3");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 5);
        test_fill(context, qf_net_blob(net, "x1"), labels, 6 * PLANE);
        test_forward(context, net);
        const float *x = test_bottom(context, net, 0);
        const double classes = rows[i].object[0] * class_cost(x, 0, 1) +
                               rows[i].object[1] * class_cost(x, 2, 2) +
                               rows[i].other * (class_cost(x, 1, 0) + class_cost(x, 5, 0));
        const double offsets =
            0.7 * (offset_cost(x, 0, rows[i].smooth) + offset_cost(x, 2, rows[i].smooth)) / 8;
        assert_float_equal(test_top(context, net, 1)[0], classes / rows[i].count, 1e-5);
        assert_float_equal(test_top(context, net, 1)[1], offsets, 1e-5);
        assert_float_equal(test_top(context, net, 0)[0], classes / rows[i].count + offsets, 1e-5);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* Of many cells of the background, those count that are most sure of a class, or are drawn. */
static void background(void **state)
{
    static const struct {
        const char *mode;
        int least, most;
    } rows[] = {{"bootstrap", 4, 4}, {"random", 1, 4}, {"mixture", 4, 8}, {"all", 40, 40}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *rest = test_format("type: 'DetectionLoss' detection_loss_param { cls_num: 2 "
                                 "field_w: 10 field_h: 8 downsample_rate: 8 sample_mode: '%s' }",
                                 rows[i].mode);
        qf_net *net = MAKE(QF_TRAIN, rest, 1, "1 6 5 8", "1 6 5 8");
        float *x, *dx, *weight;
        int found = 0;
        qf_context_set_seed(context, 4);
        assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
        for (int k = 0; k < 40; k++)
            x[40 + k] = (float)(k * 7 % 40); /* class 1's scores */
        test_forward(context, net);
        qf_layer *layer = net->layers[net->layer_count - 1];
        layer->propagate_down[0] = true;
        assert_ok(context, qf_blob_mutable_diff(layer->top[0], &weight));
        *weight = 1;
        assert_ok(context, layer->type->backward(layer));
        assert_ok(context, qf_blob_mutable_diff(layer->bottom[0], &dx));
        for (int k = 0; k < 40; k++) {
            found += dx[40 + k] != 0;
            if (strcmp(rows[i].mode, "bootstrap") == 0)
                assert_int_equal(dx[40 + k] != 0, k * 7 % 40 >= 36);
        }
        assert_in_range(found, rows[i].least, rows[i].most);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* ---- accuracies ---- */

static void accuracies(void **state)
{
    (void)state;
    qf_net *net = MAKE(QF_TEST,
                       "type: 'DetectionAccuracy' loss_param { ignore_label: 7 } "
                       "detection_accuracy_param { cls_num: 3 field_w: 10 field_h: 8 "
                       "downsample_rate: 8 field_xyr: 2 bg_threshold: 0.25 }",
                       2, "1 7 2 3", "1 6 2 3");
    static const double ones[] = {1, 1, 1, 1};
    float *x;
    double mean = 0;
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 6);
    test_fill(context, qf_net_blob(net, "x1"), labels, 6 * PLANE);
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    x[PLANE] = x[2] = x[5] = 9;  /* right, wrong, right; cell 1: */
    x[1] = x[2 * PLANE + 1] = 9; /* of equal scores the later class comes first */
    test_forward(context, net);
    for (int cell = 0; cell < 3; cell += 2) {
        const box object = {(double)(labels[PLANE + cell] - labels[3 * PLANE + cell] / 2),
                            (double)(labels[2 * PLANE + cell] - labels[4 * PLANE + cell] / 2),
                            (double)labels[3 * PLANE + cell], (double)labels[4 * PLANE + cell]};
        mean += iou(cell_box(x + CLASSES * PLANE + cell, cell, 10, 8, 8, ones), object) / 2;
    }
    TEST_EXPECT(net, 0, "1 1 1 2 (2)", 0.5f, 0.5f); /* of 4 cells, and of 2 objects */
    assert_true(mean > 0.01);
    assert_float_equal(test_top(context, net, 1)[0], mean, 1e-5);
    qf_net_destroy(net);
}

/* A region's box by offsets that are divided by 0.5, in numbers of its pixels. */
static box moved(const float *region, const float *offsets)
{
    const double w = (double)(region[3] - region[1] + 1), h = (double)(region[4] - region[2] + 1);
    const double mw = w * exp((double)offsets[2] / 2), mh = h * exp((double)offsets[3] / 2);
    return (box){(double)region[1] + w / 2 + (double)offsets[0] / 2 * w - mw / 2,
                 (double)region[2] + h / 2 + (double)offsets[1] / 2 * h - mh / 2, mw, mh};
}

#define HALVES                                                                                     \
    "bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_std: 0.5 bbox_std: 0.5 "             \
    "bbox_std: 0.5 bbox_std: 0.5 "

static const float some_regions[] = {0, 10, 10, 29, 39, 1, 5, 6, 14, 18, 0, 0, 0, 9, 9};

static void region_accuracy(void **state)
{
    (void)state;
    for (int aware = 0; aware < 2; aware++) {
        char *rest = test_format("type: 'BboxAccuracy' bbox_reg_param { " HALVES "cls_aware: %s }",
                                 aware ? "true" : "false");
        qf_net *net = MAKE(QF_TEST, rest, 2, "3 12 1 1", "3 5 1 1", "3 6 1 1");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 7);
        test_fill(context, qf_net_blob(net, "x1"), some_regions, 15);
        TEST_FILL(net, "x2", 2, 8, 12, 30, 36, 0.6f, 0, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 0.99f);
        test_forward(context, net);
        const box object = {8, 12, 23, 25}, region = {10, 10, 20, 30};
        const box after = moved(some_regions, test_bottom(context, net, 0) + (aware ? 8 : 4));
        assert_float_equal(test_top(context, net, 0)[0], iou(after, object), 1e-5);
        assert_float_equal(test_top(context, net, 1)[0], iou(region, object), 1e-5);
        TEST_FILL(net, "x2", 0, 8, 12, 30, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 0);
        test_forward(context, net);
        assert_float_equal(test_top(context, net, 0)[0], -1, 0);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

static void decoded_regions(void **state)
{
    (void)state;
    for (int phase = 0; phase < 2; phase++) {
        qf_net *net =
            MAKE(phase ? QF_TRAIN : QF_TEST, "type: 'DecodeBBox' bbox_reg_param { " HALVES "}", 1,
                 "3 8 1 1", "3 5 1 1", "3 6 1 1");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 8);
        test_fill(context, qf_net_blob(net, "x1"), some_regions, 15);
        TEST_FILL(net, "x2", 2, 8, 12, 30, 36, 0.6f, 1, 0, 0, 0, 0, 0.95f, 1, 0, 0, 9, 9, 0.9f);
        test_forward(context, net);
        const float *y = test_top(context, net, 0), *x = test_bottom(context, net, 0);
        assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 0), phase ? 2 : 3);
        for (int i = 0; i < 3; i++) {
            if (phase && i == 1)
                continue; /* it is its object, nearly */
            const box b = moved(some_regions + 5 * i, x + 8 * i + 4);
            const double expected[] = {(double)some_regions[5 * i], b.x, b.y, b.x + b.w - 1,
                                       b.y + b.h - 1};
            for (int k = 0; k < 5; k++)
                assert_float_equal(*y++, expected[k], 1e-4);
        }
        qf_net_destroy(net);
    }
}

/* ---- pooling ---- */

/* A map whose value is a plane's, so that what lies between pixels is known. */
static void pooled_regions(void **state)
{
    (void)state;
    qf_net *net = MAKE(QF_TEST,
                       "type: 'ROIAlign' roi_pooling_param { pooled_h: 2 pooled_w: 3 "
                       "spatial_scale: 0.5 pad_ratio: 0.25 }",
                       1, "1 1 8 10", "2 5");
    float *x;
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    for (int i = 0; i < 80; i++)
        x[i] = (float)(i / 10 * 100 + i % 10);
    TEST_FILL(net, "x1", 0, 6, 5, 9, 8, 0, -20, 2, 3, 9);
    test_forward(context, net);
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 2), 3);
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 3), 4);
    const float *y = test_top(context, net, 0);
    for (int h = 0; h < 3; h++) /* 4 pixels and one on each side, but corners lie on borders */
        for (int w = 0; w < 4; w++)
            assert_float_equal(
                y[h * 4 + w],
                100 * (4 * 0.5 - 0.5 + h * 5 * 0.5 / 2) + (5 * 0.5 - 0.5 + w * 5 * 0.5 / 3), 1e-4);
    assert_float_equal(y[12], 0, 0); /* outside */
    assert_true(y[15] > 0);
    qf_net_destroy(net);

    net = MAKE(QF_TEST,
               "type: 'ROIPooling' roi_pooling_param { pooled_h: 1 pooled_w: 1 pad_ratio: 0.25 }",
               1, "1 1 8 10", "1 5");
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    for (int i = 0; i < 80; i++)
        x[i] = (float)i;
    TEST_FILL(net, "x1", 0, 2, 1, 5, 4);
    test_forward(context, net);
    assert_float_equal(test_top(context, net, 0)[0], 5 * 10 + 6, 0);
    qf_net_destroy(net);
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'BoxOutput' box_output_param { field_w: 3 field_h: 3 }",
         {"1 7 2 2"},
         "expected one of each for the 1 bottoms"},
        {"type: 'BoxOutput' box_output_param { field_w: 3 field_h: 3 downsample_rate: 0 }",
         {"1 7 2 2"},
         "downsample_rate of at least 1"},
        {"type: 'BoxOutput' box_output_param { field_w: 3 field_h: 3 downsample_rate: 2 nms_type: "
         "'ANY' }",
         {"1 7 2 2"},
         "expected IOU, IOMU or IOFU"},
        {"type: 'BoxOutput' box_output_param { field_w: 3 field_h: 3 downsample_rate: 2 }",
         {"1 5 2 2"},
         "at least 6 channels"},
        {LOSS "sample_mode: 'most' }", {"1 7 2 3", "1 6 2 3"}, "sample_mode is 'most'"},
        {LOSS "}", {"1 8 2 3", "1 6 2 3"}, "expected 7 channels"},
        {LOSS "objectness: true }", {"1 7 2 3", "1 6 2 3"}, "with objectness: 2"},
        {"type: 'DetectionAccuracy' detection_accuracy_param { cls_num: 3 field_w: 1 field_h: 1 "
         "downsample_rate: 1 top_k: 0 }",
         {"1 7 2 3", "1 6 2 3"},
         "top_k must be at least 1"},
        {"type: 'BboxAccuracy'", {"3 8", "3 4", "3 6"}, "expected rows of offsets"},
        {"type: 'DecodeBBox'", {"3 4", "3 5"}, "expected rows of 8 offsets"},
        {"type: 'DecodeBBox' bbox_reg_param { bbox_std: 1 }", {"3 8", "3 5"}, "expected 4"},
        {"type: 'ROIPooling' roi_pooling_param { pooled_h: 1 pooled_w: 1 pad_ratio: -1 }",
         {"1 1 4 4", "1 5"},
         "pad_ratio must be from 0 to 100"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_of_maps), cmocka_unit_test(losses),
        cmocka_unit_test(background),      cmocka_unit_test(accuracies),
        cmocka_unit_test(region_accuracy), cmocka_unit_test(decoded_regions),
        cmocka_unit_test(pooled_regions),  cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
