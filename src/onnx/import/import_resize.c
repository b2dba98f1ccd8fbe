/* Resize and Upsample: Interp, Upsample, ResizeBilinear and ResizeNearestNeighbor, each of which
 * has other rules of how old and new pixels lie on one another. */
#include "onnx/import/operators.h"

#include <math.h>

typedef enum placing { CORNERS, HALF_PIXELS, TORCH_HALF_PIXELS, ASYMMETRIC } placing;

typedef struct resizing {
    qf_import_blob blob;
    int size[2]; /* of the new images */
    placing placing;
    bool linear;
} resizing;

/* ---- sizes ---- */

/* The numbers of input `index`, for all axes or for those that the attribute axes names, as those
 * of rows and columns; other axes must stay. */
static qf_status of_images(qf_importer *im, int index, const qf_shape *shape, double *out)
{
    qf_import_list axes;
    const qf_import_value *given = qf_import_input(im, (size_t)index);
    QF_TRY(qf_import_list_of(im, "axes", -1, &axes));
    const size_t count = qf_shape_count(&given->shape);
    if (!qf_import_is_constant(given) || count != (axes.values ? axes.count : (size_t)shape->axes))
        return qf_import_refuse(im, "'%s' is not known, or has not one number for each axis",
                                given->name);
    const bool sizes = index == 3;
    for (size_t i = 0; i < count; i++) {
        int axis = (int)i;
        if (axes.values)
            QF_TRY(qf_import_axis(im, axes.values[i], shape->axes, &axis));
        const double number = qf_import_element(given, i);
        if (axis >= 2)
            out[axis - 2] = number;
        else if (number != (sizes ? shape->dim[axis] : 1))
            return qf_import_refuse(im, "it resizes axis %d; Caffe resizes rows and columns", axis);
    }
    return QF_OK;
}

/* A size that is no multiple of the factor would put pixels elsewhere. */
static qf_status take_sizes(qf_importer *im, int scales, int sizes, resizing *r)
{
    const qf_import_value *s = sizes < 0 ? NULL : qf_import_input(im, (size_t)sizes);
    const bool by_size = s && qf_shape_count(&s->shape);
    double number[2] = {1, 1};
    if (by_size)
        for (int i = 0; i < 2; i++)
            number[i] = r->blob.shape.dim[2 + i];
    if (!by_size && !qf_import_input(im, (size_t)scales))
        return qf_import_damaged(im, "it says no size");
    QF_TRY(of_images(im, by_size ? sizes : scales, &r->blob.shape, number));
    for (int i = 0; i < 2; i++) {
        const int in = r->blob.shape.dim[2 + i];
        const double exact = by_size ? number[i] : in * number[i], out = floor(exact + 1e-5);
        if (!(out >= 1 && out <= 1 << 20))
            return qf_import_damaged(im, "axis %d would have %g pixels", 2 + i, exact);
        if (fabs(exact - out) > 1e-3 && r->placing != CORNERS)
            return qf_import_refuse(im, "%d pixels times %g are no whole number; give sizes", in,
                                    number[i]);
        r->size[i] = (int)out;
    }
    return QF_OK;
}

/* ---- rules ---- */

static qf_status read_placing(qf_importer *im, placing *out)
{
    static const struct {
        const char *word;
        placing placing;
    } words[] = {{"half_pixel", HALF_PIXELS},
                 {"half_pixel_symmetric", HALF_PIXELS}, /* the same where sizes are whole */
                 {"pytorch_half_pixel", TORCH_HALF_PIXELS},
                 {"align_corners", CORNERS},
                 {"asymmetric", ASYMMETRIC}};
    static const char name[] = "coordinate_transformation_mode";
    *out = HALF_PIXELS;
    if (!qf_import_attribute(im, name))
        return QF_OK;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (qf_import_says(im, name, words[i].word)) {
            *out = words[i].placing;
            return QF_OK;
        }
    return qf_import_refuse(im, "its coordinate_transformation_mode has no equal");
}

/* Does a new pixel lie in the middle between two old ones, so that rounding decides? */
static bool has_ties(const resizing *r)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t in = r->blob.shape.dim[2 + axis], out = r->size[axis];
        for (int64_t i = 0; i < out; i++) {
            const bool tie = r->placing == CORNERS ? out > 1 && 2 * i * (in - 1) % (out - 1) == 0 &&
                                                         2 * i * (in - 1) / (out - 1) % 2
                                                   : (2 * i + 1) * in % (2 * out) == 0;
            if (tie)
                return true;
        }
    }
    return false;
}

/* ---- layers ---- */

static qf_status resize_linear(qf_importer *im, resizing *r, const qf_shape *top)
{
    Caffe__LayerParameter *layer;
    if (r->placing == CORNERS) {
        QF_TRY(qf_import_chain(im, "Interp", "", &r->blob, top, &r->blob, &layer));
        QF_TRY(qf_message_new(im->context, &caffe__interp_parameter__descriptor,
                              &layer->interp_param));
        QF_SET(layer->interp_param, height, r->size[0]);
        QF_SET(layer->interp_param, width, r->size[1]);
        return QF_OK;
    }
    QF_TRY(qf_import_chain(im, "ResizeBilinear", "", &r->blob, top, &r->blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__resize_bilinear_parameter__descriptor,
                          &layer->resize_bilinear_param));
    Caffe__ResizeBilinearParameter *p = layer->resize_bilinear_param;
    QF_SET(p, output_height, r->size[0]);
    QF_SET(p, output_width, r->size[1]);
    if (r->placing == HALF_PIXELS)
        QF_SET(p, half_pixel_centers, true);
    if (r->placing == TORCH_HALF_PIXELS)
        QF_SET(p, pytorch_half_pixel, true);
    return qf_import_set_text(im, &p->data_format, "NCHW");
}

