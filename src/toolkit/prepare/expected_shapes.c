/* What data layers make, as far as prototxts say it. */
#include "toolkit/prepare/expected_shapes.h"

#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>

/* ---- what the net does with a blob ---- */

/* The first layer with bottom `bottom` (negative: any) of this name that is of one of the types,
 * which end with NULL. */
static const Caffe__LayerParameter *reader_of(const Caffe__NetParameter *net, const char *blob,
                                              int bottom, const char *const *types)
{
    for (size_t i = 0; i < net->n_layer; i++)
        for (size_t b = 0; b < net->layer[i]->n_bottom; b++) {
            if (strcmp(net->layer[i]->bottom[b], blob) != 0 || (bottom >= 0 && b != (size_t)bottom))
                continue;
            for (const char *const *type = types; *type; type++)
                if (qf_layer_is(net->layer[i], *type))
                    return net->layer[i];
        }
    return NULL;
}

/* The layer that makes the blob: the first that writes it and does not read it. */
static const Caffe__LayerParameter *maker_of(const Caffe__NetParameter *net, const char *blob)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (qf_layer_writes(net->layer[i], blob) && !qf_layer_reads(net->layer[i], blob))
            return net->layer[i];
    return NULL;
}

static bool has_layer(const Caffe__NetParameter *net, const char *type)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (qf_layer_is(net->layer[i], type))
            return true;
    return false;
}

/* How many channels a Slice takes the blob for; 0: none does. */
static int64_t sliced(const Caffe__NetParameter *net, const char *blob)
{
    static const char *const types[] = {"Slice", NULL};
    const Caffe__LayerParameter *layer = reader_of(net, blob, 0, types);
    const Caffe__SliceParameter *p = layer ? layer->slice_param : NULL;
    if (!layer || (p && (p->has_slice_dim ? p->slice_dim != 1 : p->axis != 1)))
        return 0;
    const size_t points = p ? p->n_slice_point : 0;
    if (points == 0)
        return (int64_t)layer->n_top;
    const int64_t last = p->slice_point[points - 1];
    return last + (points > 1 ? last - (int64_t)p->slice_point[points - 2] : last);
}

/* Is a loss or an accuracy of the blob's taken of a map, a value for each pixel? */
static bool labels_pixels(const Caffe__NetParameter *net, const char *blob)
{
    static const char *const losses[] = {"SoftmaxWithLoss", "SigmoidCrossEntropyLoss", "Accuracy",
                                         "InfogainLoss", NULL};
    static const char *const maps[] = {"Crop", "Deconvolution", "Interp", "Upsample",
                                       "Convolution"};
    const Caffe__LayerParameter *loss = reader_of(net, blob, 1, losses);
    const Caffe__LayerParameter *maker = loss ? maker_of(net, loss->bottom[0]) : NULL;
    for (size_t i = 0; maker && i < sizeof maps / sizeof *maps; i++)
        if (qf_layer_is(maker, maps[i]))
            return true;
    return false;
}

/* Is the blob another kind of image? */
static bool is_image(const Caffe__NetParameter *net, const char *blob)
{
    static const char *const types[] = {"Convolution", "Concat", "Pooling", "BatchNorm", NULL};
    return reader_of(net, blob, -1, types);
}

/* How many numbers a net makes of an image to compare them with it (an autoencoder); 0: none. */
static int64_t reconstructed(const Caffe__NetParameter *net, const char *blob)
{
    static const char *const flatten[] = {"Flatten", NULL};
    static const char *const losses[] = {"SigmoidCrossEntropyLoss", "EuclideanLoss", NULL};
    const Caffe__LayerParameter *flat = reader_of(net, blob, 0, flatten);
    const char *target = flat && flat->n_top ? flat->top[0] : blob;
    const Caffe__LayerParameter *loss = reader_of(net, target, 1, losses);
    const Caffe__LayerParameter *maker = loss ? maker_of(net, loss->bottom[0]) : NULL;
    return maker && qf_layer_is(maker, "InnerProduct") && maker->inner_product_param
               ? (int64_t)maker->inner_product_param->num_output
               : 0;
}

/* The channels of a blob, if the layer that makes it, or one in front of a few Pooling layers, says
 * how many; 0: unknown. */
static int64_t channels_of(const Caffe__NetParameter *net, const char *blob)
{
    for (int steps = 0; steps < 8; steps++) {
        const Caffe__LayerParameter *maker = maker_of(net, blob);
        if (maker && qf_layer_is(maker, "InnerProduct") && maker->inner_product_param)
            return (int64_t)maker->inner_product_param->num_output;
        if (maker && qf_layer_is(maker, "Convolution") && maker->convolution_param)
            return (int64_t)maker->convolution_param->num_output;
        if (maker && qf_layer_is(maker, "PSROIPooling") && maker->psroi_pooling_param)
            return maker->psroi_pooling_param->output_dim;
        if (!maker || maker->n_bottom != 1 || !qf_layer_is(maker, "Pooling"))
            return 0;
        blob = maker->bottom[0];
    }
    return 0;
}

/* ---- images ---- */

