/* The rules of LSQ, LSQ+, PACT and TQT: from sums of a pass to gradients for the solver. */
#include "layers/quantised/range_learning.h"

#include <math.h>

enum { ENDS = 2 };

/* TQT's (Jain et al., 2020, section 5.2 and appendix B.3). */
static const double memory_decay = 0.999, smallest_square = 1e-24;
static const double log_of_2 = 0.69314718055994530942;

typedef void range_rule(const qf_learned_range *range, const double sums[2],
                        qf_gradient_memory *memory, double out[2]);
typedef double step_rule(double step, int bits, double values, double sum,
                         qf_gradient_memory *memory);

static double levels_of(int bits)
{
    return (double)(1 << bits) - 1;
}

/* The gradients of a pass may be of any size, as the loss is; a step of the solver must not be: at
 * most `rate` of the value itself, whatever its unit. */
static double within(double gradient, double value)
{
    return fmax(-fabs(value), fmin(fabs(value), gradient));
}

/* The gradient of log2, normalised: −1 … 1. */
static double normalised(double gradient, qf_gradient_memory *memory)
{
    memory->count = fminf(memory->count + 1, 0x1p24f);
    memory->square =
        (float)(memory_decay * (double)memory->square + (1 - memory_decay) * gradient * gradient);
    const double unbiased = (double)memory->square / (1 - pow(memory_decay, (double)memory->count));
    return tanh(gradient / sqrt(unbiased + smallest_square));
}

static double width_of(const qf_learned_range *range)
{
    return (double)range->max - (double)range->min;
}

static double step_of(const qf_learned_range *range)
{
    return width_of(range) / levels_of(range->bits);
}

/* Gradients of a range's end, or of its step, become what moves it by a share of itself: how fast a
 * range learns must not depend on how large its values are. With values counted in widths of the
 * range, a gradient of its end is `width` times as large, and what follows from it is `width` times
 * as much in those of the values. */
static double for_end(const qf_learned_range *range, double gradient)
{
    return width_of(range) * width_of(range) * gradient;
}

/* The step times the gradient of its logarithm, and times the levels: what rounding adds to that
 * gradient is a level's share of what clipping would. */
static double for_step(const qf_learned_range *range, double gradient)
{
    return width_of(range) * step_of(range) * gradient;
}

/* Both ends move as the step of the grid does: ∂max/∂s = max / s. */
static void move_step(const qf_learned_range *range, double d_step, double step, double out[2])
{
    out[0] = (double)range->max / step * d_step;
    out[1] = (double)range->min / step * d_step;
}

/* ∂L/∂s with the zero point fixed: Σ of sums · ∂end/∂s. */
static double sum_of_step(const qf_learned_range *range, const double sums[2])
{
    return ((double)range->max * sums[0] + (double)range->min * sums[1]) / step_of(range);
}

/* Of weights: 1 / sqrt(N · Q_p), the codes above zero. */
static double lsq_scale(double values, double positive)
{
    return 1 / sqrt(fmax(values, 1) * fmax(positive, 1));
}

static void lsq(const qf_learned_range *range, const double sums[2], qf_gradient_memory *memory,
                double out[2])
{
    const double step = step_of(range);
    (void)memory;
    move_step(range, within(for_step(range, sum_of_step(range, sums)), step), step, out);
}

/* The offset is that of the lower end; the step's share of the upper end is its levels. */
static void lsq_plus(const qf_learned_range *range, const double sums[2],
                     qf_gradient_memory *memory, double out[2])
{
    if (range->fixed_min) {
        lsq(range, sums, memory, out);
        return;
    }
    const double step = step_of(range), levels = levels_of(range->bits);
    const double d_step = within(for_step(range, levels * sums[0]), step);
    const double d_offset = within(for_end(range, sums[0] + sums[1]), width_of(range));
    out[0] = d_offset + levels * d_step;
    out[1] = d_offset;
}

/* The ends by themselves; the L2 term is the solver's weight decay of them. */
static void pact(const qf_learned_range *range, const double sums[2], qf_gradient_memory *memory,
                 double out[2])
{
    (void)memory;
    for (int i = 0; i < ENDS; i++)
        out[i] = within(for_end(range, sums[i]), width_of(range));
}

/* ∂L/∂log2 t = s · ln 2 · ∂L/∂s; a step d of log2 t multiplies the ends by 2^d. */
static void tqt(const qf_learned_range *range, const double sums[2], qf_gradient_memory *memory,
                double out[2])
{
    const double step = step_of(range);
    const double d_log = normalised(step * log_of_2 * sum_of_step(range, sums), memory);
    move_step(range, step * log_of_2 * d_log, step, out);
}

static double lsq_step(double step, int bits, double values, double sum, qf_gradient_memory *memory)
{
    (void)memory;
    return within(lsq_scale(values, (double)(1 << (bits - 1)) - 1) * sum, step);
}

static double tqt_step(double step, int bits, double values, double sum, qf_gradient_memory *memory)
{
    (void)bits;
    (void)values;
    return step * log_of_2 * normalised(step * log_of_2 * sum, memory);
}

static const struct method {
    const char *name;
    range_rule *range;
    step_rule *step;
    bool clips_only; /* rounding has no say in what is summed */
} methods[] = {
    [CAFFE__RANGE_LEARNING__AMCT] = {"amct", NULL, NULL, false},
    [CAFFE__RANGE_LEARNING__LSQ] = {"lsq", lsq, lsq_step, false},
    [CAFFE__RANGE_LEARNING__LSQ_PLUS] = {"lsq+", lsq_plus, lsq_step, false},
    [CAFFE__RANGE_LEARNING__PACT] = {"pact", pact, NULL, true},
    [CAFFE__RANGE_LEARNING__TQT] = {"tqt", tqt, tqt_step, false},
};

bool qf_range_learns(qf_range_learning method)
{
    return methods[method].range;
}

bool qf_range_learns_weights(qf_range_learning method)
{
    return methods[method].step;
}

const char *qf_range_learning_name(qf_range_learning method)
{
    return methods[method].name;
}

qf_ulq_terms qf_range_terms(qf_range_learning method, const qf_learned_range *range)
{
    qf_ulq_terms terms = qf_ulq_gradient_terms(range->max, range->min, range->bits);
    if (qf_range_learns(method)) {
        terms.e_min = 0; /* no method asks what rounding does to the lower end */
        terms.rounding = methods[method].clips_only ? 0 : 1;
    }
    return terms;
}

void qf_range_gradient(qf_range_learning method, const qf_learned_range *range,
                       const double sums[2], qf_gradient_memory *memory, float out[2])
{
    double gradient[ENDS];
    methods[method].range(range, sums, memory, gradient);
    out[0] = (float)gradient[0];
    out[1] = range->fixed_min ? 0 : (float)gradient[1];
}

float qf_step_gradient(qf_range_learning method, float step, int bits, double values, double sum,
                       qf_gradient_memory *memory)
{
    return (float)methods[method].step((double)step, bits, values, sum, memory);
}
