/* PassThrough (HiSilicon): the pixels of each block_height × block_width block become channels of
 * one pixel, the channels of a pixel side by side. */
#include "layers/layer.h"

#include <limits.h>
#include <string.h>

typedef Caffe__PassThroughParameter pass_through_param;

QF_LAYER_PARAM_OF(pass_through_param, PASS_THROUGH_, PassThrough)

static qf_status reshape(qf_layer *layer)
{
    const pass_through_param *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    char text[256];
    if (bottom->axes != 4 || p->block_height < 1 || p->block_width < 1 ||
        (uint32_t)bottom->dim[2] % p->block_height || (uint32_t)bottom->dim[3] % p->block_width)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "pass_through_param: blocks of %u × %u pixels do not fit '%s' of shape %s",
                       p->block_height, p->block_width, layer->bottom[0]->name,
                       qf_shape_text(bottom, text, sizeof text));
    const uint64_t pixels = (uint64_t)p->block_height * p->block_width;
    const uint64_t channels =
        pixels > INT_MAX ? INT_MAX + (uint64_t)1 : pixels * (uint64_t)bottom->dim[1];
    if (channels > INT_MAX || (p->num_output && p->num_output != channels))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "pass_through_param: blocks of %u × %u pixels of %d channels do not make %u "
                       "channels; leave num_output out",
                       p->block_height, p->block_width, bottom->dim[1], p->num_output);
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){4,
                                                         {bottom->dim[0], (int)channels,
                                                          bottom->dim[2] / (int)p->block_height,
                                                          bottom->dim[3] / (int)p->block_width}});
}

/* Both arrays in NHWC order: the channels of a pixel stay together. */
static qf_status move(qf_layer *layer, qf_tensor *from, qf_tensor *to, bool forward)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const size_t channels = (size_t)bottom->dim[1], width = (size_t)bottom->dim[3];
    const size_t rows = (size_t)bottom->dim[0] * (size_t)bottom->dim[2];
    const size_t block_h = param_of(layer)->block_height, block_w = param_of(layer)->block_width;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, from, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, to, QF_NHWC, &y));
    for (size_t row = 0; row < rows; row++)
        for (size_t w = 0; w < width; w++) {
            const size_t pixel = row / block_h * (width / block_w) + w / block_w;
            const size_t part = row % block_h * block_w + w % block_w;
            const size_t above = (row * width + w) * channels;
            const size_t below = (pixel * block_h * block_w + part) * channels;
            memcpy(y + (forward ? below : above), x + (forward ? above : below),
                   channels * sizeof *y);
        }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return move(layer, layer->bottom[0]->data, layer->top[0]->data, true);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0]
               ? move(layer, layer->top[0]->diff, layer->bottom[0]->diff, false)
               : QF_OK;
}

const qf_layer_type qf_pass_through_layer = {
    .name = "PassThrough",
    QF_ONE_TO_ONE,
    QF_IGNORES_VALUES,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
