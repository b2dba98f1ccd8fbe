/*
 * YOLO's losses, against a calculation of their own, in double. The gradients that darknet's layers
 * hand down are no derivatives of the losses that they report, so they are compared with numeric
 * derivatives of what they do descend (cross-entropies and squared errors), or, for boxes by
 * likeness, with darknet's formula on numeric derivatives of the likeness (test_yolo_likeness.c).
 */
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "harness/yolo_likeness.h"
#include "layers/detection/yolo.h"

#include <math.h>
#include <string.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

/* ---- losses ---- */

enum { IMAGES = 2, ANCHORS = 2, ALL_ANCHORS = 3, CLASSES = 3, ROWS = 3, COLUMNS = 4 };
enum { NUMBERS = 5 + CLASSES, PLANE = ROWS * COLUMNS, COUNT = IMAGES * ANCHORS * NUMBERS * PLANE };
enum { TRUTHS = 3, CELL = 8 };

/* The second anchor of the map is the best for the first truth; the last truth is best served by an
 * anchor of another map. Two truths lie in one cell. */
static const double anchors[ALL_ANCHORS][2] = {{30, 4}, {6, 7}, {12, 9}};
static const float truths[IMAGES][TRUTHS][5] = {
    {{1, 0.4f, 0.55f, 0.4f, 0.36f}, {2, 0.8f, 0.2f, 0.17f, 0.31f}, {0, 0.45f, 0.6f, 0.42f, 0.3f}},
    {{0, 0.1f, 0.9f, 0.22f, 0.25f}, {1, 0.6f, 0.4f, 0.9f, 0.2f}, {0}}};

/* What a case of Yolov3 or RegionLoss says. */
typedef struct rules {
    const char *param;
    bool region;                   /* YOLOv2 */
    bool logic;                    /* through the sigmoids */
    bool focal, rescore, by_boxes; /* by_boxes: without bias_match */
    int likeness;                  /* −1: squared errors of codes */
    double object, nothing, coordinates, classes, thresh, iou_thresh, smooth, normalizer;
} rules;

