/* xoshiro256**, and the distributions that are drawn from it. */
#include "base/random.h"

#include <math.h>
#include <sys/random.h>
#include <time.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void qf_random_seed(qf_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t qf_random_entropy(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = (uint64_t)time(NULL);
    return seed >> 1;
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t qf_random_next(qf_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint32_t qf_random_below(qf_random *random, uint32_t limit)
{
    /* Lemire's multiplication, with rejection of the biased part. */
    uint64_t product = (qf_random_next(random) >> 32) * limit;
    uint32_t threshold = limit ? (uint32_t)-limit % limit : 0;
    while ((uint32_t)product < threshold)
        product = (qf_random_next(random) >> 32) * limit;
    return (uint32_t)(product >> 32);
}

static double unit(qf_random *random)
{
    return (double)(qf_random_next(random) >> 11) * 0x1p-53;
}

float qf_random_uniform(qf_random *random, float low, float high)
{
    return (float)(low + (high - low) * unit(random));
}

float qf_random_gaussian(qf_random *random, float mean, float deviation)
{
    double radius = sqrt(-2.0 * log(1.0 - unit(random)));
    return (float)(mean + deviation * radius * cos(6.283185307179586 * unit(random)));
}

bool qf_random_bernoulli(qf_random *random, double probability)
{
    return unit(random) < probability;
}

qf_random qf_random_fork(qf_random *random)
{
    qf_random child;
    qf_random_seed(&child, qf_random_next(random));
    return child;
}
