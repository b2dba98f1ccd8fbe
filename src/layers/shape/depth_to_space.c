/*
 * DepthToSpace, SpaceToDepth (synopsys-caffe, from TensorFlow) and PixelShuffle (PyTorch's): block²
 * channels of a pixel become block × block pixels, or the other way round. Which channel becomes
 * which pixel: in TensorFlow's order ("NHWC", "NCHW", "DCR") the pixel counts first, in PyTorch's
 * ("CRD") the channel that it goes to.
 */
#include "layers/shape/one_move.h"

#include <limits.h>
#include <string.h>

typedef struct state {
    int64_t block;
    bool channels_last, channel_first; /* N × H × W × C; PyTorch's order */
} state;

static qf_status set_block(qf_layer *layer, const char *field, int64_t block)
{
    if (block < 1 || block > 1 << 15)
        return qf_fail(layer->context, QF_E_VALUE, "%s is %lld, expected 1 … 32768", field,
                       (long long)block);
    ((state *)layer->state)->block = block;
    return QF_OK;
}

static qf_status set_format(qf_layer *layer, const char *format)
{
    state *s = layer->state;
    s->channels_last = strcmp(format, "NHWC") == 0;
    s->channel_first = strcmp(format, "CRD") == 0;
    if (s->channels_last || s->channel_first || strcmp(format, "NCHW") == 0 ||
        strcmp(format, "DCR") == 0)
        return QF_OK;
    return qf_fail(layer->context, QF_E_UNSUPPORTED,
                   "data_format is '%s', expected 'NHWC', 'NCHW', 'DCR' or 'CRD'", format);
}

static qf_status depth_to_space_setup(qf_layer *layer)
{
    const Caffe__DepthToSpaceParameter *p = layer->param->depth_to_space_param;
    if (!p) /* block_size is required */
        return qf_fail(layer->context, QF_E_FORMAT, "depth_to_space_param.block_size is missing");
    QF_TRY(set_format(layer, p->data_format));
    return set_block(layer, "depth_to_space_param.block_size", p->block_size);
}

static qf_status space_to_depth_setup(qf_layer *layer)
{
    const Caffe__SpaceToDepthParameter *p = layer->param->space_to_depth_param;
    if (!p)
        return qf_fail(layer->context, QF_E_FORMAT, "space_to_depth_param.block_size is missing");
    QF_TRY(set_format(layer, p->data_format));
    return set_block(layer, "space_to_depth_param.block_size", p->block_size);
}

static qf_status pixel_shuffle_setup(qf_layer *layer)
{
    const Caffe__PixelShuffleParameter *p =
        QF_LAYER_PARAM(layer, pixel_shuffle_param, PIXEL_SHUFFLE_, PixelShuffle);
    ((state *)layer->state)->channel_first = true;
    return set_block(layer, "pixel_shuffle_param.upscale_factor", p->upscale_factor);
}

/* What is enlarged, spatial axes or the channels, and what is divided. */
static qf_status reshape_by(qf_layer *layer, bool to_space)
{
    const state *s = layer->state;
    const int channels = s->channels_last ? 3 : 1, rows = s->channels_last ? 1 : 2;
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_layer_check_images(layer, 0));
    int64_t depth = top.dim[channels], size[2] = {top.dim[rows], top.dim[rows + 1]};
    const int64_t square = s->block * s->block;
    if (to_space && depth % square)
        return qf_fail(
            layer->context, QF_E_SHAPE, "'%s' has %lld channels, which %lld × %lld does not divide",
            layer->bottom[0]->name, (long long)depth, (long long)s->block, (long long)s->block);
    if (!to_space && (size[0] % s->block || size[1] % s->block))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %lld × %lld pixels, which blocks of %lld × %lld do not fill",
                       layer->bottom[0]->name, (long long)size[0], (long long)size[1],
                       (long long)s->block, (long long)s->block);
    depth = to_space ? depth / square : depth * square;
    for (int i = 0; i < 2; i++)
        size[i] = to_space ? size[i] * s->block : size[i] / s->block;
    if (depth > INT_MAX || size[0] > INT_MAX || size[1] > INT_MAX)
        return qf_fail(layer->context, QF_E_SHAPE, "a block of %lld makes the top too large",
                       (long long)s->block);
    top.dim[channels] = (int)depth;
    top.dim[rows] = (int)size[0];
    top.dim[rows + 1] = (int)size[1];
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status to_space_reshape(qf_layer *layer)
{
    return reshape_by(layer, true);
}

static qf_status to_depth_reshape(qf_layer *layer)
{
    return reshape_by(layer, false);
}

/* How far an image, channel, row and pixel of a blob lie apart. */
typedef struct steps {
    ptrdiff_t image, channel, row, pixel;
} steps;

static steps steps_of(const state *s, const qf_shape *shape)
{
    const ptrdiff_t c = s->channels_last ? 3 : 1;
    const ptrdiff_t channels = shape->dim[c], height = shape->dim[s->channels_last ? 1 : 2];
    const ptrdiff_t width = shape->dim[s->channels_last ? 2 : 3];
    return s->channels_last ? (steps){channels * height * width, 1, channels * width, channels}
                            : (steps){channels * height * width, height * width, width, 1};
}

/* From the blob with the deep pixels to the one with many. */
static qf_move spread(const qf_layer *layer, const qf_shape *deep, const qf_shape *wide)
{
    const state *s = layer->state;
    const steps from = steps_of(s, deep), to = steps_of(s, wide);
    const ptrdiff_t block = (ptrdiff_t)s->block, depth = wide->dim[s->channels_last ? 3 : 1];
    const ptrdiff_t next = s->channel_first ? from.channel : depth * from.channel;
    const int rows = s->channels_last ? 1 : 2;
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    qf_move_along(&move, (size_t)deep->dim[0], from.image, to.image);
    qf_move_along(&move, (size_t)depth, (s->channel_first ? block * block : 1) * from.channel,
                  to.channel);
    qf_move_along(&move, (size_t)deep->dim[rows], from.row, block * to.row);
    qf_move_along(&move, (size_t)block, block * next, to.row);
    qf_move_along(&move, (size_t)deep->dim[rows + 1], from.pixel, block * to.pixel);
    qf_move_along(&move, (size_t)block, next, to.pixel);
    return move;
}

static qf_move to_space(const qf_layer *layer)
{
    return spread(layer, qf_blob_shape(layer->bottom[0]), qf_blob_shape(layer->top[0]));
}

static qf_move to_depth(const qf_layer *layer)
{
    const qf_move move =
        spread(layer, qf_blob_shape(layer->top[0]), qf_blob_shape(layer->bottom[0]));
    return qf_move_back(&move, QF_MOVE_WRITE);
}

#define LAYER(stem, type_name, direction)                                                          \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_ONE_TO_ONE,                                                                             \
        .setup = stem##_setup,                                                                     \
        .reshape = direction##_reshape,                                                            \
        QF_ONE_MOVE(direction),                                                                    \
    };

LAYER(depth_to_space, "DepthToSpace", to_space)
LAYER(space_to_depth, "SpaceToDepth", to_depth)
LAYER(pixel_shuffle, "PixelShuffle", to_space)
