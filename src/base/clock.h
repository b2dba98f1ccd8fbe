/* Time that passes, for measurements. */
#ifndef QF_BASE_CLOCK_H
#define QF_BASE_CLOCK_H

#include <time.h>

/* Seconds on a clock that never jumps; only differences mean something. */
static inline double qf_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
