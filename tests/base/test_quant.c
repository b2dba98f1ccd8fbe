/* The CPU's loops against the definition (rows compare whole operations: operations/), the search
 * of a range on a histogram against the exact one, and what no row sees. */
#include "device/cpu/quantise/quantise_loops.h"
#include "device/cpu/sweep/shift_search.h"
#include "device/cpu/sweep/shift_tile.h"
#include "device/device.h"
#include "harness/harness.h"

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

/* docs/numerics.md, "IFMR": the histogram finds nearly the exact range. */
static void histogram_is_close(void **state)
{
    (void)state;
    qf_context *context = test_context();
    for (int offset = 0; offset < 2; offset++) {
        qf_ifmr_options options = qf_ifmr_defaults;
        float exact, binned;
        int32_t exact_offset, binned_offset;
        options.with_offset = offset;
        assert_ok(context, qf_ifmr_exact(context, &options, x, COUNT, &exact, &exact_offset));
        assert_ok(context, qf_ifmr_histogram(context, &options, x, COUNT, &binned, &binned_offset));
        assert_true(fabsf(binned - exact) <= 0.03f * exact);
        assert_true(abs(binned_offset - exact_offset) <= 2);
    }
    qf_context_destroy(context);
}

static void ranges_of_nan_are_refused(void **state)
{
    (void)state;
    qf_context *context = test_context();
    const float values[] = {1, NAN, 2};
    float scale;
    int32_t offset;
    assert_fails(context, qf_ifmr_exact(context, &qf_ifmr_defaults, values, 3, &scale, &offset),
                 "value 1 is nan");
    assert_fails(context, qf_ifmr_histogram(context, &qf_ifmr_defaults, values, 3, &scale, &offset),
                 "value 1 is nan");
    assert_fails(context, qf_ifmr_exact(context, &qf_ifmr_defaults, values, 0, &scale, &offset),
                 "no values");
    qf_context_destroy(context);
}

/* Ties, the floats beside them, and small weights; the first of each channel decides the scale. */
static void weight_codes_follow_the_definition(void **state)
{
    (void)state;
    enum { ROWS = 5, ROW = 20000, WEIGHTS = ROWS * ROW };
    static float w[WEIGHTS];
    static int8_t codes[WEIGHTS];
    const float step[ROWS] = {1, 0.25f, 0.0078125f, 3e-6f, 0.013f};
    qf_context *context = test_context();
    for (size_t i = 0; i < WEIGHTS; i++) {
        const float tie = ((float)(i % 255) - 127.5f) * step[i / ROW];
        w[i] = i % 3 == 0 ? tie : i % 3 == 1 ? nextafterf(tie, 0) : x[i] * step[i / ROW];
    }
    for (size_t c = 0; c < ROWS; c++)
        w[c * ROW] = -128 * step[c];
    const qf_weight_layout layout = {1, ROWS, ROW};
    float scale[ROWS];
    assert_ok(context, qf_arq_quantise(context, w, layout, 8, scale, codes));
    for (size_t c = 0; c < ROWS; c++)
        assert_true(scale[c] == step[c]);
    for (size_t i = 0; i < WEIGHTS; i++)
        assert_int_equal(codes[i], (int)qf_arq_code(w[i], scale[i / ROW], 8));
    qf_context_destroy(context);
}

/* For every kind of layout; NaN is found. */
static void weights_of_all_layouts(void **state)
{
    (void)state;
    enum { WEIGHTS = 60000 };
    static float w[WEIGHTS];
    static int8_t codes[WEIGHTS];
    static const qf_weight_layout layouts[] = {{1, 60, 1000}, {20, 30, 100}, {1, 1, WEIGHTS},
                                               {7, 3, 11},    {1, 1, 5},     {1, 3, 20000}};
    qf_context *context = test_context();
    for (size_t i = 0; i < WEIGHTS; i++)
        w[i] = x[i] * (float)(i % 977);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        const qf_weight_layout layout = layouts[l];
        const size_t n = layout.outer * layout.channels * layout.inner;
        float scale[60], limit[60] = {0};
        assert_ok(context, qf_arq_quantise(context, w, layout, 8, scale, codes));
        for (size_t i = 0; i < n; i++) {
            float *largest = &limit[i / layout.inner % layout.channels];
            if (fabsf(w[i]) > fabsf(*largest) || (fabsf(w[i]) == fabsf(*largest) && w[i] < 0))
                *largest = w[i];
        }
        for (size_t c = 0; c < layout.channels; c++)
            assert_true(scale[c] == (limit[c] > 0 ? limit[c] / 127 : limit[c] / -128));
        for (size_t i = 0; i < n; i++)
            assert_int_equal(codes[i],
                             (int)qf_arq_code(w[i], scale[i / layout.inner % layout.channels], 8));
        const float before = w[n - 1];
        w[n - 1] = NAN;
        assert_int_equal(qf_arq_quantise(context, w, layout, 8, scale, codes), QF_E_VALUE);
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

/* What the host's search finds in `values`, by itself. */
static void search(qf_context *context, const float *values, int rows, int channels,
                   const float *deq, qf_shift_errors *errors)
{
    const qf_shape shape = qf_shape_make(2, (int[]){rows, channels});
    qf_sweep sweep = {.rows = (size_t)rows, .channels = (size_t)channels};
    qf_tensor *tensor;
    float *to;
    assert_ok(context, qf_tensor_create(context, &tensor));
    assert_ok(context, qf_tensor_reshape(context, tensor, &shape));
    assert_ok(context, qf_write(context, tensor, QF_PLAIN, &to));
    memcpy(to, values, qf_shape_count(&shape) * sizeof *to);
    assert_ok(context,
              qf_cpu.sweep->search_begin(context, deq, NULL, sweep.channels, &sweep.search));
    assert_ok(context, qf_cpu.sweep->forward(context, &sweep, tensor, NULL, NULL, NULL));
    qf_cpu.sweep->search_end(sweep.search, errors);
    qf_tensor_release(tensor);
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
        for (int i = c; i < ROWS * CHANNELS; i += CHANNELS)
            qf_shift_errors_add(&slow[c], qf_shift_accumulator(values[i], deq[c]));
    for (int threads = 1; threads <= 3; threads++) {
        qf_context_set_threads(context, threads);
        search(context, values, ROWS, CHANNELS, deq, fast[threads - 1]);
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
        cmocka_unit_test(histogram_is_close),
        cmocka_unit_test(ranges_of_nan_are_refused),
        cmocka_unit_test(weight_codes_follow_the_definition),
        cmocka_unit_test(weights_of_all_layouts),
        cmocka_unit_test(shifts_of_rows_equal_reference),
        cmocka_unit_test(kernels_of_shifts_agree),
        cmocka_unit_test(vnni_leaves_what_it_cannot_do),
        cmocka_unit_test(deployed_values),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
