/* The operands of sweeps, and the magnitudes that tolerances are in proportion to. */
#include "operations/sweep_rows.h"

#include "device/open_sweep.h"

#include <math.h>
#include <string.h>

/* name, shape, then stages as in sweep_shape. ResNet's, MobileNet's, and corners. */
const sweep_shape sweep_shapes[] = {
    {"norm-relu-codes", 4, {3, 33, 7, 9}, true, true, true, true, false, true, 0, 0, 0, true, 0, 1},
    {"residual", 4, {2, 70, 5, 7}, true, true, true, true, true, true, 0, 0, 2, true, 1, 2},
    {"residual-long-chain",
     4,
     {2, 19, 9, 7},
     true,
     true,
     true,
     true,
     true,
     true,
     0.1f,
     0,
     3,
     true,
     2,
     1},
    {"sum-relu", 4, {2, 20, 6, 5}, false, false, false, false, true, true, 0, 0, 0, false, 2, 0},
    {"relu6-codes", 4, {2, 31, 6, 5}, true, true, true, true, false, true, 0, 6, 0, true, 0, 2},
    {"running-statistics",
     4,
     {2, 31, 6, 5},
     true,
     false,
     true,
     true,
     false,
     true,
     0,
     0,
     0,
     true,
     1,
     1},
    {"norm-alone", 4, {5, 17, 3, 3}, true, true, false, false, false, false, 0, 0, 0, false, 1, 0},
    {"scale-alone", 3, {4, 23, 11}, false, false, true, true, false, false, 0, 0, 0, false, 1, 0},
    {"bias-alone", 2, {33, 65}, false, false, false, true, false, true, 0.25f, 0, 0, true, 1, 1},
    {"codes-alone", 4, {2, 9, 7, 5}, false, false, false, false, true, false, 0, 0, 0, true, 1, 3},
    {"single-value", 2, {1, 1}, true, true, true, true, true, true, 0, 0, 1, true, 1, 1},
    {"one-row", 2, {1, 300}, true, true, true, true, true, true, 0, 0, 0, true, 1, 1},
    {"one-channel", 4, {3, 1, 61, 67}, true, true, true, true, false, true, 0, 0, 0, true, 1, 1},
    /* Wider than a tile of the CPU's. */
    {"many-channels", 2, {5, 4099}, true, true, true, true, true, true, 0.5f, 0, 1, true, 1, 1},
    /* Many tiles in each of its blocks, and threads. */
    {"many-rows", 4, {4, 37, 47, 43}, true, true, true, true, true, true, 0, 0, 1, true, 1, 1},
    {"most-readers", 5, {2, 7, 3, 4, 5}, true, true, true, true, true, true, 0, 0, 1, true, 8, 8},
};
const size_t sweep_shape_count = ROWS_COUNT(sweep_shapes);

void sweep_draw(void *to)
{
    sweep_shape *s = to;
    *s = (sweep_shape){.name = "random",
                       .axes = rows_between(2, 5),
                       .size = {rows_between(1, 5), rows_between(1, 140), rows_between(1, 9),
                                rows_between(1, 9), rows_between(1, 3)}};
    s->norm = rows_chance(0.7);
    s->batch = rows_chance(0.7);
    s->factor = rows_chance(0.7);
    s->summand = rows_chance(0.7);
    s->addend = rows_chance(0.5);
    s->relu = rows_chance(0.7);
    s->slope = rows_chance(0.3) ? 0.1f : 0;
    s->limit = s->slope == 0 && rows_chance(0.3) ? 6 : 0;
    s->above = s->addend ? rows_between(0, QF_SWEEP_CHAIN) : 0;
    s->codes = rows_chance(0.7);
    s->readers = rows_between(s->codes ? 0 : 1, 3);
    s->code_readers = rows_between(1, 3);
}

/* ---- operands ---- */

enum { PLAIN_CHANNELS = 2 }; /* those that x passes unchanged */

qf_tensor *sweep_channels(size_t channels)
{
    return rows_tensor(1, (int[]){(int)channels});
}

