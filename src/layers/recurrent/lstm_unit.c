/* LSTMUnit: one step of an LSTM. Bottoms: cells before (1, N, D), gate inputs (1, N, 4D: input,
 * forget, output, modulation) and whether the sequence goes on (1, N); tops: cells and outputs. */
#include "layers/layer.h"

#include <math.h>

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *cell = qf_blob_shape(layer->bottom[0]),
                   *gates = qf_blob_shape(layer->bottom[1]),
                   *cont = qf_blob_shape(layer->bottom[2]);
    char first[256], second[256], third[256];
    if (cell->axes != 3 || gates->axes != 3 || cont->axes != 2 || cell->dim[0] != 1 ||
        gates->dim[0] != 1 || cont->dim[0] != 1 || gates->dim[1] != cell->dim[1] ||
        cont->dim[1] != cell->dim[1] || (int64_t)gates->dim[2] != 4 * (int64_t)cell->dim[2])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "LSTMUnit needs bottoms of shape 1 x N x D, 1 x N x 4D and 1 x N; found %s, "
                       "%s and %s",
                       qf_shape_text(cell, first, sizeof first),
                       qf_shape_text(gates, second, sizeof second),
                       qf_shape_text(cont, third, sizeof third));
    QF_TRY(qf_blob_reshape_to(layer->top[0], cell));
    return qf_blob_reshape_to(layer->top[1], cell);
}

/* Rounded once: near 1 what is missing to 1 counts. */
static float sigmoid(float x)
{
    return (float)(1 / (1 + (double)expf(-x)));
}

typedef struct gates {
    float in, keep, out, change; /* `keep` before it meets the continuation */
} gates;

static gates gates_at(const float *x, size_t d, size_t depth)
{
    return (gates){sigmoid(x[d]), sigmoid(x[depth + d]), sigmoid(x[2 * depth + d]),
                   tanhf(x[3 * depth + d])};
}

static qf_status forward(qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t streams = (size_t)shape->dim[1], depth = (size_t)shape->dim[2];
    const float *before, *x, *cont;
    float *cell, *output;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &before));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &cont));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &cell));
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &output));
#pragma omp parallel for schedule(static) if (streams * depth > 1 << 12)
    for (size_t n = 0; n < streams; n++)
        for (size_t d = 0; d < depth; d++) {
            const size_t at = n * depth + d;
            const gates g = gates_at(x + 4 * n * depth, d, depth);
            const float keep = cont[n] == 0 ? 0 : cont[n] * g.keep;
            cell[at] = keep * before[at] + g.in * g.change;
            output[at] = g.out * tanhf(cell[at]);
        }
    return QF_OK;
}

/* Where the continuation is neither 0 nor 1 Caffe's gradient of the forget gate differs: it takes
 * their product for the sigmoid. */
static qf_status backward(qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t streams = (size_t)shape->dim[1], depth = (size_t)shape->dim[2];
    const float *before, *xs, *cont, *cell, *d_cell, *d_output;
    float *d_before = NULL, *dxs = NULL;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &before));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &xs));
    QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &cont));
    QF_TRY(qf_read(layer->context, layer->top[0]->data, QF_PLAIN, &cell));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &d_cell));
    QF_TRY(qf_read(layer->context, layer->top[1]->diff, QF_PLAIN, &d_output));
    if (layer->propagate_down[0])
        QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &d_before));
    if (layer->propagate_down[1])
        QF_TRY(qf_write(layer->context, layer->bottom[1]->diff, QF_PLAIN, &dxs));
#pragma omp parallel for schedule(static) if (streams * depth > 1 << 12)
    for (size_t n = 0; n < streams; n++)
        for (size_t d = 0; d < depth; d++) {
            const size_t at = n * depth + d;
            const gates g = gates_at(xs + 4 * n * depth, d, depth);
            const float keep = cont[n] == 0 ? 0 : cont[n] * g.keep, level = tanhf(cell[at]);
            const float slope = d_cell[at] + d_output[at] * g.out * (1 - level * level);
            if (d_before)
                d_before[at] = slope * keep;
            if (!dxs)
                continue;
            float *dx = dxs + 4 * n * depth + d;
            dx[0] = slope * g.change * g.in * (1 - g.in);
            dx[depth] = slope * before[at] * keep * (1 - g.keep);
            dx[2 * depth] = d_output[at] * level * g.out * (1 - g.out);
            dx[3 * depth] = slope * g.in * (1 - g.change * g.change);
        }
    return QF_OK;
}

const qf_layer_type qf_lstm_unit_layer = {
    .name = "LSTMUnit",
    .min_bottoms = 3,
    .max_bottoms = 3,
    .min_tops = 2,
    .max_tops = 2,
    .no_gradient_bottoms = 1u << 2,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
