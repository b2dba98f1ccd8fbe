/* Counting NaN, infinities and denormals in arrays. */
#include "base/finite.h"

#include "base/vector.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Without floating-point arithmetic, which would stumble over each odd value; looks at all of a
 * block, which is faster than stopping at the first. */
QF_CLONES static uint32_t any_odd(const float *values, size_t count)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    return found;
}

bool qf_all_finite(const float *values, size_t count)
{
    enum { BLOCK = 1 << 16 };
    for (size_t at = 0; at < count; at += BLOCK)
        if (any_odd(values + at, count - at < BLOCK ? count - at : BLOCK))
            return false;
    return true;
}

qf_odd_values qf_find_odd_values(const float *values, size_t count)
{
    qf_odd_values odd = {0};
    for (size_t i = 0; i < count; i++) {
        const int kind = fpclassify(values[i]);
        if ((kind == FP_NAN || kind == FP_INFINITE) && qf_is_finite(&odd))
            odd.first = i;
        odd.nan += kind == FP_NAN;
        odd.infinite += kind == FP_INFINITE;
        odd.denormal += kind == FP_SUBNORMAL;
    }
    return odd;
}

const char *qf_odd_values_text(const qf_odd_values *odd, size_t count, char *out, size_t size)
{
    char nan[32] = "", infinite[40] = "";
    if (odd->nan)
        snprintf(nan, sizeof nan, "%zu NaN", odd->nan);
    if (odd->infinite)
        snprintf(infinite, sizeof infinite, "%s%zu infinite", odd->nan ? ", " : "", odd->infinite);
    snprintf(out, size, "%s%s of %zu value%s, the first at %zu", nan, infinite, count,
             count == 1 ? "" : "s", odd->first);
    return out;
}
