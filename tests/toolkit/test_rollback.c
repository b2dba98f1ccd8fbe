/* The search for how many layers stay float, for every number of layers and every goal: the
 * recorded cases (golden_amct) have a few. */
#include "harness/harness.h"
#include "toolkit/auto/rollback.h"

#include <math.h>

/* Where a model is good from `from` float layers on. Returns the number of evaluations. */
static int search(size_t layers, size_t from, size_t *best)
{
    qf_rollback search;
    size_t k, last = 0;
    int evaluations = 0;
    qf_rollback_begin(&search, layers, from == 0);
    while (qf_rollback_next(&search, &k)) {
        assert_true(k >= 1 && k < layers); /* never all of them */
        qf_rollback_tell(&search, k >= from);
        last = k;
        evaluations++;
    }
    *best = search.best;
    if (*best > 0 && *best < layers)
        assert_int_equal(last, *best); /* its files are the last that were written */
    return evaluations;
}

static void the_least_is_found(void **state)
{
    (void)state;
    for (size_t layers = 1; layers <= 70; layers++)
        for (size_t from = 0; from <= layers; from++) {
            size_t best;
            const int evaluations = search(layers, from, &best);
            assert_int_equal(best, from);
            assert_true(evaluations <= (int)floor(log2((double)layers)) + 2);
        }
}

static void equal_layers_keep_their_order(void **state)
{
    (void)state;
    const double similarity[] = {0.9, 0.5, 0.9, 0.5, 0.1};
    const size_t expected[] = {4, 1, 3, 0, 2};
    size_t order[5];
    qf_rollback_order(similarity, 5, order);
    assert_memory_equal(order, expected, sizeof order);
}

static void opposite_is_nothing_alike(void **state)
{
    (void)state;
    const float a[] = {1, -2, 3}, b[] = {-1, 2, -3};
    assert_true(fabs(qf_cosine_similarity(a, b, 3)) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_is_found),
        cmocka_unit_test(equal_layers_keep_their_order),
        cmocka_unit_test(opposite_is_nothing_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
