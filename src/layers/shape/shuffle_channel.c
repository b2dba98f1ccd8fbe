/* ShuffleChannel (ShuffleNet): channel i of group g becomes channel i · groups + g, so that a
 * grouped convolution sees all groups of the one before. */
#include "layers/shape/one_move.h"

static uint32_t groups_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, shuffle_channel_param, SHUFFLE_CHANNEL_, ShuffleChannel)->group;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const uint32_t groups = groups_of(layer);
    if (bottom->axes < 2 || groups < 1 || (uint32_t)bottom->dim[1] % groups)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "shuffle_channel_param: group %u must divide the channels of '%s', %d",
                       groups, layer->bottom[0]->name, bottom->axes < 2 ? 0 : bottom->dim[1]);
    return qf_layer_reshape_like_bottom(layer);
}

static qf_move move_of(const qf_layer *layer)
{
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->bottom[0]));
    const size_t groups = groups_of(layer), of_group = e.channels / groups;
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_NHWC);
    qf_move_along(&move, e.batch * e.inner, (ptrdiff_t)e.channels, (ptrdiff_t)e.channels);
    qf_move_along(&move, groups, (ptrdiff_t)of_group, 1);
    qf_move_along(&move, of_group, 1, (ptrdiff_t)groups);
    return move;
}

const qf_layer_type qf_shuffle_channel_layer = {
    .name = "ShuffleChannel",
    QF_ONE_TO_ONE,
    .reshape = reshape,
    QF_ONE_MOVE(move_of),
};
