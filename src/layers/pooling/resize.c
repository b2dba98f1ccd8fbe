/* ResizeBilinear and ResizeNearestNeighbor (synopsys-caffe, from TensorFlow): images of another
 * size. Without align_corners and half_pixel_centers a new pixel i is the old one in / out · i. */
#include "layers/layer.h"

#include <limits.h>
#include <math.h>
#include <string.h>

typedef struct state {
    bool channels_last;    /* the blobs are N × H × W × C */
    qf_stretch stretch[2]; /* rows, columns; their sizes come with the bottom */
    int size[2];           /* of the top; 0: by the factor */
    float factor[2];
    qf_tensor *images, *resized; /* channels last: the same arrays, seen as N × C × H × W */
} state;

static qf_status set_size(qf_layer *layer, const int32_t size[2], const float factor[2])
{
    state *s = layer->state;
    for (int i = 0; i < 2; i++) {
        if (size[i] < 0 || !(factor[i] > 0))
            return qf_fail(layer->context, QF_E_VALUE,
                           "output_height, output_width, scale_height and scale_width must be "
                           "positive; found %d and %g",
                           size[i], (double)factor[i]);
        s->size[i] = size[i];
        s->factor[i] = factor[i];
    }
    return QF_OK;
}

/* At most one of three flags says how pixels lie on one another. */
static qf_status set_rules(qf_layer *layer, const char *format, bool corners, bool half,
                           bool half_of_other, qf_taken taken)
{
    state *s = layer->state;
    if (corners + half + half_of_other > 1)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "only one of align_corners and the half-pixel flags can be true");
    if (strcmp(format, "NCHW") != 0 && strcmp(format, "NHWC") != 0)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "data_format is '%s', expected 'NCHW' or 'NHWC'", format);
    s->channels_last = strcmp(format, "NHWC") == 0;
    for (int i = 0; i < 2; i++) {
        s->stretch[i].anchor = corners                 ? QF_ANCHOR_CORNERS
                               : half || half_of_other ? QF_ANCHOR_EDGES
                                                       : QF_ANCHOR_START;
        s->stretch[i].taken = taken;
    }
    if (!s->channels_last)
        return QF_OK;
    QF_TRY(qf_tensor_create(layer->context, &s->images));
    return qf_tensor_create(layer->context, &s->resized);
}

static qf_status bilinear_setup(qf_layer *layer)
{
    const Caffe__ResizeBilinearParameter *p =
        QF_LAYER_PARAM(layer, resize_bilinear_param, RESIZE_BILINEAR_, ResizeBilinear);
    QF_TRY(set_rules(layer, p->data_format, p->align_corners, p->half_pixel_centers,
                     p->pytorch_half_pixel, QF_TAKEN_BETWEEN));
    return set_size(layer, (const int32_t[]){p->output_height, p->output_width},
                    (const float[]){p->scale_height, p->scale_width});
}

static qf_status nearest_setup(qf_layer *layer)
{
    const Caffe__ResizeNearestNeighborParameter *p = QF_LAYER_PARAM(
        layer, resize_nearest_neighbor_param, RESIZE_NEAREST_NEIGHBOR_, ResizeNearestNeighbor);
    QF_TRY(set_rules(layer, p->data_format, p->align_corners, p->half_pixel_centers,
                     p->half_pixel_onnx, p->half_pixel_onnx ? QF_TAKEN_BEFORE : QF_TAKEN_NEAREST));
    return set_size(layer, (const int32_t[]){p->output_height, p->output_width},
                    (const float[]){p->scale_height, p->scale_width});
}

/* PyTorch's half pixels: where one pixel is made of many it is the first. */
static void settle_anchor(const qf_layer *layer, qf_stretch *stretch)
{
    const Caffe__ResizeBilinearParameter *p = layer->param->resize_bilinear_param;
    if (p && p->pytorch_half_pixel)
        stretch->anchor = stretch->out > 1 ? QF_ANCHOR_EDGES : QF_ANCHOR_CORNERS;
}

/* N × H × W × C as the N × C × H × W whose NHWC form is the same array. */
static qf_shape channels_second(const qf_shape *last)
{
    return qf_shape_make(4, (const int[]){last->dim[0], last->dim[3], last->dim[1], last->dim[2]});
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const int rows = s->channels_last ? 1 : 2;
    QF_TRY(qf_layer_check_images(layer, 0));
    qf_shape top = *bottom;
    for (int i = 0; i < 2; i++) {
        const int in = bottom->dim[rows + i];
        const double out = s->size[i] ? s->size[i] : floor((double)((float)in * s->factor[i]));
        if (!(out >= 1 && out <= INT_MAX))
            return qf_fail(layer->context, QF_E_SHAPE, "axis %d of '%s' would have %g pixels of %d",
                           rows + i, layer->bottom[0]->name, out, in);
        s->stretch[i].in = in;
        top.dim[rows + i] = s->stretch[i].out = (int)out;
        settle_anchor(layer, &s->stretch[i]);
    }
    QF_TRY(qf_blob_reshape_to(layer->top[0], &top));
    if (!s->channels_last)
        return QF_OK;
    const qf_shape images = channels_second(bottom), resized = channels_second(&top);
    QF_TRY(qf_tensor_reshape(layer->context, s->images, &images));
    return qf_tensor_reshape(layer->context, s->resized, &resized);
}

/* From a form of one tensor into a form of another, both the same array. */
static qf_status copy_array(qf_layer *layer, qf_tensor *from, qf_form from_form, qf_tensor *to,
                            qf_form to_form)
{
    qf_move move = qf_move_begin(QF_MOVE_WRITE, from_form);
    move.to_form = to_form;
    qf_move_along(&move, qf_shape_count(&from->shape), 1, 1);
    return layer->device->move->copy(layer->context, &move, from, to);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_resample_family *resample = layer->device->resample;
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    if (!s->channels_last)
        return resample->interpolate(layer->context, s->stretch, x, y);
    QF_TRY(copy_array(layer, x, QF_PLAIN, s->images, QF_NHWC));
    QF_TRY(resample->interpolate(layer->context, s->stretch, s->images, s->resized));
    return copy_array(layer, s->resized, QF_NHWC, y, QF_PLAIN);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_resample_family *resample = layer->device->resample;
    qf_tensor *dy = layer->top[0]->diff, *dx = layer->bottom[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    if (!s->channels_last)
        return resample->interpolate_backward(layer->context, s->stretch, dy, dx);
    QF_TRY(copy_array(layer, dy, QF_PLAIN, s->resized, QF_NHWC));
    QF_TRY(resample->interpolate_backward(layer->context, s->stretch, s->resized, s->images));
    return copy_array(layer, s->images, QF_NHWC, dx, QF_PLAIN);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->images);
    qf_tensor_release(((state *)layer->state)->resized);
}

#define LAYER(stem, type_name, setup_of)                                                           \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_ONE_TO_ONE,                                                                             \
        QF_IGNORES_VALUES,                                                                         \
        .setup = setup_of,                                                                         \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .destroy = destroy,                                                                        \
    };

LAYER(resize_bilinear, "ResizeBilinear", bilinear_setup)
LAYER(resize_nearest, "ResizeNearestNeighbor", nearest_setup)