/* Each pixel so many times. */
static bool repeats(const resizing *r, int *times)
{
    const qf_shape *in = &r->blob.shape;
    *times = r->size[0] / in->dim[2];
    return r->placing != CORNERS && *times >= 1 && *times * in->dim[2] == r->size[0] &&
           *times * in->dim[3] == r->size[1];
}

static qf_status resize_nearest(qf_importer *im, resizing *r, const qf_shape *top, bool down)
{
    Caffe__LayerParameter *layer;
    int times;
    if (repeats(r, &times)) {
        QF_TRY(qf_import_chain(im, "Upsample", "", &r->blob, top, &r->blob, &layer));
        QF_TRY(qf_message_new(im->context, &caffe__upsample_parameter__descriptor,
                              &layer->upsample_param));
        QF_SET(layer->upsample_param, scale, (float)times);
        return QF_OK;
    }
    if (down && r->placing != ASYMMETRIC && has_ties(r))
        return qf_import_refuse(im, "it takes the first of two pixels that are equally near, "
                                    "ResizeNearestNeighbor the second");
    QF_TRY(qf_import_chain(im, "ResizeNearestNeighbor", "", &r->blob, top, &r->blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__resize_nearest_neighbor_parameter__descriptor,
                          &layer->resize_nearest_neighbor_param));
    Caffe__ResizeNearestNeighborParameter *p = layer->resize_nearest_neighbor_param;
    QF_SET(p, output_height, r->size[0]);
    QF_SET(p, output_width, r->size[1]);
    if (r->placing == CORNERS)
        QF_SET(p, align_corners, true);
    if (r->placing == HALF_PIXELS || r->placing == TORCH_HALF_PIXELS)
        QF_SET(p, half_pixel_centers, true);
    return qf_import_set_text(im, &p->data_format, "NCHW");
}

static qf_status add_layer(qf_importer *im, resizing *r, bool down)
{
    qf_shape top = r->blob.shape;
    top.dim[2] = r->size[0];
    top.dim[3] = r->size[1];
    if (!qf_shape_equal(&top, &r->blob.shape))
        QF_TRY(r->linear ? resize_linear(im, r, &top) : resize_nearest(im, r, &top, down));
    return qf_import_define(im, 0, &r->blob);
}

static qf_status read_image(qf_importer *im, resizing *r)
{
    QF_TRY(qf_import_blob_input(im, 0, &r->blob));
    if (r->blob.shape.axes != 4)
        return qf_import_refuse(im, "Caffe resizes images; the input has %d axes, not 4",
                                r->blob.shape.axes);
    r->linear = qf_import_says(im, "mode", "linear") || qf_import_says(im, "mode", "bilinear");
    if (!r->linear && qf_import_says_other(im, "mode", "nearest"))
        return qf_import_refuse(im, "its mode is neither nearest nor linear");
    return QF_OK;
}

qf_status qf_import_resize(qf_importer *im, int detail)
{
    (void)detail;
    resizing r = {0};
    if (im->opset < 11)
        return qf_import_upsample(im, 0);
    QF_TRY(read_image(im, &r));
    QF_TRY(read_placing(im, &r.placing));
    if (qf_import_int(im, "antialias", 0) || qf_import_int(im, "exclude_outside", 0) ||
        qf_import_says_other(im, "keep_aspect_ratio_policy", "stretch"))
        return qf_import_refuse(im,
                                "antialias, exclude_outside and keep_aspect_ratio_policy have no "
                                "equal");
    QF_TRY(take_sizes(im, 2, 3, &r));
    const bool down = !qf_import_says_other(im, "nearest_mode", "round_prefer_floor");
    const bool up = qf_import_says(im, "nearest_mode", "round_prefer_ceil");
    const bool floors = qf_import_says(im, "nearest_mode", "floor");
    if (!r.linear && !(r.placing == ASYMMETRIC ? floors : down || up))
        return qf_import_refuse(im, "its nearest_mode has no equal");
    return add_layer(im, &r, down);
}

/* As Resize was before operator set 11, too. */
qf_status qf_import_upsample(qf_importer *im, int detail)
{
    (void)detail;
    resizing r = {.placing = ASYMMETRIC};
    const Onnx__Attribute *scales = qf_import_attribute(im, "scales");
    QF_TRY(read_image(im, &r));
    if (!scales) {
        QF_TRY(take_sizes(im, 1, -1, &r));
        return add_layer(im, &r, true);
    }
    const qf_shape row = {1, {4}};
    if (scales->n_floats != 4)
        return qf_import_damaged(im, "it has %zu scales, expected 4", scales->n_floats);
    qf_import_value given = {.name = "scales", .shape = row, .floats = scales->floats};
    qf_import_value *inputs[] = {im->inputs[0], &given}, **before = im->inputs;
    const size_t count = im->input_count;
    im->inputs = inputs;
    im->input_count = 2;
    const qf_status status = take_sizes(im, 1, -1, &r);
    im->inputs = before;
    im->input_count = count;
    return status == QF_OK ? add_layer(im, &r, true) : status;
}
