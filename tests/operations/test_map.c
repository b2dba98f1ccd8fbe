/* Rows of the map family: each operation, in place and not, on each device as the reference does
 * it. Element by element all devices give the same bits; sums are near. */
#include "operations/rows.h"

typedef struct shape {
    const char *name;
    int axes, size[5];
    qf_axes along; /* of factors; CReLU takes the first of them */
} shape;

static const shape shapes[] = {
    {"single", 1, {1}, {0, 1}},
    {"one-axis", 1, {37}, {0, 1}},
    {"rows", 2, {65, 33}, {1, 1}},
    {"rows-whole", 2, {9, 70}, {0, 2}},
    {"channels", 4, {3, 21, 7, 5}, {1, 1}},
    {"many-pixels", 4, {2, 5, 67, 61}, {1, 1}},
    {"many-channels", 4, {2, 9001, 1, 3}, {1, 1}},
    {"images-and-channels", 4, {3, 21, 7, 5}, {0, 2}},
    {"large-images-and-channels", 4, {2, 35, 31, 33}, {0, 2}},
    {"scalar", 4, {3, 7, 31, 67}, {0, 0}},
    {"first-axis", 3, {19, 5, 7}, {0, 1}},
    {"last-axes", 4, {3, 4, 5, 17}, {2, 2}},
    {"inner-axes", 5, {2, 9, 3, 5, 19}, {1, 2}},
    {"inner-axis", 4, {3, 4, 99, 37}, {2, 1}},
    {"whole", 3, {3, 4, 5}, {0, 3}},
    {"no-channels", 4, {2, 0, 3, 3}, {1, 1}},
    {"no-images", 4, {0, 6, 3, 3}, {0, 2}},
    {"no-pixels", 4, {2, 6, 0, 3}, {1, 1}},
};

static void draw(void *to)
{
    shape s = {"random",
               rows_between(1, 5),
               {rows_between(1, 5), rows_between(1, 90), rows_between(1, 12), rows_between(1, 12),
                rows_between(1, 3)},
               {0, 0}};
    s.along.first = rows_between(0, s.axes - 1);
    s.along.count = rows_between(s.along.first ? 1 : 0, s.axes - s.along.first);
    *(shape *)to = s;
}

static qf_tensor *filled(const shape *s)
{
    qf_tensor *tensor = rows_tensor(s->axes, s->size);
    if (rows_chance(0.2))
        rows_fill_special(tensor);
    else
        rows_fill(tensor);
    return tensor;
}

/* A value for each index of the axes along which factors go. */
static qf_tensor *filled_factor(const shape *s)
{
    qf_tensor *factor = rows_tensor(s->along.count, s->size + s->along.first);
    rows_fill(factor);
    return factor;
}

/* Where the device writes what an operation makes of x: x itself or a fresh tensor; and x. */
static qf_tensor *output_for(qf_tensor **x, bool in_place)
{
    qf_tensor *y = in_place ? rows_copy(*x) : rows_like(*x);
    rows_output(y, ROWS_FLOATS);
    if (in_place)
        *x = y;
    else
        rows_input(*x);
    return y;
}

/* ---- functions ---- */

static qf_function draw_function(qf_function_kind kind)
{
    static const float powers[] = {1, 2, 0.5f, -1, 0};
    const float low = qf_random_uniform(&context->random, -1, 1);
    qf_function f = {kind, low, low + qf_random_uniform(&context->random, 0, 1), 0.7f};
    if (kind == QF_FUNCTION_power)
        f.c = powers[rows_between(0, (int)ROWS_COUNT(powers) - 1)];
    return f;
}

/* What the slope of a function does not read may be left out. */
static bool reads_input(qf_function_kind kind)
{
    return kind != QF_FUNCTION_sigmoid && kind != QF_FUNCTION_tan_h && kind != QF_FUNCTION_exp;
}

static bool reads_output(qf_function_kind kind)
{
    return !reads_input(kind) || kind == QF_FUNCTION_elu || kind == QF_FUNCTION_swish ||
           kind == QF_FUNCTION_selu;
}

