/* Layers with which nets of faces are trained: values against plain formulas in double, what
 * weights and centres become, and what is refused. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static qf_net *make(qf_phase phase, const char *rest, const char *bottom, const char *labels,
                    int tops)
{
    return test_make_layer(context, phase, (const char *const[]){bottom, labels, NULL}, rest, tops);
}

static float *parameter(const qf_net *net)
{
    float *values;
    assert_ok(context, qf_blob_mutable_data(net->layers[1]->params[0].blob, &values));
    return values;
}

/* ---- margins on products ---- */

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* (−1)^k cos(mθ) − 2k, from the angle itself. */
static double psi(int m, double angle)
{
    const int k = (int)fmin(floor(m * angle / pi), m - 1);
    return (k % 2 ? -1 : 1) * cos(m * angle) - 2 * k;
}

enum { ITEMS = 12, LENGTH = 5, CLASSES = 4 };

static void check_margin(int m, const char *type, float lambda)
{
    char *rest =
        test_format("type: 'MarginInnerProduct' margin_inner_product_param { num_output: 4 "
                    "type: %s base: %g }",
                    type, (double)lambda);
    qf_net *net = make(QF_TEST, rest, "12 5", "12", 2);
    float labels[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        labels[i] = (float)(i % CLASSES);
    test_fill_anyhow(context, qf_net_blob(net, "x0"), 1);
    test_fill_anyhow(context, net->layers[1]->params[0].blob, 2);
    test_fill(context, qf_net_blob(net, "x1"), labels, ITEMS);
    test_forward(context, net);
    const float *x = test_bottom(context, net, 0), *w = parameter(net);
    const float *y = test_top(context, net, 0);
    for (int i = 0; i < ITEMS; i++, x += LENGTH)
        for (int c = 0; c < CLASSES; c++) {
            const float *its = w + c * LENGTH;
            const double length = sqrt(dot(x, x, LENGTH));
            const double cosine = dot(x, its, LENGTH) / length / sqrt(dot(its, its, LENGTH));
            const double own = length * (lambda * cosine + psi(m, acos(cosine))) / (1 + lambda);
            assert_float_equal(y[i * CLASSES + c],
                               (float)(c == i % CLASSES ? own : length * cosine), 2e-5f);
        }
    assert_float_equal(test_top(context, net, 1)[0], lambda, 0);
    qf_net_destroy(net);
    qf_free(rest);
}

static void margin_inner_product(void **state)
{
    static const char *const types[] = {"SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"};
    (void)state;
    for (int m = 1; m <= 4; m++) {
        check_margin(m, types[m - 1], 0);
        check_margin(m, types[m - 1], 5);
    }
}

/* λ falls from pass to pass in TRAIN, stays in TEST; weights become directions in TRAIN only. */
static void lambda_and_weights(void **state)
{
    static const char rest[] =
        "type: 'MarginInnerProduct' margin_inner_product_param { num_output: 2 type: QUADRUPLE "
        "base: 1000 gamma: 0.12 power: 1 lambda_min: 300 iteration: 10 }";
    (void)state;
    for (int phase = QF_TRAIN; phase <= QF_TEST; phase++) {
        qf_net *net = make((qf_phase)phase, rest, "1 2", "1", 2);
        TEST_FILL(net, "x0", 1, 2);
        test_fill(context, net->layers[1]->params[0].blob, (const float[]){3, 4, 0, -2}, 4);
        for (int pass = 1; pass <= 12; pass++) {
            const double i = phase == QF_TRAIN ? 10 + pass : 10;
            test_forward(context, net);
            assert_float_equal(test_top(context, net, 1)[0],
                               (float)fmax(300, 1000 / (1 + 0.12 * i)), 1e-3f);
        }
        const float scale = phase == QF_TRAIN ? 0.2f : 1;
        const float *w = parameter(net);
        assert_float_equal(w[0], 3 * scale, 1e-6f);
        assert_float_equal(w[1], 4 * scale, 1e-6f);
        assert_float_equal(w[3], phase == QF_TRAIN ? -1 : -2, 1e-6f);
        qf_net_destroy(net);
    }
}

/* ---- margins on cosines ---- */

static void label_margins(void **state)
{
    (void)state;
    const float m = 0.5f, c = 0.3f, far = -0.95f;
    qf_net *net = make(QF_TRAIN, "type: 'CosinAddm' cosin_add_m_param { m: 0.5 }", "4 2", "4", 1);
    TEST_FILL(net, "x0", c, 0.1f, 0.2f, far, 0.4f, 0.5f, 1, 0);
    TEST_FILL(net, "x1", 0, 1, -1, 0);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "4 2 (8)", cosf(acosf(c) + m), 0.1f, 0.2f, far - m * sinf(m), 0.4f, 0.5f,
                cosf(m), 0);
    qf_net_destroy(net);

    net =
        make(QF_TRAIN, "type: 'CombinedMargin' combined_margin_param { m1: 0.9 m2: 0.4 m3: 0.15 }",
             "2 2", "2", 1);
    TEST_FILL(net, "x0", 0.3f, 0.1f, 0.2f, -0.6f);
    TEST_FILL(net, "x1", 0, 1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 2 (4)", cosf(0.9f * acosf(0.3f) + 0.4f) - 0.15f, 0.1f, 0.2f,
                cosf(0.9f * acosf(-0.6f) + 0.4f) - 0.15f);
    qf_net_destroy(net);

    for (int phase = QF_TRAIN; phase <= QF_TEST; phase++) {
        net = make((qf_phase)phase,
                   "type: 'LabelSpecificAdd' label_specific_add_param { bias: -0.35 }", "2 2", "2",
                   1);
        TEST_FILL(net, "x0", 0.75f, 0.1f, 0.2f, 0.25f);
        TEST_FILL(net, "x1", 0, 1);
        test_forward(context, net);
        TEST_EXPECT(net, 0, "2 2 (4)", phase == QF_TRAIN ? 0.4f : 0.75f, 0.1f, 0.2f, 0.25f);
        qf_net_destroy(net);
    }
}

