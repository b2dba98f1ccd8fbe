/* Which work threads share. */
#ifndef QF_BASE_PARALLEL_H
#define QF_BASE_PARALLEL_H

#include <omp.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether about so many simple operations, as a value added to another, are worth waking the
 * threads. That takes 2 µs where they spin and 60 where they sleep (base/waiting.h); the
 * operations, done by one, take 5 to 15. Asked of shapes only, so that results do not depend on
 * chance. */
static inline bool qf_repays_threads(size_t operations)
{
    return operations > 1 << 15;
}

/* The same of a convolution or a product of matrices: its products, or only fetching so many
 * values, as where a matrix meets a single vector. */
static inline bool qf_products_repay_threads(size_t products, size_t values)
{
    return products > 1 << 19 || qf_repays_threads(values);
}

/* From here to qf_threads_restore() of what this returns, the calling thread computes alone where
 * more would not be repaid: oneDNN, which does not ask. */
static inline int qf_threads_limit(bool repaid)
{
    const int threads = omp_get_max_threads();
    if (!repaid)
        omp_set_num_threads(1);
    return threads;
}

static inline void qf_threads_restore(int threads)
{
    omp_set_num_threads(threads);
}

#endif
