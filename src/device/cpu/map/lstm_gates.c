/* A step of an LSTM on the host, behind its products. */
#include "device/cpu/map/cpu_map.h"

/* Whether so many cells are worth waking the threads: five exponentials each. */
static bool repays_threads(const qf_lstm_step *s)
{
    return s->streams * s->depth > 1 << 12;
}

qf_status qf_map_lstm_forward(qf_context *context, const qf_lstm_step *s)
{
    const size_t depth = s->depth;
    const float *before, *x, *continues;
    float *cell, *output;
    QF_TRY(qf_read(context, s->before, QF_PLAIN, &before));
    QF_TRY(qf_read(context, s->inputs, QF_PLAIN, &x));
    QF_TRY(qf_read(context, s->continues, QF_PLAIN, &continues));
    QF_TRY(qf_write(context, s->cell, QF_PLAIN, &cell));
    QF_TRY(qf_write(context, s->output, QF_PLAIN, &output));
#pragma omp parallel for schedule(static) if (repays_threads(s))
    for (size_t n = 0; n < s->streams; n++)
        for (size_t d = 0; d < depth; d++) {
            const size_t at = n * depth + d;
            const qf_lstm_gates g = qf_lstm_gates_of(x + 4 * n * depth, d, depth);
            cell[at] = qf_lstm_cell(g, continues[n], before[at]);
            output[at] = qf_lstm_output(g, cell[at]);
        }
    return QF_OK;
}

qf_status qf_map_lstm_backward(qf_context *context, const qf_lstm_step *s,
                               const qf_lstm_gradients *of)
{
    const size_t depth = s->depth;
    const float *before, *x, *continues, *cell, *d_cell, *d_output;
    float *d_before = NULL, *d_inputs = NULL;
    QF_TRY(qf_read(context, s->before, QF_PLAIN, &before));
    QF_TRY(qf_read(context, s->inputs, QF_PLAIN, &x));
    QF_TRY(qf_read(context, s->continues, QF_PLAIN, &continues));
    QF_TRY(qf_read(context, s->cell, QF_PLAIN, &cell));
    QF_TRY(qf_read(context, of->cell, QF_PLAIN, &d_cell));
    QF_TRY(qf_read(context, of->output, QF_PLAIN, &d_output));
    if (of->before)
        QF_TRY(qf_write(context, of->before, QF_PLAIN, &d_before));
    if (of->inputs)
        QF_TRY(qf_write(context, of->inputs, QF_PLAIN, &d_inputs));
#pragma omp parallel for schedule(static) if (repays_threads(s))
    for (size_t n = 0; n < s->streams; n++)
        for (size_t d = 0; d < depth; d++) {
            const size_t at = n * depth + d;
            const qf_lstm_gates g = qf_lstm_gates_of(x + 4 * n * depth, d, depth);
            const qf_lstm_slopes slopes =
                qf_lstm_gradient(g, continues[n], before[at], cell[at], d_cell[at], d_output[at]);
            if (d_before)
                d_before[at] = slopes.before;
            if (d_inputs)
                qf_lstm_put(&slopes, d_inputs + 4 * n * depth, d, depth);
        }
    return QF_OK;
}
