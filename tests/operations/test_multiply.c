/* Rows of inner products: floats, codes, integers, gradients; weights stored both ways. */
#include "device/cpu/onednn.h"
#include "operations/rows.h"

#include <string.h>

typedef struct shape {
    const char *name;
    int rows, channels, inner, outputs, zero; /* x: (rows, channels, inner, 1) */
    bool transposed;
} shape;

static const shape shapes[] = {
    {"single", 1, 1, 1, 1, 128, false},
    {"lenet-ip1", 4, 50, 16, 500, 100, false},
    {"odd", 3, 7, 9, 10, 0, false},
    {"lenet-ip2", 8, 500, 1, 10, 255, false},
    {"one-row", 1, 33, 25, 65, 17, false},
    {"transposed", 4, 12, 6, 70, 3, true},
    {"transposed-flat", 9, 20, 1, 33, 90, true},
    {"long", 2, 1031, 5, 3, 128, false},
    {"no-rows", 0, 5, 3, 7, 128, false},
};

static void draw(void *to)
{
    shape *s = to;
    *s = (shape){"random",
                 rows_between(1, 20),
                 rows_between(1, 70),
                 rows_chance(0.5) ? 1 : rows_between(1, 30),
                 rows_between(1, 140),
                 rows_between(0, 255),
                 rows_chance(0.4)};
}

typedef struct operands {
    const qf_device *device;
    const shape *s;
    qf_tensor *x, *w, *bias, *y;
    qf_inner_product *mine, *reference;
} operands;

static operands open(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int inputs = s->channels * s->inner;
    const qf_inner_product_shape p = {s->rows, inputs, s->outputs, s->transposed};
    operands o = {.device = device, .s = s};
    o.x = rows_tensor(4, (int[]){s->rows, s->channels, s->inner, 1});
    o.w = rows_tensor(2, s->transposed ? (int[]){inputs, s->outputs} : (int[]){s->outputs, inputs});
    o.bias = rows_chance(0.7) ? rows_tensor(1, &s->outputs) : NULL;
    o.y = rows_tensor(2, (int[]){s->rows, s->outputs});
    assert_ok(context, device->multiply->create(context, &p, &o.mine));
    assert_ok(context, qf_reference.multiply->create(context, &p, &o.reference));
    return o;
}

static void close(operands *o)
{
    o->device->multiply->destroy(o->mine);
    qf_reference.multiply->destroy(o->reference);
}

static void fill_codes(const operands *o)
{
    rows_fill_codes(o->x, o->s->zero);
    if (o->s->transposed || rows_chance(0.5))
        rows_fill_weights(o->w, 1, 0);
    else
        rows_fill_weights(o->w, o->s->outputs, 0);
}

static void inputs(const operands *o)
{
    rows_input(o->x);
    rows_input(o->w);
    if (o->bias)
        rows_input(o->bias);
}

static void check_forward(const qf_device *device, const void *of, bool codes)
{
    operands o = open(device, of);
    qf_tensor *expected = rows_like(o.y), *magnitude = rows_like(o.y);
    const qf_multiply_family *reference = qf_reference.multiply;
    if (codes) {
        fill_codes(&o);
    } else {
        rows_fill(o.x);
        rows_fill(o.w);
    }
    if (o.bias)
        rows_fill(o.bias);
    qf_tensor *x = rows_copy(o.x), *w = rows_copy(o.w);
    rows_expect_begin();
    assert_ok(context, reference->forward(context, o.reference, o.x, o.w, o.bias, expected));
    assert_ok(context, reference->forward(context, o.reference, rows_absolute(o.x),
                                          rows_absolute(o.w), rows_absolute(o.bias), magnitude));
    rows_expect_end();
    o.x = x;
    o.w = w;
    inputs(&o);
    rows_output(o.y, ROWS_FLOATS);
    assert_ok(context, device->multiply->forward(context, o.mine, o.x, o.w, o.bias, o.y));
    rows_check();
    const bool exact = codes && strcmp(rows_forced(), "float") != 0 &&
                       context->compute != QF_COMPUTE_FLOAT && qf_onednn_has_exact_int8();
    rows_compare(device, o.y, expected, exact ? NULL : magnitude, ROWS_ROUNDING, "result");
    close(&o);
}

static void forward(const qf_device *device, const void *of)
{
    check_forward(device, of, false);
}

static void forward_codes(const qf_device *device, const void *of)
{
    check_forward(device, of, true);
}

static void forward_codes_float(const qf_device *device, const void *of)
{
    context->compute = QF_COMPUTE_FLOAT;
    check_forward(device, of, true);
}

