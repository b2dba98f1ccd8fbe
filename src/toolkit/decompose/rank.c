/* The filter of convolutions, and the rank that is kept: a published estimate within AMCT's limits.
 */
#include "toolkit/decompose/rank.h"

#include "toolkit/decompose/bounded_minimum.h"

#include <math.h>

static int least(const int pair[2])
{
    return pair[0] < pair[1] ? pair[0] : pair[1];
}

static int most(const int pair[2])
{
    return pair[0] < pair[1] ? pair[1] : pair[0];
}

static int fewer_channels(const qf_convolution_form *form)
{
    return form->outputs < form->inputs ? form->outputs : form->inputs;
}

static int more_channels(const qf_convolution_form *form)
{
    return form->outputs < form->inputs ? form->inputs : form->outputs;
}

enum {
    SMALLEST_KERNEL = 3,
    LARGEST_STRIDE = 2,
    SMALLEST_SIDE = 16, /* of the matrix */
    LARGE_KERNEL = 7,   /* is worth it with few channels, too; */
    MANY_CHANNELS = 64  /* others want so many */
};

qf_decompose_mode qf_decompose_mode_of(const qf_convolution_form *form)
{
    const int kernel = least(form->kernel), channels = fewer_channels(form);
    if (form->group > 1 || most(form->dilation) > 1 || kernel < SMALLEST_KERNEL ||
        most(form->stride) > LARGEST_STRIDE || kernel * channels < SMALLEST_SIDE ||
        (kernel < LARGE_KERNEL && channels < MANY_CHANNELS))
        return QF_LEFT_WHOLE;
    const bool high = form->kernel[0] > form->kernel[1];
    if (form->outputs < form->inputs)
        return high ? QF_FCSK : QF_FCFK;
    return high ? QF_SCSK : QF_SCFK;
}

/* ---- EVBMF ---- */

typedef struct matrix {
    double rows, columns, alpha; /* alpha: rows per column */
    const double *singular;
    double edge; /* the largest normalised square that counts as noise */
} matrix;

static double tau(double x, double alpha)
{
    const double rest = x - (1 + alpha);
    return 0.5 * (rest + sqrt(rest * rest - 4 * alpha));
}

/* What to minimise over the noise's variance. False: a singular value of 0 has no logarithm. */
static bool free_energy(const void *user, double variance, double *out)
{
    const matrix *m = user;
    *out = 0;
    for (size_t i = 0; i < (size_t)m->rows; i++) {
        const double x = m->singular[i] * m->singular[i] / (m->columns * variance);
        if (!(x > 0))
            return false;
        if (x <= m->edge) {
            *out += x - log(x);
        } else {
            const double t = tau(x, m->alpha);
            *out += x - t + log((t + 1) / x) + m->alpha * log(t / m->alpha + 1);
        }
    }
    return true;
}

static double squares(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] * values[i];
    return sum;
}

size_t qf_evbmf_rank(size_t rows, size_t columns, const double *singular)
{
    matrix m = {.rows = (double)rows,
                .columns = (double)columns,
                .alpha = (double)rows / (double)columns,
                .singular = singular};
    const double bar = 2.5129 * sqrt(m.alpha);
    m.edge = (1 + bar) * (1 + m.alpha / bar);
    const double noise = fmin(ceil(m.rows / (1 + m.alpha)) - 1, m.rows) - 1;
    const size_t from = noise > 0 ? (size_t)noise : 0, next = from + 1 < rows ? from + 1 : rows - 1;
    const double upper = squares(singular, rows) / (m.rows * m.columns);
    const double lower =
        fmax(singular[next] * singular[next] / (m.columns * m.edge),
             squares(singular + from, rows - from) / ((double)(rows - from) * m.columns));
    double variance = (lower + upper) / 2;
    qf_bounded_minimum(free_energy, &m, lower, upper, &variance); /* or the middle stays */
    const double threshold = sqrt(m.columns * variance * m.edge);
    size_t rank = 0;
    for (size_t i = 0; i < rows; i++)
        rank += singular[i] > threshold;
    return rank;
}

/* ---- limits ---- */

enum {
    STEP = 16, /* of ranks */
    FEW = 6,
    FEW_LEAST = 256,
    MANY = 4 /* the rank is up to this part of the rows, by channels */
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t qf_decompose_rank(const qf_convolution_form *form, const double *singular, size_t length,
                         size_t *estimate)
{
    const size_t rows = (size_t)least(form->kernel) * (size_t)fewer_channels(form);
    const size_t columns = (size_t)most(form->kernel) * (size_t)more_channels(form);
    const size_t part = fewer_channels(form) >= FEW_LEAST ? MANY : FEW;
    *estimate = length;
    if (length != rows || rows == 0)
        return length;
    *estimate = qf_evbmf_rank(rows, columns, singular);
    const size_t wanted = larger(smaller(*estimate, rows / part), rows / (part + 1));
    size_t rank = larger(STEP, (wanted + STEP / 2) / STEP * STEP);
    if ((double)rank < 0.9 * (double)wanted)
        rank += STEP;
    return smaller(rank, length);
}
