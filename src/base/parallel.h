/* Which loops threads share. */
#ifndef QF_BASE_PARALLEL_H
#define QF_BASE_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a loop of about so many simple operations, as a value added to another, is worth waking
 * the threads. That takes 2 µs where they spin and 60 where they sleep (base/waiting.h); the
 * operations, done by one, take 5 to 15. */
static inline bool qf_repays_threads(size_t operations)
{
    return operations > 1 << 15;
}

#endif
