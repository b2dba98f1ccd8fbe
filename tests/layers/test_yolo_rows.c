/* Detections of YOLO's layers, against a search over all predictions that is written otherwise. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

enum { CLASSES = 3, ROWS = 3, COLUMNS = 4, PLANE = ROWS * COLUMNS };

typedef struct box {
    double x, y, w, h;
} box;

static double overlap_along(double a, double size_a, double b, double size_b)
{
    const double both = fmin(a + size_a / 2, b + size_b / 2) - fmax(a - size_a / 2, b - size_b / 2);
    return both > 0 ? both : 0;
}

static double iou_of(box a, box b)
{
    const double both = overlap_along(a.x, a.w, b.x, b.w) * overlap_along(a.y, a.h, b.y, b.h);
    return both / (a.w * a.h + b.w * b.h - both);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

enum { MOST = 600 };

typedef struct found {
    int image, label;
    double score;
    box where;
} found;

static int add_found(found *list, int count, found one)
{
    int at = count;
    for (; at > 0 && list[at - 1].score < one.score; at--)
        list[at] = list[at - 1];
    list[at] = one;
    return count + 1;
}

/* Those of an image that do not overlap a better one by more than the threshold. */
static int without_doubles(found *list, int count, double threshold)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        bool alone = true;
        for (int k = 0; k < kept; k++)
            alone = alone && iou_of(list[i].where, list[k].where) <= threshold;
        if (alone)
            list[kept++] = list[i];
    }
    return kept;
}

static void expect_rows(qf_net *net, const found *list, int count)
{
    const qf_shape *shape = qf_blob_shape(qf_net_blob(net, "y0"));
    const float *row = test_top(context, net, 0);
    assert_int_equal(shape->dim[2], count);
    assert_true(count > 4);
    for (int i = 0; i < count; i++, row += 7) {
        const box b = list[i].where;
        const double expected[] = {list[i].image, list[i].label, list[i].score, b.x - b.w / 2,
                                   b.y - b.h / 2, b.x + b.w / 2, b.y + b.h / 2};
        for (int k = 0; k < 7; k++)
            if (!(fabs((double)row[k] - expected[k]) <= 2e-5))
                fail_msg("row %d: number %d is %.8g, expected %.8g", i, k, (double)row[k],
                         expected[k]);
    }
}

/* Two maps, 2 × 3 and 4 × 6 cells of 16 and 8 pixels; an anchor each of four, or Gaussian ones. */
static int detect_yolov3(qf_net *net, bool gaussian, int image, double threshold, found *list)
{
    static const double sides[][2] = {{8, 6}, {10, 20}, {30, 12}, {16, 16}};
    static const int mask[2][2] = {{3, 1}, {2, 0}};
    const int numbers = 5 + CLASSES + (gaussian ? 4 : 0), next = gaussian ? 2 : 1;
    int count = 0;
    for (int map = 0; map < 2; map++) {
        const int rows = map ? 4 : 2, columns = map ? 6 : 3, pixels = map ? 8 : 16;
        const float *x = test_bottom(context, net, map);
        for (int i = 0; i < 2 * rows * columns; i++) {
            const int anchor = i % 2, cell = i / 2, plane = rows * columns;
            const float *p = x + (image * 2 + anchor) * numbers * plane + cell;
            const double *side = sides[mask[map][anchor]];
            const box where = {(cell % columns + sigmoid((double)p[0])) / columns,
                               (cell / columns + sigmoid((double)p[next * plane])) / rows,
                               side[0] / (columns * pixels) * exp((double)p[2 * next * plane]),
                               side[1] / (rows * pixels) * exp((double)p[3 * next * plane])};
            double object = sigmoid((double)p[(numbers - CLASSES - 1) * plane]), unsure = 0;
            for (int k = 0; gaussian && k < 4; k++)
                unsure += sigmoid((double)p[(2 * k + 1) * plane]);
            object *= (4 - unsure) / 4;
            for (int c = 0; c < CLASSES; c++) {
                const double score = object * sigmoid((double)p[(numbers - CLASSES + c) * plane]);
                if (score > threshold)
                    count = add_found(list, count, (found){image, c + 1, score, where});
            }
        }
    }
    return count;
}

#define OUTPUTS                                                                                    \
    "type: 'Yolov3DetectionOutput' yolov3_detection_output_param { num_classes: 3 num_box: 2 "     \
    "biases: 8 biases: 6 biases: 10 biases: 20 biases: 30 biases: 12 biases: 16 biases: 16 mask: " \
    "3 mask: 1 mask: 2 mask: 0 anchors_scale: 16 anchors_scale: 8 nms_threshold: 0.4 "

