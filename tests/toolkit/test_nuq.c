/* Non-uniform quantisation: the clustering against all there are, the specification's example, and
 * scales that fit no worse than before. */
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "quant/nuq.h"
#include "toolkit/ptq/non_uniform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t cost_of(const uint64_t *counts, const int8_t *becomes)
{
    int64_t cost = 0;
    for (int i = 0; i < QF_NUQ_CODES; i++) {
        const int64_t distance = i - 128 - becomes[i];
        cost += (int64_t)counts[i] * distance * distance;
    }
    return cost;
}

static int different(const uint64_t *counts, const int8_t *becomes)
{
    bool used[QF_NUQ_CODES] = {false};
    int found = 0;
    for (int i = 0; i < QF_NUQ_CODES; i++)
        if (counts[i] && !used[becomes[i] + 128]) {
            used[becomes[i] + 128] = true;
            found++;
        }
    return found;
}

static void the_example(void **state)
{
    uint64_t counts[QF_NUQ_CODES] = {
        [125] = 5, [126] = 1, [128] = 10, [129] = 9, [132] = 2, [133] = 2};
    int8_t becomes[QF_NUQ_CODES];
    (void)state;
    qf_nuq_cluster(counts, 4, becomes);
    assert_int_equal(becomes[125], -3);
    assert_int_equal(becomes[126], -3);
    assert_int_equal(becomes[128], 0);
    assert_int_equal(becomes[129], 1);
    assert_int_equal(becomes[132], 4);
    assert_int_equal(becomes[133], 4);
    assert_int_equal(cost_of(counts, becomes), 3);
    qf_nuq_cluster(counts, 6, becomes); /* as many as there are */
    assert_int_equal(cost_of(counts, becomes), 0);
}

/* The least cost of any `steps` centres among LOW … LOW + SPAN − 1, each code to the nearest. */
enum { LOW = -5, SPAN = 12 };
static int64_t least_cost(const uint64_t *counts, int steps)
{
    int64_t least = INT64_MAX;
    for (unsigned chosen = 1; chosen < 1u << SPAN; chosen++) {
        int64_t cost = 0;
        if (__builtin_popcount(chosen) != steps)
            continue;
        for (int i = 0; i < SPAN; i++) {
            int nearest = SPAN;
            for (int c = 0; c < SPAN; c++)
                if (chosen >> c & 1 && abs(c - i) < nearest)
                    nearest = abs(c - i);
            cost += (int64_t)counts[i + LOW + 128] * nearest * nearest;
        }
        if (cost < least)
            least = cost;
    }
    return least;
}

static void no_clustering_is_better(void **state)
{
    unsigned random = 5;
    (void)state;
    for (int trial = 0; trial < 60; trial++) {
        uint64_t counts[QF_NUQ_CODES] = {0};
        int8_t becomes[QF_NUQ_CODES];
        for (int i = 0; i < SPAN; i++) {
            random = random * 1664525u + 1013904223u;
            counts[i + LOW + 128] = random >> 28 < 4 ? 0 : random >> 20 & 63;
        }
        for (int steps = 1; steps <= 6; steps++) {
            qf_nuq_cluster(counts, steps, becomes);
            assert_true(different(counts, becomes) <= steps);
            assert_int_equal(cost_of(counts, becomes), least_cost(counts, steps));
        }
    }
}

static void all_codes_and_large_counts(void **state)
{
    uint64_t counts[QF_NUQ_CODES];
    int8_t becomes[QF_NUQ_CODES];
    (void)state;
    for (int i = 0; i < QF_NUQ_CODES; i++)
        counts[i] = 1u << 30;
    qf_nuq_cluster(counts, 32, becomes);
    assert_int_equal(different(counts, becomes), 32);
    /* Runs of 8 around the fourth: 9 + 4 + 1 + 0 + 1 + 4 + 9 + 16; of 7 and 9 they cost as much. */
    assert_int_equal(cost_of(counts, becomes), (int64_t)32 * 44 << 30);
}

/* Weights of a few scales, quantised as ARQ does. */
enum { CHANNELS = 4, INNER = 200 };

static void arq(const float *w, float *scale, int8_t *codes)
{
    for (int c = 0; c < CHANNELS; c++) {
        float low = 0, high = 0;
        for (int i = 0; i < INNER; i++) {
            low = fminf(low, w[c * INNER + i]);
            high = fmaxf(high, w[c * INNER + i]);
        }
        scale[c] = qf_arq_scale(high, low, 8);
        for (int i = 0; i < INNER; i++)
            codes[c * INNER + i] = (int8_t)qf_arq_code(w[c * INNER + i], scale[c], 8);
    }
}

static double error_of(const float *w, const float *scale, const int8_t *codes)
{
    double sum = 0;
    for (int i = 0; i < CHANNELS * INNER; i++)
        sum += pow((double)w[i] - (double)((float)codes[i] * scale[i / INNER]), 2);
    return sum;
}

static void scales_fit_better_and_give_their_codes(void **state)
{
    float w[CHANNELS * INNER], scale[CHANNELS];
    int8_t codes[CHANNELS * INNER], again[CHANNELS * INNER];
    const qf_weight_layout layout = {1, CHANNELS, INNER};
    double before = INFINITY;
    unsigned random = 9;
    (void)state;
    for (int i = 0; i < CHANNELS * INNER; i++) {
        random = random * 1664525u + 1013904223u;
        const float x = (float)(random >> 8) / (1 << 23) - 1;
        w[i] = x * x * x * (float)(1 << i / INNER);
    }
    for (int steps = 16; steps <= 32; steps += 16, before = INFINITY)
        for (int iterations = 0; iterations <= 5; iterations++) {
            uint64_t counts[QF_NUQ_CODES] = {0};
            int8_t same[QF_NUQ_CODES];
            arq(w, scale, codes);
            assert_ok(context,
                      qf_nuq_quantise(context, w, layout, steps, iterations, scale, codes));
            for (int i = 0; i < CHANNELS * INNER; i++)
                counts[codes[i] + 128]++;
            for (int i = 0; i < QF_NUQ_CODES; i++)
                same[i] = (int8_t)(i - 128);
            assert_true(different(counts, same) <= steps);
            const double now = error_of(w, scale, codes);
            assert_true(now <= before);
            if (iterations == 1)
                assert_true(now < before);
            before = now;
            for (int i = 0; i < CHANNELS * INNER; i++)
                again[i] = (int8_t)qf_arq_code(w[i], scale[i / INNER], 8);
            qf_nuq_restrict(again, CHANNELS * INNER, steps);
            assert_memory_equal(again, codes, sizeof codes);
        }
}

static void channels_of_zeros_keep_their_scale(void **state)
{
    const float w[4] = {0, 0, 0.5f, -1};
    float scale[2] = {1, 1.0f / 128};
    int8_t codes[4] = {0, 0, 64, -128};
    (void)state;
    assert_ok(context,
              qf_nuq_quantise(context, w, (qf_weight_layout){1, 2, 2}, 16, 5, scale, codes));
    assert_true(scale[0] == 1 && scale[1] == 1.0f / 128);
    assert_memory_equal(codes, ((int8_t[]){0, 0, 64, -128}), sizeof codes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example),
        cmocka_unit_test(no_clustering_is_better),
        cmocka_unit_test(all_codes_and_large_counts),
        cmocka_unit_test(scales_fit_better_and_give_their_codes),
        cmocka_unit_test(channels_of_zeros_keep_their_scale),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
