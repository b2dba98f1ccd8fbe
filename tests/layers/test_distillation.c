/* DistillationLoss beside plain double arithmetic: the divergence as a cross entropy less the
 * teacher's own entropy, the squared error; gradients from their definition;
 * what is refused. */
#include "harness/fixture.h"
#include "harness/one_layer.h"

#include <math.h>

#define MAKE(rest, ...)                                                                            \
    test_make_layer(context, QF_TRAIN, (const char *const[]){__VA_ARGS__, NULL}, rest, 1)

static void fill_both(qf_net *net, float factor)
{
    const char *const names[] = {"x0", "x1"};
    for (unsigned b = 0; b < 2; b++) {
        float *values;
        qf_blob *blob = qf_net_blob(net, names[b]);
        test_fill_anyhow(context, blob, b + 1);
        assert_ok(context, qf_blob_mutable_data(blob, &values));
        for (size_t i = 0; i < qf_blob_count(blob); i++)
            values[i] *= factor;
    }
}

/* exp(x / t) / Σ over `classes` values that lie `step` apart. */
static void soften(const float *x, size_t classes, size_t step, double t, double *out)
{
    double sum = 0;
    for (size_t c = 0; c < classes; c++)
        sum += out[c] = exp((double)x[c * step] / t);
    for (size_t c = 0; c < classes; c++)
        out[c] /= sum;
}

static void check_divergence(const char *rest, double temperature, double items)
{
    enum { N = 3, C = 4, PIXELS = 6 };
    qf_net *net = MAKE(rest, "3 4 2 3", "3 4 2 3");
    fill_both(net, 3);
    test_forward(context, net);
    const float *s = test_bottom(context, net, 0), *t = test_bottom(context, net, 1);
    double expected = 0;
    for (int item = 0; item < N * PIXELS; item++) {
        const size_t first = (size_t)(item / PIXELS * C * PIXELS + item % PIXELS);
        double p[C], q[C];
        soften(t + first, C, PIXELS, temperature, p);
        soften(s + first, C, PIXELS, temperature, q);
        for (int c = 0; c < C; c++) /* cross entropy, less entropy */
            expected += -p[c] * log(q[c]) + p[c] * log(p[c]);
    }
    expected *= temperature * temperature / items;
    assert_float_equal(test_top(context, net, 0)[0], expected, 1e-5 * expected);
    qf_net_destroy(net);
}

static void divergences(void **state)
{
    (void)state;
    check_divergence("type: 'DistillationLoss'", 1, 18);
    check_divergence("type: 'DistillationLoss' distillation_loss_param { temperature: 4 }", 4, 18);
    check_divergence("type: 'DistillationLoss' distillation_loss_param { temperature: 0.5 axis: -3 "
                     "} loss_param { normalization: BATCH_SIZE }",
                     0.5, 3);
    check_divergence("type: 'DistillationLoss' loss_param { normalization: NONE }", 1, 1);
}

static void squares(void **state)
{
    (void)state;
    qf_net *net =
        MAKE("type: 'DistillationLoss' distillation_loss_param { kind: SQUARED }", "3 5", "3 5");
    double error = 0, power = 0;
    fill_both(net, 1000); /* of any size */
    test_forward(context, net);
    const float *s = test_bottom(context, net, 0), *t = test_bottom(context, net, 1);
    for (int i = 0; i < 15; i++) {
        error += ((double)s[i] - (double)t[i]) * ((double)s[i] - (double)t[i]);
        power += (double)t[i] * (double)t[i];
    }
    assert_float_equal(test_top(context, net, 0)[0], error / power / 2, 1e-6);
    qf_net_destroy(net);
}

/* Where the two agree there is nothing to learn, and of a silent teacher nothing infinite. */
static void agreement(void **state)
{
    (void)state;
    static const char *const types[] = {
        "type: 'DistillationLoss' distillation_loss_param { temperature: 3 }",
        "type: 'DistillationLoss' distillation_loss_param { kind: SQUARED }"};
    for (int i = 0; i < 2; i++)
        for (int silent = 0; silent < 2; silent++) {
            qf_net *net = MAKE(types[i], "2 7", "2 7");
            if (!silent) {
                test_fill_anyhow(context, qf_net_blob(net, "x0"), 5);
                test_fill_anyhow(context, qf_net_blob(net, "x1"), 5);
            }
            test_forward(context, net);
            assert_float_equal(test_top(context, net, 0)[0], 0, 1e-7);
            qf_net_destroy(net);
        }
}

/* Only the student learns: bottoms that depend on weights, both. */
static void gradients(void **state)
{
    (void)state;
    static const char text[] =
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 3 } } }"
        "layer { name: 'a' type: 'InnerProduct' bottom: 'x' top: 'a' inner_product_param { "
        "num_output: 5 weight_filler { type: 'gaussian' std: 1 } } }"
        "layer { name: 'b' type: 'InnerProduct' bottom: 'x' top: 'b' inner_product_param { "
        "num_output: 5 weight_filler { type: 'gaussian' std: 1 } } }"
        "layer { name: 'l' type: 'DistillationLoss' bottom: 'a' bottom: 'b' top: 'l' loss_weight: "
        "3 "
        "distillation_loss_param { temperature: 2 } }";
    qf_net *net;
    assert_ok(context, test_net_of(context, text, QF_TRAIN, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 1);
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_net_backward(net));
    const float *a, *b, *da;
    assert_ok(context, qf_blob_data(qf_net_blob(net, "a"), &a));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "b"), &b));
    assert_ok(context, qf_blob_diff(qf_net_blob(net, "a"), &da));
    for (int n = 0; n < 4; n++) {
        double p[5], q[5];
        soften(b + 5 * n, 5, 1, 2, p);
        soften(a + 5 * n, 5, 1, 2, q);
        for (int c = 0; c < 5; c++)
            assert_float_equal(da[5 * n + c], 3 * 2 * (q[c] - p[c]) / 4, 1e-6);
    }
    const qf_layer *teacher = qf_net_find_layer(net, "b");
    const float *db;
    assert_ok(context, qf_blob_diff(teacher->params[0].blob, &db));
    for (int i = 0; i < 15; i++)
        assert_float_equal(db[i], 0, 0);
    qf_net_destroy(net);
}

static void refusals(void **state)
{
    (void)state;
    static const test_refusal rows[] = {
        {"type: 'DistillationLoss'", {"2 3", "2 4"}, "the student's 'x0' of shape 2 3 (6)"},
        {"type: 'DistillationLoss'", {"2 3", "2 3 1"}, "and the teacher's 'x1'"},
        {"type: 'DistillationLoss' distillation_loss_param { temperature: 0 }",
         {"2 3", "2 3"},
         "temperature must be greater than 0"},
        {"type: 'DistillationLoss' distillation_loss_param { temperature: nan }",
         {"2 3", "2 3"},
         "temperature must be greater than 0"},
        {"type: 'DistillationLoss' distillation_loss_param { axis: 2 }",
         {"2 3", "2 3"},
         "axis 2 does not exist"},
    };
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergences), cmocka_unit_test(squares),  cmocka_unit_test(agreement),
        cmocka_unit_test(gradients),   cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
