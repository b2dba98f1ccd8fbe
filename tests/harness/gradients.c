#include "harness/gradients.h"

#include <math.h>

static double largest_of(const test_gradient *g)
{
    double largest = 0;
    for (size_t i = 0; i < g->count; i++)
        if (isfinite(g->expected[i]))
            largest = fmax(largest, fabs(g->expected[i]));
    return largest;
}

/* Can the row fail? */
static bool says_something(const test_gradient *g, double largest, qf_buffer *why)
{
    const double tolerance = (g->of_largest + g->of_each) * largest + g->absolute;
    if (g->zero && largest > g->absolute)
        qf_buffer_print(why, "  %s: declared to be zero (%s), but %g is expected\n", g->name,
                        g->zero, largest);
    else if (!g->zero && !(largest > 0 && largest >= 10 * tolerance))
        qf_buffer_print(why,
                        "  %s: the row says nothing: its largest gradient, %g, is below ten "
                        "tolerances of %g\n",
                        g->name, largest, tolerance);
    else
        return true;
    return false;
}

/* By how much an element is off beyond what it may be; 0: it is right. */
static double excess(const test_gradient *g, double largest, size_t i, double found)
{
    const double expected = g->expected[i], relative = g->zero ? 0 : 1;
    if ((g->unknown && g->unknown[i]) || found == expected || (isnan(found) && isnan(expected)))
        return 0;
    if (!isfinite(found) || !isfinite(expected))
        return INFINITY;
    const double allowed =
        g->absolute + relative * (g->of_largest * largest + g->of_each * fabs(expected));
    return fmax(0, fabs(found - expected) - allowed);
}

bool test_gradient_agrees(const test_gradient *g, const float *found, qf_buffer *why)
{
    const double largest = largest_of(g);
    size_t wrong = 0, worst = 0;
    double most = 0;
    if (!says_something(g, largest, why))
        return false;
    for (size_t i = 0; i < g->count; i++) {
        const double off = excess(g, largest, i, (double)found[i]);
        wrong += off > 0;
        if (off > most) {
            most = off;
            worst = i;
        }
    }
    if (wrong)
        qf_buffer_print(why,
                        "  %s: %zu of %zu are wrong, the worst [%zu]: %.9g, expected %.9g; the "
                        "largest is %g\n",
                        g->name, wrong, g->count, worst, (double)found[worst], g->expected[worst],
                        largest);
    return wrong == 0;
}

bool test_gradient_agrees_with(const test_gradient *gradient, const float *expected,
                               const float *found, qf_buffer *why)
{
    double *wide = qf_alloc(gradient->count, sizeof *wide);
    test_gradient g = *gradient;
    for (size_t i = 0; i < g.count; i++)
        wide[i] = (double)expected[i];
    g.expected = wide;
    const bool agrees = test_gradient_agrees(&g, found, why);
    qf_free(wide);
    return agrees;
}

/* ---- differences ---- */

static test_slope central(test_function *function, void *user, size_t terms, float at, double step,
                          double *above, double *below)
{
    const float high = (float)((double)at + step), low = (float)((double)at - step);
    const double distance = (double)high - (double)low; /* as it is, after rounding */
    double sum = 0, size = 0;
    function(user, high, above);
    function(user, low, below);
    for (size_t i = 0; i < terms; i++) {
        sum += above[i] - below[i];
        if (above[i] != below[i])
            size += fabs(above[i]) + fabs(below[i]);
    }
    return (test_slope){sum / distance, ldexp(size, -24) / distance}; /* each is off by ½ ulp */
}

test_slope test_slope_of(test_function *function, void *user, size_t terms, float at, double step)
{
    double *above = qf_alloc(2 * terms, sizeof *above), *below = above + terms;
    const test_slope wide = central(function, user, terms, at, step, above, below);
    const test_slope near = central(function, user, terms, at, step / 2, above, below);
    qf_free(above);
    return (test_slope){(4 * near.value - wide.value) / 3,
                        (4 * near.resolution + wide.resolution) / 3};
}
