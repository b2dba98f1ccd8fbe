/* Interp (DeepLab, PSPNet): the images enlarged or made smaller, bilinear, corners on corners.
 * pad_beg and pad_end cut pixels off first (they are not positive). With use_blob_size (soeaver's
 * fork) the top is as large as the second bottom. */
#include "layers/layer.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <limits.h>

/* For one coordinate of the top: the two of the bottom, and how much the second counts. */
typedef struct tap {
    int low, high;
    float share;
} tap;

typedef struct state {
    tap *taps[2]; /* rows, columns */
    size_t capacity[2];
} state;

typedef Caffe__InterpParameter interp_param;

static const interp_param *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, interp_param, INTERP_, Interp);
}

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

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->taps[0]);
    qf_free(((state *)layer->state)->taps[1]);
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

static qf_status make_taps(qf_layer *layer, int axis, int in, int out)
{
    const interp_param *p = param_of(layer);
    state *s = layer->state;
    if (!qf_grow(&s->taps[axis], &s->capacity[axis], (size_t)out, sizeof(tap)))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %d positions", out);
    const float ratio = out > 1 ? (float)(in - 1) / (float)(out - 1) : 0;
    for (int i = 0; i < out; i++) {
        const float at = ratio * (float)i;
        const int low = (int)at < in - 1 ? (int)at : in - 1;
        const float share = low < in - 1 ? at - (float)low : 0;
        s->taps[axis][i] = (tap){low - p->pad_beg, (share > 0 ? low + 1 : low) - p->pad_beg, share};
    }
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const interp_param *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = *bottom;
    if (bottom->axes != 4 || qf_shape_count(bottom) == 0)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have 4 axes (num, channels, height, width) and a size",
                       layer->bottom[0]->name);
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
    }
    QF_TRY(qf_blob_reshape_to(layer->top[0], &top));
    for (int axis = 0; axis < 2; axis++)
        QF_TRY(make_taps(layer, axis, bottom->dim[2 + axis] + p->pad_beg + p->pad_end,
                         top.dim[2 + axis]));
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    const size_t channels = (size_t)top->dim[1], width = (size_t)bottom->dim[3];
    const size_t rows = (size_t)top->dim[0] * (size_t)top->dim[2];
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(qf_shape_count(top)))
    for (size_t row = 0; row < rows; row++) {
        const tap v = s->taps[0][row % (size_t)top->dim[2]];
        const size_t first = row / (size_t)top->dim[2] * (size_t)bottom->dim[2];
        const float *above = x + (first + (size_t)v.low) * width * channels;
        const float *below = x + (first + (size_t)v.high) * width * channels;
        for (size_t w = 0; w < (size_t)top->dim[3]; w++) {
            const tap h = s->taps[1][w];
            const size_t left = (size_t)h.low * channels, right = (size_t)h.high * channels;
            float *out = y + (row * (size_t)top->dim[3] + w) * channels;
            for (size_t c = 0; c < channels; c++)
                out[c] =
                    (1 - v.share) * ((1 - h.share) * above[left + c] + h.share * above[right + c]) +
                    v.share * ((1 - h.share) * below[left + c] + h.share * below[right + c]);
        }
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    const size_t channels = (size_t)top->dim[1], width = (size_t)bottom->dim[3];
    const float *dy;
    float *dx;
    if (layer->bottom_count > 1 && layer->propagate_down[1]) /* only its shape counts */
        qf_tensor_set_zero(layer->bottom[1]->diff);
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor_set_zero(layer->bottom[0]->diff);
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_NHWC, &dy));
    QF_TRY(qf_update(layer->context, layer->bottom[0]->diff, QF_NHWC, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(qf_shape_count(top)))
    for (int n = 0; n < top->dim[0]; n++)
        for (int row = 0; row < top->dim[2]; row++)
            for (int column = 0; column < top->dim[3]; column++) {
                const tap v = s->taps[0][row], h = s->taps[1][column];
                const size_t first = (size_t)n * (size_t)bottom->dim[2];
                float *above = dx + (first + (size_t)v.low) * width * channels;
                float *below = dx + (first + (size_t)v.high) * width * channels;
                const size_t left = (size_t)h.low * channels, right = (size_t)h.high * channels;
                const size_t at =
                    ((size_t)n * (size_t)top->dim[2] + (size_t)row) * (size_t)top->dim[3] +
                    (size_t)column;
                for (size_t c = 0; c < channels; c++) {
                    const float upper = (1 - v.share) * dy[at * channels + c];
                    const float lower = v.share * dy[at * channels + c];
                    above[left + c] += (1 - h.share) * upper;
                    above[right + c] += h.share * upper;
                    below[left + c] += (1 - h.share) * lower;
                    below[right + c] += h.share * lower;
                }
            }
    return QF_OK;
}

const qf_layer_type qf_interp_layer = {
    .name = "Interp",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
