/* Clustering of codes by dynamic programming: clusters are runs of neighbours, so the best k of the
 * first n codes are the best k − 1 of the first m and one of those behind. All sums are integers.
 */
#include "quant/nuq.h"

/* The codes that occur, in order, and sums over those before each. */
typedef struct sums {
    int codes;
    int value[QF_NUQ_CODES];
    int64_t count[QF_NUQ_CODES + 1], first[QF_NUQ_CODES + 1], second[QF_NUQ_CODES + 1];
} sums;

static sums sum_up(const uint64_t *counts)
{
    sums s = {0};
    for (int i = 0; i < QF_NUQ_CODES; i++) {
        const int value = i - QF_NUQ_CODES / 2, at = s.codes;
        const int64_t count = (int64_t)counts[i];
        if (!count)
            continue;
        s.value[at] = value;
        s.count[at + 1] = s.count[at] + count;
        s.first[at + 1] = s.first[at] + count * value;
        s.second[at + 1] = s.second[at] + count * value * value;
        s.codes++;
    }
    return s;
}

static int64_t divide_upwards(int64_t a, int64_t b) /* b > 0 */
{
    return a / b + (a % b > 0);
}

/* The integer nearest to the mean of the codes from `from` to before `to`, the lower of two. */
static int64_t centre_of(const sums *s, int from, int to)
{
    const int64_t count = s->count[to] - s->count[from], sum = s->first[to] - s->first[from];
    return divide_upwards(2 * sum - count, 2 * count);
}

static int64_t cost_of(const sums *s, int from, int to)
{
    const int64_t c = centre_of(s, from, to);
    return s->second[to] - s->second[from] - 2 * c * (s->first[to] - s->first[from]) +
           c * c * (s->count[to] - s->count[from]);
}

/* Where the last of the best `k` clusters of the first n codes begins. */
typedef struct table {
    int begin[QF_NUQ_MOST_STEPS + 1][QF_NUQ_CODES + 1];
} table;

static void fill(const sums *s, int steps, table *t)
{
    int64_t best[2][QF_NUQ_CODES + 1]; /* of k − 1 and of k clusters, in turns */
    for (int n = 1; n <= s->codes; n++) {
        best[1][n] = cost_of(s, 0, n);
        t->begin[1][n] = 0;
    }
    for (int k = 2; k <= steps; k++)
        for (int n = k; n <= s->codes; n++) {
            const int64_t *before = best[(k - 1) % 2];
            int64_t least = INT64_MAX;
            for (int m = k - 1; m < n; m++) {
                const int64_t cost = before[m] + cost_of(s, m, n);
                if (cost < least) {
                    least = cost;
                    t->begin[k][n] = m;
                }
            }
            best[k % 2][n] = least;
        }
}

void qf_nuq_cluster(const uint64_t counts[QF_NUQ_CODES], int steps, int8_t becomes[QF_NUQ_CODES])
{
    const sums s = sum_up(counts);
    table t;
    for (int i = 0; i < QF_NUQ_CODES; i++)
        becomes[i] = (int8_t)(i - QF_NUQ_CODES / 2);
    if (s.codes <= steps)
        return;
    fill(&s, steps, &t);
    for (int k = steps, n = s.codes; k > 0; n = t.begin[k--][n])
        for (int i = t.begin[k][n]; i < n; i++)
            becomes[s.value[i] + QF_NUQ_CODES / 2] = (int8_t)centre_of(&s, t.begin[k][n], n);
}
