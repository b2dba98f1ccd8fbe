/* Interp (DeepLab, PSPNet): the images enlarged or made smaller, bilinear, corners on corners.
 * pad_beg and pad_end cut pixels off first (they are not positive). With use_blob_size (soeaver's
 * fork) the top is as large as the second bottom. */
#include "layers/layer.h"

#include <limits.h>

typedef struct state {
    qf_stretch stretch[2]; /* rows, columns */
} state;

typedef Caffe__InterpParameter interp_param;

QF_LAYER_PARAM_OF(interp_param, INTERP_, Interp)

static qf_status setup(qf_layer *layer)
{
    const interp_param *p = param_of(layer);
    const bool factor = p->has_zoom_factor || p->has_shrink_factor;
    if (p->pad_beg > 0 || p->pad_end > 0)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "interp_param: pad_beg and pad_end cut pixels off, so they must be 0 or "
                       "negative; found %d and %d",
                       p->pad_beg, p->pad_end);
    if (layer->bottom_count != (p->use_blob_size ? 2 : 1))
        return qf_fail(layer->context, QF_E_FORMAT,
                       p->use_blob_size ? "with use_blob_size Interp needs a second bottom, whose "
                                          "size the top gets"
                                        : "Interp has a second bottom, but interp_param does not "
                                          "say use_blob_size: true");
    if (!factor && !(p->has_height && p->has_width) && !p->use_blob_size)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "interp_param needs height and width, zoom_factor, shrink_factor, or "
                       "use_blob_size");
    if (p->zoom_factor < 1 || p->shrink_factor < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "interp_param: zoom_factor %d and shrink_factor %d must be at least 1",
                       p->zoom_factor, p->shrink_factor);
    return QF_OK;
}

/* Factors count the gaps between pixels, not pixels; one that is not named is 1. */
static int64_t size_of_top(const qf_layer *layer, int64_t in, bool height)
{
    const interp_param *p = param_of(layer);
    if (p->use_blob_size)
        return qf_blob_shape(layer->bottom[1])->dim[height ? 2 : 3];
    if (!p->has_zoom_factor && !p->has_shrink_factor)
        return height ? p->height : p->width;
    const int64_t gaps = (in - 1) / p->shrink_factor;
    return gaps * p->zoom_factor + 1;
}

static qf_status reshape(qf_layer *layer)
{
    const interp_param *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = *bottom;
    QF_TRY(qf_layer_check_images(layer, 0));
    if (p->use_blob_size && qf_blob_shape(layer->bottom[1])->axes != 4)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s', whose size the top gets, must have 4 axes", layer->bottom[1]->name);
    for (int axis = 0; axis < 2; axis++) {
        const int64_t in = (int64_t)bottom->dim[2 + axis] + p->pad_beg + p->pad_end;
        const int64_t out = in < 1 ? 0 : size_of_top(layer, in, axis == 0);
        if (in < 1 || out < 1 || out > INT_MAX)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "interp_param makes %lld of the %lld pixels along axis %d of '%s'; both "
                           "must be at least 1",
                           (long long)out, (long long)in, 2 + axis, layer->bottom[0]->name);
        top.dim[2 + axis] = (int)out;
        ((state *)layer->state)->stretch[axis] =
            (qf_stretch){.in = (int)in, .out = (int)out, .first = -p->pad_beg};
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status forward(qf_layer *layer)
{
    return layer->device->resample->interpolate(layer->context, ((state *)layer->state)->stretch,
                                                layer->bottom[0]->data, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    if (layer->bottom_count > 1 && layer->propagate_down[1]) /* only its shape counts */
        qf_tensor_set_zero(layer->bottom[1]->diff);
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->resample->interpolate_backward(
        layer->context, ((state *)layer->state)->stretch, layer->top[0]->diff,
        layer->bottom[0]->diff);
}

const qf_layer_type qf_interp_layer = {
    .name = "Interp",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 2),
    QF_TOPS(1, 1),
    QF_IGNORES_VALUES,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
