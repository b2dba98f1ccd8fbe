/* Rows of normalisation: LRN both ways, rows of deviation 1 and of length 1, means and variances of
 * channels. */
#include "operations/rows.h"

#include "device/families/normalise_math.h"

#include <math.h>
#include <string.h>

typedef struct shape {
    const char *name;
    int axes, size[5];
    qf_lrn_shape lrn;
} shape;

static const shape shapes[] = {
    {"alexnet", 4, {2, 96, 6, 5}, {5, 1e-4f, 0.75f, 1}},
    {"wider-than-channels", 4, {1, 3, 4, 4}, {9, 0.5f, 0.75f, 2}},
    {"single", 4, {1, 1, 1, 1}, {1, 1, 0.5f, 1}},
    {"odd", 4, {3, 37, 3, 3}, {3, 2, 1.5f, 0.5f}},
    {"two-axes", 2, {13, 29}, {5, 0.1f, 0.75f, 1}},
    {"five-axes", 5, {2, 7, 2, 3, 2}, {3, 0.1f, 0.75f, 1}},
    {"many-rows", 4, {4, 5, 67, 61}, {3, 0.1f, 0.75f, 1}},
    {"many-channels", 4, {2, 9001, 1, 3}, {5, 0.1f, 0.75f, 1}},
    {"no-channels", 4, {2, 0, 3, 3}, {3, 0.1f, 0.75f, 1}},
    {"no-images", 4, {0, 6, 3, 3}, {3, 0.1f, 0.75f, 1}},
};

static void draw(void *to)
{
    shape *s = to;
    *s = (shape){"random",
                 rows_between(2, 5),
                 {rows_between(1, 4), rows_between(1, 140), rows_between(1, 9), rows_between(1, 9),
                  rows_between(1, 3)},
                 {2 * rows_between(0, 4) + 1, qf_random_uniform(&context->random, 0, 2),
                  qf_random_uniform(&context->random, 0.1f, 2),
                  qf_random_uniform(&context->random, 0.5f, 2)}};
}

/* Values are made of a few float operations and a power: each rounds, and the power's exponent
 * multiplies what its base has. */
static const double tolerance = 4e-6;

static void lrn_forward(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = rows_tensor(s->axes, s->size), *scale = rows_like(x), *y = rows_like(x);
    qf_tensor *expected_scale = rows_like(x), *expected = rows_like(x);
    rows_fill(x);
    qf_tensor *mine = rows_copy(x);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.normalise->lrn_forward(context, &s->lrn, x, expected_scale, expected));
    rows_expect_end();
    rows_input(mine);
    rows_output(scale, ROWS_FLOATS);
    rows_output(y, ROWS_FLOATS);
    assert_ok(context, device->normalise->lrn_forward(context, &s->lrn, mine, scale, y));
    rows_check();
    rows_compare(device, scale, expected_scale, rows_absolute(expected_scale), tolerance, "scale");
    rows_compare(device, y, expected, rows_absolute(expected), tolerance, "result");
}

