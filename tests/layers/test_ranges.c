/* Ranges that learn: the gradients of ActivationQAT and WeightQAT against the papers' formulas,
 * value by value in double, and what becomes of a range that they move. */
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "layers/quantised/range_learning.h"

#include <math.h>
#include <string.h>

enum { ITEMS = 2, VALUES = 60, COUNT = ITEMS * VALUES };

/* ---- activations ---- */

typedef struct range {
    double max, min;
    int bits;
    bool fixed_min;
    double step, levels;
} range;

/* Codes are those of the rounded offset; slopes are of the ends as they are. */
typedef struct parts {
    double moved; /* Σ dy · (round(x / s) − x / s) inside */
    double above, below;
} parts;

static parts sum_parts(const range *r, const float *x, const float *dy)
{
    const qf_ulq factors = qf_ulq_factors((float)r->max, (float)r->min, r->bits);
    parts p = {0};
    for (int i = 0; i < COUNT; i++) {
        const double steps = (double)x[i] / r->step;
        if (x[i] > qf_ulq_high(factors))
            p.above += (double)dy[i];
        else if (x[i] < qf_ulq_low(factors))
            p.below += (double)dy[i];
        else
            p.moved += (double)dy[i] * (round(steps) - steps);
    }
    return p;
}

static double limited(double gradient, double value)
{
    return fabs(gradient) > value ? copysign(value, gradient) : gradient;
}

/* What moves an end, and a step, by a share of itself. */
static double for_end(const range *r, double gradient)
{
    const double width = r->max - r->min;
    return gradient * width * width;
}

static double for_step(const range *r, double gradient)
{
    return gradient * r->step * (r->max - r->min);
}

/* Esser et al. 2020, equations 3 and 5: Q_p and Q_n are max / s and min / s. */
static void lsq(const range *r, const parts *p, double out[2])
{
    const double high = r->max / r->step, low = r->min / r->step;
    const double d_step = p->moved + p->above * high + p->below * low;
    const double g = limited(for_step(r, d_step), r->step);
    out[0] = g * high;
    out[1] = g * low;
}

/* Bhalgat et al. 2020, equations 5 and 6, with n = 0. */
static void lsq_plus(const range *r, const parts *p, double out[2])
{
    const double d_step = limited(for_step(r, p->moved + p->above * r->levels), r->step);
    const double d_offset = limited(for_end(r, p->above + p->below), r->step * r->levels);
    out[0] = d_offset + r->levels * d_step;
    out[1] = d_offset;
}

/* Choi et al. 2018, equation 3. */
static void pact(const range *r, const parts *p, double out[2])
{
    out[0] = limited(for_end(r, p->above), r->max - r->min);
    out[1] = limited(for_end(r, p->below), r->max - r->min);
}

/* Jain et al. 2020, equations 7 and 17: of the first pass, whose square is its own mean. */
static void tqt(const range *r, const parts *p, double out[2])
{
    const double d_step = p->moved + p->above * (r->max / r->step) + p->below * (r->min / r->step);
    const double d_log = r->step * log(2) * d_step;
    const double normal = log(2) * tanh(d_log / fabs(d_log));
    out[0] = r->max * normal;
    out[1] = r->min * normal;
}

typedef struct method {
    const char *name;
    void (*expected)(const range *, const parts *, double out[2]);
} method;
static const method methods[] = {
    {"LSQ", lsq}, {"LSQ_PLUS", lsq_plus}, {"PACT", pact}, {"TQT", tqt}};

static qf_net *quantiser(const char *name, const range *r)
{
    char *text = test_format("type: 'ActivationQAT' retrain_data_quant_param { clip_max: %.9g "
                             "clip_min: %.9g fixed_min: %s range_learning: %s num_bits: %d }",
                             r->max, r->min, r->fixed_min ? "true" : "false", name, r->bits);
    qf_net *net = test_make_layer(context, QF_TRAIN, (const char *[]){"2 60", NULL}, text, 1);
    qf_free(text);
    return net;
}

static void run_both(qf_net *net, float size, const float **x, const float **dy)
{
    qf_blob *bottom = qf_net_blob(net, "x0"), *top = qf_net_blob(net, "y0");
    float *values, *gradient;
    test_fill_anyhow(context, bottom, 3);
    assert_ok(context, qf_blob_mutable_data(bottom, &values));
    for (int i = 0; i < COUNT; i++)
        values[i] *= size;
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_mutable_diff(top, &gradient));
    for (int i = 0; i < COUNT; i++)
        gradient[i] = 1e-3f * (float)((i * 37) % 23 - 9);
    assert_ok(context, qf_net_backward(net));
    assert_ok(context, qf_blob_data(bottom, x));
    assert_ok(context, qf_blob_diff(top, dy));
}

