/* Rows of pooling: windows, padding, ties, codes, masks, gradients. */
#include "operations/rows.h"

#include <string.h>

typedef struct shape {
    const char *name;
    qf_pooling_shape s; /* kind and `out` follow */
} shape;

/* Channels beyond a tile, kernels beyond a byte, strides that leave gaps. */
static const shape shapes[] = {
    {"3x2-stride2", {.batch = 2, .channels = 3, .in = {7, 6}, .kernel = {3, 2}, .stride = {2, 2}}},
    {"3x3-wide",
     {.batch = 1,
      .channels = 300,
      .in = {9, 9},
      .kernel = {3, 3},
      .stride = {2, 2},
      .pad = {1, 1},
      .pad_end = {1, 1}}},
    {"3x3-padded",
     {.batch = 2,
      .channels = 17,
      .in = {8, 8},
      .kernel = {3, 3},
      .stride = {1, 1},
      .pad = {1, 2},
      .pad_end = {1, 2}}},
    {"16x17", {.batch = 1, .channels = 5, .in = {18, 17}, .kernel = {16, 17}, .stride = {1, 1}}},
    {"whole-image", {.batch = 2, .channels = 64, .in = {7, 7}, .kernel = {7, 7}, .stride = {1, 1}}},
    {"gaps", {.batch = 1, .channels = 4, .in = {6, 6}, .kernel = {1, 1}, .stride = {4, 4}}},
    {"no-divisor", {.batch = 1, .channels = 9, .in = {5, 6}, .kernel = {1, 2}, .stride = {5, 3}}},
    {"same", /* TensorFlow's, of even sizes */
     {.batch = 2,
      .channels = 20,
      .in = {8, 6},
      .kernel = {3, 3},
      .stride = {2, 2},
      .pad_end = {1, 1}}},
    {"uneven",
     {.batch = 1,
      .channels = 300,
      .in = {7, 8},
      .kernel = {3, 4},
      .stride = {2, 1},
      .pad = {2, 0},
      .pad_end = {0, 3}}},
    {"behind-padding", /* rounded up: windows end behind it */
     {.batch = 1,
      .channels = 3,
      .in = {5, 5},
      .kernel = {4, 3},
      .stride = {3, 2},
      .pad = {0, 2},
      .pad_end = {3, 1}}},
    {"no-images", {.batch = 0, .channels = 3, .in = {4, 4}, .kernel = {2, 2}, .stride = {2, 2}}},
};

static void draw(void *to)
{
    qf_pooling_shape *s = &((shape *)to)->s;
    memset(s, 0, sizeof *s);
    s->batch = rows_between(1, 3);
    s->channels = rows_chance(0.2) ? rows_between(250, 530) : rows_between(1, 70);
    for (int i = 0; i < 2; i++) {
        s->kernel[i] = rows_between(1, 5);
        s->stride[i] = rows_between(1, 4);
        s->pad[i] = rows_chance(0.5) ? 0 : rows_between(0, s->kernel[i] - 1);
        s->pad_end[i] = rows_chance(0.7) ? s->pad[i] : rows_between(0, s->kernel[i] - 1);
        s->in[i] = s->kernel[i] + rows_between(0, 8);
    }
}

typedef enum kind { MAX, AVE, AVE_WITHOUT_PADDING } kind;

/* Rounded up, as Caffe's; the last window starts inside the image or the padding in front. */
static qf_pooling_shape complete(const void *of, kind pool)
{
    qf_pooling_shape s = ((const shape *)of)->s;
    s.average = pool != MAX;
    s.without_padding = pool == AVE_WITHOUT_PADDING;
    const bool padded = s.pad[0] || s.pad[1] || s.pad_end[0] || s.pad_end[1];
    for (int i = 0; i < 2; i++) {
        const int span = s.in[i] + s.pad[i] + s.pad_end[i] - s.kernel[i];
        s.out[i] = (span + s.stride[i] - 1) / s.stride[i] + 1;
        if (padded && (s.out[i] - 1) * s.stride[i] >= s.in[i] + s.pad[i])
            s.out[i]--;
    }
    return s;
}

typedef struct operands {
    const qf_device *device;
    qf_pooling_shape s;
    qf_tensor *x, *y, *expected;
    qf_pooling *mine, *reference;
} operands;

static operands open(const qf_device *device, const void *of, kind pool)
{
    operands o = {.device = device, .s = complete(of, pool)};
    const qf_pooling_shape *s = &o.s;
    o.x = rows_tensor(4, (int[]){s->batch, s->channels, s->in[0], s->in[1]});
    o.y = rows_tensor(4, (int[]){s->batch, s->channels, s->out[0], s->out[1]});
    o.expected = rows_like(o.y);
    assert_ok(context, device->pool->create(context, s, &o.mine));
    assert_ok(context, qf_reference.pool->create(context, s, &o.reference));
    return o;
}

static void close(operands *o)
{
    o->device->pool->destroy(o->mine);
    qf_reference.pool->destroy(o->reference);
}

