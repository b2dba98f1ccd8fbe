/* Rows of AdaRound's soft roundings: equal to the bit on all devices, near what the formulas say in
 * double, and the gradient that of finite differences. */
#include "operations/rows.h"

#include <math.h>

typedef struct shape {
    const char *name;
    int channels, inner;
    float beta;
} shape;

static const shape shapes[] = {
    {"one", 1, 1, 3},           {"no-regulariser", 7, 45, 0}, {"first", 16, 33, 20},
    {"last", 5, 4097, 2},       {"long", 2, 70001, 6.5F},     {"many", 301, 129, 11},
    {"depthwise", 1031, 9, 15},
};

static void draw(void *to)
{
    *(shape *)to = (shape){"random", rows_between(1, 60), rows_between(1, 900),
                           rows_chance(0.3) ? 0 : (float)rows_between(8, 80) / 4};
}

static const double low = -0.1, high = 1.1, pull = 30;

typedef struct values {
    qf_soft_rounding rounding;
    float *step;
    qf_tensor *v, *floor, *dw;
} values;

/* v over all of the sigmoid, its ends, far beyond them, and the middle, where h is ½. */
static values make(const shape *s)
{
    static const float odd[] = {0, -0.F, 20, -20, 300, -300, 2.3978953F, -2.3978953F, 1e-20F};
    values made = {.step = qf_alloc((size_t)s->channels, sizeof *made.step)};
    const int size[] = {s->channels, s->inner};
    float *v, *floor;
    assert_non_null(made.step);
    made.v = rows_tensor(2, size);
    made.floor = rows_like(made.v);
    made.dw = rows_like(made.v);
    rows_fill(made.dw);
    assert_ok(context, qf_write(context, made.v, QF_PLAIN, &v));
    assert_ok(context, qf_write(context, made.floor, QF_PLAIN, &floor));
    for (int i = 0; i < s->channels * s->inner; i++) {
        const bool special = rows_chance(0.1);
        v[i] = special ? odd[rows_between(0, ROWS_COUNT(odd) - 1)]
                       : qf_random_uniform(&context->random, -4, 4);
        floor[i] = (float)rows_between(-128, 126);
    }
    for (int c = 0; c < s->channels; c++)
        made.step[c] = qf_random_uniform(&context->random, 1e-4F, 0.1F);
    made.rounding = (qf_soft_rounding){.channels = (size_t)s->channels,
                                       .inner = (size_t)s->inner,
                                       .step = made.step,
                                       .low = (float)low,
                                       .high = (float)high,
                                       .pull = (float)pull,
                                       .beta = s->beta};
    return made;
}

static double stretched(double v)
{
    return (high - low) / (1 + exp(-v)) + low;
}

static double h_of(double v)
{
    return fmin(fmax(stretched(v), 0), 1);
}

static void soften(const qf_device *device, const void *of)
{
    values m = make(of);
    qf_tensor *expected = rows_like(m.v), *found = rows_like(m.v);
    qf_tensor *my_v = rows_copy(m.v), *my_floor = rows_copy(m.floor);
    const float *v, *floor, *w;
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->soften(context, &m.rounding, m.v, m.floor, expected));
    rows_expect_end();
    rows_input(my_v);
    rows_input(my_floor);
    rows_output(found, 1u << QF_PLAIN);
    assert_ok(context, device->quantise->soften(context, &m.rounding, my_v, my_floor, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "weights");
    assert_ok(context, qf_read(context, m.v, QF_PLAIN, &v));
    assert_ok(context, qf_read(context, m.floor, QF_PLAIN, &floor));
    assert_ok(context, qf_read(context, found, QF_PLAIN, &w));
    for (size_t i = 0; i < qf_shape_count(&m.v->shape); i++) {
        const double step = (double)m.step[i / m.rounding.inner];
        const double exact = ((double)floor[i] + h_of((double)v[i])) * step;
        if (!(fabs((double)w[i] - exact) <= step * (1e-6 + 2e-7 * fabs((double)floor[i]))))
            fail_msg("v %g: weight %g, expected %g", v[i], w[i], exact);
    }
    qf_free(m.step);
}

static double regulariser(double v, double beta)
{
    return beta > 0 ? pull * (1 - pow(fabs(2 * h_of(v) - 1), beta)) : 0;
}

static void soften_backward(const qf_device *device, const void *of)
{
    const shape *s = of;
    values m = make(of);
    qf_tensor *expected = rows_like(m.v), *found = rows_like(m.v);
    qf_tensor *my_v = rows_copy(m.v), *my_dw = rows_copy(m.dw);
    const float *v, *dw, *dv;
    rows_expect_begin();
    assert_ok(context,
              qf_reference.quantise->soften_backward(context, &m.rounding, m.v, m.dw, expected));
    rows_expect_end();
    rows_input(my_v);
    rows_input(my_dw);
    rows_output(found, 1u << QF_PLAIN);
    assert_ok(context, device->quantise->soften_backward(context, &m.rounding, my_v, my_dw, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "gradients");
    assert_ok(context, qf_read(context, m.v, QF_PLAIN, &v));
    assert_ok(context, qf_read(context, m.dw, QF_PLAIN, &dw));
    assert_ok(context, qf_read(context, found, QF_PLAIN, &dv));
    for (size_t i = 0; i < qf_shape_count(&m.v->shape); i++) {
        const double x = (double)v[i], reach = stretched(x), e = 1e-5;
        const double scale = (double)dw[i] * (double)m.step[i / m.rounding.inner];
        if (fabs(reach) < 1e-4 || fabs(reach - 1) < 1e-4 || fabs(x) < 1e-4)
            continue; /* on an edge */
        const double exact =
            (scale * (h_of(x + e) - h_of(x - e)) + regulariser(x + e, (double)s->beta) -
             regulariser(x - e, (double)s->beta)) /
            (2 * e);
        if (!(fabs((double)dv[i] - exact) <= 1e-4 * (1 + fabs(exact))))
            fail_msg("v %g, beta %g: gradient %g, expected %g", v[i], s->beta, dv[i], exact);
    }
    qf_free(m.step);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"forward", NULL, soften},
        {"backward", NULL, soften_backward},
    };
    const rows_family family = {.name = "soft-rounding",
                                .operations = operations,
                                .operation_count = ROWS_COUNT(operations),
                                .shapes = shapes,
                                .shape_size = sizeof *shapes,
                                .shape_count = ROWS_COUNT(shapes),
                                .draw = draw,
                                .drawn = 12};
    return rows_run(&family, argc, argv);
}
