/* The reference's operations for CReLU and LSTMUnit. */
#include "device/reference/map.h"

/* ---- CReLU ---- */

/* Of element i of x, in C order: the index in y of ReLU(x); that of ReLU(−x) is `apart` further. */
static size_t first_of(const qf_shape *shape, int axis, size_t i, size_t *apart)
{
    *apart = qf_shape_count_range(shape, axis, shape->axes);
    return i / *apart * 2 * *apart + i % *apart;
}

qf_status qf_reference_rectify_both(qf_context *context, int axis, float slope, qf_tensor *x,
                                    qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const qf_function k = {.kind = QF_FUNCTION_relu, .a = slope};
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        size_t apart;
        const size_t at = first_of(&x->shape, axis, i, &apart);
        to[at] = qf_relu_value(from[i], k);
        to[at + apart] = qf_relu_value(-from[i], k);
    }
    return QF_OK;
}

qf_status qf_reference_rectify_both_backward(qf_context *context, int axis, float slope,
                                             qf_tensor *x, qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const qf_function k = {.kind = QF_FUNCTION_relu, .a = slope};
    const float *values, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &values));
    QF_TRY(qf_device_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_PLAIN, &result));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        size_t apart;
        const size_t at = first_of(&x->shape, axis, i, &apart);
        result[i] = gradient[at] * qf_relu_slope(values[i], 0, k) -
                    gradient[at + apart] * qf_relu_slope(-values[i], 0, k);
    }
    return QF_OK;
}

/* ---- LSTMUnit ---- */

qf_status qf_reference_lstm_forward(qf_context *context, const qf_lstm_step *s)
{
    QF_ON_DEVICE(context);
    const float *before, *x, *continues;
    float *cell, *output;
    QF_TRY(qf_device_read(context, s->before, QF_PLAIN, &before));
    QF_TRY(qf_device_read(context, s->inputs, QF_PLAIN, &x));
    QF_TRY(qf_device_read(context, s->continues, QF_PLAIN, &continues));
    QF_TRY(qf_device_write(context, s->cell, QF_PLAIN, &cell));
    QF_TRY(qf_device_write(context, s->output, QF_PLAIN, &output));
    for (size_t at = 0; at < s->streams * s->depth; at++) {
        const size_t n = at / s->depth;
        const qf_lstm_gates g = qf_lstm_gates_of(x + 4 * n * s->depth, at % s->depth, s->depth);
        cell[at] = qf_lstm_cell(g, continues[n], before[at]);
        output[at] = qf_lstm_output(g, cell[at]);
    }
    return QF_OK;
}

qf_status qf_reference_lstm_backward(qf_context *context, const qf_lstm_step *s,
                                     const qf_lstm_gradients *of)
{
    QF_ON_DEVICE(context);
    const float *before, *x, *continues, *cell, *d_cell, *d_output;
    float *d_before = NULL, *d_inputs = NULL;
    QF_TRY(qf_device_read(context, s->before, QF_PLAIN, &before));
    QF_TRY(qf_device_read(context, s->inputs, QF_PLAIN, &x));
    QF_TRY(qf_device_read(context, s->continues, QF_PLAIN, &continues));
    QF_TRY(qf_device_read(context, s->cell, QF_PLAIN, &cell));
    QF_TRY(qf_device_read(context, of->cell, QF_PLAIN, &d_cell));
    QF_TRY(qf_device_read(context, of->output, QF_PLAIN, &d_output));
    if (of->before)
        QF_TRY(qf_device_write(context, of->before, QF_PLAIN, &d_before));
    if (of->inputs)
        QF_TRY(qf_device_write(context, of->inputs, QF_PLAIN, &d_inputs));
    for (size_t at = 0; at < s->streams * s->depth; at++) {
        const size_t n = at / s->depth, d = at % s->depth, first = 4 * n * s->depth;
        const qf_lstm_slopes slopes =
            qf_lstm_gradient(qf_lstm_gates_of(x + first, d, s->depth), continues[n], before[at],
                             cell[at], d_cell[at], d_output[at]);
        if (d_before)
            d_before[at] = slopes.before;
        if (d_inputs)
            qf_lstm_put(&slopes, d_inputs + first, d, s->depth);
    }
    return QF_OK;
}