static void set_channels(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer,
                         qf_expected_shape *out)
{
    const int64_t channels = layer->n_top ? sliced(net, layer->top[0]) : 0;
    const int64_t numbers = layer->n_top ? reconstructed(net, layer->top[0]) : 0;
    for (int64_t c = 1; numbers && c <= 3; c += 2) { /* of square images, grey or coloured */
        const int64_t side = (int64_t)lrint(sqrt((double)numbers / (double)c));
        if (c * side * side == numbers) {
            *out = (qf_expected_shape){.dim = {1, c, side, side}, .axes = 4};
            return;
        }
    }
    if (channels > 0)
        out->dim[1] = channels;
}

/* The size of images that the layer itself names, 224 if it names none; with regions that of a
 * usual picture, in steps of 32 pixels as some of the nets need it. */
qf_expected_shape qf_expected_image(const Caffe__NetParameter *net,
                                    const Caffe__LayerParameter *layer)
{
    const Caffe__TransformationParameter *t = layer->transform_param;
    const Caffe__ImageDataParameter *image = layer->image_data_param;
    const Caffe__DenseImageDataParameter *dense = layer->dense_image_data_param;
    const Caffe__ImageGtDataParameter *fields = layer->image_gt_data_param;
    const Caffe__PythonParameter *python = layer->python_param;
    const bool regions = qf_layer_is(layer, "RoIData") ||
                         (python && python->layer && strcmp(python->layer, "RoIDataLayer") == 0);
    const uint32_t sizes[][2] = {
        {t ? t->crop_size : 0, t ? t->crop_size : 0},
        {t ? t->crop_h : 0, t ? t->crop_w : 0},
        {t ? t->crop_height : 0, t ? t->crop_width : 0},
        {t && t->n_resize_param ? t->resize_param[0]->height : 0,
         t && t->n_resize_param ? t->resize_param[0]->width : 0},
        {image ? image->new_height : 0, image ? image->new_width : 0},
        {dense ? dense->crop_height : 0, dense ? dense->crop_width : 0},
        {dense ? dense->new_height : 0, dense ? dense->new_width : 0},
        {fields ? fields->crop_height : 0, fields ? fields->crop_width : 0},
        {fields ? fields->resize_height : 0, fields ? fields->resize_width : 0},
        {regions ? 608 : 224, regions ? 1024 : 224},
    };
    size_t i = 0;
    while (!sizes[i][0] || !sizes[i][1])
        i++;
    qf_expected_shape out = {.dim = {1, t && t->force_gray ? 1 : 3, sizes[i][0], sizes[i][1]},
                             .axes = 4};
    if (!regions)
        set_channels(net, layer, &out);
    return out;
}

/* ---- what comes beside images ---- */

/* Where it is not one value for each of them. Sizes below zero are words, to be filled in. */
enum { IMAGES = -1, HEIGHT = -2, WIDTH = -3, BOX_TARGETS = -4, COMPANION_AXES = 4 };

static const struct companion {
    const char *type;
    size_t top;
    size_t axes;
    int64_t dim[COMPANION_AXES];
} companions[] = {
    /* One row for each box, of which there is one here. */
    {"AnnotatedData", 1, 4, {1, 1, 1, 8}},
    /* py-faster-rcnn's: height, width, scale; corners and label. */
    {"RoIData", 1, 2, {1, 3}},
    {"RoIData", 2, 2, {1, 5}},
    /* Maps of labels. */
    {"DenseImageData", 1, 4, {IMAGES, 1, HEIGHT, WIDTH}},
    {"ImageSegData", 1, 4, {IMAGES, 1, HEIGHT, WIDTH}},
    {"ImageLabelmapData", 1, 4, {IMAGES, 1, HEIGHT, WIDTH}},
};
/* Fast R-CNN's: the image, proposals, labels, and for each class the box, and what of it counts. */
static const struct companion of_proposals[] = {
    {"RoIData", 1, 2, {1, 5}},           {"RoIData", 2, 1, {1}},
    {"RoIData", 3, 2, {1, BOX_TARGETS}}, {"RoIData", 4, 2, {1, BOX_TARGETS}},
    {"RoIData", 5, 2, {1, BOX_TARGETS}},
};
/* YOLO's: as many rows for each image as there is room for. */
static const struct companion of_yolo = {"AnnotatedData", 1, 4, {IMAGES, 1, 300, 5}};

/* Proposals come with their labels; without boxes to learn, the image's size and objects do, too.
 */
static bool has_proposals(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {"ROIPooling", "PSROIPooling", "ROIAlign", NULL};
    return layer->n_top > 3 || (layer->n_top > 1 && reader_of(net, layer->top[1], 1, types));
}

static const struct companion *find_companion(const Caffe__NetParameter *net,
                                              const Caffe__LayerParameter *layer, size_t top)
{
    if (qf_layer_is(layer, "AnnotatedData") && top == of_yolo.top && layer->annotated_data_param &&
        layer->annotated_data_param->yolo_data_type == 1)
        return &of_yolo;
    if (qf_layer_is(layer, "RoIData") && has_proposals(net, layer))
        return top >= 1 && top <= sizeof of_proposals / sizeof *of_proposals
                   ? &of_proposals[top - 1]
                   : NULL;
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++)
        if (qf_layer_is(layer, companions[i].type) && companions[i].top == top)
            return &companions[i];
    return NULL;
}

