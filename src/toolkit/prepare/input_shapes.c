/* Reading the shapes that --shape gives. */
#include "toolkit/prepare/input_shapes.h"

#include "base/memory.h"
#include "net/python_types.h"
#include "toolkit/prepare/expected_shapes.h"
#include "toolkit/prepare/graph.h"
#include "toolkit/prepare/unpooled_size.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One item of the list: "name=1x3x2". */
typedef struct given {
    char *name;
    qf_expected_shape shape;
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
        if (end == at || errno || dim < 1 || dim > INT32_MAX || out->shape.axes == QF_EXPECTED_AXES)
            return bad;
        out->shape.dim[out->shape.axes++] = dim;
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

static qf_status make_input(qf_context *context, const Caffe__NetParameter *net,
                            Caffe__LayerParameter *layer, given_list *list)
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
        given *own = find(list, layer->top[i]);
        if (own)
            own->used = true;
        const qf_expected_shape shape =
            own ? own->shape : qf_expected_companion(net, layer, i, &first->shape);
        status = append_shape(context, input, shape.dim, shape.axes);
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
            QF_TRY(make_input(context, net, net->layer[i], list));
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
    const bool from_code = qf_layer_is(layer, "Python") || qf_layer_is(layer, "RoIData") ||
                           qf_layer_is(layer, "VideoData") ||
                           (qf_layer_is(layer, "AnnotatedData") && layer->n_top > 2);
    return (status == QF_E_IO || from_code) && named &&
           strncmp(named + strlen("layer "), layer->name, length) == 0 &&
           named[strlen("layer ") + length] == ':';
}

qf_status qf_input_shapes_suggest(qf_context *context, qf_status status,
                                  const Caffe__NetParameter *param, const char *shapes)
{
    char found[QF_ERROR_TEXT_SIZE];
    for (size_t i = 0; i < param->n_layer && status != QF_OK; i++) {
        const Caffe__LayerParameter *layer = param->layer[i];
        if (!lacks_data(context, status, layer))
            continue;
        qf_expected_shape image = qf_expected_image(param, layer);
        snprintf(found, sizeof found, "%s", context->error);
        QF_TRY(qf_unpooled_size(context, param, &image.dim[2]));
        return qf_fail(context, status,
                       "%s; to see the net without its data, give the shape of '%s', for example "
                       "--shape %s%s%s=1x%dx%dx%d",
                       found, layer->top[0], shapes ? shapes : "", shapes ? "," : "", layer->top[0],
                       (int)image.dim[1], (int)image.dim[2], (int)image.dim[3]);
    }
    return status;
}
