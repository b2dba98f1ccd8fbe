/* Rows of quantisation in training, and of the fake DeQuant: codes, scales and the data's gradients
 * to the bit. */
#include "operations/rows.h"

#include <math.h>
#include <string.h>

/* Of activations; as weights, (out, in, height, width). */
typedef struct shape {
    const char *name;
    int size[4];
    float clip_max, clip_min;
    bool special;       /* values that rounding by addition cannot handle among them */
    bool deconvolution; /* channels of weights on axis 1 */
    bool channel_wise;
    int bits;
} shape;

static const shape shapes[] = {
    {"single", {1, 1, 1, 1}, 1.5f, -0.5f, false, false, true, 8},
    {"3x3", {24, 16, 3, 3}, 2.4f, -1.1f, false, false, true, 8},
    {"one-scale", {24, 16, 3, 3}, 2.4f, -1.1f, false, false, false, 8},
    {"deconvolution", {17, 13, 4, 4}, 1, -1, false, true, true, 8},
    {"symmetric", {5, 33, 7, 3}, 1, -1, false, false, true, 8}, /* rounding ties */
    {"not-negative", {3, 20, 11, 9}, 6, 0, false, false, true, 8},
    {"special", {2, 19, 5, 7}, 3, -2, true, false, true, 8},
    {"4-bits", {5, 33, 7, 3}, 2.4f, -1.1f, false, false, true, 4},
    {"6-bits", {17, 13, 4, 4}, 1, -1, true, true, true, 6},
    {"16-bits", {5, 33, 7, 3}, 2.4f, -1.1f, false, false, true, 16},
    {"absurd-range", {2, 19, 5, 7}, 0x1p-120f, -0x1p-120f, true, false, true, 8},
    {"long", {2, 70001, 1, 1}, 1.5f, -0.5f, false, false, true, 8},
    {"many", {2, 60, 100, 101}, 1.5f, -0.5f, false, false, true, 8}, /* for a histogram */
};

static void draw(void *to)
{
    *(shape *)to =
        (shape){"random",
                {rows_between(1, 40), rows_between(1, 70), rows_between(1, 9), rows_between(1, 9)},
                (float)rows_between(1, 40) / 16,
                -(float)rows_between(0, 40) / 16,
                rows_chance(0.2),
                rows_chance(0.3),
                rows_chance(0.7),
                rows_between(2, 8)};
}

static qf_tensor *values_of(const shape *s)
{
    qf_tensor *x = rows_tensor(4, s->size);
    if (s->special)
        rows_fill_special(x);
    else
        rows_fill(x);
    return x;
}

static void activations(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_ulq factors = qf_ulq_factors(s->clip_max, s->clip_min, s->bits);
    const bool wide = factors.levels > 255; /* which codes do not hold */
    qf_tensor *x = values_of(s), *mine = rows_copy(x), *found = rows_like(x),
              *expected = rows_like(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->activations(context, x, factors, expected));
    rows_expect_end();
    rows_input(mine);
    rows_output(found, wide ? 1u << QF_NHWC : 1u << QF_CODES);
    assert_ok(context, device->quantise->activations(context, mine, factors, found));
    rows_check();
    rows_compare_form(found, expected, wide ? QF_NHWC : QF_CODES, "codes");
}

/* Terms of the range's gradients are dy at most; what they are added to is that of `like`. */
static qf_tensor *sum_of_sizes(qf_tensor *dy, qf_tensor *like)
{
    qf_tensor *magnitude = rows_absolute(like);
    const float *values;
    float *sum;
    assert_ok(context, qf_read(context, dy, QF_PLAIN, &values));
    assert_ok(context, qf_update(context, magnitude, QF_PLAIN, &sum));
    for (size_t i = 0; i < qf_shape_count(&dy->shape); i++)
        sum[0] += fabsf(values[i]);
    return magnitude;
}

