/* The forward-backward algorithm of connectionist temporal classification. The states of a sequence
 * are blank, label, blank, label … blank: an odd state is a label. */
#include "layers/loss/ctc.h"

#include <math.h>

static size_t states_of(const qf_ctc *ctc)
{
    return 2 * ctc->label_count + 1;
}

static int class_of(const qf_ctc *ctc, size_t state)
{
    return state % 2 ? ctc->labels[state / 2] : ctc->blank;
}

/* May the state follow itself, and the one before the one before it? */
static bool stays(const qf_ctc *ctc, size_t state)
{
    return ctc->merge || state % 2 == 0;
}

static bool skips_blank(const qf_ctc *ctc, size_t state)
{
    return state % 2 && state >= 2 &&
           (!ctc->merge || ctc->labels[state / 2] != ctc->labels[state / 2 - 1]);
}

static double log_sum(double a, double b)
{
    const double greater = a > b ? a : b, less = a > b ? b : a;
    return less == -INFINITY ? greater : greater + log1p(exp(less - greater));
}

/* ---- the memory: log Σ exp of each step's scores, forward variables of each step, and two rows of
 * backward variables ---- */

static double *normalisers(double *work)
{
    return work;
}

static double *forward_of(const qf_ctc *ctc, double *work, size_t step)
{
    return work + ctc->steps + step * states_of(ctc);
}

static double *backward_of(const qf_ctc *ctc, double *work, size_t step)
{
    return forward_of(ctc, work, ctc->steps) + step % 2 * states_of(ctc);
}

size_t qf_ctc_work(size_t steps, size_t label_count)
{
    return steps + (steps + 2) * (2 * label_count + 1);
}

static void normalise(const qf_ctc *ctc, double *out)
{
    for (size_t t = 0; t < ctc->steps; t++) {
        const float *scores = ctc->scores + t * ctc->stride;
        double greatest = (double)scores[0], sum = 0;
        for (size_t k = 1; k < ctc->classes; k++)
            greatest = fmax(greatest, (double)scores[k]);
        for (size_t k = 0; k < ctc->classes; k++)
            sum += exp((double)scores[k] - greatest);
        out[t] = greatest + log(sum);
    }
}

static double log_probability(const qf_ctc *ctc, double *work, size_t step, size_t state)
{
    return (double)ctc->scores[step * ctc->stride + (size_t)class_of(ctc, state)] -
           normalisers(work)[step];
}

/* ---- forward ---- */

double qf_ctc_loss(const qf_ctc *ctc, double *work)
{
    const size_t states = states_of(ctc);
    if (ctc->steps == 0)
        return ctc->label_count ? INFINITY : 0;
    normalise(ctc, normalisers(work));
    for (size_t t = 0; t < ctc->steps; t++) {
        double *now = forward_of(ctc, work, t);
        const double *before = t ? forward_of(ctc, work, t - 1) : NULL;
        for (size_t s = 0; s < states; s++) {
            double sum = before ? -INFINITY : s < 2 ? 0 : -INFINITY;
            if (before && stays(ctc, s))
                sum = before[s];
            if (before && s >= 1)
                sum = log_sum(sum, before[s - 1]);
            if (before && skips_blank(ctc, s))
                sum = log_sum(sum, before[s - 2]);
            now[s] = sum + log_probability(ctc, work, t, s);
        }
    }
    const double *last = forward_of(ctc, work, ctc->steps - 1);
    return -(states > 1 ? log_sum(last[states - 1], last[states - 2]) : last[0]);
}

/* ---- backward ---- */

/* What follows a state in a step, without that step itself. */
static void step_back(const qf_ctc *ctc, double *work, size_t step)
{
    const size_t states = states_of(ctc);
    double *now = backward_of(ctc, work, step);
    const double *after = backward_of(ctc, work, step + 1);
    for (size_t s = 0; s < states; s++) {
        if (step + 1 == ctc->steps) {
            now[s] = s + 2 >= states ? 0 : -INFINITY;
            continue;
        }
        double sum = -INFINITY;
        if (stays(ctc, s))
            sum = after[s] + log_probability(ctc, work, step + 1, s);
        if (s + 1 < states)
            sum = log_sum(sum, after[s + 1] + log_probability(ctc, work, step + 1, s + 1));
        if (s + 2 < states && skips_blank(ctc, s + 2))
            sum = log_sum(sum, after[s + 2] + log_probability(ctc, work, step + 1, s + 2));
        now[s] = sum;
    }
}

void qf_ctc_gradient(const qf_ctc *ctc, double *work, double loss, float scale, float *gradient)
{
    for (size_t t = ctc->steps; t-- > 0;) {
        const float *scores = ctc->scores + t * ctc->stride;
        float *out = gradient + t * ctc->stride;
        step_back(ctc, work, t);
        const double *forward = forward_of(ctc, work, t), *backward = backward_of(ctc, work, t);
        for (size_t k = 0; k < ctc->classes; k++)
            out[k] = scale * (float)exp((double)scores[k] - normalisers(work)[t]);
        for (size_t s = 0; s < states_of(ctc); s++)
            out[class_of(ctc, s)] -= scale * (float)exp(forward[s] + backward[s] + loss);
    }
}
