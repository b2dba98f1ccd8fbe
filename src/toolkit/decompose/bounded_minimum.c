/* Brent's search for a minimum: parabolas through the three best places, the golden section where
 * they lead nowhere. The order of operations is that of the usual routine, whose results AMCT's
 * ranks depend on. */
#include "toolkit/decompose/bounded_minimum.h"

#include <math.h>

enum { MOST_EVALUATIONS = 500 };

typedef struct place {
    double x, value;
} place;

typedef struct search {
    double low, high;
    place best, second, third;
    double step, before; /* the last one, and the one before */
    double middle, tolerance;
} search;

static double sign_of(double x)
{
    return x < 0 ? -1 : 1;
}

static void measure(search *s)
{
    s->middle = 0.5 * (s->low + s->high);
    s->tolerance = sqrt(2.2e-16) * fabs(s->best.x) + 1e-5 / 3;
}

static bool is_found(const search *s)
{
    return fabs(s->best.x - s->middle) <= 2 * s->tolerance - 0.5 * (s->high - s->low);
}

/* To the lowest point of the parabola; false: it lies outside, or goes too far. */
static bool step_by_parabola(search *s)
{
    if (fabs(s->before) <= s->tolerance)
        return false;
    double r = (s->best.x - s->second.x) * (s->best.value - s->third.value);
    double q = (s->best.x - s->third.x) * (s->best.value - s->second.value);
    double p = (s->best.x - s->third.x) * q - (s->best.x - s->second.x) * r;
    q = 2 * (q - r);
    if (q > 0)
        p = -p;
    q = fabs(q);
    r = s->before;
    s->before = s->step;
    if (fabs(p) >= fabs(0.5 * q * r) || p <= q * (s->low - s->best.x) ||
        p >= q * (s->high - s->best.x))
        return false;
    s->step = p / q;
    const double x = s->best.x + s->step;
    if (x - s->low < 2 * s->tolerance || s->high - x < 2 * s->tolerance)
        s->step = s->tolerance * sign_of(s->middle - s->best.x);
    return true;
}

static void step_by_section(search *s)
{
    s->before = (s->best.x >= s->middle ? s->low : s->high) - s->best.x;
    s->step = 0.5 * (3 - sqrt(5)) * s->before;
}

static void take(search *s, place found)
{
    const bool better = found.value <= s->best.value;
    const double inner = better ? s->best.x : found.x;
    if (better ? found.x >= s->best.x : found.x < s->best.x)
        s->low = inner;
    else
        s->high = inner;
    if (better) {
        s->third = s->second;
        s->second = s->best;
        s->best = found;
    } else if (found.value <= s->second.value || s->second.x == s->best.x) {
        s->third = s->second;
        s->second = found;
    } else if (found.value <= s->third.value || s->third.x == s->best.x ||
               s->third.x == s->second.x) {
        s->third = found;
    }
}

bool qf_bounded_minimum(qf_bounded_function function, const void *user, double lower, double upper,
                        double *at)
{
    if (!(lower <= upper))
        return false;
    search s = {.low = lower, .high = upper};
    s.best.x = lower + 0.5 * (3 - sqrt(5)) * (upper - lower);
    if (!function(user, s.best.x, &s.best.value))
        return false;
    s.second = s.third = s.best;
    measure(&s);
    for (int evaluations = 1; evaluations < MOST_EVALUATIONS && !is_found(&s); evaluations++) {
        if (!step_by_parabola(&s))
            step_by_section(&s);
        place found = {.x = s.best.x + sign_of(s.step) * fmax(fabs(s.step), s.tolerance)};
        if (!function(user, found.x, &found.value))
            return false;
        take(&s, found);
        measure(&s);
    }
    *at = s.best.x;
    return true;
}