static void check_yolov3_output(const char *rest, bool gaussian, double threshold)
{
    found list[MOST], all[MOST];
    int count = 0;
    qf_net *net =
        gaussian ? MAKE(rest, "2 24 2 3", "2 24 4 6") : MAKE(rest, "2 16 2 3", "2 16 4 6");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 2);
    test_fill_anyhow(context, qf_net_blob(net, "x1"), 5);
    test_forward(context, net);
    for (int image = 0; image < 2; image++) {
        const int some = detect_yolov3(net, gaussian, image, threshold, list);
        const int kept = without_doubles(list, some, 0.4);
        memcpy(all + count, list, (size_t)kept * sizeof *all);
        count += kept;
    }
    expect_rows(net, all, count);
    qf_net_destroy(net);
}

static void yolov3_output(void **state)
{
    (void)state;
    check_yolov3_output(OUTPUTS "confidence_threshold: 0.3 }", false, (double)0.3f);
    check_yolov3_output(OUTPUTS "}", false, (double)0.01f);
    check_yolov3_output(OUTPUTS "gaussian_box: true confidence_threshold: 0.2 }", true,
                        (double)0.2f);
    /* Nothing is found: a row for each image. */
    qf_net *net = MAKE(OUTPUTS "confidence_threshold: 0.99 }", "2 16 2 3", "2 16 4 6");
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 2 7 (14)", 0, -1, -1, -1, -1, -1, -1, 1, -1, -1, -1, -1, -1, -1);
    qf_net_destroy(net);
}

static void yolo_output(void **state)
{
    static const double sides[][2] = {{1.2, 0.8}, {2, 1.5}};
    found list[MOST], all[MOST];
    int total = 0;
    (void)state;
    qf_net *net = MAKE("type: 'YoloDetectionOutput' yolo_detection_output_param { num_classes: 3 "
                       "num_box: 2 biases: 1.2 biases: 0.8 biases: 2 biases: 1.5 "
                       "confidence_threshold: 0.2 nms_threshold: 0.5 }",
                       "2 16 3 4");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 4);
    test_forward(context, net);
    for (int image = 0; image < 2; image++) {
        int count = 0;
        for (int i = 0; i < 2 * PLANE; i++) {
            const int anchor = i % 2, cell = i / 2;
            const float *p =
                test_bottom(context, net, 0) + (image * 2 + anchor) * (5 + CLASSES) * PLANE + cell;
            double sum = 0;
            int best = 0;
            for (int c = 0; c < CLASSES; c++) {
                sum += exp((double)p[(5 + c) * PLANE]);
                best = p[(5 + c) * PLANE] > p[(5 + best) * PLANE] ? c : best;
            }
            const double score =
                sigmoid((double)p[4 * PLANE]) * exp((double)p[(5 + best) * PLANE]) / sum;
            const box where = {(cell % COLUMNS + sigmoid((double)p[0])) / COLUMNS,
                               (cell / COLUMNS + sigmoid((double)p[PLANE])) / ROWS,
                               sides[anchor][0] / COLUMNS * exp((double)p[2 * PLANE]),
                               sides[anchor][1] / ROWS * exp((double)p[3 * PLANE])};
            if (score >= (double)0.2f)
                count = add_found(list, count, (found){image, best + 1, score, where});
        }
        count = without_doubles(list, count, 0.5);
        memcpy(all + total, list, (size_t)count * sizeof *all);
        total += count;
    }
    expect_rows(net, all, total);
    qf_net_destroy(net);
}

/* ---- which are right ---- */