/* |dy| · scale^−beta + factor · |x| · Σ |ratio|: backward of −|x| and absolute values. */
static qf_tensor *magnitude_of(const shape *s, qf_tensor *x, qf_tensor *scale, qf_tensor *y,
                               qf_tensor *dy)
{
    qf_tensor *magnitude = rows_like(x), *negative = rows_absolute(x);
    float *values;
    assert_ok(context, qf_update(context, negative, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        values[i] = -values[i];
    assert_ok(context,
              qf_reference.normalise->lrn_backward(context, &s->lrn, negative, scale,
                                                   rows_absolute(y), rows_absolute(dy), magnitude));
    return magnitude;
}

static void check_lrn_backward(const qf_device *device, const shape *s, bool in_place)
{
    qf_tensor *x = rows_tensor(s->axes, s->size), *scale = rows_like(x), *y = rows_like(x);
    qf_tensor *dy = rows_like(x), *expected = rows_like(x);
    const qf_normalise_family *reference = qf_reference.normalise;
    rows_fill(x);
    rows_fill(dy);
    rows_expect_begin();
    assert_ok(context, reference->lrn_forward(context, &s->lrn, x, scale, y));
    assert_ok(context, reference->lrn_backward(context, &s->lrn, x, scale, y, dy, expected));
    qf_tensor *magnitude = magnitude_of(s, x, scale, y, dy);
    rows_expect_end();
    qf_tensor *dx = in_place ? rows_copy(dy) : rows_like(x),
              *gradient = in_place ? dx : rows_copy(dy);
    rows_input(x);
    rows_input(scale);
    rows_input(y);
    if (!in_place)
        rows_input(gradient);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context,
              device->normalise->lrn_backward(context, &s->lrn, x, scale, y, gradient, dx));
    rows_check();
    rows_compare(device, dx, expected, magnitude, tolerance, "gradient");
}

static void lrn_backward(const qf_device *device, const void *of)
{
    check_lrn_backward(device, of, false);
}

static void lrn_backward_in_place(const qf_device *device, const void *of)
{
    check_lrn_backward(device, of, true);
}

/* ---- LRN within a channel: no sums, so the same bits everywhere ---- */

static qf_tensor *positive(const qf_tensor *like)
{
    qf_tensor *x = rows_like(like);
    rows_fill(x);
    return rows_absolute(x);
}

static void lrn_terms(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *a = rows_tensor(s->axes, s->size), *b = rows_like(a), *c = positive(a);
    qf_tensor *out = rows_like(a), *expected = rows_like(a);
    rows_fill(a);
    rows_fill(b);
    for (int divided = 0; divided < 2; divided++) {
        rows_expect_begin();
        assert_ok(context,
                  qf_reference.normalise->lrn_terms(context, a, b, divided ? c : NULL, expected));
        rows_expect_end();
        rows_input(a);
        rows_input(b);
        rows_input(c);
        rows_output(out, ROWS_FLOATS);
        assert_ok(context, device->normalise->lrn_terms(context, a, b, divided ? c : NULL, out));
        rows_check();
        rows_compare(device, out, expected, NULL, 0, "terms");
    }
}

static void lrn_apply(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = rows_tensor(s->axes, s->size), *scale = positive(x), *y = rows_like(x);
    qf_tensor *dx = rows_like(x), *around = rows_like(x), *dy = rows_like(x);
    qf_tensor *expected_scale = rows_copy(scale), *expected = rows_like(x),
              *expected_gradient = rows_like(x);
    const qf_normalise_family *reference = qf_reference.normalise;
    rows_fill(x);
    rows_fill(around);
    rows_fill(dy);
    rows_expect_begin();
    assert_ok(context, reference->lrn_apply(context, &s->lrn, x, expected_scale, expected));
    assert_ok(context, reference->lrn_apply_backward(context, &s->lrn, x, expected_scale, around,
                                                     dy, expected_gradient));
    rows_expect_end();
    rows_input(x);
    rows_output(scale, ROWS_FLOATS);
    rows_output(y, ROWS_FLOATS);
    assert_ok(context, device->normalise->lrn_apply(context, &s->lrn, x, scale, y));
    rows_check();
    rows_input(x);
    rows_input(scale);
    rows_input(around);
    rows_input(dy);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context,
              device->normalise->lrn_apply_backward(context, &s->lrn, x, scale, around, dy, dx));
    rows_check();
    rows_compare(device, scale, expected_scale, NULL, 0, "scale");
    rows_compare(device, y, expected, NULL, 0, "result");
    rows_compare(device, dx, expected_gradient, NULL, 0, "gradient");
}

/* ---- rows of deviation 1 ---- */

/* One value for each of the first axes of x. */
static qf_tensor *first_axes(const shape *s, int axes)
{
    return rows_tensor(axes, s->size);
}

