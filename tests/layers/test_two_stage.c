/* What trains two-stage detectors, R-FCN's hard examples among it, compared with plain double
 * arithmetic that goes about it another way than the layers. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

#define MAKE(phase, rest, tops, ...)                                                               \
    test_make_layer(context, phase, (const char *const[]){__VA_ARGS__, NULL}, rest, tops)

/* ---- hard examples ---- */

static void softmax_losses(void **state)
{
    (void)state;
    enum { ITEMS = 4, CLASSES = 3 };
    static const float labels[ITEMS] = {2, -1, 0, 1};
    static const char *const types[] = {
        "type: 'SoftmaxWithLossOHEM' loss_param { ignore_label: -1 }",
        "type: 'SoftmaxWithLoss' loss_param { ignore_label: -1 }"};
    for (int t = 0; t < 2; t++) {
        qf_net *net = MAKE(QF_TRAIN, types[t], 3, "4 3 1 1", "4");
        test_fill_anyhow(context, qf_net_blob(net, "x0"), 3);
        test_fill(context, qf_net_blob(net, "x1"), labels, ITEMS);
        test_forward(context, net);
        const float *x = test_bottom(context, net, 0), *y = test_top(context, net, 2);
        double mean = 0;
        for (int i = 0; i < ITEMS; i++) {
            double sum = 0;
            for (int c = 0; c < CLASSES; c++)
                sum += exp((double)x[i * CLASSES + c]);
            const double loss =
                labels[i] < 0 ? 0 : log(sum) - (double)x[i * CLASSES + (int)labels[i]];
            assert_float_equal(y[i], loss, 1e-6);
            mean += loss / 3; /* one of four is ignored */
        }
        assert_float_equal(test_top(context, net, 0)[0], mean, 1e-6);
        qf_net_destroy(net);
    }
}

static void check_smooth_l1(const char *rest, double divisor)
{
    enum { N = 3, C = 4, PLANE = 2 };
    qf_net *net = MAKE(QF_TRAIN, rest, 2, "3 4 1 2", "3 4 1 2", "3 4 1 2");
    for (int b = 0; b < 3; b++)
        test_fill_anyhow(context, qf_net_blob(net, (const char *const[]){"x0", "x1", "x2"}[b]),
                         (unsigned)b + 1);
    float *x;
    assert_ok(context, qf_blob_mutable_data(qf_net_blob(net, "x0"), &x));
    for (int i = 0; i < N * C * PLANE; i++)
        x[i] *= 4; /* beyond the bend */
    test_forward(context, net);
    const float *a = test_bottom(context, net, 0), *b = test_bottom(context, net, 1);
    const float *w = test_bottom(context, net, 2), *y = test_top(context, net, 1);
    double all = 0;
    for (int n = 0; n < N; n++)
        for (int p = 0; p < PLANE; p++) {
            double sum = 0;
            for (int c = 0; c < C; c++) {
                const int i = (n * C + c) * PLANE + p;
                const double d = fabs((double)w[i] * ((double)a[i] - (double)b[i]));
                sum += d < 1 ? d * d / 2 : d - 0.5;
            }
            assert_float_equal(y[n * PLANE + p], sum, 1e-5);
            all += sum;
        }
    assert_float_equal(test_top(context, net, 0)[0], all / divisor, 1e-5);
    qf_net_destroy(net);
}

static void smooth_l1_losses(void **state)
{
    (void)state;
    check_smooth_l1("type: 'SmoothL1LossOHEM'", 6);
    check_smooth_l1("type: 'SmoothL1LossOHEM' loss_param { normalization: BATCH_SIZE }", 3);
    check_smooth_l1("type: 'SmoothL1LossOHEM' loss_param { normalization: NONE }", 1);
    check_smooth_l1("type: 'SmoothL1LossOHEM' loss_param { normalization: PRE_FIXED "
                    "pre_fixed_normalizer: 128 }",
                    128);
    check_smooth_l1("type: 'SmoothL1Loss'", 3);
    check_smooth_l1("type: 'SmoothL1Loss' loss_param { normalize: true }", 3); /* as Fast R-CNN */
    check_smooth_l1("type: 'SmoothL1Loss' loss_param { normalization: FULL }", 6);
}