static void margin_that_grows(void **state)
{
    (void)state;
    qf_net *net = make(QF_TRAIN,
                       "type: 'LabelSpecificAdd' label_specific_add_param { bias_base: -0.1 "
                       "bias_gamma: 1 bias_power: -0.1 bias_min: -0.2 bias_max: 0 iteration: 0 }",
                       "1 2", "1", 2);
    TEST_FILL(net, "x0", 0.75f, 0.1f);
    for (int pass = 0; pass < 5; pass++) {
        const float bias = fmaxf(-0.2f, -0.1f + powf(1 + (float)pass, -0.1f) - 1);
        test_forward(context, net);
        assert_float_equal(test_top(context, net, 1)[0], bias, 1e-6f);
        assert_float_equal(test_top(context, net, 0)[0], 0.75f + bias, 1e-6f);
    }
    qf_net_destroy(net);
}

/* ---- distances ---- */

/* Three items of class 1, one of class 0: centres get Σ (c − x) / (1 + number), items (x − c) / 4.
 */
static void center_loss(void **state)
{
    (void)state;
    qf_net *net =
        make(QF_TRAIN, "type: 'CenterLoss' center_loss_param { num_output: 3 }", "4 2", "4", 1);
    float *diff;
    TEST_FILL(net, "x0", 1, 2, 3, 4, 5, 6, -1, 1);
    TEST_FILL(net, "x1", 1, 1, 1, 0);
    test_fill(context, net->layers[1]->params[0].blob, (const float[]){0, 0, 1, 1, 7, 7}, 6);
    test_forward(context, net);
    /* squares: 0 + 1, 4 + 9, 16 + 25, 1 + 1 */
    TEST_EXPECT(net, 0, "(1)", (1 + 13 + 41 + 2) / 8.0f);
    qf_net_clear_param_diffs(net);
    assert_ok(context, qf_blob_mutable_diff(net->layers[1]->top[0], &diff));
    diff[0] = 0.25f; /* a loss weight: of the items only */
    net->layers[1]->propagate_down[0] = true;
    assert_ok(context, net->layers[1]->type->backward(net->layers[1]));
    const float *found;
    assert_ok(context, qf_blob_diff(net->layers[1]->params[0].blob, &found));
    const float centres[] = {0.5f, -0.5f, -6 / 4.0f, -9 / 4.0f, 0, 0};
    for (int i = 0; i < 6; i++)
        assert_float_equal(found[i], centres[i], 1e-6f);
    assert_ok(context, qf_blob_diff(qf_net_blob(net, "x0"), &found));
    const float items[] = {0, 1, 2, 3, 4, 5, -1, 1};
    for (int i = 0; i < 8; i++)
        assert_float_equal(found[i], items[i] * 0.25f / 4, 1e-6f);
    qf_net_destroy(net);
}

