/* Rows of reductions: what each channel sums up to. */
#include "operations/rows.h"

#include <math.h>

typedef struct shape {
    const char *name;
    int axes, size[5];
} shape;

static const shape shapes[] = {
    {"single", 4, {1, 1, 1, 1}},
    {"one-axis", 1, {17}},
    {"two-axes", 2, {65, 33}},
    {"three-axes", 3, {3, 5, 7}},
    {"five-axes", 5, {2, 7, 2, 3, 2}},
    {"many-rows", 4, {4, 5, 67, 61}},
    {"many-channels", 4, {2, 9001, 1, 3}},
    {"no-channels", 4, {2, 0, 3, 3}},
    {"no-images", 4, {0, 6, 3, 3}},
    {"no-pixels", 4, {2, 6, 0, 3}},
};

static void draw(void *to)
{
    *(shape *)to = (shape){"random",
                           rows_between(1, 5),
                           {rows_between(1, 9), rows_between(1, 140), rows_between(1, 12),
                            rows_between(1, 12), rows_between(1, 3)}};
}

/* db is zero at first, then added to. */
static void channel_sums(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *dy = rows_tensor(s->axes, s->size);
    const int channels = (int)qf_tensor_extent(&dy->shape).channels;
    qf_tensor *db = rows_tensor(1, &channels), *expected = rows_like(db),
              *magnitude = rows_like(db);
    const qf_reduce_family *reference = qf_reference.reduce;
    rows_fill(dy);
    qf_tensor *mine = rows_copy(dy);
    for (int pass = 1; pass <= 2; pass++) {
        rows_expect_begin();
        assert_ok(context, reference->channel_sums(context, dy, expected));
        assert_ok(context, reference->channel_sums(context, rows_absolute(dy), magnitude));
        rows_expect_end();
        rows_input(mine);
        rows_output(db, ROWS_FLOATS);
        assert_ok(context, device->reduce->channel_sums(context, mine, db));
        rows_check();
        rows_compare(device, db, expected, magnitude, ROWS_ROUNDING, "sums");
    }
}

static void assert_sums(const qf_device *device, const double *found, const double *expected,
                        const double *magnitude, size_t n, const char *what)
{
    for (size_t c = 0; c < n; c++)
        if (!(fabs(found[c] - expected[c]) <=
              (device == &qf_reference ? 0 : 1e-13 * magnitude[c]))) /* sums are double */
            fail_msg("%s of channel %zu is %.17g, expected %.17g", what, c, found[c], expected[c]);
    if (found[n] != 12345)
        fail_msg("%s: written behind %zu channels", what, n);
}

static double *sums_of(size_t channels)
{
    double *sums = qf_alloc(channels + 1, sizeof *sums);
    assert_non_null(sums);
    sums[channels] = 12345;
    return sums;
}

/* Σ |a| and Σ |a| · (|b| + |centre|): those of absolute values around a negative centre. */
static void channel_products(const qf_device *device, const void *of)
{
    const shape *s = of;
    const bool centred = rows_chance(0.7);
    qf_tensor *a = rows_tensor(s->axes, s->size), *b = rows_like(a);
    const size_t channels = qf_tensor_extent(&a->shape).channels;
    double *sums[6];
    float *centre = qf_alloc(channels, sizeof *centre), *low = qf_alloc(channels, sizeof *low);
    const qf_reduce_family *reference = qf_reference.reduce;
    rows_fill(a);
    rows_fill(b);
    for (size_t c = 0; c < channels; c++) {
        centre[c] = qf_random_gaussian(&context->random, 0, 1);
        low[c] = -fabsf(centre[c]);
    }
    for (int i = 0; i < 6; i++)
        sums[i] = sums_of(channels);
    qf_tensor *first = rows_copy(a), *second = rows_copy(b);
    rows_expect_begin();
    assert_ok(context, reference->channel_products(context, a, b, centred ? centre : NULL, sums[0],
                                                   sums[1]));
    assert_ok(context, reference->channel_products(context, rows_absolute(a), rows_absolute(b), low,
                                                   sums[2], sums[3]));
    rows_expect_end();
    rows_input(first);
    rows_input(second);
    assert_ok(context, device->reduce->channel_products(context, first, second,
                                                        centred ? centre : NULL, sums[4], sums[5]));
    rows_check();
    assert_sums(device, sums[4], sums[0], sums[2], channels, "sum");
    assert_sums(device, sums[5], sums[1], sums[3], channels, "sum of products");
    for (int i = 0; i < 6; i++)
        qf_free(sums[i]);
    qf_free(centre);
    qf_free(low);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"channel-sums", NULL, channel_sums},
        {"channel-products", NULL, channel_products},
    };
    const rows_family family = {
        "reduce", operations, ROWS_COUNT(operations), shapes, sizeof *shapes, ROWS_COUNT(shapes),
        draw,     24};
    return rows_run(&family, argc, argv);
}
