/* Random numbers: xoshiro256** seeded by splitmix64 (Blackman and Vigna, 2018). The state is plain
 * data, so a snapshot can hold it and a resumed run draws the same numbers. */
#ifndef QF_BASE_RANDOM_H
#define QF_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qf_random {
    uint64_t state[4];
} qf_random;

void qf_random_seed(qf_random *random, uint64_t seed);
uint64_t qf_random_entropy(void); /* a seed from the system */
uint64_t qf_random_next(qf_random *random);
uint32_t qf_random_below(qf_random *random, uint32_t limit); /* 0 … limit − 1, unbiased */
float qf_random_uniform(qf_random *random, float low, float high);
float qf_random_gaussian(qf_random *random, float mean, float deviation);
bool qf_random_bernoulli(qf_random *random, double probability);
/* An independent generator, drawn from this one. */
qf_random qf_random_fork(qf_random *random);

#endif
