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
        cmocka_unit_test(yolov3_output),
        cmocka_unit_test(yolo_output),
        cmocka_unit_test(refused),
        cmocka_unit_test(refused_when_run),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
