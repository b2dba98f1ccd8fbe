/* The comparison that all tests of gradients use refuses what it has to: gradients of zeros, of
 * half the size, with one wrong sign, and rows that could not fail. */
#include "harness/gradients.h"

#include <math.h>
#include <string.h>

enum { COUNT = 6 };

/* As small as gradients of a mean over many items are. */
static const double right[COUNT] = {2e-4, -1e-4, 3e-5, 0, -2.5e-4, 1e-5};

static const test_gradient usual = {
    .name = "x", .count = COUNT, .expected = right, .of_largest = 1e-3};

static void assert_judged(const test_gradient *g, const float *found, const char *part)
{
    qf_buffer why = {0};
    const bool agrees = test_gradient_agrees(g, found, &why);
    if (agrees != !part || (part && !strstr(qf_buffer_text(&why), part)))
        fail_msg("expected \"%s\" in: %s", part ? part : "agreement", qf_buffer_text(&why));
    qf_buffer_release(&why);
}

/* The right gradient times `factor`. */
static void assert_scaled(double factor, const char *part)
{
    float found[COUNT];
    for (int i = 0; i < COUNT; i++)
        found[i] = (float)(factor * right[i]);
    assert_judged(&usual, found, part);
}

static void one_that_is_another_in_size(void **state)
{
    (void)state;
    assert_scaled(1, NULL);
    assert_scaled(1.0009, NULL);
    assert_scaled(1.002, "2 of 6 are wrong, the worst [4]");
    assert_scaled(0, "5 of 6 are wrong, the worst [4]");
    assert_scaled(0.5, "are wrong");
    assert_scaled(-1, "are wrong");
    assert_scaled((double)INFINITY, "are wrong");
    assert_scaled((double)NAN, "6 of 6 are wrong");
}

static void one_that_is_wrong_in_an_element(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        const double wrong[] = {-right[i], right[i] + 1e-6, (double)NAN};
        for (int k = right[i] == 0; k < 3; k++) {
            float found[COUNT];
            for (int j = 0; j < COUNT; j++)
                found[j] = (float)right[j];
            found[i] = (float)wrong[k];
            assert_judged(&usual, found, "1 of 6 are wrong");
        }
    }
}

static void rows_that_could_not_fail(void **state)
{
    static const float zeros[COUNT];
    static const double none[COUNT];
    float found[COUNT];
    test_gradient g = usual;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        found[i] = (float)right[i];
    g.absolute = 1e-2; /* an error as large as any gradient here */
    assert_judged(&g, zeros, "the row says nothing");
    assert_judged(&g, found, "the row says nothing");
    g.absolute = 2.4e-5;
    assert_judged(&g, found, NULL);
    assert_judged(&g, zeros, "are wrong");
    g.of_largest = 0.11;
    assert_judged(&g, found, "the row says nothing");
    g = usual;
    g.expected = none;
    assert_judged(&g, zeros, "the row says nothing: its largest gradient, 0");
}

static void rows_that_say_zero(void **state)
{
    static const float zeros[COUNT], one[COUNT] = {[3] = 1e-6f};
    static const double none[COUNT];
    test_gradient g = usual;
    (void)state;
    g.zero = "nothing depends on it";
    assert_judged(&g, zeros, "declared to be zero (nothing depends on it), but 0.00025");
    g.expected = none;
    assert_judged(&g, zeros, NULL);
    assert_judged(&g, one, "1 of 6 are wrong, the worst [3]");
    g.absolute = 2e-6;
    assert_judged(&g, one, NULL);
}

/* Each as much as it may be off by itself, and those that nobody knows not at all. */
static void elements_by_themselves(void **state)
{
    static const double expected[] = {1, 1e-3, 5};
    static const bool unknown[] = {false, false, true};
    const test_gradient g = {
        .name = "x", .count = 3, .expected = expected, .unknown = unknown, .of_each = 1e-3};
    (void)state;
    assert_judged(&g, (const float[]){1.0009f, 1.0009e-3f, 7}, NULL);
    assert_judged(&g, (const float[]){1.0011f, 1e-3f, 7}, "1 of 3 are wrong, the worst [0]");
    assert_judged(&g, (const float[]){1, 1.0011e-3f, 7}, "1 of 3 are wrong, the worst [1]");
}

static void no_numbers(void **state)
{
    static const double expected[] = {1, (double)NAN, (double)INFINITY};
    const test_gradient g = {.name = "x", .count = 3, .expected = expected, .of_largest = 1e-3};
    (void)state;
    assert_judged(&g, (const float[]){1, NAN, INFINITY}, NULL);
    assert_judged(&g, (const float[]){1, 0, INFINITY}, "1 of 3 are wrong, the worst [1]: 0");
    assert_judged(&g, (const float[]){1, NAN, -INFINITY}, "1 of 3 are wrong, the worst [2]: -inf");
}

/* Sums that floats hold badly: a term that stays, one that hardly moves. */
static void terms_of(void *user, float at, double *terms)
{
    (void)user;
    terms[0] = (double)expf(at);
    terms[1] = 1e6;
    terms[2] = (double)(sinf(3 * at) * 0.125f);
}

static void slopes(void **state)
{
    (void)state;
    for (float at = -3; at <= 3; at += 0.37f) {
        const test_slope slope = test_slope_of(terms_of, NULL, 3, at, 0x1p-7);
        const double x = (double)at, expected = exp(x) + 0.375 * cos(3 * x);
        if (!(fabs(slope.value - expected) <= 2 * slope.resolution + 1e-7))
            fail_msg("slope at %g: %.9g, expected %.9g", x, slope.value, expected);
        assert_true(slope.resolution > 0 && slope.resolution < 2e-4 * (1 + exp(x)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_another_in_size),
        cmocka_unit_test(one_that_is_wrong_in_an_element),
        cmocka_unit_test(rows_that_could_not_fail),
        cmocka_unit_test(rows_that_say_zero),
        cmocka_unit_test(elements_by_themselves),
        cmocka_unit_test(no_numbers),
        cmocka_unit_test(slopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