/* The losses of regions are added, whether the boxes come from a product or from a map. */
static void losses_of_regions(void **state)
{
    static const char text[] =
        "layer { name: 'in' type: 'Input' top: 'c' top: 'l' top: 'b' top: 't' top: 'w' input_param "
        "{ shape { dim: 3 dim: 2 } shape { dim: 3 dim: 1 dim: 1 dim: 1 } shape { dim: 3 dim: 8 } "
        "shape { dim: 3 dim: 8 } shape { dim: 3 dim: 8 } } } layer { name: 'cls' type: "
        "'SoftmaxWithLossOHEM' bottom: 'c' bottom: 'l' top: 'x' top: 'y' top: 'p' } layer { name: "
        "'box' type: 'SmoothL1LossOHEM' bottom: 'b' bottom: 't' bottom: 'w' top: 'z' top: 'q' } "
        "layer { name: 'sum' type: 'Eltwise' bottom: 'p' bottom: 'q' top: 's' }";
    (void)state;
    qf_net *net;
    assert_ok(context, test_net_of(context, text, QF_TRAIN, &net));
    test_fill_anyhow(context, qf_net_blob(net, "c"), 1);
    test_fill_anyhow(context, qf_net_blob(net, "b"), 2);
    test_fill_anyhow(context, qf_net_blob(net, "w"), 3);
    test_forward(context, net);
    const float *c, *b, *w, *sums;
    assert_ok(context, qf_blob_data(qf_net_blob(net, "c"), &c));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "b"), &b));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "w"), &w));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "s"), &sums));
    for (int i = 0; i < 3; i++) {
        double expected = log(exp((double)c[2 * i]) + exp((double)c[2 * i + 1])) - (double)c[2 * i];
        for (int k = 8 * i; k < 8 * (i + 1); k++)
            expected += pow((double)w[k] * (double)b[k], 2) / 2; /* none beyond the bend */
        assert_float_equal(sums[i], expected, 1e-5);
    }
    qf_net_destroy(net);
}

static void hard_examples(void **state)
{
    (void)state;
    qf_net *net = MAKE(QF_TRAIN,
                       "type: 'BoxAnnotatorOHEM' box_annotator_ohem_param { roi_per_img: 2 "
                       "ignore_label: -7 }",
                       2, "6 5", "6 1", "6", "6 2");
    TEST_FILL(net, "x0", 0, 1, 1, 9, 9, 1, 1, 1, 9, 9, 0, 2, 2, 8, 8, 0, 3, 3, 7, 7, 1, 0, 0, 1, 1,
              0, 0, 0, 2, 2);
    TEST_FILL(net, "x1", 0.5f, 0.1f, 0.9f, 0.5f, 0.2f, NAN);
    TEST_FILL(net, "x2", 1, 2, 3, 4, 0, 5);
    TEST_FILL(net, "x3", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "6 (6)", 1, 2, 3, -7, 0, -7); /* of the losses 0.5 the first comes */
    TEST_EXPECT(net, 1, "6 2 (12)", 1, 2, 3, 4, 5, 6, 0, 0, 9, 10, 0, 0);
    TEST_FILL(net, "x0", -1, 1, 1, 9, 9, 1, 1, 1, 9, 9, 0, 2, 2, 8, 8, 0, 3, 3, 7, 7, 1, 0, 0, 1, 1,
              0, 0, 0, 2, 2);
    assert_fails(context, qf_net_forward(net, NULL), "region 0 of 'x0' lies in image -1");
    qf_net_destroy(net);

    net = MAKE(QF_TRAIN, "type: 'BoxAnnotatorOHEM' box_annotator_ohem_param { roi_per_img: 1 }", 2,
               "1 5 1 3", "1 1 1 3", "1 1 1 3", "1 2 1 3"); /* regions at the places of a map */
    TEST_FILL(net, "x1", 1, 3, 2);
    TEST_FILL(net, "x2", 4, 5, 6);
    TEST_FILL(net, "x3", 1, 2, 3, 4, 5, 6);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 1 3 (3)", -1, 5, -1);
    TEST_EXPECT(net, 1, "1 2 1 3 (6)", 0, 2, 0, 0, 5, 0);
    qf_net_destroy(net);
}

/* ---- targets ---- */

