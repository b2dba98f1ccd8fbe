/*
 * SpaceToBatchND and BatchToSpaceND (synopsys-caffe, from TensorFlow, which writes dilated
 * convolutions so): of each block of positions, one goes into each of as many batches, those of the
 * first position in front. Blocks and paddings belong to the axes behind the batch, in order.
 */
#include "layers/layer.h"

#include <limits.h>

enum { PARTS_MAX = 1 << 12 };

typedef struct state {
    int axes; /* that have blocks, from axis 1 on */
    int block[QF_MAX_AXES], before[QF_MAX_AXES], behind[QF_MAX_AXES];
    int parts; /* of the batch */
} state;

static qf_status set_blocks(qf_layer *layer, size_t n_block, const uint32_t *block,
                            size_t n_padding, const uint32_t *padding)
{
    state *s = layer->state;
    if (n_block + 1 > (size_t)qf_blob_shape(layer->bottom[0])->axes || n_padding != 2 * n_block)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "block_shape has %zu values and there are %zu paddings or crops; '%s' has "
                       "%d axes, of which all but the first can have a block and two paddings",
                       n_block, n_padding, layer->bottom[0]->name,
                       qf_blob_shape(layer->bottom[0])->axes);
    s->axes = (int)n_block;
    s->parts = 1;
    for (size_t i = 0; i < n_block; i++) {
        if (block[i] < 1 || block[i] > PARTS_MAX || padding[2 * i] > INT_MAX / 4 ||
            padding[2 * i + 1] > INT_MAX / 4 || s->parts * (int64_t)block[i] > PARTS_MAX)
            return qf_fail(layer->context, QF_E_VALUE,
                           "block_shape %u with paddings %u and %u is not possible", block[i],
                           padding[2 * i], padding[2 * i + 1]);
        s->block[i] = (int)block[i];
        s->before[i] = (int)padding[2 * i];
        s->behind[i] = (int)padding[2 * i + 1];
        s->parts *= s->block[i];
    }
    return QF_OK;
}

static qf_status space_to_batch_setup(qf_layer *layer)
{
    const Caffe__SpaceToBatchNDParameter *p =
        QF_LAYER_PARAM(layer, space_to_batch_nd_param, SPACE_TO_BATCH_ND, SpaceToBatchND);
    return set_blocks(layer, p->n_block_shape, p->block_shape, p->n_paddings, p->paddings);
}

static qf_status batch_to_space_setup(qf_layer *layer)
{
    const Caffe__BatchToSpaceNDParameter *p =
        QF_LAYER_PARAM(layer, batch_to_space_nd_param, BATCH_TO_SPACE_ND, BatchToSpaceND);
    return set_blocks(layer, p->n_block_shape, p->block_shape, p->n_crops, p->crops);
}

