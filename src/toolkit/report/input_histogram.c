/* The histogram of a layer's input. */
#include "toolkit/report/input_histogram.h"

#include <math.h>
#include <string.h>

#define FARTHEST 1e300 /* no float is */

/* Twice as far, in as many bins. */
static void widen(qf_input_histogram *h)
{
    uint64_t wide[QF_INPUT_BINS] = {0};
    for (int i = 0; i < QF_INPUT_BINS; i++)
        wide[QF_INPUT_BINS / 4 + i / 2] += h->bin[i];
    memcpy(h->bin, wide, sizeof wide);
    h->reach *= 2;
}

static void reach_to(qf_input_histogram *h, double magnitude)
{
    if (h->reach == 0) {
        int exponent;
        frexp(magnitude, &exponent);
        h->reach = ldexp(1, exponent);
        h->bin[QF_INPUT_BINS / 2] = h->zeros;
    }
    while (magnitude >= h->reach)
        widen(h);
}

/* `value` may lie beyond the bins, and far so. */
static int bin_of(const qf_input_histogram *h, double value)
{
    const double bin = floor((value / h->reach + 1) * (QF_INPUT_BINS / 2));
    return bin > 0 ? (int)fmin(bin, QF_INPUT_BINS - 1) : 0;
}

void qf_input_histogram_add(qf_input_histogram *h, const float *values, size_t count, double low,
                            double high)
{
    for (size_t i = 0; i < count; i++) {
        const double x = (double)values[i];
        if (!isfinite(x)) {
            h->odd++;
            continue;
        }
        if (h->count == 0)
            h->low = h->high = x;
        h->low = fmin(h->low, x);
        h->high = fmax(h->high, x);
        h->below += x < low;
        h->above += x > high;
        h->zeros += x == 0;
        h->count++;
        if (x != 0 && fabs(x) >= h->reach)
            reach_to(h, fabs(x));
        else if (h->reach == 0)
            continue;
        h->bin[bin_of(h, x)]++;
    }
}

void qf_input_histogram_show(const qf_input_histogram *given, double low, double high,
                             qf_shown_histogram *out)
{
    qf_input_histogram h = *given;
    *out = (qf_shown_histogram){.low = low, .high = high};
    if (h.reach == 0) { /* zeros, or nothing */
        out->bins = 1;
        out->bin[0] = h.count;
        return;
    }
    while (h.reach < fmax(fabs(low), fabs(high)) && h.reach < FARTHEST)
        widen(&h); /* a range that is far too wide is to be seen as that */
    int first = bin_of(&h, fmin(low, h.low)), last = bin_of(&h, fmax(high, h.high));
    first -= first > 0 && h.bin[first - 1]; /* by rounding: -1e-30 of 1 is in the bin below 0 */
    last += last + 1 < QF_INPUT_BINS && h.bin[last + 1];
    const int together = (last - first) / QF_SHOWN_BINS + 1;
    const double width = 2 * h.reach / QF_INPUT_BINS;
    out->bins = (size_t)((last - first) / together + 1);
    out->low = first * width - h.reach;
    out->high = out->low + (double)out->bins * together * width;
    for (int i = first; i <= last; i++)
        out->bin[(i - first) / together] += h.bin[i];
}