static void forward_integer(const qf_device *device, const void *of)
{
    operands o = open(device, of);
    qf_tensor *expected = rows_like(o.y);
    fill_codes(&o);
    if (o.bias)
        rows_fill_integers(o.bias);
    rows_expect_begin();
    assert_ok(context, qf_reference.multiply->forward_integer(context, o.reference, o.x, o.w,
                                                              o.bias, expected));
    rows_expect_end();
    inputs(&o);
    rows_output(o.y, 1u << QF_INTEGERS);
    assert_ok(context, device->multiply->forward_integer(context, o.mine, o.x, o.w, o.bias, o.y));
    rows_check();
    rows_compare_form(o.y, expected, QF_INTEGERS, "sums");
    close(&o);
}

static void backward_data(const qf_device *device, const void *of)
{
    operands o = open(device, of);
    qf_tensor *dx = rows_like(o.x), *expected = rows_like(o.x), *magnitude = rows_like(o.x);
    const qf_multiply_family *reference = qf_reference.multiply;
    rows_fill(o.y);
    rows_fill(o.w);
    rows_expect_begin();
    assert_ok(context, reference->backward_data(context, o.reference, o.y, o.w, expected));
    assert_ok(context, reference->backward_data(context, o.reference, rows_absolute(o.y),
                                                rows_absolute(o.w), magnitude));
    rows_expect_end();
    rows_input(o.y);
    rows_input(o.w);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context, device->multiply->backward_data(context, o.mine, o.y, o.w, dx));
    rows_check();
    rows_compare(device, dx, expected, magnitude, ROWS_ROUNDING, "data gradient");
    close(&o);
}

/* dw is zero at first, then added to. */
static void backward_weights(const qf_device *device, const void *of)
{
    operands o = open(device, of);
    qf_tensor *dw = rows_like(o.w), *expected = rows_like(o.w), *magnitude = rows_like(o.w);
    const qf_multiply_family *reference = qf_reference.multiply;
    rows_fill(o.x);
    rows_fill(o.y);
    for (int pass = 1; pass <= 2; pass++) {
        rows_expect_begin();
        assert_ok(context, reference->backward_weights(context, o.reference, o.x, o.y, expected));
        assert_ok(context, reference->backward_weights(context, o.reference, rows_absolute(o.x),
                                                       rows_absolute(o.y), magnitude));
        rows_expect_end();
        rows_input(o.x);
        rows_input(o.y);
        rows_output(dw, 1u << QF_PLAIN);
        assert_ok(context, device->multiply->backward_weights(context, o.mine, o.x, o.y, dw));
        rows_check();
        rows_compare(device, dw, expected, magnitude, ROWS_ROUNDING, "gradient of the weights");
    }
    close(&o);
}

/* A matrix of each factor, stored one way or the other; `one`: the same for the whole batch. */
static qf_matrices matrices(size_t rows, size_t columns, bool one)
{
    const size_t batch = one ? 0 : rows * columns;
    return rows_chance(0.5) ? (qf_matrices){columns, 1, batch} : (qf_matrices){1, rows, batch};
}

/* Begins with numbers that are added to, or with nothing. */
static void batched(const qf_device *device, const void *of)
{
    const shape *s = of;
    const size_t batch = (size_t)s->inner;
    const size_t rows = (size_t)s->rows, inner = (size_t)s->channels, columns = (size_t)s->outputs;
    const qf_batched_product p = {batch,
                                  rows,
                                  inner,
                                  columns,
                                  matrices(rows, inner, false),
                                  matrices(inner, columns, rows_chance(0.3)),
                                  matrices(rows, columns, rows_chance(0.3))};
    qf_tensor *a = rows_tensor(3, (int[]){s->inner, s->rows, s->channels});
    qf_tensor *b = rows_tensor(3, (int[]){s->inner, s->channels, s->outputs});
    qf_tensor *c = rows_tensor(3, (int[]){s->inner, s->rows, s->outputs});
    const qf_multiply_family *reference = qf_reference.multiply;
    rows_fill(a);
    rows_fill(b);
    if (rows_chance(0.5))
        rows_fill(c);
    qf_tensor *x = rows_copy(a), *y = rows_copy(b), *expected = rows_copy(c);
    qf_tensor *magnitude = rows_absolute(c);
    rows_expect_begin();
    assert_ok(context, reference->batched(context, &p, a, b, expected));
    assert_ok(context,
              reference->batched(context, &p, rows_absolute(a), rows_absolute(b), magnitude));
    rows_expect_end();
    rows_input(x);
    rows_input(y);
    rows_output(c, ROWS_FLOATS);
    assert_ok(context, device->multiply->batched(context, &p, x, y, c));
    rows_check();
    rows_compare(device, c, expected, magnitude, (double)(inner + batch + 16) * 0x1p-24, "result");
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"forward", "multiply:forward", forward},
        {"forward-codes", "multiply:forward", forward_codes},
        {"forward-codes-float", "multiply:forward", forward_codes_float},
        {"forward-integer", "multiply:forward_integer", forward_integer},
        {"backward-data", NULL, backward_data},
        {"backward-weights", NULL, backward_weights},
        {"batched", NULL, batched},
    };
    const rows_family family = {
        "multiply", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,       24};
    return rows_run(&family, argc, argv);
}
