/* How far the scores of one item are from a teacher's: plain functions that C and CUDA compile
 * alike. In double, for near its minimum the divergence is a small difference of large terms. */
#ifndef QF_DEVICE_FAMILIES_DIVERGENCE_MATH_H
#define QF_DEVICE_FAMILIES_DIVERGENCE_MATH_H

#include <math.h>
#include <stddef.h>

/* `count` scores, `step` apart, of a student and its teacher, and what softens them. */
typedef struct qf_score_rows {
    const float *student, *teacher;
    size_t count, step;
    double temperature;
} qf_score_rows;

/* log Σ exp((x − largest) / T); *largest is of the row. */
static inline double qf_log_sum(const qf_score_rows *r, const float *x, double *largest)
{
    double sum = 0;
    *largest = r->count ? (double)x[0] : 0;
    for (size_t i = 0; i < r->count; i++)
        *largest = (double)x[i * r->step] > *largest ? (double)x[i * r->step] : *largest;
    for (size_t i = 0; i < r->count; i++)
        sum += exp(((double)x[i * r->step] - *largest) / r->temperature);
    return log(sum);
}

/* Σ p (log p − log q), p the teacher's probabilities and q the student's; difference = q − p. */
static inline double qf_score_divergence(const qf_score_rows *r, float *difference)
{
    double mine, its, sum = 0;
    const double mine_sum = qf_log_sum(r, r->student, &mine);
    const double its_sum = qf_log_sum(r, r->teacher, &its);
    for (size_t i = 0; i < r->count; i++) {
        const size_t at = i * r->step;
        const double log_q = ((double)r->student[at] - mine) / r->temperature - mine_sum;
        const double log_p = ((double)r->teacher[at] - its) / r->temperature - its_sum;
        const double p = exp(log_p);
        sum += p > 0 || isnan(p) ? p * (log_p - log_q) : 0;
        difference[at] = (float)(exp(log_q) - p);
    }
    return sum;
}

#endif