static void activations_backward(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x = rows_tensor(4, s->size), *dy = rows_like(x), *found = rows_like(x),
              *expected = rows_like(x);
    const bool wants_data = rows_chance(0.8);
    const qf_ulq_terms terms = qf_ulq_gradient_terms(s->clip_max, s->clip_min, s->bits);
    const int one = 1;
    qf_tensor *d_found[2], *d_expected[2], *magnitude[2];
    for (int i = 0; i < 2; i++) {
        d_found[i] = rows_tensor(1, &one);
        rows_fill(d_found[i]); /* added to */
        d_expected[i] = rows_copy(d_found[i]);
    }
    rows_fill(x);
    rows_fill(dy);
    for (int i = 0; i < 2; i++)
        magnitude[i] = sum_of_sizes(dy, d_found[i]);
    qf_tensor *my_x = rows_copy(x), *my_dy = rows_copy(dy);
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->activations_backward(
                           context, x, dy, terms, wants_data ? expected : NULL, d_expected));
    rows_expect_end();
    rows_input(my_x);
    rows_input(my_dy);
    if (wants_data)
        rows_output(found, ROWS_FLOATS);
    for (int i = 0; i < 2; i++)
        rows_output(d_found[i], ROWS_FLOATS);
    assert_ok(context, device->quantise->activations_backward(context, my_x, my_dy, terms,
                                                              wants_data ? found : NULL, d_found));
    rows_check();
    if (wants_data)
        rows_compare(device, found, expected, NULL, 0, "gradients of the data");
    for (int i = 0; i < 2; i++)
        rows_compare(device, d_found[i], d_expected[i], magnitude[i], ROWS_ROUNDING,
                     i ? "gradient of clip_min" : "gradient of clip_max");
}

static qf_weight_layout layout_of(const shape *s)
{
    const size_t a = (size_t)s->size[0], b = (size_t)s->size[1],
                 rest = (size_t)s->size[2] * (size_t)s->size[3];
    if (!s->channel_wise)
        return (qf_weight_layout){1, 1, a * b * rest};
    return s->deconvolution ? (qf_weight_layout){a, b, rest} : (qf_weight_layout){1, a, b * rest};
}

/* Those of 16 bits are of activations only. */
static int weight_bits_of(const shape *s)
{
    return s->bits > 8 ? 8 : s->bits;
}

static void weights(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_weight_layout layout = layout_of(s);
    qf_tensor *w = rows_tensor(4, s->size), *found = rows_like(w), *expected = rows_like(w);
    float *scales = qf_alloc(2 * (layout.channels + 1), sizeof *scales);
    float *mine = scales + layout.channels + 1;
    assert_non_null(scales);
    mine[layout.channels] = 12345;
    rows_fill(w);
    qf_tensor *my_w = rows_copy(w);
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->weights(context, w, layout, weight_bits_of(s), scales,
                                                      expected));
    rows_expect_end();
    rows_input(my_w);
    rows_output(found, 1u << QF_WEIGHT_CODES);
    assert_ok(context,
              device->quantise->weights(context, my_w, layout, weight_bits_of(s), mine, found));
    rows_check();
    rows_compare_form(found, expected, QF_WEIGHT_CODES, "codes");
    assert_memory_equal(mine, scales, layout.channels * sizeof *mine);
    assert_true(mine[layout.channels] == 12345);
    qf_free(scales);
}

/* Codes by given steps, to the bit, and what backward makes of them: some weights lie beyond. */
static void steps(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_weight_layout layout = layout_of(s);
    qf_tensor *w = rows_tensor(4, s->size), *found = rows_like(w), *expected = rows_like(w),
              *dw = rows_like(w);
    float *step = qf_alloc(layout.channels, sizeof *step);
    double *sums = qf_alloc(2 * layout.channels, sizeof *sums), *mine = sums + layout.channels;
    const float *gradient;
    assert_non_null(step);
    assert_non_null(sums);
    rows_fill(w);
    rows_fill(dw);
    for (size_t c = 0; c < layout.channels; c++)
        step[c] = qf_random_uniform(&context->random, 0.3f, 3) / (float)(1 << weight_bits_of(s));
    qf_tensor *my_w = rows_copy(w), *my_dw = rows_copy(dw), *size = rows_absolute(dw);
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->weights_by_steps(context, w, layout,
                                                               weight_bits_of(s), step, expected));
    assert_ok(context, qf_reference.quantise->steps_backward(context, w, layout, weight_bits_of(s),
                                                             step, dw, sums));
    rows_expect_end();
    rows_input(my_w);
    rows_output(found, 1u << QF_WEIGHT_CODES);
    assert_ok(context, device->quantise->weights_by_steps(context, my_w, layout, weight_bits_of(s),
                                                          step, found));
    rows_check();
    rows_compare_form(found, expected, QF_WEIGHT_CODES, "codes");
    assert_ok(context, device->quantise->steps_backward(context, my_w, layout, weight_bits_of(s),
                                                        step, my_dw, mine));
    rows_compare(device, my_dw, dw, NULL, 0, "gradients of the weights");
    assert_ok(context, qf_read(context, size, QF_PLAIN, &gradient));
    for (size_t c = 0; c < layout.channels; c++) {
        double total = 0;
        for (size_t o = 0; o < layout.outer; o++)
            for (size_t i = 0; i < layout.inner; i++)
                total += (double)gradient[(o * layout.channels + c) * layout.inner + i];
        total *= 1 << (weight_bits_of(s) - 1);
        if (!(fabs(mine[c] - sums[c]) <= 1e-5 * total))
            fail_msg("gradient of step %zu: %g, expected %g", c, mine[c], sums[c]);
    }
    qf_free(step);
    qf_free(sums);
}