/* `low` … `high` in all channels but the plain ones, which have `plain`. */
static qf_tensor *constant(size_t channels, float plain, float low, float high)
{
    qf_tensor *tensor = sweep_channels(channels);
    float *values;
    assert_ok(context, qf_write(context, tensor, QF_PLAIN, &values));
    for (size_t c = 0; c < channels; c++)
        values[c] = c < PLAIN_CHANNELS ? plain : qf_random_uniform(&context->random, low, high);
    return tensor;
}

static qf_sweep make_sweep(const sweep_shape *s, const qf_tensor *x)
{
    const qf_extent e = qf_tensor_extent(&x->shape);
    qf_sweep sweep = {.rows = e.batch * e.inner, .channels = e.channels};
    if (s->norm) {
        sweep.mean = constant(e.channels, 0, -0.5f, 0.5f);
        sweep.inverse = constant(e.channels, 1, 0.5f, 3);
    }
    if (s->factor)
        sweep.factor = constant(e.channels, 1, -2, 2);
    if (s->summand)
        sweep.summand = constant(e.channels, 0, -1, 1);
    sweep.relu = s->relu;
    sweep.relu_slope = s->slope;
    sweep.relu_limit = s->limit;
    return sweep;
}

/* What lies on an end of the range, beside it, or half way between codes. */
static float on_a_border(const sweep_operands *o)
{
    const float end = rows_chance(0.5) ? o->terms.high : o->terms.low;
    const float between = o->sweep.codes.scale * ((float)rows_between(-200, 400) / 2);
    switch (rows_between(0, 4)) {
    case 0:
        return nextafterf(end, 1e30f);
    case 1:
        return nextafterf(end, -1e30f);
    case 2:
        return between;
    case 3:
        return 0;
    default:
        return end;
    }
}

static void plant_borders(sweep_operands *o)
{
    float *x, *addend = NULL;
    assert_ok(context, qf_update(context, o->x, QF_NHWC, &x));
    if (o->addend)
        assert_ok(context, qf_update(context, o->addend, QF_NHWC, &addend));
    for (size_t i = 0; i < o->sweep.rows * o->sweep.channels; i++) {
        if (i % o->sweep.channels >= PLAIN_CHANNELS)
            continue;
        x[i] = on_a_border(o);
        if (addend)
            addend[i] = 0;
    }
}

sweep_operands sweep_open(const sweep_shape *s, bool special)
{
    void (*const fill)(qf_tensor *) = special ? rows_fill_special : rows_fill;
    sweep_operands o = {.shape = s, .x = rows_tensor(s->axes, s->size)};
    const float high = qf_random_uniform(&context->random, 0.5f, 3),
                low = rows_chance(0.5) ? 0 : qf_random_uniform(&context->random, -2, 0);
    const int bits = rows_chance(0.5) ? 8 : rows_between(2, 7);
    fill(o.x);
    o.sweep = make_sweep(s, o.x);
    o.sweep.codes = qf_ulq_factors(high, low, bits);
    o.terms = qf_ulq_gradient_terms(high, low, bits);
    if (s->addend)
        fill(o.addend = rows_like(o.x));
    for (int i = 0; i < s->above; i++) {
        sweep_shape above = *s;
        above.norm = above.relu = true; /* whatever it is, it has to keep its x */
        fill(o.above_x[i] = rows_like(o.x));
        o.above[i] = make_sweep(&above, o.x);
    }
    if (!special)
        plant_borders(&o);
    return o;
}

void sweep_list_values(const sweep_operands *o, qf_sweep_gradients *g)
{
    g->x = o->x;
    g->addend = o->addend;
    g->above_count = o->shape->above;
    for (int i = 0; i < g->above_count; i++) {
        g->above[i].sweep = &o->above[i];
        g->above[i].x = o->above_x[i];
    }
}

qf_tensor *sweep_value(const sweep_operands *o)
{
    qf_tensor *addend = o->addend;
    for (int i = o->shape->above; i-- >= 0;) {
        qf_tensor *value = rows_like(o->x);
        assert_ok(context,
                  qf_reference.sweep->forward(context, i < 0 ? &o->sweep : &o->above[i],
                                              i < 0 ? o->x : o->above_x[i], addend, value, NULL));
        addend = value;
    }
    return addend;
}

