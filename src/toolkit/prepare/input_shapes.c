/* Reading the shapes that --shape gives. */
#include "toolkit/prepare/input_shapes.h"

#include "base/memory.h"
#include "net/python_types.h"
#include "toolkit/prepare/graph.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One item of the list: "name=1x3x2". */
typedef struct given {
    char *name;
    int64_t dim[32];
    size_t axes;
    bool used;
} given;

typedef struct given_list {
    char *text; /* what the names lie in */
    given *items;
    size_t count, capacity;
} given_list;

static qf_status parse_one(qf_context *context, char *item, given *out)
{
    char *at = strchr(item, '=');
    qf_status bad = qf_fail(context, QF_E_ARGUMENT,
                            "'%s' is not a shape; expected NAME=SIZES, for example "
                            "data=1x3x224x224",
                            item);
    if (!at)
        return bad;
    *at++ = '\0';
    out->name = item;
    for (;; at++) {
        char *end;
        errno = 0;
        const long dim = strtol(at, &end, 10);
        if (end == at || errno || dim < 1 || dim > INT32_MAX ||
            out->axes == sizeof out->dim / sizeof *out->dim)
            return bad;
        out->dim[out->axes++] = dim;
        at = end;
        if (!*at)
            return QF_OK;
        if (*at != 'x')
            return bad;
    }
}

static qf_status parse(qf_context *context, const char *shapes, given_list *out)
{
    char *rest = out->text = qf_strdup(shapes);
    if (!rest)
        return qf_fail(context, QF_E_MEMORY, "no memory for shapes");
    for (char *item; (item = strsep(&rest, ","));) {
        if (!qf_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
            return qf_fail(context, QF_E_MEMORY, "no memory for shapes");
        QF_TRY(parse_one(context, item, &out->items[out->count++]));
    }
    return QF_OK;
}

static given *find(given_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

static qf_status append_shape(qf_context *context, Caffe__InputParameter *to, const int64_t *dim,
                              size_t axes)
{
    Caffe__BlobShape *shape;
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &shape));
    qf_status status = QF_OK;
    for (size_t i = 0; i < axes && status == QF_OK; i++)
        status = qf_append(context, &shape->n_dim, &shape->dim, &dim[i], sizeof *dim);
    if (status == QF_OK)
        status = qf_append(context, &to->n_shape, &to->shape, &shape, sizeof shape);
    if (status != QF_OK)
        qf_message_free(shape);
    return status;
}

/* The shapes of what a data layer makes beside images, where they are not one value for each of
 * them. Sizes below zero are words, to be filled in. */
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

static const struct companion *find_companion(const Caffe__LayerParameter *layer, size_t top)
{
    if (qf_layer_is(layer, "AnnotatedData") && top == of_yolo.top && layer->annotated_data_param &&
        layer->annotated_data_param->yolo_data_type == 1)
        return &of_yolo;
    if (qf_layer_is(layer, "RoIData") && layer->n_top > 3)
        return top >= 1 && top <= sizeof of_proposals / sizeof *of_proposals
                   ? &of_proposals[top - 1]
                   : NULL;
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++)
        if (qf_layer_is(layer, companions[i].type) && companions[i].top == top)
            return &companions[i];
    return NULL;
}

/* MS-CNN's: what lies in fields, for each of their sizes; behind them the objects. */
static given of_fields(const Caffe__ImageGtDataParameter *p, size_t top, const given *images)
{
    if (!p || top > p->n_downsample_rate)
        return (given){.dim = {1, 7, 1, 1}, .axes = 4};
    given out = {.dim = {images->dim[0], 6}, .axes = 4};
    const uint32_t stride = p->downsample_rate[top - 1];
    for (size_t i = 2; i < 4; i++)
        out.dim[i] =
            stride && images->axes == 4 ? (int64_t)((double)images->dim[i] / stride + 0.5) : 1;
    return out;
}

/* Of a top that is not given, when the images are `first`. */
static void accompany(const Caffe__LayerParameter *layer, size_t top, const given *first,
                      given *out)
{
    const struct companion *found = find_companion(layer, top);
    const Caffe__RoIDataParameter *regions = layer->roi_data_param;
    *out = (given){.dim = {first->dim[0]}, .axes = 1};
    if (qf_layer_is(layer, "ImageGtData"))
        *out = of_fields(layer->image_gt_data_param, top, first);
    if (!found)
        return;
    out->axes = found->axes;
    for (size_t i = 0; i < found->axes; i++)
        out->dim[i] = found->dim[i] == IMAGES        ? first->dim[0]
                      : found->dim[i] == HEIGHT      ? (first->axes == 4 ? first->dim[2] : 1)
                      : found->dim[i] == WIDTH       ? (first->axes == 4 ? first->dim[3] : 1)
                      : found->dim[i] == BOX_TARGETS ? 4 * (regions ? regions->num_classes : 21)
                                                     : found->dim[i];
}

