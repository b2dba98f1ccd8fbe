/* HFMG beside the recorded cases (golden_amct, golden_quant): what it keeps when it refuses, and
 * what does not depend on batches. */
#include "harness/harness.h"
#include "quant/hfmg.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { COUNT = 6000, BINS = 1024 };

static qf_context *context;
static float values[COUNT];

static uint64_t total(const qf_hfmg *hfmg)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < hfmg->bins; i++)
        sum += hfmg->counts[i];
    return sum;
}

static qf_hfmg histogram_of(size_t first, size_t batch)
{
    qf_hfmg hfmg;
    assert_ok(context, qf_hfmg_begin(context, BINS, &hfmg));
    assert_ok(context, qf_hfmg_add(context, &hfmg, values, first));
    for (size_t i = first; i < COUNT; i += batch)
        assert_ok(context,
                  qf_hfmg_add(context, &hfmg, values + i, batch < COUNT - i ? batch : COUNT - i));
    return hfmg;
}

/* No value is lost or counted twice, whatever the range did from batch to batch. */
static void every_value_is_counted_once(void **state)
{
    (void)state;
    static const size_t batches[] = {1, 7, 100, COUNT};
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        qf_hfmg hfmg = histogram_of(1, batches[i]);
        assert_int_equal(total(&hfmg), COUNT);
        assert_true(hfmg.low == -3 && fabsf(qf_hfmg_edge(&hfmg, BINS) - 5) < 1e-4f);
        qf_hfmg_release(&hfmg);
    }
}

/* Where the first batch has the whole range, later ones fall into the same bins. */
static void batches_of_one_range_change_nothing(void **state)
{
    (void)state;
    qf_hfmg whole = histogram_of(COUNT, COUNT), parts = histogram_of(2, 500);
    assert_memory_equal(whole.counts, parts.counts, BINS * sizeof *whole.counts);
    for (int with_offset = 0; with_offset < 2; with_offset++) {
        float scale[2];
        int32_t offset[2];
        qf_hfmg_factors(&whole, with_offset, &scale[0], &offset[0]);
        qf_hfmg_factors(&parts, with_offset, &scale[1], &offset[1]);
        assert_true(scale[0] == scale[1] && offset[0] == offset[1]);
        /* something is cut off, and codes stay codes */
        assert_true(scale[0] > 1.f / 255 && scale[0] < (with_offset ? 8.f / 255 : 5.f / 127));
        assert_true(offset[0] >= -128 && offset[0] <= 127 && (with_offset || offset[0] == 0));
    }
    qf_hfmg_release(&whole);
    qf_hfmg_release(&parts);
}

static void what_is_refused_changes_nothing(void **state)
{
    (void)state;
    qf_hfmg hfmg = histogram_of(COUNT, COUNT);
    assert_fails(context, qf_hfmg_add(context, &hfmg, (float[]){1, NAN}, 2), "value 1 is nan");
    assert_fails(context, qf_hfmg_add(context, &hfmg, (float[]){-INFINITY}, 1), "value 0 is -inf");
    assert_fails(context, qf_hfmg_add(context, &hfmg, (float[]){FLT_MAX, -FLT_MAX}, 2),
                 "their range is infinite");
    assert_ok(context, qf_hfmg_add(context, &hfmg, values, 0));
    assert_int_equal(total(&hfmg), COUNT);
    qf_hfmg_release(&hfmg);
    assert_fails(context, qf_hfmg_begin(context, 1, &hfmg), "expected 2 or more");
}

/* By hand, from the specification. */
static void equal_values(void **state)
{
    (void)state;
    float twos[40], scale;
    int32_t offset;
    qf_hfmg hfmg;
    for (size_t i = 0; i < 40; i++)
        twos[i] = 2;
    assert_ok(context, qf_hfmg_begin(context, BINS, &hfmg));
    assert_ok(context, qf_hfmg_add(context, &hfmg, twos, 40));
    assert_int_equal(hfmg.counts[BINS / 2], 40);
    qf_hfmg_factors(&hfmg, true, &scale, &offset);
    assert_true(scale == 2.f / 255 && offset == -128);
    qf_hfmg_release(&hfmg);
}

static int setup(void **state)
{
    (void)state;
    context = test_context();
    for (size_t i = 0; i < COUNT; i++) /* dense in the middle, thin at both ends */
        values[i] = 1 + 0.9f * sinf((float)i) * cosf(2.3f * (float)i);
    values[0] = -3;
    values[1] = 5;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    qf_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_counted_once),
        cmocka_unit_test(batches_of_one_range_change_nothing),
        cmocka_unit_test(what_is_refused_changes_nothing),
        cmocka_unit_test(equal_values),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