typedef struct box {
    double x1, y1, x2, y2;
} box;

static double overlap(box a, box b)
{
    const double w = fmin(a.x2, b.x2) - fmax(a.x1, b.x1) + 1;
    const double h = fmin(a.y2, b.y2) - fmax(a.y1, b.y1) + 1;
    const double both = w > 0 && h > 0 ? w * h : 0;
    return both /
           ((a.x2 - a.x1 + 1) * (a.y2 - a.y1 + 1) + (b.x2 - b.x1 + 1) * (b.y2 - b.y1 + 1) - both);
}

static void expect_offsets(const float *y, size_t step, box from, box to, const double *deviations)
{
    const double w = from.x2 - from.x1 + 1, h = from.y2 - from.y1 + 1;
    const double expected[4] = {((to.x1 + to.x2) / 2 - (from.x1 + from.x2) / 2) / w,
                                ((to.y1 + to.y2) / 2 - (from.y1 + from.y2) / 2) / h,
                                log((to.x2 - to.x1 + 1) / w), log((to.y2 - to.y1 + 1) / h)};
    for (size_t i = 0; i < 4; i++)
        assert_float_equal(y[i * step], expected[i] / (deviations ? deviations[i] : 1), 1e-4);
}

/* 12 x 14 cells of 16 pixels, on an image of 200 x 170. */
enum { ROWS = 12, COLUMNS = 14, CELLS = ROWS * COLUMNS, KINDS = 9, ANCHORS = CELLS * KINDS };

/* Faster R-CNN's nine, but for scales of 1, 2 and 4 in place of 8, 16 and 32. */
static box anchor_at(int kind, int cell)
{
    static const double sizes[3][2] = {{23, 12}, {16, 16}, {11, 22}};
    const double w = sizes[kind / 3][0] * (1 << kind % 3), h = sizes[kind / 3][1] * (1 << kind % 3);
    const double x = 7.5 + 16 * (cell % COLUMNS), y = 7.5 + 16 * (cell / COLUMNS);
    return (box){x - (w - 1) / 2, y - (h - 1) / 2, x + (w - 1) / 2, y + (h - 1) / 2};
}

/* A large one, a small one, and one that no anchor fits well. */
static const float objects[] = {20, 30, 83, 93, 1, 100, 100, 118, 117, 2, 150, 10, 199, 20, 1};
static const box truth[] = {{20, 30, 83, 93}, {100, 100, 118, 117}, {150, 10, 199, 20}};

static qf_net *anchor_net(const char *settings)
{
    char *rest = test_format("type: 'Python' python_param { module: 'rpn.anchor_target_layer' "
                             "layer: 'AnchorTargetLayer' param_str: \"'feat_stride': 16, 'scales': "
                             "!!python/tuple [1, 2, 4]%s\" }",
                             settings);
    qf_net *net = MAKE(QF_TRAIN, rest, 4, "1 18 12 14", "3 5", "1 3", "1 3 170 200");
    test_fill(context, qf_net_blob(net, "x1"), objects, 15);
    TEST_FILL(net, "x2", 170, 200, 1);
    qf_free(rest);
    return net;
}

/* The object that is overlapped most, the first of several, and by how much. */
static int best_of(box mine, double *most)
{
    int best = 0;
    *most = 0;
    for (int k = 0; k < 3; k++)
        if (overlap(mine, truth[k]) > *most) {
            *most = overlap(mine, truth[k]);
            best = k;
        }
    return best;
}

static bool in_image(box b)
{
    return b.x1 >= 0 && b.y1 >= 0 && b.x2 < 200 && b.y2 < 170;
}

static int expected_label(int kind, int cell)
{
    const box mine = anchor_at(kind, cell);
    double most, of_object[3] = {0};
    if (!in_image(mine))
        return -1;
    for (int i = 0; i < ANCHORS; i++)
        for (int k = 0; k < 3 && in_image(anchor_at(i % KINDS, i / KINDS)); k++)
            of_object[k] = fmax(of_object[k], overlap(anchor_at(i % KINDS, i / KINDS), truth[k]));
    best_of(mine, &most);
    for (int k = 0; k < 3; k++)
        if (fabs(overlap(mine, truth[k]) - of_object[k]) < 1e-7)
            return 1;
    return most >= 0.6 ? 1 : most < 0.3 ? 0 : -1;
}

