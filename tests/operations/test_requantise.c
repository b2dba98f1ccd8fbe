/* Rows of requantisation: from sums to values and codes, to the bit. */
#include "operations/sweep_rows.h"

#include <math.h>

typedef struct shape {
    const char *name;
    int axes, size[4];
    bool shifted, mixed; /* by shifts, of which some are 0 */
    bool relu;
    float slope, limit;
    bool round; /* factors that are powers of two: quotients lie on ties */
} shape;

static const shape shapes[] = {
    {"resnet", 4, {2, 67, 5, 4}, false, false, true, 0, 0, false},
    {"resnet-shifted", 4, {2, 67, 5, 4}, true, true, true, 0, 0, true},
    {"mobilenet", 4, {2, 35, 5, 4}, true, false, true, 0, 6, false},
    {"low-limit", 4, {2, 35, 5, 4}, true, false, true, 0, 0.3f, true},
    {"slope", 4, {2, 35, 5, 4}, true, true, true, 0.25f, 0, true},
    {"dequantise", 2, {7, 100}, true, true, false, 0, 0, true},
    {"plain", 2, {7, 100}, false, false, false, 0, 0, true},
    {"single-value", 2, {1, 1}, true, false, true, 0, 0, true},
    {"one-channel", 4, {3, 1, 19, 17}, true, false, true, 0, 0, true},
    {"one-vector", 4, {3, 16, 3, 3}, true, true, true, 0, 0, true},
    {"vectors", 4, {3, 64, 3, 3}, true, true, true, 0, 0, true},
    {"many-channels", 2, {3, 1030}, true, true, true, 0, 0, true}, /* more than one piece */
    {"many-rows", 4, {2, 37, 31, 29}, true, true, true, 0, 0, true},
    {"no-rows", 4, {0, 5, 3, 3}, true, true, true, 0, 0, true},
};

static void draw(void *to)
{
    shape *s = to;
    *s = (shape){"random",
                 4,
                 {rows_between(1, 4), rows_between(1, 140), rows_between(1, 9), rows_between(1, 9)},
                 rows_chance(0.6),
                 rows_chance(0.5),
                 rows_chance(0.7),
                 0,
                 0,
                 rows_chance(0.5)};
    s->slope = rows_chance(0.2) ? 0.25f : 0;
    s->limit = s->slope == 0 && rows_chance(0.4) ? (rows_chance(0.5) ? 6 : 0.3f) : 0;
}

/* Sums that lie on ties, beside ties, at the ends of 16 and of 32 bits. */
static int32_t draw_sum(int shift)
{
    static const int32_t extremes[] = {
        0, 1, -1, INT32_MAX, INT32_MIN, INT32_MAX - 1, INT32_MIN + 1};
    const int kind = rows_between(0, 7), steps = rows_between(-40000, 40000),
              near = rows_between(-1, 1);
    if (kind == 0)
        return extremes[rows_between(0, (int)ROWS_COUNT(extremes) - 1)];
    if (kind < 4 && shift)
        return (int32_t)((int64_t)steps * (1 << shift) / 2 + (1 << shift) / 2 + near);
    return steps * 50 + near;
}

typedef struct operands {
    qf_requantisation r;
    int32_t *shift; /* of r; owned by its tensor */
    qf_tensor *sums, *addend;
} operands;

static void draw_factors(const shape *s, operands *o)
{
    qf_requantisation *r = &o->r;
    const size_t channels = qf_tensor_extent(&o->sums->shape).channels;
    const int each = (int)channels;
    float *deq;
    *r = (qf_requantisation){.channels = channels,
                             .deq = rows_tensor(1, &each),
                             .shift = rows_tensor(1, &each),
                             .regular = rows_chance(0.7), /* may take the fast way */
                             .relu = s->relu,
                             .relu_slope = s->slope,
                             .relu_limit = s->limit};
    assert_ok(context, qf_write(context, r->deq, QF_PLAIN, &deq));
    assert_ok(context, qf_tensor_write(context, r->shift, QF_INTEGERS, &o->shift));
    r->scale = s->round ? 0.0625f : qf_random_uniform(&context->random, 1e-3f, 2);
    r->offset_d = rows_chance(0.3) ? -128 : rows_between(-128, 127);
    for (size_t c = 0; c < channels; c++) {
        deq[c] = s->round ? 0.03125f : qf_random_uniform(&context->random, 1e-6f, 1e-2f);
        o->shift[c] = s->shifted ? rows_between(1, QF_SHIFT_MAX) : 0;
        if (s->mixed && rows_chance(0.3))
            o->shift[c] = 0;
        r->shifted |= o->shift[c] != 0;
    }
}

