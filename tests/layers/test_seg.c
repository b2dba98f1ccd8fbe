/* SegAccuracy and weights of classes, against counts and formulas. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

/* Scores of 3 classes for 2 × 3 pixels, from the best class of each. */
static void fill_scores(qf_net *net, const int best[6])
{
    float scores[18] = {0};
    for (int p = 0; p < 6; p++)
        scores[best[p] * 6 + p] = 1 + (float)p;
    test_fill(context, qf_net_blob(net, "x0"), scores, 18);
}

/* Labelled 0 0 1 1 2 and one ignored; taken for 0 1 1 1 0: class 0 has 1 of 2 and shares 1 of 3,
 * class 1 has 2 of 2 and shares 2 of 3, class 2 has 0 of 1 and shares nothing. */
static void accuracy(void **state)
{
    static const int best[6] = {0, 1, 1, 1, 0, 2};
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        qf_net *net = test_make_layer(
            context, QF_TEST, (const char *const[]){"1 3 2 3", "1 1 2 3", NULL},
            keeps ? "type: 'SegAccuracy' seg_accuracy_param { ignore_label: 255 reset: false }"
                  : "type: 'SegAccuracy' seg_accuracy_param { ignore_label: 255 ignore_label: 7 }",
            1);
        fill_scores(net, best);
        TEST_FILL(net, "x1", 0, 0, 1, 1, 2, 255);
        test_forward(context, net);
        TEST_EXPECT(net, 0, "1 1 1 3 (3)", 3 / 5.0f, (0.5f + 1 + 0) / 3,
                    (1 / 3.0f + 2 / 3.0f + 0) / 3);
        fill_scores(net, (const int[]){0, 0, 1, 1, 2, 2});
        test_forward(context, net);
        if (keeps) /* 8 of 10; 3 of 4, 4 of 4, 1 of 2; 3 of 5, 4 of 5, 1 of 2 */
            TEST_EXPECT(net, 0, "1 1 1 3 (3)", 0.8f, 2.25f / 3, 1.9f / 3);
        else
            TEST_EXPECT(net, 0, "1 1 1 3 (3)", 1, 1, 1);
        qf_net_destroy(net);
    }
}

/* Classes that are not there do not count. */
static void absent_classes(void **state)
{
    (void)state;
    qf_net *net =
        test_make_layer(context, QF_TEST, (const char *const[]){"1 3 2 3", "1 1 2 3", NULL},
                        "type: 'SegAccuracy'", 1);
    fill_scores(net, (const int[]){0, 0, 0, 0, 0, 0});
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 1 1 3 (3)", 1, 1, 1);
    TEST_FILL(net, "x1", 0, 0, 3, 0, 0, 0);
    assert_fails(context, qf_net_forward(net, NULL), "label 2 is 3");
    qf_net_destroy(net);
}

/* The mean is over the labels that count, whatever they weigh. */
static void class_weights(void **state)
{
    static const struct {
        const char *normalization;
        double divisor;
    } rows[] = {{"VALID", 3}, {"FULL", 4}, {"BATCH_SIZE", 2}, {"NONE", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *rest =
            test_format("type: 'SoftmaxWithLoss' loss_param { normalization: %s ignore_label: 2 "
                        "weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 3 }",
                        rows[i].normalization);
        qf_net *net =
            test_make_layer(context, QF_TEST, (const char *const[]){"2 2 2", "2 2", NULL}, rest, 1);
        TEST_FILL(net, "x0", 1, 2, 0, 1, -1, 0, 2, 1);
        TEST_FILL(net, "x1", 0, 1, 2, 1);
        test_forward(context, net);
        /* Differences of scores: 1 for class 0; −1 and 1 for class 1. */
        const double sum = 0.5 * log(1 + exp(-1)) + 3 * log(1 + exp(1)) + 3 * log(1 + exp(-1));
        assert_float_equal(test_top(context, net, 0)[0], (float)(sum / rows[i].divisor), 1e-6f);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'SegAccuracy'", {"1 3 2 3", "1 1 2 2"}, "expected 6"},
        {"type: 'SoftmaxWithLoss' loss_param { weight_by_label_freqs: true class_weighting: 1 "
         "class_weighting: 1 class_weighting: 1 }",
         {"2 2", "2"},
         "3 class_weighting for 2 classes"},
    };
    (void)state;
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy),
        cmocka_unit_test(absent_classes),
        cmocka_unit_test(class_weights),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