void sweep_compare_bits(qf_tensor *found, qf_tensor *expected, const char *what)
{
    const float *a, *b;
    assert_ok(context, qf_read(context, found, QF_NHWC, &a));
    assert_ok(context, qf_read(context, expected, QF_NHWC, &b));
    for (size_t i = 0; i < qf_shape_count(&expected->shape); i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: element %zu is %.9g, expected %.9g, to the bit", what, i, (double)a[i],
                     (double)b[i]);
}

/* ---- magnitudes ---- */

static double absolute(float x)
{
    return fabs((double)x);
}

static double one_or(const float *values, size_t c)
{
    return values ? absolute(values[c]) : 1;
}

/* What gradients are added to is at most this. */
enum { ADDED = 3 };

/* Of Σ d and Σ d · x̂, and of the terms of dx where they are in it. */
static void measure_channel(const qf_open_sweep *s, size_t c, const float *x, const float *d,
                            float *factor, float *summand, float *dx)
{
    const size_t n = s->rows * s->channels;
    double sum = 0, product = 0;
    for (size_t i = c; i < n; i += s->channels) {
        const double hat =
            s->mean ? absolute(x[i] - s->mean[c]) * absolute(s->inverse[c]) : absolute(x[i]);
        sum += absolute(d[i]);
        product += absolute(d[i]) * hat;
    }
    summand[c] = (float)(sum + ADDED);
    factor[c] = (float)(product + ADDED);
    for (size_t i = c; i < n && s->mean; i += s->channels) {
        const double hat = absolute(x[i] - s->mean[c]) * absolute(s->inverse[c]);
        dx[i] = (float)((absolute(d[i]) + sum / (double)s->rows + hat * product / (double)s->rows) *
                        one_or(s->factor, c) * absolute(s->inverse[c]));
    }
}

/* Inside the range a term is half a step of the gradient at most. */
static qf_tensor *measure_clip(const sweep_operands *o, const qf_sweep_gradients *g)
{
    const float *value, *gradient;
    qf_tensor *magnitude = sweep_channels(1);
    float *size;
    double sum = ADDED;
    assert_ok(context, qf_read(context, sweep_value(o), QF_NHWC, &value));
    for (int k = 0; k < g->code_count; k++) {
        assert_ok(context, qf_read(context, g->codes[k], QF_NHWC, &gradient));
        for (size_t i = 0; i < o->sweep.rows * o->sweep.channels; i++)
            sum += absolute(gradient[i]) * (value[i] > o->terms.high || value[i] < o->terms.low
                                                ? 1
                                                : 0.5 / (double)o->terms.levels);
    }
    assert_ok(context, qf_write(context, magnitude, QF_PLAIN, &size));
    size[0] = (float)sum;
    return magnitude;
}

sweep_magnitudes sweep_measure(const sweep_operands *o, const qf_sweep_gradients *expected)
{
    const float *x, *d;
    float *factor, *summand, *dx;
    qf_open_sweep sweep;
    sweep_magnitudes m = {.factor = sweep_channels(o->sweep.channels),
                          .summand = sweep_channels(o->sweep.channels),
                          .clip = measure_clip(o, expected),
                          .dx = rows_like(o->x)};
    assert_ok(context, qf_sweep_open(context, &o->sweep, &sweep));
    assert_ok(context, qf_read(context, o->x, QF_NHWC, &x));
    assert_ok(context, qf_read(context, expected->d, QF_NHWC, &d));
    assert_ok(context, qf_write(context, m.factor, QF_PLAIN, &factor));
    assert_ok(context, qf_write(context, m.summand, QF_PLAIN, &summand));
    assert_ok(context, qf_write(context, m.dx, QF_NHWC, &dx));
    for (size_t c = 0; c < sweep.channels; c++)
        measure_channel(&sweep, c, x, d, factor, summand, dx);
    return m;
}