static qf_layer *layer_of(qf_net *net, const char *type)
{
    for (int i = 0; i < net->layer_count; i++)
        if (strcmp(net->layers[i]->type->name, type) == 0)
            return net->layers[i];
    fail_msg("no %s", type);
    return NULL;
}

static double gradient_of(qf_layer *layer, int param, int index)
{
    const float *values;
    assert_ok(context, qf_blob_diff(layer->params[param].blob, &values));
    return (double)values[index];
}

static void ends_get_the_papers_gradients(void **state)
{
    (void)state;
    static const range ranges[] = {{0.8, 0, 8, true, 0, 0},
                                   {0.6, 0, 4, true, 0, 0},
                                   {0.9, -0.7, 8, false, 0, 0},
                                   {0.5, -0.5, 6, false, 0, 0},
                                   {0.9, -0.3, 4, false, 0, 0}};
    for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            range r = ranges[k];
            r.levels = (1 << r.bits) - 1;
            r.step = (r.max - r.min) / r.levels;
            qf_net *net = quantiser(methods[m].name, &r);
            const float *x, *dy;
            double expected[2];
            run_both(net, 1, &x, &dy);
            const parts p = sum_parts(&r, x, dy);
            if (strcmp(methods[m].name, "LSQ_PLUS") == 0 && r.fixed_min)
                lsq(&r, &p, expected);
            else
                methods[m].expected(&r, &p, expected);
            for (int end = 0; end < (r.fixed_min ? 1 : 2); end++) {
                const double found = gradient_of(layer_of(net, "ActivationQAT"), end, 0);
                if (!(fabs(found - expected[end]) <= 2e-4 * fabs(expected[end]) + 1e-7))
                    fail_msg("%s, range %zu, end %d: %g, expected %g", methods[m].name, k, end,
                             found, expected[end]);
                assert_true(expected[end] != 0);
            }
            qf_net_destroy(net);
        }
}

/* PACT's clip is a function that can be differentiated where nothing is inside the grid: then the
 * layer's own forward, moved by differences, has the slope that the layer says. */
static void the_clip_has_the_slope_of_its_function(void **state)
{
    (void)state;
    const range r = {0.25, 0, 8, true, 0, 0};
    const double h = 0x1p-8;
    double loss[2];
    for (int side = 0; side < 2; side++) {
        range moved = r;
        moved.max += side ? h : -h;
        qf_net *net = quantiser("PACT", &moved);
        const float *x, *dy, *y;
        run_both(net, 1, &x, &dy);
        assert_ok(context, qf_blob_data(qf_net_blob(net, "y0"), &y));
        loss[side] = 0;
        for (int i = 0; i < COUNT; i++)
            if (x[i] < 0 || x[i] > 0.3f)
                loss[side] += (double)dy[i] * (double)y[i];
        qf_net_destroy(net);
    }
    qf_net *net = quantiser("PACT", &r);
    const float *x, *dy;
    run_both(net, 1, &x, &dy);
    double between = 0; /* what is clipped, but only just: not in the loss above */
    for (int i = 0; i < COUNT; i++)
        between += x[i] > 0.25f && x[i] <= 0.3f ? (double)dy[i] : 0;
    const double slope = (loss[1] - loss[0]) / (2 * h),
                 found =
                     gradient_of(layer_of(net, "ActivationQAT"), 0, 0) / (r.max * r.max) - between;
    assert_true(fabs(slope) > 1e-3);
    assert_true(fabs(found - slope) < 1e-4 * fabs(slope) + 1e-6);
    qf_net_destroy(net);
}

/* However large the gradients and whatever the unit: a step is a share of the range. */
static void a_step_is_a_share_of_the_range(void **state)
{
    (void)state;
    static const double units[] = {1e-4, 1, 1e4};
    for (int m = CAFFE__RANGE_LEARNING__LSQ; m <= CAFFE__RANGE_LEARNING__TQT; m++)
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            const qf_learned_range r = {(float)units[u], -(float)units[u] / 2, 8, false};
            qf_gradient_memory memory = {0, 0};
            float out[2];
            qf_range_gradient((qf_range_learning)m, &r, (double[]){1e9, -1e9}, &memory, out);
            for (int i = 0; i < 2; i++)
                assert_true(isfinite(out[i]) && fabs((double)out[i]) <= 3.01 * units[u]);
            assert_true(out[0] != 0);
        }
}

