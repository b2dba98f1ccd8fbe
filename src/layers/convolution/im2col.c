/* Im2col: for every position of a kernel the values under it, as channels (Caffe's order: channel,
 * then place in the kernel). Any number of spatial axes that Convolution takes. */
#include "layers/convolution/convolution_base.h"

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
    QF_TRY(qf_convolution_output_shape(layer, &top));
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* Along spatial axis `i`: how many outputs see a pixel from place `at` of the kernel, the first of
 * them and which pixel that sees. None see one where the padding is as wide as that. */
typedef struct seen {
    int64_t count, first, pixel;
} seen;

static seen seen_from(const state *s, int i, int at, int in, int out)
{
    const int64_t stride = s->stride[i], offset = (int64_t)at * s->dilation[i] - s->pad[i];
    const int64_t first = offset < 0 ? (stride - 1 - offset) / stride : 0;
    const int64_t behind = in > offset ? (in - offset + stride - 1) / stride : 0;
    const int64_t end = behind < out ? behind : out;
    return (seen){end > first ? end - first : 0, first, first * stride + offset};
}

/* From the bottom to what is seen from one place of the kernel; elsewhere the top is 0. */
static qf_move move_of_place(const qf_layer *layer, size_t place)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    const size_t in = qf_shape_count_range(bottom, s->axis + 1, bottom->axes);
    const size_t out = qf_shape_count_range(top, s->axis + 1, top->axes);
    qf_move move = qf_move_begin(QF_MOVE_KEEP, QF_PLAIN);
    move.to_offset = place * out;
    qf_move_along(&move, qf_shape_count_range(bottom, 0, s->axis + 1), (ptrdiff_t)in,
                  (ptrdiff_t)(kernel_places(s) * out));
    move.axes += s->spatial_axes;
    for (int i = s->spatial_axes - 1; i >= 0; i--) {
        const int axis = s->axis + 1 + i, at = (int)(place % (size_t)s->kernel[i]);
        const seen it = seen_from(s, i, at, bottom->dim[axis], top->dim[axis]);
        const size_t in_step = qf_shape_count_range(bottom, axis + 1, bottom->axes);
        const size_t out_step = qf_shape_count_range(top, axis + 1, top->axes);
        move.axis[1 + i] = (qf_move_axis){(size_t)it.count, s->stride[i] * (ptrdiff_t)in_step,
                                          (ptrdiff_t)out_step};
        move.from_offset += it.count ? (size_t)it.pixel * in_step : 0;
        move.to_offset += it.count ? (size_t)it.first * out_step : 0;
        place /= (size_t)s->kernel[i];
    }
    return move;
}

static qf_status forward(qf_layer *layer)
{
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    qf_tensor_set_zero(y);
    for (size_t place = 0; place < kernel_places(layer->state); place++) {
        const qf_move move = move_of_place(layer, place);
        QF_TRY(layer->device->move->copy(layer->context, &move, x, y));
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    qf_tensor *dy = layer->top[0]->diff, *dx = layer->bottom[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor_set_zero(dx);
    for (size_t place = 0; place < kernel_places(layer->state); place++) {
        const qf_move there = move_of_place(layer, place);
        const qf_move back = qf_move_back(&there, QF_MOVE_ADD);
        QF_TRY(layer->device->move->copy(layer->context, &back, dy, dx));
    }
    return QF_OK;
}

const qf_layer_type qf_im2col_layer = {
    .name = "Im2col",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .setup = setup,
    QF_IGNORES_VALUES,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