static float largest(qf_tensor *x)
{
    const float *values;
    float found = 0;
    assert_ok(context, qf_read(context, x, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        found = fmaxf(found, fabsf(values[i]));
    return found;
}

/* The same allowance for all: what the largest terms round to. */
static qf_tensor *evenly(const qf_tensor *like, float value)
{
    qf_tensor *result = rows_like(like);
    float *values;
    assert_ok(context, qf_write(context, result, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&like->shape); i++)
        values[i] = value;
    return result;
}

static void check_standardise(const qf_device *device, const shape *s, bool variance)
{
    const int axes = rows_between(0, s->axes - 1);
    qf_tensor *x = rows_tensor(s->axes, s->size), *y = rows_like(x), *expected = rows_like(x);
    qf_tensor *dy = rows_like(x), *dx = rows_like(x), *expected_gradient = rows_like(x);
    qf_tensor *deviation = first_axes(s, axes), *expected_deviation = rows_like(deviation);
    const qf_standardisation rows = {qf_shape_count(&deviation->shape), variance, 0.01f};
    const qf_normalise_family *reference = qf_reference.normalise;
    rows_fill(x);
    rows_fill(dy);
    qf_tensor *mine = rows_copy(x), *gradient = rows_copy(dy);
    rows_expect_begin();
    assert_ok(context, reference->standardise(context, &rows, x, expected_deviation, expected));
    assert_ok(context, reference->standardise_backward(context, &rows, expected, expected_deviation,
                                                       dy, expected_gradient));
    rows_expect_end();
    rows_input(mine);
    if (variance)
        rows_output(deviation, ROWS_FLOATS);
    rows_output(y, ROWS_FLOATS);
    assert_ok(context, device->normalise->standardise(context, &rows, mine, deviation, y));
    rows_check();
    /* A row of equal values has a deviation of its mean's rounding, and eps divides that. */
    rows_compare(device, y, expected, evenly(y, (1 + largest(x)) * (variance ? 100 : 1)), 4e-7,
                 "result");
    rows_compare(device, deviation, expected_deviation, evenly(deviation, 1 + largest(x)), 4e-7,
                 "deviation");
    rows_input(expected);
    rows_input(gradient);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context, device->normalise->standardise_backward(context, &rows, expected,
                                                               expected_deviation, gradient, dx));
    rows_check();
    const float slope = 1 + largest(dy) * (1 + largest(expected) * largest(expected));
    rows_compare(device, dx, expected_gradient, evenly(dx, slope * (variance ? 100 : 1)), 4e-7,
                 "gradient");
}

static void standardise(const qf_device *device, const void *of)
{
    check_standardise(device, of, true);
}

static void take_mean_away(const qf_device *device, const void *of)
{
    check_standardise(device, of, false);
}

/* ---- rows of length 1 ---- */

typedef struct lengths {
    qf_tensor *x, *dy, *scale, *reciprocal;
} lengths;

/* Rows are images or pixels; scales one or one for each channel. */
static lengths draw_lengths(const shape *s)
{
    lengths l = {.x = rows_tensor(s->axes, s->size)};
    const qf_extent e = qf_tensor_extent(&l.x->shape);
    const int channels = (int)e.channels;
    const int rows = (int)(e.batch * (rows_chance(0.5) ? 1 : e.inner));
    l.dy = rows_like(l.x);
    l.scale = rows_tensor(rows_chance(0.5), &channels);
    l.reciprocal = rows_tensor(1, &rows);
    rows_fill(l.x);
    rows_fill(l.dy);
    rows_fill(l.scale);
    return l;
}

static void unit_length(const qf_device *device, const void *of)
{
    lengths l = draw_lengths(of);
    qf_tensor *y = rows_like(l.x), *expected = rows_like(l.x);
    qf_tensor *expected_reciprocal = rows_like(l.reciprocal), *mine = rows_copy(l.x);
    rows_expect_begin();
    assert_ok(context, qf_reference.normalise->unit_length(context, 1e-5f, l.x, l.scale,
                                                           expected_reciprocal, expected));
    rows_expect_end();
    rows_input(mine);
    rows_input(l.scale);
    rows_output(l.reciprocal, ROWS_FLOATS);
    rows_output(y, ROWS_FLOATS);
    assert_ok(context,
              device->normalise->unit_length(context, 1e-5f, mine, l.scale, l.reciprocal, y));
    rows_check();
    rows_compare(device, l.reciprocal, expected_reciprocal, rows_absolute(expected_reciprocal),
                 4e-7, "reciprocals");
    rows_compare(device, y, expected, rows_absolute(expected), 4e-7, "result");
}

/* Terms of the gradient are at most |r · g| and that times the row's Σ |g · x| · r² · |x|: one
 * number for each row, at least. */
static void unit_length_backward(const qf_device *device, const void *of)
{
    lengths l = draw_lengths(of);
    qf_tensor *y = rows_like(l.x), *dx = rows_like(l.x), *expected = rows_like(l.x);
    qf_tensor *d_scale = rows_like(l.scale);
    const qf_normalise_family *reference = qf_reference.normalise;
    rows_fill(d_scale);
    qf_tensor *expected_scale = rows_copy(d_scale), *magnitude = rows_absolute(d_scale);
    qf_tensor *mine = rows_copy(l.x), *gradient = rows_copy(l.dy);
    rows_expect_begin();
    assert_ok(context, reference->unit_length(context, 1e-5f, l.x, l.scale, l.reciprocal, y));
    assert_ok(context,
              reference->unit_length_backward(context, l.x, l.scale, l.reciprocal, l.dy, expected));
    assert_ok(context, reference->unit_length_backward_scale(context, l.x, l.reciprocal, l.dy,
                                                             expected_scale));
    assert_ok(context,
              reference->unit_length_backward_scale(context, rows_absolute(l.x), l.reciprocal,
                                                    rows_absolute(l.dy), magnitude));
    rows_expect_end();
    rows_input(mine);
    rows_input(l.scale);
    rows_input(l.reciprocal);
    rows_input(gradient);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context, device->normalise->unit_length_backward(context, mine, l.scale, l.reciprocal,
                                                               gradient, dx));
    rows_check();
    rows_input(mine);
    rows_input(l.reciprocal);
    rows_input(gradient);
    rows_output(d_scale, ROWS_FLOATS);
    assert_ok(context, device->normalise->unit_length_backward_scale(context, mine, l.reciprocal,
                                                                     gradient, d_scale));
    rows_check();
    rows_compare(device, dx, expected,
                 evenly(dx, largest(l.reciprocal) * largest(l.scale) * largest(l.dy)), 4e-7,
                 "gradient");
    rows_compare(device, d_scale, expected_scale, magnitude, 4e-7, "gradient of the scale");
}