/* MS-CNN's: what lies in fields, for each of their sizes; behind them the objects. */
static qf_expected_shape of_fields(const Caffe__ImageGtDataParameter *p, size_t top,
                                   const qf_expected_shape *images)
{
    if (!p || top > p->n_downsample_rate)
        return (qf_expected_shape){.dim = {1, 7, 1, 1}, .axes = 4};
    qf_expected_shape out = {.dim = {images->dim[0], 6}, .axes = 4};
    const uint32_t stride = p->downsample_rate[top - 1];
    for (size_t i = 2; i < 4; i++)
        out.dim[i] =
            stride && images->axes == 4 ? (int64_t)((double)images->dim[i] / stride + 0.5) : 1;
    return out;
}

/* MobileNet-YOLO's third top: a map of each class, smaller than the image. */
static qf_expected_shape of_segments(const Caffe__NetParameter *net,
                                     const Caffe__LayerParameter *layer, const char *blob,
                                     const qf_expected_shape *images)
{
    static const char *const losses[] = {"YoloSeg", NULL};
    const Caffe__AnnotatedDataParameter *p = layer->annotated_data_param;
    const Caffe__LayerParameter *loss = reader_of(net, blob, 1, losses);
    const int64_t classes = loss ? channels_of(net, loss->bottom[0]) : 0;
    const int64_t scale = p && p->seg_scales > 0 ? p->seg_scales : 8;
    qf_expected_shape out = {.dim = {images->dim[0], classes > 0 ? classes : 1, 1, 1}, .axes = 4};
    for (size_t i = 2; i < 4 && images->axes == 4; i++) {
        const int64_t own = !p ? 0 : i == 2 ? p->seg_resize_height : p->seg_resize_width;
        const int64_t side = (own > 0 ? own : images->dim[i]) / scale;
        out.dim[i] = side > 0 ? side : 1;
    }
    return out;
}

/* Of layers in Python nobody knows what they make but the net. */
static qf_expected_shape of_python(const Caffe__NetParameter *net, const char *blob,
                                   const qf_expected_shape *images)
{
    qf_expected_shape out = {.dim = {images->dim[0]}, .axes = 1};
    if (images->axes != 4)
        return out;
    if (labels_pixels(net, blob)) {
        out = *images;
        out.dim[1] = 1;
    } else if (is_image(net, blob)) {
        out = *images;
    }
    return out;
}

/* Boxes to learn: as many numbers as the net makes of each region, or those of each class. */
static int64_t box_targets(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer)
{
    static const char *const losses[] = {"SmoothL1Loss", "SmoothL1LossOHEM", NULL};
    const Caffe__LayerParameter *loss =
        layer->n_top > 3 ? reader_of(net, layer->top[3], 1, losses) : NULL;
    const int64_t channels = loss ? channels_of(net, loss->bottom[0]) : 0;
    return channels > 0            ? channels
           : layer->roi_data_param ? 4 * (int64_t)layer->roi_data_param->num_classes
                                   : 84;
}

static int64_t fill_in(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer,
                       int64_t word, const qf_expected_shape *images)
{
    switch (word) {
    case IMAGES:
        return images->dim[0];
    case HEIGHT:
    case WIDTH:
        return images->axes == 4 ? images->dim[word == HEIGHT ? 2 : 3] : 1;
    case BOX_TARGETS:
        return box_targets(net, layer);
    default:
        return word;
    }
}

qf_expected_shape qf_expected_companion(const Caffe__NetParameter *net,
                                        const Caffe__LayerParameter *layer, size_t top,
                                        const qf_expected_shape *images)
{
    const struct companion *found = find_companion(net, layer, top);
    qf_expected_shape out = {.dim = {images->dim[0]}, .axes = 1};
    if (qf_layer_is(layer, "ImageGtData"))
        return of_fields(layer->image_gt_data_param, top, images);
    if (qf_layer_is(layer, "AnnotatedData") && top == 2)
        return of_segments(net, layer, layer->top[top], images);
    if (qf_layer_is(layer, "Python"))
        return of_python(net, layer->top[top], images);
    if (!found) {
        const int64_t labels = sliced(net, layer->top[top]); /* several of an image */
        if (labels > 1) {
            out.dim[1] = labels;
            out.axes = 2;
        }
        return out;
    }
    out.axes = found->axes;
    for (size_t i = 0; i < found->axes; i++)
        out.dim[i] = fill_in(net, layer, found->dim[i], images);
    /* R-FCN's data layer puts out four axes, with which its losses of each region can be added. */
    for (; qf_layer_is(layer, "RoIData") && has_proposals(net, layer) &&
           has_layer(net, "BoxAnnotatorOHEM") && out.axes < 4;)
        out.dim[out.axes++] = 1;
    return out;
}
