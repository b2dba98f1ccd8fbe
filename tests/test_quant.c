/* Fast kernels against their scalar references, and the streaming search of a range against the
 * exact one. */
#include "harness/harness.h"
#include "quant/quant.h"
#include "quant/shift_tile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 100003 };

static float x[COUNT], dy[COUNT];

static int set_up(void **state)
{
    (void)state;
    qf_random random;
    qf_random_seed(&random, 7);
    for (int i = 0; i < COUNT; i++) {
        x[i] = qf_random_gaussian(&random, 0.3f, 1);
        dy[i] = qf_random_gaussian(&random, 0, 1);
    }
    return 0;
}

static const float ranges[][2] = {{2, -1}, {3, 0}, {1, -1}, {0.01f, -4}, {100, -100}, {0, -2}};

static void ulq_forward_equals_reference(void **state)
{
    (void)state;
    static float y[COUNT], expected[COUNT];
    static uint8_t code[COUNT], expected_code[COUNT];
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        const qf_ulq factors = qf_ulq_factors(ranges[r][0], ranges[r][1], 8);
        qf_ulq_forward(x, y, code, COUNT, factors);
        qf_ulq_forward_reference(x, expected, expected_code, COUNT, factors);
        assert_memory_equal(code, expected_code, sizeof code);
        for (int i = 0; i < COUNT; i++)
            assert_true(y[i] == expected[i]);
    }
}

static void ulq_backward_equals_reference(void **state)
{
    (void)state;
    static float dx[COUNT], expected[COUNT];
    /* Terms of both signs are added in float32 within a part: the error is one of their magnitudes.
     */
    double magnitude = 0;
    for (int i = 0; i < COUNT; i++)
        magnitude += fabs((double)dy[i]);
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        double d[2] = {0, 0}, d_expected[2] = {0, 0};
        qf_ulq_backward(x, dy, dx, COUNT, ranges[r][0], ranges[r][1], d);
        qf_ulq_backward_reference(x, dy, expected, COUNT, ranges[r][0], ranges[r][1], d_expected);
        assert_memory_equal(dx, expected, sizeof dx);
        for (int i = 0; i < 2; i++)
            assert_true(fabs(d[i] - d_expected[i]) < 2e-8 * magnitude);
    }
}

/* docs/numerics.md, "IFMR": the histogram finds nearly the exact range, however the values come. */
static void streamed_range_is_close(void **state)
{
    (void)state;
    qf_context *context = test_context();
    for (int offset = 0; offset < 2; offset++) {
        qf_ifmr_options options = qf_ifmr_defaults;
        qf_ifmr *ifmr;
        float exact, streamed;
        int32_t exact_offset, streamed_offset;
        options.with_offset = offset;
        assert_ok(context, qf_ifmr_exact(context, &options, x, COUNT, &exact, &exact_offset));
        assert_ok(context, qf_ifmr_create(context, &options, &ifmr));
        for (size_t at = 0; at < COUNT; at += 1000)
            assert_ok(context,
                      qf_ifmr_add(context, ifmr, x + at, COUNT - at < 1000 ? COUNT - at : 1000));
        assert_ok(context, qf_ifmr_finish(context, ifmr, &streamed, &streamed_offset));
        assert_true(fabsf(streamed - exact) <= 0.03f * exact);
        assert_true(abs(streamed_offset - exact_offset) <= 2);
        qf_ifmr_destroy(ifmr);
    }
    qf_context_destroy(context);
}

static void a_stream_refuses_nan(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_ifmr *ifmr;
    assert_ok(context, qf_ifmr_create(context, &qf_ifmr_defaults, &ifmr));
    assert_int_not_equal(qf_ifmr_add(context, ifmr, &(float){NAN}, 1), QF_OK);
    qf_ifmr_destroy(ifmr);
    qf_context_destroy(context);
}

/* Ties, the floats beside them, and random weights. */
static void weight_codes_equal_reference(void **state)
{
    (void)state;
    enum { ROWS = 5, ROW = 20000, WEIGHTS = ROWS * ROW };
    static float w[WEIGHTS], fake[WEIGHTS], expected_fake[WEIGHTS];
    static int8_t codes[WEIGHTS], expected[WEIGHTS];
    const float scale[ROWS] = {1, 0.25f, 0.0078125f, 3e-9f, 0.013f};
    for (size_t i = 0; i < WEIGHTS; i++) {
        const float tie = ((float)(i % 300) - 150 + 0.5f) * scale[i / ROW];
        w[i] = i % 4 == 0 ? tie : i % 4 == 1 ? nextafterf(tie, 0) : i % 4 == 2 ? x[i] : x[i] * 1e6f;
    }
    const qf_weight_layout layout = {1, ROWS, ROW};
    qf_arq_codes(w, layout, scale, codes, fake);
    qf_arq_codes_reference(w, layout, scale, expected, expected_fake);
    assert_memory_equal(codes, expected, sizeof codes);
    for (size_t i = 0; i < WEIGHTS; i++)
        assert_true(fake[i] == expected_fake[i]);
}