static void anchor_targets(void **state)
{
    (void)state;
    qf_net *net = anchor_net(", 'rpn_positive_overlap': 0.6, 'rpn_batchsize': 5000");
    test_forward(context, net);
    const float *label = test_top(context, net, 0), *offsets = test_top(context, net, 1);
    const float *inside = test_top(context, net, 2), *outside = test_top(context, net, 3);
    int counts[2] = {0};
    for (int i = 0; i < ANCHORS; i++) {
        assert_int_equal(label[i], expected_label(i / CELLS, i % CELLS));
        if (label[i] >= 0)
            counts[(int)label[i]]++;
    }
    assert_true(counts[1] >= 5 && counts[0] > 500);
    for (int i = 0; i < ANCHORS; i++) {
        const box mine = anchor_at(i / CELLS, i % CELLS);
        const int at = 4 * (i / CELLS) * CELLS + i % CELLS;
        double most;
        if (in_image(mine))
            expect_offsets(offsets + at, CELLS, mine, truth[best_of(mine, &most)], NULL);
        for (int k = 0; k < 4; k++) {
            assert_float_equal(inside[at + k * CELLS], label[i] == 1, 0);
            assert_float_equal(outside[at + k * CELLS],
                               label[i] < 0 ? 0 : 1. / (counts[0] + counts[1]), 1e-9);
        }
    }
    qf_net_destroy(net);
}

static int count_labels(qf_net *net, int top, float value)
{
    int count = 0;
    for (size_t i = 0; i < qf_blob_count(net->layers[net->layer_count - 1]->top[top]); i++)
        count += test_top(context, net, top)[i] == value;
    return count;
}

/* Drawn anew in each pass, the same from the same seed, and from what would have the label. */
static void anchor_samples(void **state)
{
    (void)state;
    static float first[ANCHORS], second[ANCHORS];
    qf_net *net = anchor_net(", 'rpn_positive_overlap': 0.6, 'rpn_batchsize': 8, "
                             "'rpn_fg_fraction': 0.25, 'rpn_positive_weight': 0.5");
    qf_context_set_seed(context, 7);
    test_forward(context, net);
    memcpy(first, test_top(context, net, 0), sizeof first);
    assert_int_equal(count_labels(net, 0, 1), 2);
    assert_int_equal(count_labels(net, 0, 0), 6);
    const float *outside = test_top(context, net, 3);
    for (int i = 0; i < ANCHORS; i++) {
        const double weight = first[i] == 1 ? 0.25 : first[i] == 0 ? 0.5 / 6 : 0;
        if (first[i] >= 0)
            assert_int_equal(first[i], expected_label(i / CELLS, i % CELLS));
        assert_float_equal(outside[4 * (i / CELLS) * CELLS + i % CELLS], weight, 1e-7);
    }
    test_forward(context, net);
    memcpy(second, test_top(context, net, 0), sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
    qf_context_set_seed(context, 7);
    test_forward(context, net);
    assert_memory_equal(first, test_top(context, net, 0), sizeof first);
    test_forward(context, net);
    assert_memory_equal(second, test_top(context, net, 0), sizeof second);
    qf_net_destroy(net);
}

/* Nothing on the image: nothing is positive; an object that no anchor meets makes none so. */
static void anchors_without_objects(void **state)
{
    (void)state;
    qf_net *net = anchor_net("");
    const int none[] = {0, 5}, one[] = {1, 5};
    assert_ok(context, qf_blob_reshape(qf_net_blob(net, "x1"), none, 2));
    test_forward(context, net);
    assert_int_equal(count_labels(net, 0, 1), 0);
    assert_int_equal(count_labels(net, 0, 0), 256);
    assert_ok(context, qf_blob_reshape(qf_net_blob(net, "x1"), one, 2));
    TEST_FILL(net, "x1", 900, 900, 950, 950, 1);
    test_forward(context, net);
    assert_int_equal(count_labels(net, 0, 1), 0);
    TEST_FILL(net, "x1", 30, 30, 20, 40, 1);
    assert_fails(context, qf_net_forward(net, NULL), "object 0 of 'x1'");
    qf_net_destroy(net);
}

/* Around the objects, and elsewhere. */
static const float proposals[] = {
    0, 20, 30, 83, 93, 0, 25, 28, 90, 99, 0, 60, 30, 140, 93, 0, 98,  98, 120, 118,
    0, 0,  0,  15, 15, 0, 5,  90, 30, 99, 0, 15, 20, 80,  80, 0, 140, 5,  199, 30,
};

static qf_net *proposal_net(int classes, const char *settings)
{
    char *rest = test_format("type: 'Python' python_param { module: 'rpn.proposal_target_layer' "
                             "layer: 'ProposalTargetLayer' param_str: \"'num_classes': %d%s\" }",
                             classes, settings);
    qf_net *net = MAKE(QF_TRAIN, rest, 5, "8 5", "3 5");
    test_fill(context, qf_net_blob(net, "x0"), proposals, 40);
    test_fill(context, qf_net_blob(net, "x1"), objects, 15);
    qf_free(rest);
    return net;
}

/* Every row of the tops is what its region has to be. */
static void check_rows(qf_net *net, int rows, int classes, bool agnostic, const double *deviations)
{
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 0), rows);
    for (int r = 0; r < rows; r++) {
        const float *region = test_top(context, net, 0) + (size_t)(5 * r);
        const box mine = {(double)region[1], (double)region[2], (double)region[3],
                          (double)region[4]};
        double most;
        const int object = best_of(mine, &most);
        const int label = most >= 0.5 ? (int)objects[5 * object + 4] : 0;
        const int place = label && agnostic ? 1 : label;
        assert_float_equal(test_top(context, net, 1)[r], label, 0);
        for (int at = 4 * r * classes; at < 4 * (r + 1) * classes; at++) {
            const bool here = label && at / 4 % classes == place;
            assert_float_equal(test_top(context, net, 3)[at], here, 0);
            assert_float_equal(test_top(context, net, 4)[at], here, 0);
            if (!here)
                assert_float_equal(test_top(context, net, 2)[at], 0, 0);
        }
        if (label)
            expect_offsets(test_top(context, net, 2) + (size_t)(4 * (r * classes + place)), 1, mine,
                           truth[object], deviations);
    }
}

