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
        cmocka_unit_test(softmax_losses),
        cmocka_unit_test(smooth_l1_losses),
        cmocka_unit_test(hard_examples),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
