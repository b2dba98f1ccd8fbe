/* BoxTarget, MS-CNN's ProposalTarget: each row of its tops is what its region has to be; what the
 * batch is filled up with; what regions weigh. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

/* image, x1, y1, x2, y2, label, ignored */
static const float objects[] = {0,  10, 10, 49, 49, 2,  0,  0,  60, 10, 99,
                                49, 1,  1,  1,  20, 20, 59, 79, 1,  0};
/* Like an object, like an ignored one, half like one, background of both images, like an object of
 * the other image. */
static const float proposals[] = {0, 12,  11, 50,  48, 0, 61, 10, 99,  50, 0, 10, 10, 49, 69,
                                  0, 100, 60, 139, 99, 1, 90, 70, 130, 99, 1, 12, 11, 50, 48};
enum { OBJECTS = 3, PROPOSALS = 6 };

#define PARAM                                                                                      \
    "proposal_target_param { cls_num: 3 num_img_per_batch: 2 img_width: 140 img_height: 100 "

static qf_net *make(const char *param, int tops)
{
    char *rest = test_format("type: 'ProposalTarget' " PARAM "%s", param);
    qf_net *net = test_make_layer(context, QF_TRAIN,
                                  (const char *const[]){"6 5 1 1", "3 7 1 1", NULL}, rest, tops);
    test_fill(context, qf_net_blob(net, "x0"), proposals, 5 * PROPOSALS);
    test_fill(context, qf_net_blob(net, "x1"), objects, 7 * OBJECTS);
    assert_string_equal(net->layers[net->layer_count - 1]->type->name, "BoxTarget");
    qf_free(rest);
    return net;
}

/* Pixels count whole. */
static double overlap(const float *a, const float *b)
{
    double area[2], both = 1;
    for (int i = 0; i < 2; i++) {
        const float *box = i == 0 ? a : b;
        area[i] = (double)(box[2] - box[0] + 1) * (double)(box[3] - box[1] + 1);
        const double length =
            fmin((double)a[2 + i], (double)b[2 + i]) - fmax((double)a[i], (double)b[i]) + 1;
        both *= fmax(length, 0);
    }
    return both / (area[0] + area[1] - both);
}

static int best_of(const float *region, double *most)
{
    int best = -1;
    *most = 0;
    for (int i = 0; i < OBJECTS; i++)
        if (objects[7 * i] == region[0] && overlap(region + 1, objects + 7 * i + 1) > *most) {
            *most = overlap(region + 1, objects + 7 * i + 1);
            best = i;
        }
    return best;
}

/* Returns how many rows are objects. */
static int check_rows(qf_net *net, int rows, bool aware)
{
    const int values = aware ? 12 : 8;
    int found = 0;
    assert_int_equal(qf_blob_dimension(qf_net_blob(net, "y0"), 0), rows);
    for (int r = 0; r < rows; r++) {
        const float *region = test_top(context, net, 0) + (size_t)(5 * r), *to;
        const float *truth = test_top(context, net, 5) + (size_t)(6 * r);
        double most;
        const int best = best_of(region, &most);
        const bool object = most >= 0.7 && best != 1;
        const int label = object ? (int)objects[7 * best + 5] : 0;
        assert_float_equal(test_top(context, net, 1)[r], label, 0);
        found += object;
        for (int k = 0; k < values; k++) {
            const bool here = object && k / 4 == (aware ? label : 1);
            const size_t at = (size_t)(r * values + k);
            assert_float_equal(test_top(context, net, 3)[at], here, 0);
            assert_float_equal(test_top(context, net, 4)[at], here, 0);
            if (!here)
                assert_float_equal(test_top(context, net, 2)[at], 0, 0);
        }
        assert_float_equal(truth[5], object ? most : 0, 1e-6);
        for (int k = 1; k < 5; k++)
            assert_float_equal(truth[k], object ? objects[7 * best + k] : 0, 0);
        if (!object)
            continue;
        to = objects + 7 * best + 1;
        const double w = (double)(region[3] - region[1] + 1), to_w = (double)(to[2] - to[0] + 1);
        const float *offsets =
            test_top(context, net, 2) + (size_t)(r * values + 4 * (aware ? label : 1));
        assert_float_equal(offsets[0],
                           ((double)(to[0] + to[2]) - (double)(region[1] + region[3])) / 2 / w /
                               (aware ? 1 : 0.1),
                           1e-5);
        assert_float_equal(offsets[2], log(to_w / w) / (aware ? 1 : 0.2), 1e-5);
    }
    return found;
}