/* Scales and codes in one pass: those of two, for every kind of layout; NaN is found. */
static void weights_are_quantised_in_one_pass(void **state)
{
    (void)state;
    enum { WEIGHTS = 60000 };
    static float w[WEIGHTS];
    static int8_t codes[WEIGHTS], expected[WEIGHTS];
    static const qf_weight_layout layouts[] = {{1, 60, 1000}, {20, 30, 100}, {1, 1, WEIGHTS},
                                               {7, 3, 11},    {1, 1, 5},     {1, 3, 20000}};
    qf_context *context = test_context();
    for (size_t i = 0; i < WEIGHTS; i++)
        w[i] = x[i] * (float)(i % 977);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        const qf_weight_layout layout = layouts[l];
        const size_t n = layout.outer * layout.channels * layout.inner;
        float scale[60], limit[60] = {0};
        assert_ok(context, qf_arq_quantise(context, w, layout, scale, codes));
        for (size_t i = 0; i < n; i++) {
            float *largest = &limit[i / layout.inner % layout.channels];
            if (fabsf(w[i]) > fabsf(*largest) || (fabsf(w[i]) == fabsf(*largest) && w[i] < 0))
                *largest = w[i];
        }
        for (size_t c = 0; c < layout.channels; c++)
            assert_true(scale[c] == (limit[c] > 0 ? limit[c] / 127 : limit[c] / -128));
        qf_arq_codes_reference(w, layout, scale, expected, NULL);
        assert_memory_equal(codes, expected, n);
        const float before = w[n - 1];
        w[n - 1] = NAN;
        assert_int_equal(qf_arq_quantise(context, w, layout, scale, codes), QF_E_VALUE);
        char *named = test_format("weights of channel %zu contain NaN", layout.channels - 1);
        assert_non_null(strstr(qf_error_text(context), named));
        qf_free(named);
        w[n - 1] = before;
    }
    qf_context_destroy(context);
}

/* The packed word, and integers at the ends of their ranges. */
static void deployed_values(void **state)
{
    (void)state;
    float deq;
    int shift, offset;
    qf_unpack_dequant(qf_pack_dequant(0.125f, 9, -3), &deq, &shift, &offset);
    assert_true(deq == 0.125f && shift == 9 && offset == -3);
    assert_int_equal(qf_dequant_shift(12, 3), 2); /* 1.5, half away */
    assert_int_equal(qf_dequant_shift(-12, 3), -2);
    assert_int_equal(qf_dequant_shift(INT32_MAX, 1), INT16_MAX);
    assert_int_equal(qf_dequant_shift(INT32_MIN, 1), INT16_MIN);
    assert_int_equal(qf_saturate_int32(1e20), INT32_MAX);
    assert_int_equal(qf_saturate_int32((double)NAN), 0);
    assert_int_equal(qf_quant_code(NAN, 1, 0), -128);
    assert_true(qf_dequant(100, 0.5f, 0) == 50);
    assert_true(qf_folded_scale(1, 0) > 0);
    assert_true(qf_folded_scale(2, -3) == 6);
    assert_true(qf_round_even(2.5f) == 2 && qf_round_away(2.5f) == 3);
}

/* Values around every power of two, so that each shift clips some channels and not others; sums
 * that stay below 2^53 are exact, others as near as double allows. */
static void shifts_of_rows_equal_reference(void **state)
{
    (void)state;
    enum { ROWS = 517, CHANNELS = 97 };
    static float values[ROWS * CHANNELS], deq[CHANNELS];
    static qf_shift_errors fast[3][CHANNELS], slow[CHANNELS];
    qf_context *context = test_context();
    for (int c = 0; c < CHANNELS; c++)
        deq[c] = 0.001f * (float)(c + 1);
    for (int i = 0; i < ROWS * CHANNELS; i++)
        values[i] = ldexpf(dy[i % COUNT] * deq[i % CHANNELS], i % CHANNELS % 33);
    values[0] = NAN;
    values[1] = INFINITY;
    values[CHANNELS + 1] = -INFINITY;
    values[2] = 0.5f * deq[2];
    values[CHANNELS + 2] = -2.5f * deq[2];
    for (int c = 0; c < CHANNELS; c++)
        qf_shift_add(&slow[c], values + c, ROWS, CHANNELS, deq[c]);
    for (int threads = 1; threads <= 3; threads++) {
        qf_context_set_threads(context, threads);
        assert_ok(context,
                  qf_shift_add_rows(context, fast[threads - 1], values, ROWS, CHANNELS, deq));
        assert_memory_equal(fast[threads - 1], fast[0], sizeof fast[0]);
    }
    for (int c = 0; c < CHANNELS; c++) {
        assert_int_equal(qf_shift_best(&fast[0][c]), qf_shift_best(&slow[c]));
        for (int n = 0; n < QF_SHIFT_MAX; n++) {
            const double found = fast[0][c].error[n], expected = slow[c].error[n];
            if (!(expected < 0x1p53 ? found == expected
                                    : fabs(found - expected) <= 1e-12 * expected))
                fail_msg("channel %d, shift %d: %.17g, expected %.17g", c, n + 1, found, expected);
        }
    }
    qf_context_destroy(context);
}

