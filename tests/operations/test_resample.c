/* Rows of resampling: interpolation, regions, drawn pixels. The formulas are shared, so results are
 * equal to the bit; gradients also fit what they are gradients of. */
#include "operations/rows.h"

#include <math.h>

typedef struct shape {
    const char *name;
    int batch, channels, in[2];
    int out[2], cut; /* interpolation: the result, pixels cut off in front */
    int regions, pooled[2], samples;
    float scale;
    int kernel[2], stride[2];
} shape;

static const shape shapes[] = {
    {"single", 1, 1, {1, 1}, {1, 1}, 0, 1, {1, 1}, 0, 1, {1, 1}, {1, 1}},
    {"enlarged", 2, 5, {4, 7}, {13, 20}, 0, 5, {3, 4}, 2, 0.125f, {3, 2}, {2, 1}},
    {"smaller", 3, 17, {19, 15}, {4, 3}, 2, 9, {2, 2}, 0, 0.5f, {2, 2}, {2, 2}},
    {"one-row", 2, 3, {1, 9}, {5, 1}, 0, 4, {1, 5}, 3, 0.25f, {1, 4}, {1, 3}},
    {"same-size", 2, 4, {6, 5}, {6, 5}, 0, 3, {6, 5}, 1, 1, {6, 5}, {1, 1}},
    {"many-channels", 1, 257, {7, 7}, {15, 15}, 1, 3, {7, 7}, 0, 0.0625f, {3, 3}, {2, 2}},
    {"threads", 4, 33, {25, 31}, {49, 61}, 0, 60, {7, 7}, 2, 0.25f, {3, 3}, {2, 2}},
    {"no-images", 0, 3, {4, 4}, {7, 7}, 0, 0, {2, 2}, 0, 1, {2, 2}, {2, 2}},
    {"gaps", 2, 9, {11, 10}, {2, 9}, 0, 2, {9, 3}, 0, 3, {1, 2}, {4, 3}},
};

static void draw_shape(void *to)
{
    shape *s = to;
    *s = (shape){.batch = rows_between(1, 4),
                 .channels = rows_between(1, 40),
                 .cut = rows_between(0, 2),
                 .regions = rows_between(0, 20),
                 .samples = rows_between(0, 3),
                 .scale = 1.0f / (float)rows_between(1, 17)};
    for (int i = 0; i < 2; i++) {
        s->in[i] = s->cut + rows_between(1, 24);
        s->out[i] = rows_between(1, 50);
        s->pooled[i] = rows_between(1, 8);
        s->kernel[i] = rows_between(1, s->in[i] < 5 ? s->in[i] : 5);
        s->stride[i] = rows_between(1, 4);
    }
}

/* ---- what all have ---- */

typedef struct operands {
    qf_tensor *x, *y, *dy, *dx;
    qf_tensor *expected, *expected_dx;
} operands;

static operands open_operands(const shape *s, int channels, const int *result)
{
    operands o = {.x = rows_tensor(4, (int[]){s->batch, channels, s->in[0], s->in[1]}),
                  .y = rows_tensor(4, result)};
    o.dy = rows_like(o.y);
    o.dx = rows_like(o.x);
    o.expected = rows_like(o.y);
    o.expected_dx = rows_like(o.x);
    rows_fill(o.x);
    rows_fill(o.dy);
    return o;
}

/* Before an operation of the device: x or dy is read only, y or dx guarded. */
static void guard(qf_tensor *from, qf_tensor *to)
{
    rows_input(from);
    rows_output(to, ROWS_FLOATS);
}

static double product(qf_tensor *a, qf_tensor *b, bool absolute)
{
    const float *x, *y;
    double sum = 0;
    assert_ok(context, qf_read(context, a, QF_PLAIN, &x));
    assert_ok(context, qf_read(context, b, QF_PLAIN, &y));
    for (size_t i = 0; i < qf_shape_count(&a->shape); i++)
        sum += absolute ? fabs((double)x[i] * (double)y[i]) : (double)x[i] * (double)y[i];
    return sum;
}

/* The results, and, of an operation that is linear in x, Σ dy · y = Σ dx · x. */
static void compare(const qf_device *device, const operands *o, bool linear)
{
    rows_compare(device, o->y, o->expected, NULL, 0, "value");
    rows_compare(device, o->dx, o->expected_dx, NULL, 0, "gradient");
    if (!linear)
        return;
    const double forward = product(o->dy, o->y, false), backward = product(o->dx, o->x, false);
    const double allowed = 1e-5 * (product(o->dy, o->y, true) + product(o->dx, o->x, true));
    if (!(fabs(forward - backward) <= allowed))
        fail_msg("the gradient gives %.9g, the values %.9g", backward, forward);
}