/* A range of values that are a thousand times as large has gradients a thousandth as large, and
 * moves by the same share of itself. */
static void the_unit_of_values_does_not_matter(void **state)
{
    (void)state;
    for (int m = CAFFE__RANGE_LEARNING__LSQ; m <= CAFFE__RANGE_LEARNING__TQT; m++)
        for (int fixed = 0; fixed < 2; fixed++) {
            double share[2][2];
            for (int u = 0; u < 2; u++) {
                const float unit = u ? 1000 : 1;
                const qf_learned_range r = {unit, fixed ? 0 : -unit / 2, 8, fixed};
                qf_gradient_memory memory = {0, 0};
                float out[2];
                qf_range_gradient((qf_range_learning)m, &r,
                                  (double[]){0.02 / (double)unit, -0.01 / (double)unit}, &memory,
                                  out);
                for (int i = 0; i < 2; i++)
                    share[u][i] = (double)(out[i] / unit);
            }
            for (int i = 0; i < 2 - fixed; i++) {
                assert_true(fabs(share[0][i]) > 1e-5);
                assert_true(fabs(share[1][i] / share[0][i] - 1) < 1e-5);
            }
        }
}

/* The ordinary rate of retraining moves a TQT range by what its gradient's signs add up to, be the
 * loss's gradients large or small. */
static void ranges_move_at_ordinary_rates(void **state)
{
    (void)state;
    static const double sizes[] = {1e-6, 1};
    for (size_t i = 0; i < 2; i++) {
        qf_learned_range r = {2, 0, 8, true};
        qf_gradient_memory memory = {0, 0};
        for (int k = 0; k < 1000; k++) {
            float out[2];
            qf_range_gradient(CAFFE__RANGE_LEARNING__TQT, &r, (double[]){sizes[i], 0}, &memory,
                              out);
            r.max -= 1e-3f * out[0]; /* 1e-4 with a momentum of 0.9 */
        }
        /* 1000 steps of at most 1e-3 · tanh(1) of log2, less where the gradient falls with max. */
        assert_true((double)r.max > 2 * exp2(-tanh(1)) && r.max < 1.4f);
    }
}

/* ---- weights ---- */

static const char weight_layer[] =
    "type: 'WeightQAT' param { name: 'q' } retrain_weight_quant_param { cout: 3 cin: 20 "
    "channel_wise: true range_learning: %s num_bits: %d }";
enum { CHANNELS = 3, INPUTS = 20 };

static qf_net *weights_net(const char *name, int bits)
{
    char *rest = test_format(weight_layer, name, bits);
    char *text = test_format(
        "force_backward: true layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: "
        "4 dim: 20 } } } layer { name: 'w' bottom: 'x' top: 'w' %s } layer { name: 'ip' type: "
        "'InnerProduct' bottom: 'w' top: 'y' param { name: 'q' } inner_product_param { num_output: "
        "3 bias_term: false } }",
        rest);
    qf_net *net;
    assert_ok(context, test_net_of(context, text, QF_TRAIN, &net));
    test_fill_anyhow(context, qf_net_blob(net, "x"), 5);
    test_fill_anyhow(context, layer_of(net, "WeightQAT")->params[1].blob, 9);
    qf_free(text);
    qf_free(rest);
    return net;
}

static void give_dy(qf_net *net)
{
    float *dy;
    assert_ok(context, qf_blob_mutable_diff(qf_net_blob(net, "y"), &dy));
    for (int i = 0; i < 4 * CHANNELS; i++)
        dy[i] = 1e-3f * (float)((i * 7) % 5 - 2);
}

static float *steps_of(qf_net *net)
{
    float *steps;
    assert_ok(context, qf_blob_mutable_data(layer_of(net, "WeightQAT")->params[2].blob, &steps));
    return steps;
}

static void scales_begin_as_those_of_the_weights(void **state)
{
    (void)state;
    qf_net *net = weights_net("LSQ", 4);
    const float *w;
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(layer_of(net, "WeightQAT")->params[1].blob, &w));
    const float *steps = steps_of(net);
    for (int c = 0; c < CHANNELS; c++) {
        float max = w[c * INPUTS], min = max;
        for (int i = 0; i < INPUTS; i++) {
            max = fmaxf(max, w[c * INPUTS + i]);
            min = fminf(min, w[c * INPUTS + i]);
        }
        assert_true(steps[c] == qf_arq_scale(max, min, 4));
    }
    qf_net_destroy(net);
}

