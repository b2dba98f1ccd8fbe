/* Im2col: for every position of a kernel the values under it, as channels (Caffe's order: channel,
 * then place in the kernel). Any number of spatial axes that Convolution takes. */
#include "layers/convolution/convolution_base.h"

#include <string.h>

typedef qf_convolution_state state; /* outputs: channels of the top */

static qf_status setup(qf_layer *layer)
{
    QF_TRY(qf_convolution_setup_geometry(layer, false));
    if (((state *)layer->state)->spatial_axes > 0)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "Im2col needs an axis behind the channels, '%s' has none",
                   layer->bottom[0]->name);
}

static size_t kernel_places(const state *s)
{
    size_t places = 1;
    for (int i = 0; i < s->spatial_axes; i++)
        places *= (size_t)s->kernel[i];
    return places;
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    qf_shape top;
    s->channels = qf_blob_shape(layer->bottom[0])->dim[s->axis];
    const double outputs = (double)s->channels * (double)kernel_places(s);
    if (outputs > INT32_MAX)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "%d channels times %zu places in the kernel are too many", s->channels,
                       kernel_places(s));
    s->outputs = (int)outputs;
    QF_TRY(qf_convolution_output_shape(layer, false, &top));
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* A row of the top: one channel of one image, seen from one place in the kernel. */
typedef struct view {
    const state *s;
    const int *in, *out;        /* spatial sizes of bottom and top */
    int offset[QF_MAX_SPATIAL]; /* of the place in the kernel, less the padding */
} view;

static view view_at(const qf_layer *layer, size_t place)
{
    const state *s = layer->state;
    view v = {s,
              qf_blob_shape(layer->bottom[0])->dim + s->axis + 1,
              qf_blob_shape(layer->top[0])->dim + s->axis + 1,
              {0}};
    for (int i = s->spatial_axes - 1; i >= 0; i--) {
        v.offset[i] = (int)(place % (size_t)s->kernel[i]) * s->dilation[i] - s->pad[i];
        place /= (size_t)s->kernel[i];
    }
    return v;
}

/* What pixel `at` of the row sees: an index into the channel, or −1 for padding. */
static ptrdiff_t seen_by(const view *v, size_t at)
{
    ptrdiff_t index = 0, stride = 1;
    for (int i = v->s->spatial_axes - 1; i >= 0; i--) {
        const int position = (int)(at % (size_t)v->out[i]) * v->s->stride[i] + v->offset[i];
        if (position < 0 || position >= v->in[i])
            return -1;
        index += position * stride;
        stride *= v->in[i];
        at /= (size_t)v->out[i];
    }
    return index;
}

static size_t pixels(const qf_blob *blob, int axis)
{
    return qf_shape_count_range(qf_blob_shape(blob), axis + 1, qf_blob_shape(blob)->axes);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t places = kernel_places(s), in = pixels(layer->bottom[0], s->axis),
                 out = pixels(layer->top[0], s->axis);
    const size_t rows = out ? qf_blob_count(layer->top[0]) / out : 0;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static) if (rows * out > 1 << 12)
    for (size_t row = 0; row < rows; row++) {
        const view v = view_at(layer, row % places);
        const float *channel = x + row / places * in;
        for (size_t at = 0; at < out; at++) {
            const ptrdiff_t seen = seen_by(&v, at);
            y[row * out + at] = seen < 0 ? 0 : channel[seen];
        }
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t places = kernel_places(s), in = pixels(layer->bottom[0], s->axis),
                 out = pixels(layer->top[0], s->axis);
    const size_t channels = in ? qf_blob_count(layer->bottom[0]) / in : 0;
    const float *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
#pragma omp parallel for schedule(static) if (channels * places * out > 1 << 12)
    for (size_t channel = 0; channel < channels; channel++) {
        float *sum = dx + channel * in;
        memset(sum, 0, in * sizeof *sum);
        for (size_t place = 0; place < places; place++) {
            const view v = view_at(layer, place);
            const float *row = dy + (channel * places + place) * out;
            for (size_t at = 0; at < out; at++) {
                const ptrdiff_t seen = seen_by(&v, at);
                if (seen >= 0)
                    sum[seen] += row[at];
            }
        }
    }
    return QF_OK;
}

const qf_layer_type qf_im2col_layer = {
    .name = "Im2col",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .setup = setup,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