/* ---- interpolation ---- */

static void interpolate(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_stretch stretch[2];
    for (int i = 0; i < 2; i++)
        stretch[i] =
            (qf_stretch){.in = s->in[i] - s->cut,
                         .out = s->out[i],
                         .first = s->cut,
                         .anchor = (qf_anchor)rows_between(QF_ANCHOR_CORNERS, QF_ANCHOR_EDGES),
                         .taken = (qf_taken)rows_between(QF_TAKEN_BETWEEN, QF_TAKEN_BEFORE)};
    operands o =
        open_operands(s, s->channels, (int[]){s->batch, s->channels, s->out[0], s->out[1]});
    const qf_resample_family *reference = qf_reference.resample, *mine = device->resample;
    rows_expect_begin();
    assert_ok(context, reference->interpolate(context, stretch, rows_copy(o.x), o.expected));
    assert_ok(context,
              reference->interpolate_backward(context, stretch, rows_copy(o.dy), o.expected_dx));
    rows_expect_end();
    guard(o.x, o.y);
    assert_ok(context, mine->interpolate(context, stretch, o.x, o.y));
    rows_check();
    guard(o.dy, o.dx);
    assert_ok(context, mine->interpolate_backward(context, stretch, o.dy, o.dx));
    rows_check();
    compare(device, &o, true);
}

/* ---- regions ---- */

/* Some reach beyond the map, some are turned round, some are far away. */
static qf_tensor *random_regions(const shape *s)
{
    qf_tensor *regions = rows_tensor(2, (int[]){s->regions, QF_REGION_NUMBERS});
    float *row;
    assert_ok(context, qf_write(context, regions, QF_PLAIN, &row));
    for (int i = 0; i < s->regions; i++, row += QF_REGION_NUMBERS) {
        row[0] = (float)rows_between(0, s->batch - 1);
        for (int k = 1; k < QF_REGION_NUMBERS; k++) {
            const float size = (float)s->in[k % 2] / s->scale;
            row[k] = qf_random_uniform(&context->random, k < 3 ? -0.3f : 0.2f, 1.3f) * size;
        }
        if (rows_chance(0.1))
            row[rows_between(1, 4)] = rows_chance(0.5) ? 1e30f : -INFINITY;
    }
    return regions;
}

static void check_regions(const qf_device *device, const shape *s, qf_region_kind kind,
                          bool special)
{
    const int bins = s->pooled[0] * s->pooled[1];
    const int channels = kind == QF_REGION_MEAN ? s->channels * bins : s->channels;
    const qf_region_pooling p = {.kind = kind,
                                 .channels = channels,
                                 .height = s->in[0],
                                 .width = s->in[1],
                                 .outputs = s->channels,
                                 .pooled = {s->pooled[0], s->pooled[1]},
                                 .scale = {s->scale, rows_chance(0.5) ? s->scale : 1.5f * s->scale},
                                 .samples = s->samples,
                                 .end_inside = rows_chance(0.5),
                                 .at_corners = kind == QF_REGION_POINTS && rows_chance(0.3),
                                 .pad = rows_chance(0.3) ? 0.25f : 0};
    operands o =
        open_operands(s, channels, (int[]){s->regions, s->channels, s->pooled[0], s->pooled[1]});
    if (special)
        rows_fill_special(o.x);
    const int count = (int)qf_shape_count(&o.y->shape);
    const bool maximum = kind == QF_REGION_MAX;
    qf_tensor *regions = random_regions(s), *winner = maximum ? rows_tensor(1, &count) : NULL;
    qf_tensor *expected_winner = maximum ? rows_tensor(1, &count) : NULL;
    const qf_resample_family *reference = qf_reference.resample, *mine = device->resample;
    rows_expect_begin();
    assert_ok(context, reference->regions(context, &p, rows_copy(o.x), regions, o.expected,
                                          expected_winner));
    assert_ok(context, reference->regions_backward(context, &p, regions, expected_winner,
                                                   rows_copy(o.dy), o.expected_dx));
    rows_expect_end();
    guard(o.x, o.y);
    rows_input(regions);
    if (maximum)
        rows_output(winner, 1u << QF_INTEGERS);
    assert_ok(context, mine->regions(context, &p, o.x, regions, o.y, winner));
    rows_check();
    if (maximum)
        rows_compare_form(winner, expected_winner, QF_INTEGERS, "winners");
    guard(o.dy, o.dx);
    assert_ok(context, mine->regions_backward(context, &p, regions, winner, o.dy, o.dx));
    rows_check();
    compare(device, &o, !special);
}