/* dx of a random dy, by what forward has remembered; sums of few terms in the same order. */
static void compare_gradients(const operands *o)
{
    qf_tensor *dy = rows_like(o->y), *dx = rows_like(o->x);
    qf_tensor *expected = rows_like(o->x), *magnitude = rows_like(o->x);
    rows_fill(dy);
    rows_expect_begin();
    assert_ok(context, qf_reference.pool->backward(context, o->reference, dy, expected));
    assert_ok(context,
              qf_reference.pool->backward(context, o->reference, rows_absolute(dy), magnitude));
    rows_expect_end();
    rows_input(dy);
    rows_output(dx, ROWS_FLOATS);
    assert_ok(context, o->device->pool->backward(context, o->mine, dy, dx));
    rows_check();
    rows_compare(o->device, dx, expected, magnitude, ROWS_ROUNDING, "gradient");
}

/* With a mask, or only remembering, or neither; x is filled. */
static void compare_maxima(operands *o)
{
    const bool remember = rows_chance(0.7);
    qf_tensor *mask = rows_chance(0.7) ? rows_like(o->y) : NULL;
    qf_tensor *expected_mask = mask ? rows_like(o->y) : NULL, *x = rows_copy(o->x);
    rows_expect_begin();
    assert_ok(context, qf_reference.pool->forward(context, o->reference, o->x, o->expected,
                                                  expected_mask, remember));
    rows_expect_end();
    rows_input(x);
    rows_output(o->y, ROWS_FLOATS | 1u << QF_CODES);
    if (mask)
        rows_output(mask, ROWS_FLOATS);
    assert_ok(context, o->device->pool->forward(context, o->mine, x, o->y, mask, remember));
    rows_check();
    const bool as_floats = strcmp(rows_forced(), "floats") == 0;
    if (!as_floats) /* else maybe of codes, too */
        assert_int_equal(qf_tensor_has(o->y, QF_CODES), qf_tensor_has(o->expected, QF_CODES));
    if (qf_tensor_has(o->y, QF_CODES))
        rows_compare_form(o->y, o->expected, QF_CODES, "codes of maxima");
    rows_compare(o->device, o->y, o->expected, NULL, 0, "maxima");
    if (mask)
        rows_compare(o->device, mask, expected_mask, NULL, 0, "mask");
    if (remember)
        compare_gradients(o);
}

static void maximum(const qf_device *device, const void *of)
{
    operands o = open(device, of, MAX);
    rows_fill(o.x);
    compare_maxima(&o);
    close(&o);
}

static void maximum_special(const qf_device *device, const void *of)
{
    operands o = open(device, of, MAX);
    rows_fill_special(o.x);
    compare_maxima(&o);
    close(&o);
}

/* Few different codes, so that many are equal. */
static void maximum_codes(const qf_device *device, const void *of)
{
    operands o = open(device, of, MAX);
    uint8_t *codes;
    rows_fill_codes(o.x, rows_between(0, 255));
    assert_ok(context, qf_tensor_update(context, o.x, QF_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&o.x->shape); i++)
        codes[i] = (uint8_t)(rows_between(0, 5) * 51);
    compare_maxima(&o);
    close(&o);
}

static void check_average(const qf_device *device, const void *of, kind pool, bool special)
{
    operands o = open(device, of, pool);
    qf_tensor *magnitude = special ? NULL : rows_like(o.y);
    if (special)
        rows_fill_special(o.x);
    else
        rows_fill(o.x);
    qf_tensor *x = rows_copy(o.x);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.pool->forward(context, o.reference, o.x, o.expected, NULL, true));
    if (magnitude)
        assert_ok(context, qf_reference.pool->forward(context, o.reference, rows_absolute(o.x),
                                                      magnitude, NULL, true));
    rows_expect_end();
    rows_input(x);
    rows_output(o.y, ROWS_FLOATS);
    assert_ok(context, device->pool->forward(context, o.mine, x, o.y, NULL, true));
    rows_check();
    rows_compare(device, o.y, o.expected, magnitude, ROWS_ROUNDING, "average");
    compare_gradients(&o);
    close(&o);
}

static void average(const qf_device *device, const void *of)
{
    check_average(device, of, AVE, false);
}

static void average_special(const qf_device *device, const void *of)
{
    check_average(device, of, rows_chance(0.5) ? AVE : AVE_WITHOUT_PADDING, true);
}

static void average_without_padding(const qf_device *device, const void *of)
{
    check_average(device, of, AVE_WITHOUT_PADDING, false);
}

static void average_codes(const qf_device *device, const void *of)
{
    operands o = open(device, of, rows_chance(0.5) ? AVE : AVE_WITHOUT_PADDING);
    rows_fill_codes(o.x, rows_between(0, 255));
    rows_expect_begin();
    assert_ok(context,
              qf_reference.pool->forward_integer(context, o.reference, o.x, 0.37f, o.expected));
    rows_expect_end();
    rows_input(o.x);
    rows_output(o.y, ROWS_FLOATS);
    assert_ok(context, device->pool->forward_integer(context, o.mine, o.x, 0.37f, o.y));
    rows_check();
    rows_compare(device, o.y, o.expected, NULL, 0, "average of codes");
    close(&o);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"max", "pool:forward", maximum},
        {"max-special", "pool:forward", maximum_special},
        {"max-codes", "pool:forward", maximum_codes},
        {"ave", "pool:forward", average},
        {"ave-special", NULL, average_special},
        {"ave-without-padding", NULL, average_without_padding},
        {"ave-codes", NULL, average_codes},
    };
    const rows_family family = {
        "pool", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,   24};
    return rows_run(&family, argc, argv);
}