static void everything(void **state)
{
    (void)state;
    /* Of the proposals 1, 3 (0.67), 4, 5 and 6; of the objects those that count; with bg_thr_lw 0
     * what overlaps nothing is background. */
    qf_net *net = make("batch_size: -1 fg_thr: 0.7 bg_thr_hg: 0.7 bg_thr_lw: 0 }", 6);
    test_forward(context, net);
    assert_int_equal(check_rows(net, 7, true), 3);
    qf_net_destroy(net);
}

static void samples(void **state)
{
    (void)state;
    /* 12 wanted: 3 objects and proposal 3 of the overlap; the others, which overlap less than
     * bg_thr_lw; then boxes anywhere. */
    qf_net *net = make("batch_size: 12 fg_thr: 0.7 bg_thr_hg: 0.7 bg_thr_lw: 0.1 } "
                       "bbox_reg_param { cls_aware: false bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 "
                       "bbox_mean: 0 bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 }",
                       7);
    qf_context_set_seed(context, 3);
    for (int i = 0; i < 20; i++) {
        test_forward(context, net);
        assert_int_equal(check_rows(net, 12, false), 3);
        const float *weights = test_top(context, net, 6);
        for (int r = 0; r < 12; r++) /* a quarter of the weight is the objects' */
            assert_float_equal(weights[r], r < 3 ? 0.25 * 12 / 3 : 0.75 * 12 / 9, 1e-5);
    }
    qf_net_destroy(net);

    net = make("batch_size: 4 fg_fraction: 0.5 fg_thr: 0.7 bg_thr_hg: 0.7 bg_thr_lw: 0 "
               "iou_weighted: true }",
               7);
    int drawn[8] = {0}, kinds = 0;
    for (int i = 0; i < 40; i++) {
        test_forward(context, net);
        assert_int_equal(check_rows(net, 4, true), 2);
        const float *weights = test_top(context, net, 6), *truth = test_top(context, net, 5);
        assert_float_equal(weights[0] + weights[1], 2, 1e-5);
        assert_float_equal(weights[0] / weights[1], truth[5] / truth[11], 1e-5);
        for (int r = 0; r < 2; r++)
            drawn[(int)test_top(context, net, 0)[5 * r + 1] / 10]++;
    }
    for (int k = 0; k < 8; k++)
        kinds += drawn[k] > 0;
    assert_true(kinds >= 2); /* the one image's and the other's */
    qf_net_destroy(net);
}

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'BoxTarget' proposal_target_param { cls_num: 1 img_width: 99 img_height: 99 }",
         {"1 5", "1 7"},
         "needs cls_num of 2 or more"},
        {"type: 'BoxTarget' " PARAM "batch_size: 0 }", {"1 5", "1 7"}, "batch_size must be"},
        {"type: 'BoxTarget' " PARAM "fg_thr: 0.4 }", {"1 5", "1 7"}, "at least bg_thr_hg"},
        {"type: 'BoxTarget' proposal_target_param { cls_num: 2 img_width: 32 img_height: 99 }",
         {"1 5", "1 7"},
         "must be above 32"},
        {"type: 'BoxTarget' " PARAM "}", {"1 5", "1 5"}, "a row of 7 numbers"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qf_net *net;
        assert_fails(context,
                     test_one_layer(context, QF_TRAIN, rows[i].shapes, rows[i].rest, 6, &net),
                     rows[i].sentence);
    }
    qf_net *net = make("batch_size: -1 }", 6);
    TEST_FILL(net, "x1", 0, 10, 10, 49, 49, 3, 0, 0, 60, 10, 99, 49, 1, 1, 1, 20, 20, 59, 79, 1, 0);
    assert_fails(context, qf_net_forward(net, NULL), "has the label 3, expected 1 to 2");
    TEST_FILL(net, "x1", 2, 10, 10, 49, 49, 2, 0, 0, 60, 10, 99, 49, 1, 1, 1, 20, 20, 59, 79, 1, 0);
    assert_fails(context, qf_net_forward(net, NULL), "lies in image 2, but");
    qf_net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything),
        cmocka_unit_test(samples),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