static size_t at_of(int image, int anchor, int number, int cell)
{
    return (size_t)(((image * ANCHORS + anchor) * NUMBERS + number) * PLANE + cell);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static const double *sides_of(const rules *r, int anchor)
{
    return anchors[r->region ? anchor : anchor + 1]; /* mask: 1 and 2 */
}

/* In parts of the image: pixels, or cells of YOLOv2. */
static box anchor_box(const rules *r, const double *sides)
{
    const double cell = r->region ? 1 : CELL;
    return (box){0, 0, sides[0] / (COLUMNS * cell), sides[1] / (ROWS * cell)};
}

static box predicted(const rules *r, const double *x, int image, int anchor, int cell)
{
    const box a = anchor_box(r, sides_of(r, anchor));
    return (box){(cell % COLUMNS + sigmoid(x[at_of(image, anchor, 0, cell)])) / COLUMNS,
                 (cell / COLUMNS + sigmoid(x[at_of(image, anchor, 1, cell)])) / ROWS,
                 a.w * exp(x[at_of(image, anchor, 2, cell)]),
                 a.h * exp(x[at_of(image, anchor, 3, cell)])};
}

static qf_yolo_likeness likeness_kind(const rules *r)
{
    return r->likeness < 0 ? QF_YOLO_IOU : (qf_yolo_likeness)r->likeness;
}

static box truth_box(int image, int t)
{
    const float *row = truths[image][t];
    return (box){(double)row[1], (double)row[2], (double)row[3], (double)row[4]};
}

static int cell_of(box t)
{
    return (int)(t.y * ROWS) * COLUMNS + (int)(t.x * COLUMNS);
}

static double size_likeness(const rules *r, box a, box t)
{
    a.x = a.y = t.x = t.y = 0;
    return test_likeness(likeness_kind(r), a, t);
}

/* Is the truth this anchor's? */
static bool belongs(const rules *r, const double *x, int image, int t, int anchor)
{
    const box truth = truth_box(image, t);
    const int choices = r->region ? ANCHORS : ALL_ANCHORS, mine = r->region ? anchor : anchor + 1;
    int best = 0;
    double most = -9;
    for (int i = 0; i < choices; i++) {
        const box a =
            r->by_boxes ? predicted(r, x, image, i, cell_of(truth)) : anchor_box(r, anchors[i]);
        if (size_likeness(r, a, truth) > most) {
            most = size_likeness(r, a, truth);
            best = i;
        }
    }
    return best == mine || (!r->region && r->iou_thresh < 1 &&
                            size_likeness(r, anchor_box(r, anchors[mine]), truth) > r->iou_thresh);
}

/* The truth of a prediction: the last that belongs to it; −1: none. */
static int truth_of(const rules *r, const double *x, int image, int anchor, int cell)
{
    int found = -1;
    for (int t = 0; t < TRUTHS && truths[image][t][3] > 0; t++)
        if (cell_of(truth_box(image, t)) == cell && belongs(r, x, image, t, anchor))
            found = t;
    return found;
}

static bool is_like_any(const rules *r, const double *x, int image, int anchor, int cell)
{
    const box p = predicted(r, x, image, anchor, cell);
    for (int t = 0; t < TRUTHS && truths[image][t][3] > 0; t++)
        if (test_likeness(likeness_kind(r), p, truth_box(image, t)) > r->thresh)
            return true;
    return false;
}

/* A term that a sigmoid adds to what is descended. */
static double sigmoid_term(const rules *r, double x, double wanted)
{
    const double missed = sigmoid(x) - wanted;
    return r->logic || r->region ? missed * missed / 2 : log1p(exp(x)) - wanted * x;
}

/* What makes the classes' slopes: `first` is the class of an earlier truth of the cell, or −1. */
static double class_terms(const rules *r, const double *x, const double *base, int image,
                          int anchor, int cell, int label, int first)
{
    const double scale = r->classes;
    double sum = 0;
    if (r->region) {
        for (int c = 0; c < CLASSES; c++)
            sum += exp(x[at_of(image, anchor, 5 + c, cell)]);
        return scale * (log(sum) - x[at_of(image, anchor, 5 + label, cell)]);
    }
    for (int c = 0; c < CLASSES; c++) {
        /* With a second truth in the cell its own class alone is set again, as if without focal. */
        const bool again = first >= 0 && c == label, sharp = r->focal && !again;
        const double smooth = sharp ? 0 : r->smooth;
        const int right = first >= 0 ? first : label;
        double factor = scale;
        if (sharp) { /* the factor is no part of what is descended: it is the base point's */
            const double score = sigmoid(base[at_of(image, anchor, 5 + right, cell)]);
            factor *= -0.5 * (1 - score) * (2 * score * log(score) + score - 1);
        }
        sum += factor * sigmoid_term(r, x[at_of(image, anchor, 5 + c, cell)],
                                     (c == label || c == first) * (1 - smooth) + smooth / 2);
    }
    return sum;
}

/* An earlier truth of the same prediction; −1: none. */
static int earlier_label(const rules *r, const double *base, int image, int anchor, int cell, int t)
{
    for (int i = 0; i < t; i++)
        if (cell_of(truth_box(image, i)) == cell && belongs(r, base, image, i, anchor))
            return (int)truths[image][i][0];
    return -1;
}

/* What the gradient descends, at x; what is chosen, and scores that count as given, are those at
 * `base`. */
static double descended(const rules *r, const double *x, const double *base)
{
    double sum = 0;
    for (int i = 0; i < IMAGES * ANCHORS * PLANE; i++) {
        const int image = i / (ANCHORS * PLANE), anchor = i / PLANE % ANCHORS, cell = i % PLANE;
        const int t = truth_of(r, base, image, anchor, cell);
        const double score = x[at_of(image, anchor, 4, cell)];
        if (t < 0) {
            if (!is_like_any(r, base, image, anchor, cell))
                sum += (r->region ? r->nothing : 1) * sigmoid_term(r, score, 0);
            continue;
        }
        const box truth = truth_box(image, t), a = anchor_box(r, sides_of(r, anchor));
        const double overlap = test_iou(predicted(r, base, image, anchor, cell), truth);
        const double wanted = r->rescore ? overlap : 1;
        sum += (r->region || r->logic ? r->object : 1) * sigmoid_term(r, score, wanted);
        sum += class_terms(r, x, base, image, anchor, cell, (int)truths[image][t][0],
                           earlier_label(r, base, image, anchor, cell, t));
        if (r->likeness >= 0)
            continue;
        const double scale = r->coordinates * (r->rescore ? 1 : 2 - truth.w * truth.h);
        const double w = x[at_of(image, anchor, 2, cell)] - log(truth.w / a.w);
        const double h = x[at_of(image, anchor, 3, cell)] - log(truth.h / a.h);
        sum +=
            scale *
            (sigmoid_term(r, x[at_of(image, anchor, 0, cell)], truth.x * COLUMNS - cell % COLUMNS) +
             sigmoid_term(r, x[at_of(image, anchor, 1, cell)], truth.y * ROWS - cell / COLUMNS) +
             (w * w + h * h) / 2);
    }
    return sum;
}

/* The slope of a box's number where likeness is descended: all truths of the prediction add. */
static double box_slope(const rules *r, const double *x, int image, int anchor, int number,
                        int cell)
{
    double sum = 0;
    for (int t = 0; t < TRUTHS && truths[image][t][3] > 0; t++) {
        if (cell_of(truth_box(image, t)) != cell || !belongs(r, x, image, t, anchor))
            continue;
        const double inner = number < 2 ? 1 : exp(x[at_of(image, anchor, number, cell)]);
        const double wanted =
            r->normalizer * inner *
            test_darknet_slope(likeness_kind(r), predicted(r, x, image, anchor, cell),
                               truth_box(image, t), number);
        sum -= fmax(-10, fmin(10, wanted)); /* max_delta */
    }
    const double value = sigmoid(x[at_of(image, anchor, number, cell)]);
    return sum * (r->logic && number < 2 ? value * (1 - value) : 1);
}

/* What the layer's gradient should be, times the images. */
static double expected_slope(const rules *r, double *x, const double *base, size_t at)
{
    const int image = (int)(at / (ANCHORS * NUMBERS * PLANE));
    const int anchor = (int)(at / (NUMBERS * PLANE) % ANCHORS);
    const int number = (int)(at / PLANE % NUMBERS), cell = (int)(at % PLANE);
    const double step = 1e-5, was = x[at];
    if (r->likeness >= 0 && number < 4)
        return box_slope(r, base, image, anchor, number, cell);
    x[at] = was + step;
    const double above = descended(r, x, base);
    x[at] = was - step;
    const double below = descended(r, x, base);
    x[at] = was;
    return (above - below) / (2 * step);
}

/* Of reported losses: slopes before they pass sigmoids. */
static double before_sigmoid(const rules *r, double slope, const double *x, size_t at)
{
    const int number = (int)(at / PLANE % NUMBERS);
    const double value = sigmoid(x[at]);
    return r->logic && number != 2 && number != 3 ? slope / (value * (1 - value)) : slope;
}

static double missed_by_boxes(const rules *r, const double *x)
{
    double sum = 0;
    int count = 0;
    for (int image = 0; image < IMAGES; image++)
        for (int t = 0; t < TRUTHS && truths[image][t][3] > 0; t++)
            for (int anchor = 0; anchor < ANCHORS; anchor++)
                if (belongs(r, x, image, t, anchor)) {
                    const box truth = truth_box(image, t);
                    sum += 1 - test_likeness(likeness_kind(r),
                                             predicted(r, x, image, anchor, cell_of(truth)), truth);
                    count++;
                }
    return sum / count;
}

static void check_loss(const rules *r)
{
    char shape[64];
    double x[COUNT], base[COUNT], loss = 0;
    float *weight;
    const float *found, *slopes;
    snprintf(shape, sizeof shape, "%d %d %d %d", IMAGES, ANCHORS * NUMBERS, ROWS, COLUMNS);
    qf_net *net = MAKE(r->param, shape, "2 1 3 5");
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 7);
    test_fill(context, qf_net_blob(net, "x1"), &truths[0][0][0], IMAGES * TRUTHS * 5);
    test_forward(context, net);
    for (int i = 0; i < COUNT; i++)
        x[i] = base[i] = (double)test_bottom(context, net, 0)[i];
    assert_ok(context, qf_blob_mutable_diff(qf_net_blob(net, "y0"), &weight));
    weight[0] = 3;
    qf_layer *layer = net->layers[net->layer_count - 1];
    layer->propagate_down[0] = true;
    assert_ok(context, layer->type->backward(layer));
    assert_ok(context, qf_read(context, qf_net_blob(net, "x0")->diff, QF_PLAIN, &slopes));
    for (size_t i = 0; i < COUNT; i++) {
        const double slope = expected_slope(r, x, base, i);
        if (!(fabs((double)slopes[i] - 3 * slope / IMAGES) <= 1e-4 * (1 + fabs(slope))))
            fail_msg("%s: slope %zu is %.8g, expected %.8g", r->param, i, (double)slopes[i],
                     3 * slope / IMAGES);
        const double own = before_sigmoid(r, slope, base, i);
        if (r->likeness < 0 || i / PLANE % NUMBERS > 3)
            loss += own * own / IMAGES;
    }
    if (r->likeness >= 0)
        loss += r->normalizer * missed_by_boxes(r, base) / IMAGES;
    found = test_top(context, net, 0);
    if (!(fabs((double)found[0] - loss) <= 1e-4 * loss))
        fail_msg("%s: the loss is %.8g, expected %.8g", r->param, (double)found[0], loss);
    qf_net_destroy(net);
}