static const double usual_deviations[4] = {0.1, 0.1, 0.2, 0.2};

static void proposal_targets(void **state)
{
    (void)state;
    static const double ones[4] = {1, 1, 1, 1};
    /* Four proposals and three objects overlap something enough. */
    qf_net *net = proposal_net(3, ", 'batch_size': -1");
    test_forward(context, net);
    check_rows(net, 11, 3, false, usual_deviations);
    assert_int_equal(count_labels(net, 1, 0), 4);
    assert_int_equal(count_labels(net, 1, 2), 2);
    qf_net_destroy(net);

    net = proposal_net(2, ", 'bbox_normalize_stds': [1, 1, 1, 1], 'bg_thresh_lo': 0.1");
    test_forward(context, net); /* two of the four others overlap nothing */
    check_rows(net, 9, 2, true, ones);
    qf_net_destroy(net);

    net = proposal_net(2, ", 'agnostic': False");
    assert_fails(context, qf_net_forward(net, NULL), "has the label 2, expected 1 to 1");
    TEST_FILL(net, "x0", 0, 20, 30, 83, 93, 0, 25, 28, 90, 99, 0, 60, 30, 140, 93, 0, 98, 98, 120,
              118, 0, 0, 0, 15, 15, 1, 5, 90, 30, 99, 0, 15, 20, 80, 80, 0, 140, 5, 199, 30);
    assert_fails(context, qf_net_forward(net, NULL), "region 5 of 'x0' lies in image 1");
    qf_net_destroy(net);
}

static void proposal_samples(void **state)
{
    (void)state;
    float first[20];
    int others = 0;
    const int none[] = {0, 5};
    qf_net *net = proposal_net(3, ", 'batch_size': 4");
    qf_context_set_seed(context, 3);
    test_forward(context, net);
    memcpy(first, test_top(context, net, 0), sizeof first);
    for (int i = 0; i < 20; i++) {
        test_forward(context, net);
        check_rows(net, 4, 3, false, usual_deviations);
        assert_int_equal(count_labels(net, 1, 0), 3);
        others += memcmp(first, test_top(context, net, 0), sizeof first) != 0;
    }
    assert_true(others > 10);
    qf_context_set_seed(context, 3);
    test_forward(context, net);
    assert_memory_equal(first, test_top(context, net, 0), sizeof first);
    assert_ok(context, qf_blob_reshape(qf_net_blob(net, "x1"), none, 2));
    test_forward(context, net);
    assert_int_equal(count_labels(net, 1, 0), 4);
    qf_net_destroy(net);
}