/* Two objects on the first image, one of them where a detection is put, and none on the second. */
static void check_evaluation(const char *type, int kind)
{
    static const double sides[][2] = {{1, 2}, {2, 1}};
    enum { NUMBERS = 5 + CLASSES, VALUES = CLASSES + 4 * 2 * PLANE };
    char *rest = test_format("type: 'EvalDetection' eval_detection_param { num_class: 3 biases: 1 "
                             "biases: 2 biases: 2 biases: 1 nms: 0.4 threshold: 0.5 score_type: %s "
                             "}",
                             type);
    qf_net *net = MAKE(rest, "2 16 3 4", "1 1 2 8", "2 3 4 4");
    float *x;
    bool right = false;
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 9);
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    for (int k = 0; k < 4; k++)
        x[k * PLANE + 6] = 0; /* half into cell 6, of the first anchor */
    x[4 * PLANE + 6] = x[6 * PLANE + 6] = 9;
    const float w = 0.25f, h = 2.f / 3, cx = 2.5f / 4, cy = 0.5f;
    TEST_FILL(net, "x1", 0, 2, 0, cx - w / 2, cy - h / 2, cx + w / 2, cy + 0.6f * h / 2, 0, 0, 3, 0,
              0.9f, 0.9f, 0.99f, 0.99f, 0);
    test_forward(context, net);
    const float *rows = test_bottom(context, net, 1), *y = test_top(context, net, 0);
    for (int image = 0; image < 2; image++, y += VALUES) {
        found list[MOST];
        bool taken[2] = {false, false};
        int count = 0, at = 0;
        for (int i = 0; i < 2 * PLANE; i++) {
            const int anchor = i % 2, cell = i / 2;
            const float *p = x + (image * 2 + anchor) * NUMBERS * PLANE + cell;
            double sum = 0;
            int best = 0;
            for (int c = 0; c < CLASSES; c++) {
                sum += exp((double)p[(5 + c) * PLANE]);
                best = p[(5 + c) * PLANE] > p[(5 + best) * PLANE] ? c : best;
            }
            const double object = sigmoid((double)p[4 * PLANE]);
            const double class = exp((double)p[(5 + best) * PLANE]) / sum;
            const box where = {(cell % COLUMNS + sigmoid((double)p[0])) / COLUMNS,
                               (cell / COLUMNS + sigmoid((double)p[PLANE])) / ROWS,
                               sides[anchor][0] / COLUMNS * exp((double)p[2 * PLANE]),
                               sides[anchor][1] / ROWS * exp((double)p[3 * PLANE])};
            count = add_found(list, count,
                              (found){image, best,
                                      kind == 0   ? object
                                      : kind == 1 ? class
                                                  : object * class,
                                      where});
        }
        count = without_doubles(list, count, 0.4);
        for (int c = 0; c < CLASSES; c++)
            for (int i = 0; i < count; i++) {
                int best = -1;
                double most = 0.5;
                for (int o = 0; o < 2 && list[i].label == c && image == 0; o++) {
                    const float *r = rows + (size_t)(8 * o);
                    const box object = {(double)(r[3] + r[5]) / 2, (double)(r[4] + r[6]) / 2,
                                        (double)(r[5] - r[3]), (double)(r[6] - r[4])};
                    if ((int)r[1] == c + 1 && iou_of(list[i].where, object) >= most) {
                        most = iou_of(list[i].where, object);
                        best = o;
                    }
                }
                if (list[i].label != c)
                    continue;
                const bool hit = best >= 0 && !taken[best];
                const float *row = y + CLASSES + (size_t)(4 * at++);
                assert_float_equal(row[0], c, 0);
                assert_float_equal(row[1], list[i].score, 1e-5);
                assert_float_equal(row[2], hit, 0);
                assert_float_equal(row[3], !hit, 0);
                right |= hit;
                if (hit)
                    taken[best] = true;
            }
        for (int c = 0; c < CLASSES; c++)
            assert_float_equal(y[c], image == 0 && c > 0, 0);
        assert_true(at > 4);
        assert_float_equal(y[CLASSES + 4 * at + 1], 0, 0); /* the rest */
    }
    assert_true(right);
    qf_net_destroy(net);
    qf_free(rest);
}

static void evaluations(void **state)
{
    (void)state;
    check_evaluation("MULTIPLY", 2);
    check_evaluation("OBJ", 0);
    check_evaluation("PROB", 1);
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {OUTPUTS "}", {"2 16 2 3"}, "has 2 anchors_scale and 4 mask for 1 maps"},
        {OUTPUTS "mask: 4 }", {"2 16 2 3", "2 16 4 6"}, "has 2 anchors_scale and 5 mask"},
        {"type: 'YoloDetectionOutput' yolo_detection_output_param { num_box: 1 biases: 1 biases: 1 "
         "nms_threshold: -1 }",
         {"2 25 2 3"},
         "nms_threshold must be"},
        {"type: 'YoloDetectionOutput' yolo_detection_output_param { biases: 1 }",
         {"2 16 2 3"},
         "has 1 biases, expected width and height of each of 5 anchors"},
        {"type: 'EvalDetection' eval_detection_param { num_class: 3 biases: 1 }",
         {"2 16 2 3", "1 1 1 8"},
         "has 1 biases"},
        {"type: 'EvalDetection' eval_detection_param { num_class: 3 biases: [1, 1, 1, 1] }",
         {"2 16 2 3", "1 1 1 7"},
         "expected rows of 8 numbers"},
        {"type: 'GRN' grn_param { dummy_backward: true }", {"2 3"}, "dummy_backward hands"},
        {"type: 'GRN' grn_param { bias: -1 }", {"2 3"}, "must not be negative"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

/* Maps are looked at when a net runs. */
static void refused_when_run(void **state)
{
    (void)state;
    qf_net *net = MAKE(OUTPUTS "}", "2 16 2 3", "2 15 4 6");
    assert_true(qf_net_forward(net, NULL) != QF_OK);
    assert_non_null(strstr(qf_error_text(context), "expected images of 16 channels"));
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yolov3_output),    cmocka_unit_test(yolo_output),
        cmocka_unit_test(evaluations),      cmocka_unit_test(refused),
        cmocka_unit_test(refused_when_run),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