static void regions_max(const qf_device *device, const void *of)
{
    check_regions(device, of, QF_REGION_MAX, false);
}

static void regions_max_special(const qf_device *device, const void *of)
{
    check_regions(device, of, QF_REGION_MAX, true);
}

static void regions_mean(const qf_device *device, const void *of)
{
    check_regions(device, of, QF_REGION_MEAN, false);
}

static void regions_points(const qf_device *device, const void *of)
{
    check_regions(device, of, QF_REGION_POINTS, false);
}

/* ---- drawn pixels ---- */

static qf_pooling_shape windows_of(const shape *s)
{
    qf_pooling_shape p = {.batch = s->batch, .channels = s->channels};
    for (int i = 0; i < 2; i++) {
        p.in[i] = s->in[i];
        p.kernel[i] = s->kernel[i];
        p.stride[i] = s->stride[i];
        /* Rounded up; a last window that would begin behind the image is left out. */
        p.out[i] = (s->in[i] - s->kernel[i] + s->stride[i] - 1) / s->stride[i] + 1;
        if ((p.out[i] - 1) * p.stride[i] >= p.in[i])
            p.out[i]--;
    }
    return p;
}

static operands open_windows(const shape *s, qf_pooling_shape *p)
{
    *p = windows_of(s);
    operands o =
        open_operands(s, s->channels, (int[]){s->batch, s->channels, p->out[0], p->out[1]});
    float *values;
    assert_ok(context, qf_update(context, o.x, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&o.x->shape); i++) /* activations, as behind a ReLU */
        values[i] = values[i] > 0 ? values[i] : 0;
    return o;
}

static void draw(const qf_device *device, const void *of)
{
    qf_pooling_shape p;
    operands o = open_windows(of, &p);
    const int count = (int)qf_shape_count(&o.y->shape);
    qf_tensor *share = rows_tensor(1, &count), *chosen = rows_like(share);
    qf_tensor *expected_chosen = rows_like(share);
    float *shares;
    const qf_resample_family *reference = qf_reference.resample, *mine = device->resample;
    assert_ok(context, qf_write(context, share, QF_PLAIN, &shares));
    for (int i = 0; i < count; i++)
        shares[i] = qf_random_uniform(&context->random, 0, 1);
    rows_expect_begin();
    assert_ok(context,
              reference->draw(context, &p, rows_copy(o.x), share, o.expected, expected_chosen));
    assert_ok(context, reference->draw_backward(context, &p, expected_chosen, rows_copy(o.dy),
                                                o.expected_dx));
    rows_expect_end();
    guard(o.x, o.y);
    rows_input(share);
    rows_output(chosen, 1u << QF_INTEGERS);
    assert_ok(context, mine->draw(context, &p, o.x, share, o.y, chosen));
    rows_check();
    rows_compare_form(chosen, expected_chosen, QF_INTEGERS, "pixels");
    guard(o.dy, o.dx);
    assert_ok(context, mine->draw_backward(context, &p, chosen, o.dy, o.dx));
    rows_check();
    compare(device, &o, true);
}

/* Of one degree in x, though not linear: Σ dx · x = Σ dy · y holds as well. */
static void expect(const qf_device *device, const void *of)
{
    qf_pooling_shape p;
    operands o = open_windows(of, &p);
    const qf_resample_family *reference = qf_reference.resample, *mine = device->resample;
    rows_expect_begin();
    assert_ok(context, reference->expect(context, &p, rows_copy(o.x), o.expected));
    assert_ok(context, reference->expect_backward(context, &p, rows_copy(o.x), rows_copy(o.dy),
                                                  o.expected_dx));
    rows_expect_end();
    guard(o.x, o.y);
    assert_ok(context, mine->expect(context, &p, o.x, o.y));
    rows_check();
    rows_input(o.x);
    guard(o.dy, o.dx);
    assert_ok(context, mine->expect_backward(context, &p, o.x, o.dy, o.dx));
    rows_check();
    compare(device, &o, true);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"interpolate", NULL, interpolate},
        {"regions-max", NULL, regions_max},
        {"regions-max-special", NULL, regions_max_special},
        {"regions-mean", NULL, regions_mean},
        {"regions-points", NULL, regions_points},
        {"draw", NULL, draw},
        {"expect", NULL, expect},
    };
    const rows_family family = {
        "resample", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw_shape, 24};
    return rows_run(&family, argc, argv);
}