/* Esser et al., equation 3, of each channel; and the weights' own gradient, 0 beyond the codes. */
static void scales_get_the_papers_gradients(void **state)
{
    (void)state;
    static const char *const names[] = {"LSQ", "TQT"};
    for (int m = 0; m < 2; m++) {
        qf_net *net = weights_net(names[m], 4);
        qf_layer *layer = layer_of(net, "WeightQAT");
        const float *w, *x, *dy;
        float *steps;
        assert_ok(context, qf_net_forward(net, NULL));
        steps = steps_of(net);
        for (int c = 0; c < CHANNELS; c++)
            steps[c] *= 0.5f; /* so that some lie beyond */
        assert_ok(context, qf_net_forward(net, NULL));
        give_dy(net);
        assert_ok(context, qf_net_backward(net));
        assert_ok(context, qf_blob_data(layer->params[1].blob, &w));
        assert_ok(context, qf_blob_data(qf_net_blob(net, "x"), &x));
        assert_ok(context, qf_blob_diff(qf_net_blob(net, "y"), &dy));
        int beyond = 0;
        for (int c = 0; c < CHANNELS; c++) {
            double sum = 0;
            const double step = (double)steps[c];
            for (int i = 0; i < INPUTS; i++) {
                const double steps_of_w = (double)w[c * INPUTS + i] / step;
                double dw = 0;
                for (int n = 0; n < 4; n++)
                    dw += (double)dy[n * CHANNELS + c] * (double)x[n * INPUTS + i];
                const bool inside = steps_of_w >= -8 && steps_of_w <= 7;
                sum += dw * (inside ? round(steps_of_w) - steps_of_w : steps_of_w < 0 ? -8 : 7);
                beyond += !inside;
                const double found = gradient_of(layer, 1, c * INPUTS + i);
                assert_true(fabs(found - (inside ? dw : 0)) < 1e-4 * fabs(dw) + 1e-8);
            }
            const double lsq_step = limited(sum / sqrt(INPUTS * 7.0), step),
                         tqt_step = step * log(2) * tanh(sum < 0 ? -1 : 1);
            const double expected = m == 0 ? lsq_step : tqt_step, found = gradient_of(layer, 2, c);
            if (!(fabs(found - expected) <= 1e-3 * fabs(expected) + 1e-8))
                fail_msg("%s, channel %d: %g, expected %g", names[m], c, found, expected);
        }
        assert_true(beyond > 3);
        qf_net_destroy(net);
    }
}

/* An update that leaves a scale that is none: the weights' own again, and a warning. */
static void unusable_scales_are_mended(void **state)
{
    (void)state;
    qf_net *net = weights_net("LSQ", 8);
    float *steps, first[CHANNELS];
    assert_ok(context, qf_net_forward(net, NULL));
    steps = steps_of(net);
    memcpy(first, steps, sizeof first);
    steps[1] = -0.25f;
    steps[2] = NAN;
    assert_ok(context, qf_net_forward(net, NULL));
    steps = steps_of(net);
    assert_memory_equal(steps, first, sizeof first);
    qf_net_destroy(net);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const test_refusal rows[] = {
        {"type: 'WeightQAT' retrain_weight_quant_param { cout: 3 cin: 2 range_learning: PACT }",
         {"2 3"},
         "range_learning pact is for activations; weights have AMCT, LSQ or TQT"},
        {"type: 'WeightQAT' retrain_weight_quant_param { cout: 3 cin: 2 num_bits: 16 }",
         {"2 3"},
         "num_bits is 16, expected 2 to 8"},
        {"type: 'ActivationQAT' retrain_data_quant_param { num_bits: 9 }",
         {"2 3"},
         "num_bits is 9, expected 2 to 8, or 16"},
    };
    test_expect_refusals(context, QF_TRAIN, rows, sizeof rows / sizeof *rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_get_the_papers_gradients),
        cmocka_unit_test(the_clip_has_the_slope_of_its_function),
        cmocka_unit_test(a_step_is_a_share_of_the_range),
        cmocka_unit_test(the_unit_of_values_does_not_matter),
        cmocka_unit_test(ranges_move_at_ordinary_rates),
        cmocka_unit_test(scales_begin_as_those_of_the_weights),
        cmocka_unit_test(scales_get_the_papers_gradients),
        cmocka_unit_test(unusable_scales_are_mended),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