static qf_status space_to_batch_reshape(qf_layer *layer)
{
    const state *s = layer->state;
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    const int64_t batch = (int64_t)top.dim[0] * s->parts;
    for (int i = 0; i < s->axes; i++) {
        const int64_t size = (int64_t)top.dim[i + 1] + s->before[i] + s->behind[i];
        if (size % s->block[i])
            return qf_fail(layer->context, QF_E_SHAPE,
                           "axis %d of '%s' has length %d, with paddings %lld, which the block of "
                           "%d does not divide",
                           i + 1, layer->bottom[0]->name, top.dim[i + 1], (long long)size,
                           s->block[i]);
        top.dim[i + 1] = (int)(size / s->block[i]);
    }
    if (batch > INT_MAX)
        return qf_fail(layer->context, QF_E_SHAPE, "%lld images are too many", (long long)batch);
    top.dim[0] = (int)batch;
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status batch_to_space_reshape(qf_layer *layer)
{
    const state *s = layer->state;
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    if (top.dim[0] % s->parts)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %d images, which the %d positions of a block do not divide",
                       layer->bottom[0]->name, top.dim[0], s->parts);
    top.dim[0] /= s->parts;
    for (int i = 0; i < s->axes; i++) {
        const int64_t size = (int64_t)top.dim[i + 1] * s->block[i] - s->before[i] - s->behind[i];
        if (size < 0 || size > INT_MAX)
            return qf_fail(layer->context, QF_E_SHAPE, "axis %d would have length %lld", i + 1,
                           (long long)size);
        top.dim[i + 1] = (int)size;
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

static int round_up(int a, int b)
{
    return a <= 0 ? 0 : (a + b - 1) / b;
}

/* From the blob with the large images to a part of the one with the many: the positions whose place
 * in their block has this number. What lies in the padding is left out. */
static qf_move part_of(const state *s, const qf_shape *large, const qf_shape *many, int number)
{
    qf_move move = qf_move_begin(QF_MOVE_KEEP, QF_PLAIN);
    move.to_offset = (size_t)number * qf_shape_count(many) / (size_t)s->parts;
    qf_move_along(&move, (size_t)large->dim[0],
                  (ptrdiff_t)qf_shape_count_range(large, 1, large->axes),
                  (ptrdiff_t)qf_shape_count_range(many, 1, many->axes));
    for (int i = 0, rest = s->parts; i < s->axes; i++) {
        const ptrdiff_t from = (ptrdiff_t)qf_shape_count_range(large, i + 2, large->axes);
        const ptrdiff_t to = (ptrdiff_t)qf_shape_count_range(many, i + 2, many->axes);
        rest /= s->block[i];
        const int place = number / rest % s->block[i] - s->before[i]; /* of the first position */
        const int first = round_up(-place, s->block[i]);
        const int end = round_up(large->dim[i + 1] - place, s->block[i]);
        const size_t extent = end > first ? (size_t)(end - first) : 0;
        if (extent) {
            move.from_offset += (size_t)(((ptrdiff_t)first * s->block[i] + place) * from);
            move.to_offset += (size_t)(first * to);
        }
        qf_move_along(&move, extent, s->block[i] * from, to);
    }
    qf_move_along(&move, qf_shape_count_range(large, s->axes + 1, large->axes), 1, 1);
    return move;
}

static qf_status scatter_images(qf_layer *layer, qf_tensor *large, qf_tensor *many)
{
    const state *s = layer->state;
    qf_tensor_set_zero(many);
    for (int i = 0; i < s->parts; i++) {
        const qf_move move = part_of(s, &large->shape, &many->shape, i);
        QF_TRY(layer->device->move->copy(layer->context, &move, large, many));
    }
    return QF_OK;
}

static qf_status collect_images(qf_layer *layer, qf_tensor *many, qf_tensor *large)
{
    const state *s = layer->state;
    qf_tensor_set_zero(large);
    for (int i = 0; i < s->parts; i++) {
        const qf_move there = part_of(s, &large->shape, &many->shape, i);
        const qf_move back = qf_move_back(&there, QF_MOVE_KEEP);
        QF_TRY(layer->device->move->copy(layer->context, &back, many, large));
    }
    return QF_OK;
}

static qf_status space_to_batch_forward(qf_layer *layer)
{
    return scatter_images(layer, layer->bottom[0]->data, layer->top[0]->data);
}

static qf_status space_to_batch_backward(qf_layer *layer)
{
    return layer->propagate_down[0]
               ? collect_images(layer, layer->top[0]->diff, layer->bottom[0]->diff)
               : QF_OK;
}

static qf_status batch_to_space_forward(qf_layer *layer)
{
    return collect_images(layer, layer->bottom[0]->data, layer->top[0]->data);
}

static qf_status batch_to_space_backward(qf_layer *layer)
{
    return layer->propagate_down[0]
               ? scatter_images(layer, layer->top[0]->diff, layer->bottom[0]->diff)
               : QF_OK;
}

#define LAYER(stem, type_name)                                                                     \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_ONE_TO_ONE,                                                                             \
        QF_IGNORES_VALUES,                                                                         \
        .setup = stem##_setup,                                                                     \
        .reshape = stem##_reshape,                                                                 \
        .forward = stem##_forward,                                                                 \
        .backward = stem##_backward,                                                               \
    };

LAYER(space_to_batch, "SpaceToBatchND")
LAYER(batch_to_space, "BatchToSpaceND")