/* A NaN is refused with the channel's number. */
static void weights_with_nan(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_weight_layout layout = layout_of(s);
    qf_tensor *w = rows_tensor(4, s->size), *codes = rows_like(w);
    float *values, *scales = qf_alloc(layout.channels, sizeof *scales);
    rows_fill(w);
    assert_non_null(scales);
    assert_ok(context, qf_update(context, w, QF_PLAIN, &values));
    const size_t at = (size_t)rows_between(0, (int)qf_shape_count(&w->shape) - 1);
    values[at] = NAN;
    char *sentence =
        test_format("weights of channel %zu contain NaN", at / layout.inner % layout.channels);
    assert_fails(context,
                 device->quantise->weights(context, w, layout, weight_bits_of(s), scales, codes),
                 sentence);
    for (size_t c = 0; c < layout.channels; c++)
        scales[c] = 1;
    assert_fails(
        context,
        device->quantise->weights_by_steps(context, w, layout, weight_bits_of(s), scales, codes),
        sentence);
    qf_free(sentence);
    qf_free(scales);
}

static void scales_alone(const qf_device *device, const void *of)
{
    const shape *s = of;
    const qf_weight_layout layout = layout_of(s);
    qf_tensor *w = rows_tensor(4, s->size);
    float *scales = qf_alloc(2 * layout.channels, sizeof *scales), *mine = scales + layout.channels;
    assert_non_null(scales);
    rows_fill(w);
    qf_tensor *my_w = rows_copy(w);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.quantise->weights(context, w, layout, weight_bits_of(s), scales, NULL));
    rows_expect_end();
    rows_input(my_w);
    assert_ok(context,
              device->quantise->weights(context, my_w, layout, weight_bits_of(s), mine, NULL));
    rows_check();
    assert_memory_equal(mine, scales, layout.channels * sizeof *mine);
    qf_free(scales);
}

static void expect_factors(const float scale[2], const int32_t offset[2])
{
    if (scale[1] != scale[0] || offset[1] != offset[0])
        fail_msg("scale %.9g and offset %d, expected %.9g and %d", (double)scale[1], offset[1],
                 (double)scale[0], offset[0]);
}

/* The same candidate, or one whose error differs by nothing: scale and offset to the bit. */
static void first_range(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_ifmr_options options = qf_ifmr_defaults;
    options.with_offset = rows_chance(0.7);
    if (rows_chance(0.3)) /* further from the ends than a short list of extremes goes */
        options.max_percentile = options.min_percentile = 0.98f;
    qf_tensor *x = rows_tensor(4, s->size);
    float scale[2];
    int32_t offset[2];
    rows_fill(x);
    qf_tensor *mine = rows_copy(x);
    rows_expect_begin();
    assert_ok(context,
              qf_reference.quantise->first_range(context, x, &options, &scale[0], &offset[0]));
    rows_expect_end();
    rows_input(mine);
    assert_ok(context,
              device->quantise->first_range(context, mine, &options, &scale[1], &offset[1]));
    rows_check();
    expect_factors(scale, offset);
}

/* A batch: of one sign or of both, larger or smaller than the others. */
static qf_tensor *batch_of(const shape *s)
{
    qf_tensor *x = rows_tensor(4, s->size);
    const float factor = ldexpf(1, rows_between(-6, 6));
    const int sign = rows_between(-1, 1);
    float *values;
    rows_fill(x);
    assert_ok(context, qf_update(context, x, rows_chance(0.5) ? QF_PLAIN : QF_NHWC, &values));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        values[i] *= factor;
        values[i] = sign > 0 ? fmaxf(values[i], 0) : sign < 0 ? fminf(values[i], 0) : values[i];
    }
    return x;
}