/* ---- what cannot be ---- */

static void refused(void **state)
{
    static const struct {
        test_refusal what;
        int tops;
    } rows[] = {
        {{"type: 'BoxAnnotatorOHEM'", {"2 5", "2", "2", "2 4"}, "roi_per_img must be at least 1"},
         2},
        {{"type: 'BoxAnnotatorOHEM' box_annotator_ohem_param { roi_per_img: 1 }",
          {"2 4", "2", "2", "2 4"},
          "regions of 5 numbers"},
         2},
        {{"type: 'BoxAnnotatorOHEM' box_annotator_ohem_param { roi_per_img: 1 }",
          {"2 5", "2", "3", "2 4"},
          "does not fit the 2 regions"},
         2},
        {{"type: 'BoxAnnotatorOHEM' box_annotator_ohem_param { roi_per_img: 1 }",
          {"2 5", "2", "2", "3 4"},
          "does not fit the 2 regions"},
         2},
        {{"type: 'AnchorTarget'", {"1 17 2 2", "1 5", "1 3"}, "18 channels for 9 anchors"}, 4},
        {{"type: 'AnchorTarget'", {"2 18 2 2", "1 5", "1 3"}, "one image"}, 4},
        {{"type: 'AnchorTarget'", {"1 18 2 2", "1 4", "1 3"}, "a row of 5 numbers"}, 4},
        {{"type: 'AnchorTarget'", {"1 18 2 2", "1 5", "1 2"}, "(height, width, scale)"}, 4},
        {{"type: 'AnchorTarget' anchor_target_param { scales: 0 }",
          {"1 6 2 2", "1 5", "1 3"},
          "scale must be above 0"},
         4},
        {{"type: 'AnchorTarget' anchor_target_param { rpn_batchsize: 0 }",
          {"1 18 2 2", "1 5", "1 3"},
          "rpn_batchsize must be at least 1"},
         4},
        {{"type: 'AnchorTarget' anchor_target_param { rpn_positive_weight: 1 }",
          {"1 18 2 2", "1 5", "1 3"},
          "rpn_positive_weight must be below 1"},
         4},
        {{"type: 'AnchorTarget' anchor_target_param { rpn_bbox_inside_weights: 1 }",
          {"1 18 2 2", "1 5", "1 3"},
          "has 1 values, expected 4"},
         4},
        {{"type: 'ProposalTarget'", {"2 4", "1 5"}, "a row of 5 numbers"}, 5},
        {{"type: 'ProposalTarget' proposal_target_param { num_classes: 1 }",
          {"2 5", "1 5"},
          "num_classes is 1"},
         5},
        {{"type: 'ProposalTarget' proposal_target_param { batch_size: 0 }",
          {"2 5", "1 5"},
          "batch_size must be at least 1"},
         5},
        {{"type: 'ProposalTarget' proposal_target_param { bbox_normalize_stds: 1 "
          "bbox_normalize_stds: 1 bbox_normalize_stds: 0 bbox_normalize_stds: 1 }",
          {"2 5", "1 5"},
          "not above 0"},
         5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *shapes[TEST_BOTTOMS_MAX] = {NULL};
        qf_net *net;
        memcpy(shapes, rows[i].what.shapes, sizeof rows[i].what.shapes);
        assert_fails(
            context,
            test_one_layer(context, QF_TRAIN, shapes, rows[i].what.rest, rows[i].tops, &net),
            rows[i].what.sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_losses),          cmocka_unit_test(smooth_l1_losses),
        cmocka_unit_test(losses_of_regions),       cmocka_unit_test(hard_examples),
        cmocka_unit_test(anchor_targets),          cmocka_unit_test(anchor_samples),
        cmocka_unit_test(anchors_without_objects), cmocka_unit_test(proposal_targets),
        cmocka_unit_test(proposal_samples),        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
