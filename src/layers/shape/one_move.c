/* A move forward, and the same back for gradients. */
#include "layers/shape/one_move.h"

qf_status qf_move_forward(qf_layer *layer)
{
    const qf_move move = layer->type->move(layer);
    return layer->device->move->copy(layer->context, &move, layer->bottom[0]->data,
                                     layer->top[0]->data);
}

static bool leaves_out(const qf_move *move, const qf_blob *blob)
{
    size_t count = 1;
    for (int i = 0; i < move->axes; i++)
        count *= move->axis[i].extent;
    return count < qf_blob_count(blob);
}

qf_status qf_move_backward(qf_layer *layer)
{
    if (!layer->propagate_down[0])
        return QF_OK;
    const qf_move move = layer->type->move(layer);
    const bool part = leaves_out(&move, layer->bottom[0]);
    const qf_move back = qf_move_back(&move, part ? QF_MOVE_KEEP : QF_MOVE_WRITE);
    if (part)
        qf_tensor_set_zero(layer->bottom[0]->diff);
    return layer->device->move->copy(layer->context, &back, layer->top[0]->diff,
                                     layer->bottom[0]->diff);
}