enum { BATCHES = 5 };

/* What was kept or counted is the same to the last value, and so are the factors. */
static void ifmr(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_ifmr_options options = qf_ifmr_defaults;
    qf_ifmr_data data[2] = {{0}, {0}};
    float scale[2];
    int32_t offset[2];
    options.with_offset = rows_chance(0.7);
    if (rows_chance(0.3)) /* further from the ends than a list of extremes goes */
        options.max_percentile = options.min_percentile = 0.98f;
    for (int i = 0; i < BATCHES; i++) {
        qf_tensor *x = batch_of(s), *mine = rows_copy(x);
        rows_expect_begin();
        assert_ok(context, qf_reference.quantise->ifmr_add(context, &data[0], x));
        rows_expect_end();
        rows_input(mine);
        assert_ok(context, device->quantise->ifmr_add(context, &data[1], mine));
        rows_check();
    }
    assert_true(data[1].count == data[0].count && !data[1].bins == !data[0].bins);
    if (data[0].bins) {
        assert_int_equal(data[1].grid.exponent, data[0].grid.exponent);
        assert_int_equal(data[1].grid.first, data[0].grid.first);
        assert_memory_equal(data[1].bins, data[0].bins, QF_IFMR_DATA_BINS * sizeof(uint64_t));
        assert_memory_equal(&data[1].top, &data[0].top, sizeof data[0].top);
        assert_memory_equal(&data[1].bottom, &data[0].bottom, sizeof data[0].bottom);
    } else
        assert_memory_equal(data[1].kept, data[0].kept, data[0].count * sizeof(float));
    assert_ok(context, qf_reference.quantise->ifmr_decide(context, &data[0], &options, &scale[0],
                                                          &offset[0]));
    assert_ok(context,
              device->quantise->ifmr_decide(context, &data[1], &options, &scale[1], &offset[1]));
    expect_factors(scale, offset);
    qf_ifmr_data_release(&data[0]);
    qf_ifmr_data_release(&data[1]);
}

/* Up to three tensors a batch; the same counts, range and factors. */
static void hfmg(const qf_device *device, const void *of)
{
    const shape *s = of;
    const size_t bins = (size_t)1024 << rows_between(0, 3);
    const bool with_offset = rows_chance(0.7);
    qf_hfmg found[2];
    float scale[2];
    int32_t offset[2];
    for (int i = 0; i < 2; i++)
        assert_ok(context, qf_hfmg_begin(context, bins, &found[i]));
    for (int i = 0; i < BATCHES; i++) {
        const int count = rows_between(1, 3);
        qf_tensor *x[3], *mine[3];
        for (int k = 0; k < count; k++) {
            x[k] = batch_of(s);
            mine[k] = rows_copy(x[k]);
        }
        rows_expect_begin();
        assert_ok(context, qf_reference.quantise->hfmg_add(context, &found[0], x, count));
        rows_expect_end();
        for (int k = 0; k < count; k++)
            rows_input(mine[k]);
        assert_ok(context, device->quantise->hfmg_add(context, &found[1], mine, count));
        rows_check();
    }
    assert_true(found[1].low == found[0].low && found[1].width == found[0].width);
    assert_memory_equal(found[1].counts, found[0].counts, bins * sizeof *found[0].counts);
    assert_ok(context, qf_reference.quantise->hfmg_decide(context, &found[0], with_offset,
                                                          &scale[0], &offset[0]));
    assert_ok(context, device->quantise->hfmg_decide(context, &found[1], with_offset, &scale[1],
                                                     &offset[1]));
    expect_factors(scale, offset);
    qf_hfmg_release(&found[0]);
    qf_hfmg_release(&found[1]);
}