static qf_status make_input(qf_context *context, Caffe__LayerParameter *layer, given_list *list)
{
    const given *first = NULL;
    for (size_t i = 0; i < layer->n_top && !first; i++)
        first = find(list, layer->top[i]);
    if (!first)
        return QF_OK;
    Caffe__InputParameter *input;
    QF_TRY(qf_message_new(context, &caffe__input_parameter__descriptor, &input));
    qf_status status = QF_OK;
    for (size_t i = 0; i < layer->n_top && status == QF_OK; i++) {
        given *own = find(list, layer->top[i]), other;
        if (own)
            own->used = true;
        else
            accompany(layer, i, first, &other);
        const given *shape = own ? own : &other;
        status = append_shape(context, input, shape->dim, shape->axes);
    }
    qf_message_free(layer->input_param);
    layer->input_param = input;
    layer->n_loss_weight = 0;
    return status == QF_OK ? qf_set_string(context, &layer->type, "Input") : status;
}

static qf_status apply(qf_context *context, Caffe__NetParameter *net, given_list *list)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (net->layer[i]->n_bottom == 0)
            QF_TRY(make_input(context, net->layer[i], list));
    for (size_t i = 0; i < list->count; i++)
        if (!list->items[i].used)
            return qf_fail(context, QF_E_ARGUMENT,
                           "a shape is given for '%s', but no layer without bottoms makes such a "
                           "blob",
                           list->items[i].name);
    return QF_OK;
}

qf_status qf_input_shapes_apply(qf_context *context, Caffe__NetParameter *net, const char *shapes)
{
    given_list list = {0};
    const bool training = net->state && net->state->phase == CAFFE__PHASE__TRAIN;
    qf_status status = parse(context, shapes, &list);
    if (status == QF_OK) /* of whose settings shapes follow */
        status = qf_python_types_replace(context, net, training);
    if (status == QF_OK)
        status = apply(context, net, &list);
    qf_free(list.items);
    qf_free(list.text);
    return status;
}

/* ---- what to give ---- */

/* Is it this layer that could not be made, for want of its data? */
static bool lacks_data(const qf_context *context, qf_status status,
                       const Caffe__LayerParameter *layer)
{
    const char *named = strstr(context->error, "layer ");
    const size_t length = strlen(layer->name);
    if (layer->n_bottom > 0 || layer->n_top == 0 || layer->input_param)
        return false;
    /* Whose data come from elsewhere, in Python as a rule. */
    const bool from_code = qf_layer_is(layer, "Python") || qf_layer_is(layer, "RoIData");
    return (status == QF_E_IO || from_code) && named &&
           strncmp(named + strlen("layer "), layer->name, length) == 0 &&
           named[strlen("layer ") + length] == ':';
}

/* The size of images that the layer itself names, 224 if it names none. */
static void expected_image(const Caffe__LayerParameter *layer, uint32_t size[3])
{
    const Caffe__TransformationParameter *t = layer->transform_param;
    const Caffe__ImageDataParameter *image = layer->image_data_param;
    const Caffe__DenseImageDataParameter *dense = layer->dense_image_data_param;
    const Caffe__ImageGtDataParameter *fields = layer->image_gt_data_param;
    const Caffe__PythonParameter *python = layer->python_param;
    const bool regions = qf_layer_is(layer, "RoIData") || /* a usual picture's */
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
        {regions ? 600 : 224, regions ? 1000 : 224},
    };
    size_t i = 0;
    while (!sizes[i][0] || !sizes[i][1])
        i++;
    size[0] = t && t->force_gray ? 1 : 3;
    size[1] = sizes[i][0];
    size[2] = sizes[i][1];
}

qf_status qf_input_shapes_suggest(qf_context *context, qf_status status,
                                  const Caffe__NetParameter *param, const char *shapes)
{
    char found[QF_ERROR_TEXT_SIZE];
    for (size_t i = 0; i < param->n_layer && status != QF_OK; i++) {
        const Caffe__LayerParameter *layer = param->layer[i];
        uint32_t size[3];
        if (!lacks_data(context, status, layer))
            continue;
        expected_image(layer, size);
        snprintf(found, sizeof found, "%s", context->error);
        return qf_fail(context, status,
                       "%s; to see the net without its data, give the shape of '%s', for example "
                       "--shape %s%s%s=1x%ux%ux%u",
                       found, layer->top[0], shapes ? shapes : "", shapes ? "," : "", layer->top[0],
                       size[0], size[1], size[2]);
    }
    return status;
}