static void inner_distance(void **state)
{
    (void)state;
    for (int absolute = 0; absolute < 2; absolute++) {
        char *rest =
            test_format("type: 'InnerDistance' inner_distance_param { distance_type: '%s' }",
                        absolute ? "L1" : "L2");
        qf_net *net = make(QF_TEST, rest, "2 2", "3 2", 1);
        TEST_FILL(net, "x0", 1, 2, 0, -1);
        TEST_FILL(net, "x1", 1, 2, 3, 1, -1, 0);
        test_forward(context, net);
        if (absolute)
            TEST_EXPECT(net, 0, "2 3 (6)", 0, 3, 4, 4, 5, 2);
        else
            TEST_EXPECT(net, 0, "2 3 (6)", 0, 5, 8, 10, 13, 2);
        qf_net_destroy(net);
        qf_free(rest);
    }
}

/* Only the vector of an item's own class is moved. */
static void centre_only(void **state)
{
    (void)state;
    qf_net *net = make(QF_TRAIN,
                       "type: 'InnerDistance' inner_distance_param { num_output: 2 "
                       "update_center_only: true }",
                       "2 1", "2", 1);
    const float *found;
    float *diff;
    TEST_FILL(net, "x0", 1, 5);
    TEST_FILL(net, "x1", 1, 1);
    test_forward(context, net);
    qf_net_clear_param_diffs(net);
    assert_ok(context, qf_blob_mutable_diff(net->layers[1]->top[0], &diff));
    for (int i = 0; i < 4; i++)
        diff[i] = 1;
    assert_ok(context, net->layers[1]->type->backward(net->layers[1]));
    assert_ok(context, qf_blob_diff(net->layers[1]->params[0].blob, &found));
    assert_float_equal(found[0], 0, 0);
    assert_float_equal(found[1], -12, 1e-5f);
    qf_net_destroy(net);
}

/* Own classes pay 0.5, 4 (not 6); others 0 + 0.5 and 0.25 + 0. */
static void general_contrastive_loss(void **state)
{
    (void)state;
    qf_net *net = make(QF_TEST,
                       "type: 'GeneralContrastiveLoss' general_contrastive_loss_param { "
                       "negative_weight: 2 }",
                       "2 3", "2", 2);
    TEST_FILL(net, "x0", 0.5f, 3, 0.5f, 0.75f, 6, 1);
    TEST_FILL(net, "x1", 0, 1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "(1)", (4.5f + 2 * 0.75f) / 2);
    TEST_EXPECT(net, 1, "2 (2)", 2.25f, 0.75f / 4);
    qf_net_destroy(net);
}

/* ---- directions ---- */

static void normalised_product(void **state)
{
    static const char rest[] = "type: 'InnerProduct' inner_product_param { num_output: 2 "
                               "normalize: true bias_term: false }";
    (void)state;
    for (int phase = QF_TRAIN; phase <= QF_TEST; phase++) {
        qf_net *net =
            test_make_layer(context, (qf_phase)phase, (const char *const[]){"1 2", NULL}, rest, 1);
        TEST_FILL(net, "x0", 1, 2);
        test_fill(context, net->layers[1]->params[0].blob, (const float[]){3, 4, 0, -2}, 4);
        test_forward(context, net);
        TEST_EXPECT(net, 0, "1 2 (2)", 2.2f, -2);
        assert_float_equal(parameter(net)[1], phase == QF_TRAIN ? 0.8f : 4, 1e-6f);
        qf_net_destroy(net);
    }
}

static void normalised_features(void **state)
{
    (void)state;
    qf_net *net = test_make_layer(context, QF_TEST, (const char *const[]){"2 2", NULL},
                                  "type: 'Normalize'", 1);
    TEST_FILL(net, "x0", 3, 4, 0, -2);
    test_forward(context, net);
    assert_int_equal(net->layers[1]->param_count, 0);
    TEST_EXPECT(net, 0, "2 2 (4)", 0.6f, 0.8f, 0, -1);
    qf_net_destroy(net);
}

static void unit_vectors_to_begin_with(void **state)
{
    (void)state;
    qf_net *net =
        test_make_layer(context, QF_TEST, (const char *const[]){"1 6", NULL},
                        "type: 'InnerProduct' inner_product_param { num_output: 3 weight_filler { "
                        "type: 'gaussian_unitball' } }",
                        1);
    const float *w = parameter(net);
    for (int row = 0; row < 3; row++)
        assert_float_equal((float)dot(w + 6 * row, w + 6 * row, 6), 1, 1e-5f);
    qf_net_destroy(net);
}

