/* LSTMUnit: one step of an LSTM. Bottoms: cells before (1, N, D), gate inputs (1, N, 4D: input,
 * forget, output, modulation) and whether the sequence goes on (1, N); tops: cells and outputs. */
#include "layers/layer.h"

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

static qf_lstm_step step_of(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return (qf_lstm_step){.streams = (size_t)shape->dim[1],
                          .depth = (size_t)shape->dim[2],
                          .before = layer->bottom[0]->data,
                          .inputs = layer->bottom[1]->data,
                          .continues = layer->bottom[2]->data,
                          .cell = layer->top[0]->data,
                          .output = layer->top[1]->data};
}

static qf_status forward(qf_layer *layer)
{
    const qf_lstm_step step = step_of(layer);
    return layer->device->map->lstm_forward(layer->context, &step);
}

static qf_status backward(qf_layer *layer)
{
    const qf_lstm_step step = step_of(layer);
    const qf_lstm_gradients gradients = {
        .cell = layer->top[0]->diff,
        .output = layer->top[1]->diff,
        .before = layer->propagate_down[0] ? layer->bottom[0]->diff : NULL,
        .inputs = layer->propagate_down[1] ? layer->bottom[1]->diff : NULL};
    return layer->device->map->lstm_backward(layer->context, &step, &gradients);
}

const qf_layer_type qf_lstm_unit_layer = {
    .name = "LSTMUnit",
    QF_BOTTOMS(3, 3),
    QF_TOPS(2, 2),
    .no_gradient_bottoms = 1u << 2,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