#define YOLOV3                                                                                     \
    "type: 'Yolov3' yolov3_param { num_class: 3 num: 2 mask: 1 mask: 2 anchors_scale: 8 biases: "  \
    "30 biases: 4 biases: 6 biases: 7 biases: 12 biases: 9 "
#define REGION                                                                                     \
    "type: 'RegionLoss' region_loss_param { num_class: 3 num: 2 biases: 30 biases: 4 biases: 6 "   \
    "biases: 7 "

static void yolov3_loss(void **state)
{
    static const rules rows[] = {
        {YOLOV3 "thresh: 0.3 iou_thresh: 1 }", .likeness = -1, .coordinates = 5, .classes = 1,
         .thresh = (double)0.3f, .iou_thresh = 1, .smooth = (double)0.1f},
        {YOLOV3 "thresh: 0.3 coord_scale: 2 class_scale: 0.5 label_smooth_eps: 0 }", .likeness = -1,
         .coordinates = 2, .classes = 0.5, .thresh = (double)0.3f, .iou_thresh = 0.5},
        {YOLOV3 "thresh: 0.3 object_scale: 3 use_logic_gradient: true }", .likeness = -1,
         .logic = true, .object = 3, .coordinates = 5, .classes = 1, .thresh = (double)0.3f,
         .iou_thresh = 0.5, .smooth = (double)0.1f},
        {YOLOV3 "thresh: 0.3 use_focal_loss: true iou_thresh: 1 }", .likeness = -1, .focal = true,
         .smooth = (double)0.1f, .coordinates = 5, .classes = 1, .thresh = (double)0.3f,
         .iou_thresh = 1},
        {YOLOV3 "thresh: 0.3 iou_loss: IOU }", .likeness = QF_YOLO_IOU, .classes = 1,
         .thresh = (double)0.3f, .iou_thresh = 0.5, .smooth = (double)0.1f, .normalizer = 0.25},
        {YOLOV3 "thresh: 0.3 iou_loss: GIOU iou_normalizer: 2 iou_thresh: 1 }",
         .likeness = QF_YOLO_GIOU, .classes = 1, .thresh = (double)0.3f, .iou_thresh = 1,
         .smooth = (double)0.1f, .normalizer = 2},
        {YOLOV3 "thresh: 0.3 iou_loss: DIOU }", .likeness = QF_YOLO_DIOU, .classes = 1,
         .thresh = (double)0.3f, .iou_thresh = 0.5, .smooth = (double)0.1f, .normalizer = 0.25},
        {YOLOV3 "thresh: 0.3 iou_loss: CIOU use_logic_gradient: true }", .likeness = QF_YOLO_CIOU,
         .logic = true, .object = 1, .classes = 1, .thresh = (double)0.3f, .iou_thresh = 0.5,
         .smooth = (double)0.1f, .normalizer = 0.25},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_loss(&rows[i]);
}

static void region_loss(void **state)
{
    static const rules rows[] = {
        {REGION "}", .region = true, .rescore = true, .likeness = -1, .object = 1, .nothing = 0.5,
         .coordinates = 5, .classes = 1, .thresh = (double)0.2f},
        {REGION "rescore: 0 bias_match: 0 object_scale: 5 noobject_scale: 1 coord_scale: 2 "
                "class_scale: 3 thresh: 0.6 }",
         .region = true, .by_boxes = true, .likeness = -1, .object = 5, .nothing = 1,
         .coordinates = 2, .classes = 3, .thresh = (double)0.6f},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_loss(&rows[i]);
}

/* A step along the gradient makes predictions that find the truths: the loss falls far. */
static void descends(void **state)
{
    (void)state;
    qf_net *net =
        MAKE(YOLOV3 "thresh: 0.7 label_smooth_eps: 0 iou_thresh: 1 }", "2 16 3 4", "2 1 3 5");
    float *x, *weight;
    const float *slopes;
    test_fill(context, qf_net_blob(net, "x1"), &truths[0][0][0], IMAGES * TRUTHS * 5);
    test_forward(context, net);
    const double before = (double)test_top(context, net, 0)[0];
    qf_layer *layer = net->layers[net->layer_count - 1];
    layer->propagate_down[0] = true;
    for (int i = 0; i < 400; i++) {
        test_forward(context, net);
        assert_ok(context, qf_blob_mutable_diff(qf_net_blob(net, "y0"), &weight));
        weight[0] = 1;
        assert_ok(context, layer->type->backward(layer));
        assert_ok(context, qf_read(context, qf_net_blob(net, "x0")->diff, QF_PLAIN, &slopes));
        assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
        for (int k = 0; k < COUNT; k++)
            x[k] -= 0.2f * slopes[k];
    }
    const double after = (double)test_top(context, net, 0)[0];
    if (!(after < 0.05 * before))
        fail_msg("the loss went from %g to %g", before, after);
    qf_net_destroy(net);
}

/* SSD's rows of all images say the same as rows for each. */
static void labels_of_ssd(void **state)
{
    (void)state;
    qf_net *own = MAKE(REGION "}", "2 16 3 4", "2 1 3 5"),
           *ssd = MAKE(REGION "}", "2 16 3 4", "1 1 3 8");
    for (int i = 0; i < 2; i++)
        test_fill_anyhow(context, qf_net_blob(i ? ssd : own, "x0"), 7);
    TEST_FILL(own, "x1", 2, 0.4f, 0.5f, 0.2f, 0.3f, 0, 0.7f, 0.2f, 0.1f, 0.2f, 0, 0, 0, 0, 0, 1,
              0.5f, 0.5f, 0.5f, 0.25f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    TEST_FILL(ssd, "x1", 0, 3, 0, 0.3f, 0.35f, 0.5f, 0.65f, 0, 1, 2, 0, 0.25f, 0.375f, 0.75f,
              0.625f, 0, 0, 1, 1, 0.65f, 0.1f, 0.75f, 0.3f, 1);
    test_forward(context, own);
    test_forward(context, ssd);
    const float expected = test_top(context, own, 0)[0];
    assert_true(expected > 0);
    assert_float_equal(test_top(context, ssd, 0)[0], expected, 1e-4 * (double)expected);
    TEST_FILL(ssd, "x1", -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
              -1, -1, -1, -1, -1); /* nothing is on any image */
    test_forward(context, ssd);
    assert_true(test_top(context, ssd, 0)[0] < expected);
    qf_net_destroy(own);
    qf_net_destroy(ssd);
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {YOLOV3 "}",
         {"2 15 3 4", "2 1 3 5"},
         "'x0' has shape 2 15 3 4 (360), expected images of 16 channels: 2 anchors with 8 numbers "
         "each"},
        {YOLOV3 "}",
         {"2 16 3 4", "2 1 3 8"},
         "'x1' has shape 2 1 3 8 (48), expected rows of 5 numbers"},
        {YOLOV3 "mask: 0 }", {"2 16 3 4", "2 1 3 5"}, "has 3 mask for the num 2 anchors"},
        {"type: 'Yolov3' yolov3_param { num: 1 mask: 1 biases: 2 biases: 3 }",
         {"2 25 3 4", "2 1 3 5"},
         "mask names anchor 1, there are 1 (from 0)"},
        {"type: 'Yolov3' yolov3_param { num: 1 mask: 0 biases: 2 biases: 0 }",
         {"2 25 3 4", "2 1 3 5"},
         "an anchor must be larger than 0, is 0"},
        {"type: 'Yolov3' yolov3_param { num: 1 mask: 0 biases: 2 biases: 1 anchors_scale: 0 }",
         {"2 25 3 4", "2 1 3 5"},
         "anchors_scale must be"},
        {"type: 'RegionLoss' region_loss_param { biases: 1 }",
         {"2 125 3 4", "2 1 3 5"},
         "region_loss_param has 1 biases, expected width and height of each of 5 anchors"},
        {REGION "coords: 5 }", {"2 16 3 4", "2 1 3 5"}, "only coords 4 without softmax_tree"},
        {"type: 'RegionLoss' region_loss_param { num_class: 0 num: 1 biases: 1 biases: 1 }",
         {"2 5 3 4", "2 1 3 5"},
         "0 classes and 1 anchors"},
    };
    (void)state;
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

/* Ground truth is looked at when a net runs. */
static void refused_when_run(void **state)
{
    static const struct {
        float row[5];
        const char *sentence;
    } rows[] = {
        {{3, 0.5f, 0.5f, 0.1f, 0.1f},
         "box 0 of image 0 in 'x1' has label 3, expected one of the 3"},
        {{0.5f, 0.5f, 0.5f, 0.1f, 0.1f}, "has label 0.5"},
        {{1, 1.5f, 0.5f, 0.1f, 0.1f}, "has its centre at (1.5, 0.5) and is 0.1 × 0.1"},
        {{1, 0.5f, 0.5f, -0.1f, 0.1f}, "is -0.1 × 0.1"},
        {{1, NAN, 0.5f, 0.1f, 0.1f}, "has its centre at (nan, 0.5)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qf_net *net = MAKE(YOLOV3 "}", "1 16 3 4", "1 5");
        test_fill(context, qf_net_blob(net, "x1"), rows[i].row, 5);
        assert_true(qf_net_forward(net, NULL) != QF_OK);
        if (!strstr(qf_error_text(context), rows[i].sentence))
            fail_msg("expected \"%s\" in: %s", rows[i].sentence, qf_error_text(context));
        qf_net_destroy(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yolov3_loss), cmocka_unit_test(region_loss),
        cmocka_unit_test(descends),    cmocka_unit_test(labels_of_ssd),
        cmocka_unit_test(refused),     cmocka_unit_test(refused_when_run),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