/* One value that is none, in the last of the tensors: which one is said. */
static void ranges_with_nan(const qf_device *device, const void *of)
{
    const shape *s = of;
    qf_tensor *x[2] = {batch_of(s), batch_of(s)};
    qf_ifmr_data data = {0};
    qf_hfmg hfmg;
    float *values;
    assert_ok(context, qf_hfmg_begin(context, 1024, &hfmg));
    assert_ok(context, qf_update(context, x[1], QF_NHWC, &values));
    const size_t n = qf_shape_count(&x[1]->shape), at = (size_t)rows_between(0, (int)n - 1);
    values[at] = rows_chance(0.5) ? NAN : -INFINITY;
    char *sentence = test_format("value %zu is %g: NaN and", at, (double)values[at]);
    assert_ok(context, device->quantise->ifmr_add(context, &data, x[0]));
    assert_fails(context, device->quantise->ifmr_add(context, &data, x[1]), sentence);
    assert_fails(context, device->quantise->hfmg_add(context, &hfmg, x, 2), "is");
    assert_false(hfmg.begun);
    qf_free(sentence);
    qf_hfmg_release(&hfmg);
    qf_ifmr_data_release(&data);
}

static void quant(const qf_device *device, const void *of)
{
    const shape *s = of;
    const float scale = rows_chance(0.5) ? 0x1p-3f : qf_random_uniform(&context->random, 1e-3f, 1);
    const int32_t offset_d = rows_between(-128, 127);
    const int32_t low = rows_chance(0.5) ? -128 : rows_between(-128, 124); /* of fewer bits */
    qf_tensor *x = values_of(s), *mine = rows_copy(x), *expected = rows_like(x);
    const bool in_place = rows_chance(0.3);
    qf_tensor *found = in_place ? mine : rows_like(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->quant(context, x, scale, offset_d, low, expected));
    rows_expect_end();
    if (!in_place)
        rows_input(mine);
    rows_output(found, 1u << QF_CODES);
    assert_ok(context, device->quantise->quant(context, mine, scale, offset_d, low, found));
    rows_check();
    rows_compare_form(found, expected, QF_CODES, "codes");
}

/* Values of accumulators of up to 20 bits; one scale and shift, or those of each channel. */
static void dequantise_fake(const qf_device *device, const void *of)
{
    const shape *s = of;
    const int count = rows_chance(0.7) ? s->size[1] : 1;
    qf_tensor *x = rows_tensor(4, s->size), *deq = rows_tensor(1, &count), *shift = rows_like(deq),
              *expected = rows_like(x);
    float *scales, *shifts, *values;
    assert_ok(context, qf_write(context, deq, QF_PLAIN, &scales));
    assert_ok(context, qf_write(context, shift, QF_PLAIN, &shifts));
    for (int c = 0; c < count; c++) {
        scales[c] = qf_random_uniform(&context->random, 1e-4f, 1e-2f);
        shifts[c] = (float)rows_between(0, 6);
    }
    assert_ok(context, qf_write(context, x, rows_chance(0.5) ? QF_PLAIN : QF_NHWC, &values));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        values[i] = 0.003f * (float)rows_between(-(1 << 20), 1 << 20);
    qf_tensor *mine = rows_copy(x);
    rows_expect_begin();
    assert_ok(context, qf_reference.quantise->dequantise_fake(context, x, deq, shift, expected));
    rows_expect_end();
    const bool in_place = rows_chance(0.5);
    qf_tensor *found = in_place ? mine : rows_like(mine);
    if (!in_place)
        rows_input(mine);
    rows_input(deq);
    rows_input(shift);
    rows_output(found, ROWS_FLOATS);
    assert_ok(context, device->quantise->dequantise_fake(context, mine, deq, shift, found));
    rows_check();
    rows_compare(device, found, expected, NULL, 0, "values");
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"activations", "quantise:activations", activations},
        {"activations-backward", "quantise:activations_backward", activations_backward},
        {"weights", NULL, weights},
        {"weights-with-nan", NULL, weights_with_nan},
        {"steps", NULL, steps},
        {"dequantise-fake", NULL, dequantise_fake},
        {"scales-alone", NULL, scales_alone},
        {"first-range", NULL, first_range},
        {"ifmr", "quantise:ifmr_add", ifmr},
        {"hfmg", NULL, hfmg},
        {"ranges-with-nan", NULL, ranges_with_nan},
        {"quant", NULL, quant},
    };
    const rows_family family = {.name = "quantise",
                                .operations = operations,
                                .operation_count = ROWS_COUNT(operations),
                                .shapes = shapes,
                                .shape_size = sizeof *shapes,
                                .shape_count = ROWS_COUNT(shapes),
                                .draw = draw,
                                .drawn = 24};
    return rows_run(&family, argc, argv);
}