static operands open(const shape *s, bool adds)
{
    static const float special[] = {NAN, INFINITY, -INFINITY, -0.0f, 0};
    operands o = {.sums = rows_tensor(s->axes, s->size)};
    int32_t *sums;
    float *values;
    draw_factors(s, &o);
    const size_t n = qf_shape_count(&o.sums->shape);
    assert_ok(context, qf_tensor_write(context, o.sums, QF_INTEGERS, &sums));
    for (size_t i = 0; i < n; i++)
        sums[i] = draw_sum(o.shift[i % o.r.channels]);
    if (!adds)
        return o;
    o.addend = rows_like(o.sums);
    assert_ok(context, qf_write(context, o.addend, QF_NHWC, &values));
    for (size_t i = 0; i < n; i++)
        values[i] = rows_chance(0.05) ? special[rows_between(0, (int)ROWS_COUNT(special) - 1)]
                                      : qf_random_uniform(&context->random, -20, 20);
    if (rows_chance(0.1))
        qf_tensor_set_zero(o.addend);
    return o;
}

typedef struct way {
    bool adds, over_addend, writes_y, writes_codes;
} way;

static void requantise(const qf_device *device, const void *of, way w)
{
    operands o = open(of, w.adds);
    qf_tensor *addend = w.adds ? rows_copy(o.addend) : NULL,
              *y = w.over_addend ? addend
                   : w.writes_y  ? rows_like(o.sums)
                                 : NULL,
              *expected_y = w.over_addend ? o.addend
                            : w.writes_y  ? rows_like(o.sums)
                                          : NULL,
              *codes = w.writes_codes ? rows_like(o.sums) : NULL,
              *expected_codes = w.writes_codes ? rows_like(o.sums) : NULL;
    rows_expect_begin();
    assert_ok(context, qf_reference.sweep->requantise(context, &o.r, o.sums, o.addend, expected_y,
                                                      expected_codes));
    rows_expect_end();
    rows_input(o.sums);
    if (addend && !w.over_addend)
        rows_input(addend);
    if (y)
        rows_output(y, ROWS_FLOATS);
    if (codes)
        rows_output(codes, 1u << QF_CODES);
    assert_ok(context, device->sweep->requantise(context, &o.r, o.sums, addend, y, codes));
    rows_check();
    if (y)
        sweep_compare_bits(y, expected_y, "y");
    if (codes)
        rows_compare_form(codes, expected_codes, QF_CODES, "codes");
}

static void codes_alone(const qf_device *device, const void *shape)
{
    requantise(device, shape, (way){.writes_codes = true});
}

static void values_alone(const qf_device *device, const void *shape)
{
    requantise(device, shape, (way){.writes_y = true});
}

static void both(const qf_device *device, const void *shape)
{
    requantise(device, shape, (way){.writes_y = true, .writes_codes = true});
}

static void sum_to_codes(const qf_device *device, const void *shape)
{
    requantise(device, shape, (way){.adds = true, .writes_codes = true});
}

static void sum_to_both(const qf_device *device, const void *shape)
{
    requantise(device, shape, (way){.adds = true, .writes_y = true, .writes_codes = true});
}

static void sum_over_addend(const qf_device *device, const void *shape)
{
    requantise(device, shape, (way){.adds = true, .over_addend = true, .writes_codes = true});
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"codes-alone", "sweep:requantise", codes_alone},
        {"values-alone", "sweep:requantise", values_alone},
        {"both", "sweep:requantise", both},
        {"sum-to-codes", "sweep:requantise", sum_to_codes},
        {"sum-to-both", "sweep:requantise", sum_to_both},
        {"sum-over-addend", "sweep:requantise", sum_over_addend},
    };
    const rows_family family = {"requantise",
                                operations,
                                ROWS_COUNT(operations),
                                shapes,
                                sizeof *shapes,
                                ROWS_COUNT(shapes),
                                draw,
                                48};
    return rows_run(&family, argc, argv);
}