static void check_function(qf_function_kind kind, const qf_device *device, const shape *s)
{
    const qf_function f = draw_function(kind);
    const qf_map_family *reference = qf_reference.map;
    qf_tensor *x = filled(s), *dy = filled(s), *y = rows_like(x), *dx = rows_like(x);
    rows_expect_begin();
    assert_ok(context, reference->apply(context, f, x, y));
    assert_ok(context, reference->apply_backward(context, f, x, y, dy, dx));
    rows_expect_end();
    qf_tensor *input = rows_copy(x), *gradient = rows_copy(dy);
    qf_tensor *found = output_for(&input, rows_chance(0.5));
    assert_ok(context, device->map->apply(context, f, input, found));
    rows_check();
    rows_compare(device, found, y, NULL, 0, "value");
    found = output_for(&gradient, rows_chance(0.5));
    assert_ok(context, device->map->apply_backward(
                           context, f, reads_input(kind) ? rows_copy(x) : NULL,
                           reads_output(kind) ? rows_copy(y) : NULL, gradient, found));
    rows_check();
    rows_compare(device, found, dx, NULL, 0, "gradient");
}

#define CHECK(name)                                                                                \
    static void name##_function(const qf_device *device, const void *of)                           \
    {                                                                                              \
        check_function(QF_FUNCTION_##name, device, of);                                            \
    }
QF_FUNCTIONS(CHECK)

/* ---- tensors of one shape ---- */

static void weighted_sum(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *a = filled(s), *b = filled(s), *expected = rows_like(a);
    const bool both = rows_chance(0.7), into_b = both && rows_chance(0.3);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.map->weighted_sum(context, -1.7f, a, 0.3f, both ? b : NULL, expected));
    rows_expect_end();
    a = rows_copy(a);
    b = rows_copy(b);
    rows_input(into_b ? a : b);
    qf_tensor *found = output_for(into_b ? &b : &a, into_b || rows_chance(0.5));
    assert_ok(context, device->map->weighted_sum(context, -1.7f, a, 0.3f, both ? b : NULL, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "sum");
}

static void multiply(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *a = filled(s), *b = filled(s), *expected = rows_like(a);
    const bool into_b = rows_chance(0.3);
    rows_expect_begin();
    assert_ok(context, qf_reference.map->multiply(context, a, b, expected));
    rows_expect_end();
    a = rows_copy(a);
    b = rows_copy(b);
    rows_input(into_b ? a : b);
    qf_tensor *found = output_for(into_b ? &b : &a, into_b || rows_chance(0.5));
    assert_ok(context, device->map->multiply(context, a, b, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "product");
}

static void divide_backward(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = filled(s), *y = filled(s), *dy = filled(s), *expected = rows_like(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.map->divide_backward(context, y, x, dy, expected));
    rows_expect_end();
    x = rows_copy(x);
    y = rows_copy(y);
    dy = rows_copy(dy);
    rows_input(x);
    rows_input(y);
    qf_tensor *found = output_for(&dy, rows_chance(0.5));
    assert_ok(context, device->map->divide_backward(context, y, x, dy, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "gradient");
}

/* Of three values with many ties; then each one's gradient. */
static void maximum(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x[3], *y = rows_like(rows_tensor(s->axes, s->size)), *winner = rows_like(y);
    for (int i = 0; i < 3; i++)
        rows_fill_special(x[i] = rows_like(y));
    qf_tensor *mine = rows_copy(x[0]), *my_winner = rows_like(y), *first = x[0];
    rows_output(mine, ROWS_FLOATS);
    rows_output(my_winner, 1u << QF_CODES);
    for (int i = 1; i < 3; i++) {
        rows_expect_begin();
        assert_ok(context, qf_reference.map->maximum(context, first, x[i], i, y, winner));
        rows_expect_end();
        assert_ok(context,
                  device->map->maximum(context, mine, rows_copy(x[i]), i, mine, my_winner));
        first = y;
    }
    rows_check();
    rows_compare(device, mine, y, NULL, 0, "maximum");
    rows_compare_form(my_winner, winner, QF_CODES, "winners");
}

static void select_values(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = filled(s), *mask = rows_like(x), *expected = rows_like(x);
    const int code = rows_chance(0.5) ? 255 : 0; /* those that are drawn most */
    rows_fill_codes(mask, 0);
    rows_expect_begin();
    assert_ok(context, qf_reference.map->select(context, x, mask, code, 1.3f, expected));
    rows_expect_end();
    x = rows_copy(x);
    rows_input(mask);
    qf_tensor *found = output_for(&x, rows_chance(0.5));
    assert_ok(context, device->map->select(context, x, mask, code, 1.3f, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "selection");
}

/* ---- along axes ---- */

static void scale(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = filled(s), *factor = filled_factor(s), *expected = rows_like(x);
    qf_tensor *summand = rows_chance(0.3) ? filled(s) : filled_factor(s);
    const int which = rows_between(1, 3); /* bits: factor, summand */
    rows_expect_begin();
    assert_ok(context, qf_reference.map->scale(context, s->along, x, which & 1 ? factor : NULL,
                                               which & 2 ? summand : NULL, expected));
    rows_expect_end();
    x = rows_copy(x);
    factor = rows_copy(factor);
    summand = rows_copy(summand);
    rows_input(factor);
    rows_input(summand);
    qf_tensor *found = output_for(&x, rows_chance(0.5));
    assert_ok(context, device->map->scale(context, s->along, x, which & 1 ? factor : NULL,
                                          which & 2 ? summand : NULL, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "scaled");
}

/* PReLU in place, or its gradient. */
static void scale_negatives(const qf_device *device, const void *of)
{
    const shape *s = of;
    const bool one = rows_chance(0.5);
    qf_tensor *at = filled(s), *x = one ? at : filled(s), *factor = filled_factor(s),
              *expected = rows_like(x);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.map->scale_negatives(context, s->along, at, x, factor, expected));
    rows_expect_end();
    at = rows_copy(at);
    x = one ? at : rows_copy(x);
    if (!one)
        rows_input(at);
    qf_tensor *found = output_for(&x, rows_chance(0.5));
    assert_ok(context,
              device->map->scale_negatives(context, s->along, one ? x : at, x, factor, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "scaled");
}

/* `sum` is zero at first, then added to. */
static void check_sums(const qf_device *device, const shape *s, bool products, bool negatives)
{
    const qf_map_family *reference = qf_reference.map;
    qf_tensor *a = rows_tensor(s->axes, s->size), *b = products ? rows_like(a) : NULL;
    qf_tensor *sum = rows_tensor(s->along.count, s->size + s->along.first),
              *expected = rows_like(sum), *magnitude = rows_like(sum);
    rows_fill(a);
    if (b)
        rows_fill(b);
    qf_tensor *first = rows_copy(a), *second = b ? rows_copy(b) : NULL;
    for (int pass = 1; pass <= 2; pass++) {
        rows_expect_begin();
        assert_ok(context, reference->sums(context, s->along, a, b, negatives, expected));
        assert_ok(context, reference->sums(context, s->along, rows_absolute(a), rows_absolute(b),
                                           false, magnitude));
        rows_expect_end();
        rows_input(first);
        if (second)
            rows_input(second);
        rows_output(sum, ROWS_FLOATS);
        assert_ok(context, device->map->sums(context, s->along, first, second, negatives, sum));
        rows_check();
        rows_compare(device, sum, expected, magnitude, ROWS_ROUNDING, "sums");
    }
}

static void sums(const qf_device *device, const void *of)
{
    check_sums(device, of, false, false);
}

static void sums_of_products(const qf_device *device, const void *of)
{
    check_sums(device, of, true, false);
}

static void sums_of_negatives(const qf_device *device, const void *of)
{
    check_sums(device, of, true, true);
}

/* ---- operations of single layers ---- */

static void rectify_both(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int axis = s->along.first;
    shape doubled = *s;
    doubled.size[axis] *= 2;
    qf_tensor *x = filled(s), *dy = filled(&doubled), *y = rows_like(dy), *dx = rows_like(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.map->rectify_both(context, axis, 0.3f, x, y));
    assert_ok(context, qf_reference.map->rectify_both_backward(context, axis, 0.3f, x, dy, dx));
    rows_expect_end();
    qf_tensor *input = rows_copy(x), *gradient = rows_copy(dy), *my_y = rows_like(y),
              *my_dx = rows_like(x);
    rows_input(input);
    rows_input(gradient);
    rows_output(my_y, ROWS_FLOATS);
    rows_output(my_dx, ROWS_FLOATS);
    assert_ok(context, device->map->rectify_both(context, axis, 0.3f, input, my_y));
    assert_ok(context,
              device->map->rectify_both_backward(context, axis, 0.3f, input, gradient, my_dx));
    rows_check();
    rows_compare(device, my_y, y, NULL, 0, "values");
    rows_compare(device, my_dx, dx, NULL, 0, "gradient");
}

/* As many streams as the first axis has, cells as the others have together. */
static void lstm(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_shape whole = qf_shape_make(s->axes, s->size);
    const int streams = s->size[0], depth = (int)qf_shape_count_range(&whole, 1, whole.axes);
    qf_lstm_step step = {.streams = (size_t)streams, .depth = (size_t)depth};
    qf_lstm_gradients d;
    qf_tensor **of_step[] = {&step.before, &step.cell, &step.output, &d.cell, &d.output, &d.before};
    for (size_t i = 0; i < ROWS_COUNT(of_step); i++)
        rows_fill(*of_step[i] = rows_tensor(2, (int[]){streams, depth}));
    rows_fill(step.inputs = rows_tensor(2, (int[]){streams, 4 * depth}));
    rows_fill(step.continues = rows_tensor(1, &streams));
    if (rows_chance(0.5))
        qf_tensor_set_zero(step.continues);
    d.inputs = rows_like(step.inputs);
    const bool whole_gradient = rows_chance(0.5);
    qf_lstm_step mine = step;
    qf_lstm_gradients my_d = {rows_copy(d.cell), rows_copy(d.output), rows_like(d.before),
                              whole_gradient ? rows_like(d.inputs) : NULL};
    mine.cell = rows_like(step.cell);
    mine.output = rows_like(step.output);
    rows_expect_begin();
    assert_ok(context, qf_reference.map->lstm_forward(context, &step));
    assert_ok(context, qf_reference.map->lstm_backward(context, &step, &d));
    rows_expect_end();
    rows_input(step.before);
    rows_input(step.inputs);
    rows_input(my_d.output);
    qf_tensor *outputs[] = {mine.cell, mine.output, my_d.before, my_d.inputs};
    for (size_t i = 0; i < ROWS_COUNT(outputs); i++)
        if (outputs[i])
            rows_output(outputs[i], ROWS_FLOATS);
    assert_ok(context, device->map->lstm_forward(context, &mine));
    assert_ok(context, device->map->lstm_backward(context, &mine, &my_d));
    rows_check();
    rows_compare(device, mine.cell, step.cell, NULL, 0, "cells");
    rows_compare(device, mine.output, step.output, NULL, 0, "outputs");
    rows_compare(device, my_d.before, d.before, NULL, 0, "gradient of the cells before");
    if (whole_gradient)
        rows_compare(device, my_d.inputs, d.inputs, NULL, 0, "gradient of the inputs");
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
#define ROW(name) {#name, NULL, name##_function},
        QF_FUNCTIONS(ROW) /* */
        {"weighted-sum", NULL, weighted_sum},
        {"multiply", NULL, multiply},
        {"divide-backward", NULL, divide_backward},
        {"maximum", NULL, maximum},
        {"select", NULL, select_values},
        {"scale", NULL, scale},
        {"scale-negatives", NULL, scale_negatives},
        {"sums", NULL, sums},
        {"sums-of-products", NULL, sums_of_products},
        {"sums-of-negatives", NULL, sums_of_negatives},
        {"rectify-both", NULL, rectify_both},
        {"lstm", NULL, lstm},
    };
    const rows_family family = {
        "map", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,  24};
    return rows_run(&family, argc, argv);
}