/* NormFace gives a product its weights as a second bottom. */
static void weights_from_below(void **state)
{
    (void)state;
    qf_net *net = make(QF_TEST, "type: 'InnerProduct' inner_product_param { bias_term: false }",
                       "2 3", "2 3", 1);
    TEST_FILL(net, "x0", 1, 2, 3, 4, 5, 6);
    TEST_FILL(net, "x1", 1, 0, 0, 0, 1, -1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "2 2 (4)", 1, -1, 4, -1);
    qf_net_destroy(net);
}

/* A learned factor goes back to its bounds; the nearest vector is the best. */
static void bounds_and_distances(void **state)
{
    (void)state;
    qf_net *net = test_make_layer(
        context, QF_TRAIN, (const char *const[]){"1 3", NULL},
        "type: 'Scale' scale_param { min_value: 0.5 max_value: 2 filler { value: 1 } }", 1);
    TEST_FILL(net, "x0", 1, 1, 1);
    test_fill(context, net->layers[1]->params[0].blob, (const float[]){0.25f, 1.5f, 3}, 3);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "1 3 (3)", 0.5f, 1.5f, 2);
    assert_float_equal(parameter(net)[2], 2, 0);
    qf_net_destroy(net);

    net = make(QF_TEST, "type: 'Accuracy' accuracy_param { min_is_better: true }", "3 2", "3", 1);
    TEST_FILL(net, "x0", 1, 2, 1, 2, 3, 0);
    TEST_FILL(net, "x1", 0, 1, 1);
    test_forward(context, net);
    TEST_EXPECT(net, 0, "(1)", 2 / 3.0f);
    qf_net_destroy(net);
}

static void refused(void **state)
{
    static const test_refusal rows[] = {
        {"type: 'MarginInnerProduct'", {"2 3", "2"}, "expected the number of classes"},
        {"type: 'MarginInnerProduct' margin_inner_product_param { num_output: 3 }",
         {"2 3", "3"},
         "one label for each of the 2 items"},
        {"type: 'MarginInnerProduct' margin_inner_product_param { num_output: 3 gamma: -1 }",
         {"2 3", "2"},
         "must not be negative"},
        {"type: 'CenterLoss'", {"2 3", "2"}, "expected the number of classes"},
        {"type: 'CenterLoss' center_loss_param { num_output: 3 distance_type: 'cosine' }",
         {"2 3", "2"},
         "expected 'L2' or 'L1'"},
        {"type: 'CenterLoss' center_loss_param { num_output: 3 }", {"2 3", "2 3"}, "one label"},
        {"type: 'InnerDistance'", {"2 3"}, "expected the number of classes"},
        {"type: 'InnerDistance'", {"2 3", "4 2"}, "3 values an item"},
        {"type: 'InnerDistance'", {"2 3", "4 3", "2"}, "this one has 3 bottoms"},
        {"type: 'InnerDistance' inner_distance_param { transpose: true num_output: 1 }",
         {"2 3"},
         "leave out transpose"},
        {"type: 'InnerProduct' inner_product_param { normalize: true transpose: true num_output: 1 "
         "}",
         {"2 3"},
         "leave out transpose"},
        {"type: 'InnerProduct' inner_product_param { }", {"2 3", "4 3"}, "bias_term: false"},
        {"type: 'Normalize' normalize_param { normalize_type: 'L1' }", {"2 3"}, "only 'L2'"},
        {"type: 'LabelSpecificAdd'", {"2 3", "3"}, "a label for each item"},
        {"type: 'GeneralContrastiveLoss' general_contrastive_loss_param { square: true }",
         {"2 3", "2"},
         "leave out normalize_negative"},
    };
    (void)state;
    test_expect_refusals(context, QF_TEST, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(margin_inner_product),
        cmocka_unit_test(lambda_and_weights),
        cmocka_unit_test(label_margins),
        cmocka_unit_test(margin_that_grows),
        cmocka_unit_test(center_loss),
        cmocka_unit_test(inner_distance),
        cmocka_unit_test(centre_only),
        cmocka_unit_test(general_contrastive_loss),
        cmocka_unit_test(normalised_product),
        cmocka_unit_test(normalised_features),
        cmocka_unit_test(unit_vectors_to_begin_with),
        cmocka_unit_test(weights_from_below),
        cmocka_unit_test(bounds_and_distances),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