static void sums_of(const qf_shift_sums *sums, size_t channels, double sum[][QF_SHIFT_LANES])
{
    for (int n = 0; n < QF_SHIFT_MAX; n++)
        for (size_t c = 0; c < channels; c++)
            sum[n][c] = ldexp((double)sums->high[n][c], 32) + (double)sums->low[n][c];
}

static void add_tile_often(qf_shift_sums *sums, const qf_shift_tile *tile, int times, bool vnni)
{
    *sums = (qf_shift_sums){.rows = 0};
    for (int i = 0; i < times; i++)
        if (!vnni)
            qf_shift_add_tile(sums, tile);
        else
            assert_true(qf_shift_add_tile_vnni(sums, tile));
    if (vnni)
        qf_shift_flush_vnni(sums);
    qf_shift_widen(sums);
}

/* Ties, their neighbours and random values, of accumulators up to 2 ... 2^27, in tiles of all
 * sizes; repeated so often that pieces of 32 bits must be put away in time. */
static void kernels_of_shifts_agree(void **state)
{
    (void)state;
    static float values[QF_SHIFT_ROWS * 20], deq[QF_SHIFT_LANES], inverse[QF_SHIFT_LANES];
    static qf_shift_sums fast, slow;
    static double found[QF_SHIFT_MAX][QF_SHIFT_LANES], expected[QF_SHIFT_MAX][QF_SHIFT_LANES];
    if (!qf_shift_vnni_available())
        skip();
    for (int test = 0; test < 400; test++) {
        const qf_shift_tile tile = {.x = values,
                                    .deq = deq,
                                    .inverse = inverse,
                                    .rows = (size_t)(test * 7 % QF_SHIFT_ROWS + 1),
                                    .channels = (size_t)(test % QF_SHIFT_LANES + 1),
                                    .stride = 20};
        for (int c = 0; c < QF_SHIFT_LANES; c++) {
            deq[c] = ldexpf(0.5f + fabsf(x[test * QF_SHIFT_LANES + c]) / 16, test % 40 - 20);
            inverse[c] = 1 / deq[c];
        }
        for (int i = 0; i < QF_SHIFT_ROWS * 20; i++) {
            const float limit = ldexpf(1, test % 27 + 1);
            const float whole = floorf(fmodf(x[(test * 1000 + i) % COUNT] * limit, limit));
            const float tie = (whole + 0.5f) * deq[i % 20 % QF_SHIFT_LANES];
            values[i] = i % 4 == 0   ? tie
                        : i % 4 == 1 ? nextafterf(tie, 0)
                        : i % 4 == 2 ? nextafterf(tie, 1e30f)
                                     : tie * fabsf(dy[i]) / 4;
        }
        const int times = test % 50 == 49 ? 3000 : 1;
        add_tile_often(&fast, &tile, times, true);
        add_tile_often(&slow, &tile, times, false);
        sums_of(&fast, tile.channels, found);
        sums_of(&slow, tile.channels, expected);
        for (int n = 0; n < QF_SHIFT_MAX; n++)
            for (size_t c = 0; c < tile.channels; c++)
                if (found[n][c] != expected[n][c])
                    fail_msg("test %d, channel %zu, shift %d: %.17g, expected %.17g", test, c,
                             n + 1, found[n][c], expected[n][c]);
    }
}

static void vnni_leaves_what_it_cannot_do(void **state)
{
    (void)state;
    static qf_shift_sums sums;
    const float ones[QF_SHIFT_LANES] = {1, 1};
    const float values[] = {NAN, INFINITY, -INFINITY, 0x1p28f, 1e38f};
    if (!qf_shift_vnni_available())
        skip();
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const float row[QF_SHIFT_LANES] = {3, values[i]};
        const qf_shift_tile tile = {row, ones, ones, 1, 2, 2};
        assert_false(qf_shift_add_tile_vnni(&sums, &tile));
        assert_true(sums.rows == 0 && !sums.wide);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ulq_forward_equals_reference),
        cmocka_unit_test(ulq_backward_equals_reference),
        cmocka_unit_test(streamed_range_is_close),
        cmocka_unit_test(a_stream_refuses_nan),
        cmocka_unit_test(weight_codes_equal_reference),
        cmocka_unit_test(shifts_of_rows_equal_reference),
        cmocka_unit_test(kernels_of_shifts_agree),
        cmocka_unit_test(vnni_leaves_what_it_cannot_do),
        cmocka_unit_test(weights_are_quantised_in_one_pass),
        cmocka_unit_test(deployed_values),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
