/* Numbers that arithmetic does not come back from: NaN, infinities; and denormal ones, which are
 * slow. */
#ifndef QF_BASE_FINITE_H
#define QF_BASE_FINITE_H

#include <stdbool.h>
#include <stddef.h>

/* As fast as the numbers come from memory. */
bool qf_all_finite(const float *values, size_t count);

typedef struct qf_odd_values {
    size_t nan, infinite, denormal;
    size_t first; /* index of the first NaN or infinity; where there is none: not set */
} qf_odd_values;

qf_odd_values qf_find_odd_values(const float *values, size_t count);
static inline bool qf_is_finite(const qf_odd_values *odd)
{
    return odd->nan == 0 && odd->infinite == 0;
}
/* "2 NaN, 1 infinite of 500 values, the first at 17" */
const char *qf_odd_values_text(const qf_odd_values *odd, size_t count, char *out, size_t size);

#endif