/* ---- BatchNorm ---- */

static qf_tensor *channels_of(const qf_tensor *x)
{
    return rows_tensor(1, (int[]){(int)qf_tensor_extent(&x->shape).channels});
}

/* `low` or more, and up to 1 more. */
static void fill_from(qf_tensor *tensor, float low)
{
    float *values;
    assert_ok(context, qf_write(context, tensor, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = qf_random_uniform(&context->random, low, low + 1);
}

/* Means far from 0 beside small deviations: what a difference of sums of squares would lose. */
static qf_tensor *draw_values(const shape *s)
{
    qf_tensor *x = rows_tensor(s->axes, s->size);
    const float centre = rows_chance(0.5) ? 0 : 1000;
    float *values;
    rows_fill(x);
    assert_ok(context, qf_update(context, x, QF_NHWC, &values));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        values[i] += centre;
    return x;
}

/* |mean| + deviation, which the mean's rounding is in proportion to; and what follows for the
 * variance, where the mean's is `step` of it. */
static void measure_moments(qf_tensor *mean, qf_tensor *variance, double step, qf_tensor **of_mean,
                            qf_tensor **of_variance)
{
    const float *means, *variances;
    float *a, *b;
    *of_mean = rows_like(mean);
    *of_variance = rows_like(mean);
    assert_ok(context, qf_read(context, mean, QF_PLAIN, &means));
    assert_ok(context, qf_read(context, variance, QF_PLAIN, &variances));
    assert_ok(context, qf_write(context, *of_mean, QF_PLAIN, &a));
    assert_ok(context, qf_write(context, *of_variance, QF_PLAIN, &b));
    for (size_t c = 0; c < qf_shape_count(&mean->shape); c++) {
        const double deviation = sqrt((double)variances[c]);
        const double size = fabs((double)means[c]) + deviation;
        a[c] = (float)size;
        b[c] = (float)(size * (4 * deviation + step * size));
    }
}

static const double moment_step = 1e-6; /* of a value's rounding */

static void moments(const qf_device *device, const void *of)
{
    qf_tensor *x = draw_values(of), *mine = rows_copy(x), *of_mean, *of_variance;
    qf_tensor *found[2] = {channels_of(x), channels_of(x)};
    qf_tensor *expected[2] = {channels_of(x), channels_of(x)};
    rows_expect_begin();
    assert_ok(context, qf_reference.normalise->moments(context, x, expected[0], expected[1]));
    measure_moments(expected[0], expected[1], moment_step, &of_mean, &of_variance);
    rows_expect_end();
    rows_input(mine);
    for (int i = 0; i < 2; i++)
        rows_output(found[i], ROWS_FLOATS);
    assert_ok(context, device->normalise->moments(context, mine, found[0], found[1]));
    rows_check();
    rows_compare(device, found[0], expected[0], of_mean, moment_step, "mean");
    rows_compare(device, found[1], expected[1], of_variance, moment_step, "variance");
}

/* Running sums of a few batches. */
static qf_statistics draw_statistics(const qf_tensor *x)
{
    const bool inside = rows_chance(0.7);
    qf_statistics s = {.mean = channels_of(x),
                       .inverse = channels_of(x),
                       .running = {channels_of(x), channels_of(x), rows_tensor(1, (int[]){1})},
                       .keep = 0.75f,
                       .eps = inside ? 1e-5f : 0.125f,
                       .eps_inside = inside};
    fill_from(s.running[0], -0.5f);
    for (int i = 1; i < 3; i++)
        fill_from(s.running[i], 0.5f);
    return s;
}

static qf_statistics copy_statistics(const qf_statistics *s)
{
    qf_statistics copy = *s;
    copy.mean = rows_copy(s->mean);
    copy.inverse = rows_copy(s->inverse);
    for (int i = 0; i < 3; i++)
        copy.running[i] = rows_copy(s->running[i]);
    return copy;
}

/* What differs comes from the moments alone, which have rows of their own: so x is of ordinary
 * size here, and the deviation not much smaller than the mean. */
static void batch_statistics(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = rows_tensor(s->axes, s->size);
    rows_fill(x);
    const qf_statistics expected = draw_statistics(x), found = copy_statistics(&expected);
    qf_tensor *mine = rows_copy(x), *of_mean, *of_variance;
    qf_tensor *mean = channels_of(x), *variance = channels_of(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.normalise->moments(context, x, mean, variance));
    measure_moments(mean, variance, moment_step, &of_mean, &of_variance);
    assert_ok(context, qf_reference.normalise->batch_statistics(context, &expected, x));
    rows_expect_end();
    rows_input(mine);
    qf_tensor *const outputs[] = {found.mean, found.inverse, found.running[0], found.running[1],
                                  found.running[2]};
    for (size_t i = 0; i < ROWS_COUNT(outputs); i++)
        rows_output(outputs[i], ROWS_FLOATS);
    assert_ok(context, device->normalise->batch_statistics(context, &found, mine));
    rows_check();
    rows_compare(device, found.mean, expected.mean, of_mean, moment_step, "mean");
    if (qf_shape_count(&x->shape) > 4 * qf_shape_count(&mean->shape)) /* else it may be tiny */
        rows_compare(device, found.inverse, expected.inverse, rows_absolute(expected.inverse), 1e-3,
                     "inverse deviation");
    rows_compare(device, found.running[0], expected.running[0], rows_absolute(expected.running[0]),
                 1e-3, "running mean");
    rows_compare(device, found.running[1], expected.running[1], rows_absolute(expected.running[1]),
                 1e-3, "running variance");
    rows_compare(device, found.running[2], expected.running[2], NULL, 0, "weight");
}

static void running_statistics(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = rows_tensor(s->axes, s->size);
    const qf_statistics expected = draw_statistics(x);
    if (rows_chance(0.2)) /* nothing was added yet */
        qf_tensor_set_zero(expected.running[2]);
    const qf_statistics found = copy_statistics(&expected);
    rows_expect_begin();
    assert_ok(context, qf_reference.normalise->running_statistics(context, &expected));
    rows_expect_end();
    for (int i = 0; i < 3; i++)
        rows_input(found.running[i]);
    rows_output(found.mean, ROWS_FLOATS);
    rows_output(found.inverse, ROWS_FLOATS);
    assert_ok(context, device->normalise->running_statistics(context, &found));
    rows_check();
    rows_compare(device, found.mean, expected.mean, NULL, 0, "mean");
    rows_compare(device, found.inverse, expected.inverse, NULL, 0, "inverse deviation");
}

/* Terms of dx: |dy|, its mean, and |x̂| times the mean of |dy · x̂|, all times the inverse. */
static qf_tensor *magnitude_of_dx(const qf_statistics *s, qf_tensor *x, qf_tensor *dy)
{
    const size_t channels = qf_shape_count(&s->mean->shape), n = qf_shape_count(&x->shape);
    const float *mean, *inverse, *values, *gradient;
    qf_tensor *magnitude = rows_like(x);
    float *sizes;
    assert_ok(context, qf_read(context, s->mean, QF_PLAIN, &mean));
    assert_ok(context, qf_read(context, s->inverse, QF_PLAIN, &inverse));
    assert_ok(context, qf_read(context, x, QF_NHWC, &values));
    assert_ok(context, qf_read(context, dy, QF_NHWC, &gradient));
    assert_ok(context, qf_write(context, magnitude, QF_NHWC, &sizes));
    for (size_t c = 0; c < channels; c++) {
        const double rows = (double)(n / channels), k = (double)inverse[c];
        double sum = 0, product = 0;
        for (size_t i = c; i < n; i += channels) {
            sum += fabs((double)gradient[i]);
            product += fabs((double)gradient[i] * (double)(values[i] - mean[c]));
        }
        const double slope = (double)qf_deviation_slope(inverse[c], s->eps, s->eps_inside);
        for (size_t i = c; i < n; i += channels)
            sizes[i] = (float)((fabs((double)gradient[i]) + sum / rows +
                                fabs((double)(values[i] - mean[c])) * product / rows * k * slope) *
                               k);
    }
    return magnitude;
}

static void check_backward(const qf_device *device, const shape *s, bool in_place)
{
    const bool of_batch = rows_chance(0.7);
    qf_tensor *x = rows_tensor(s->axes, s->size), *dy = rows_like(x), *expected = rows_like(x);
    const qf_normalise_family *reference = qf_reference.normalise;
    rows_fill(x);
    rows_fill(dy);
    const qf_statistics statistics = draw_statistics(x);
    rows_expect_begin();
    assert_ok(context, of_batch ? reference->batch_statistics(context, &statistics, x)
                                : reference->running_statistics(context, &statistics));
    assert_ok(context,
              reference->backward(context, &statistics, of_batch ? x : NULL, dy, expected));
    qf_tensor *magnitude = of_batch ? magnitude_of_dx(&statistics, x, dy) : NULL;
    rows_expect_end();
    qf_tensor *dx = in_place ? rows_copy(dy) : rows_like(x), *my_dy = in_place ? dx : rows_copy(dy);
    rows_input(x);
    rows_input(statistics.mean);
    rows_input(statistics.inverse);
    if (!in_place)
        rows_input(my_dy);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context,
              device->normalise->backward(context, &statistics, of_batch ? x : NULL, my_dy, dx));
    rows_check();
    rows_compare(device, dx, expected, magnitude, ROWS_ROUNDING, "gradient");
}

static void backward(const qf_device *device, const void *of)
{
    check_backward(device, of, false);
}

static void backward_in_place(const qf_device *device, const void *of)
{
    check_backward(device, of, true);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"lrn-forward", NULL, lrn_forward},
        {"lrn-backward", NULL, lrn_backward},
        {"lrn-backward-in-place", NULL, lrn_backward_in_place},
        {"lrn-terms", NULL, lrn_terms},
        {"lrn-apply", NULL, lrn_apply},
        {"standardise", NULL, standardise},
        {"mean-away", NULL, take_mean_away},
        {"unit-length", NULL, unit_length},
        {"unit-length-backward", NULL, unit_length_backward},
        {"moments", NULL, moments},
        {"batch-statistics", NULL, batch_statistics},
        {"running-statistics", NULL, running_statistics},
        {"backward", NULL, backward},
        {"backward-in-place", NULL, backward_in_place},
    };
    const rows_family family = {
        "normalise", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,        24};
    return rows_run(&family, argc, argv);
}
