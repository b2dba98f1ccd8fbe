/* COCO's annotations, one file an image: { "image": { "height", "width" }, "annotation": [ {
 * "category_id", "bbox": [ left, top, width, height ], "iscrowd" } ] }. */
#include "data/boxes/annotation_file.h"

#include "base/json_memory.h"

#include <stdio.h>
#include <string.h>

/* The class is a name in the label map; SSD's map of COCO has numbers for names. */
static qf_status read_label(qf_context *context, const json_t *object, const Caffe__LabelMap *map,
                            int *out)
{
    const json_t *id = json_object_get(object, "category_id");
    char number[32];
    if (json_is_string(id))
        return qf_annotation_label(context, map, json_string_value(id), out);
    if (!json_is_integer(id))
        return qf_fail(context, QF_E_FORMAT, "category_id is neither a name nor a whole number");
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(id));
    return qf_annotation_label(context, map, number, out);
}

static qf_status read_box(qf_context *context, const json_t *object, qf_drawn_box *out)
{
    const json_t *box = json_object_get(object, "bbox");
    double sides[4];
    if (!json_is_array(box) || json_array_size(box) != 4)
        return qf_fail(context, QF_E_FORMAT,
                       "bbox is no list of four numbers: left, top, width, height");
    for (size_t i = 0; i < 4; i++) {
        const json_t *side = json_array_get(box, i);
        if (!json_is_number(side))
            return qf_fail(context, QF_E_FORMAT, "number %zu of bbox is none", i);
        sides[i] = json_number_value(side);
    }
    out->left = sides[0];
    out->top = sides[1];
    out->right = sides[0] + sides[2];
    out->bottom = sides[1] + sides[3];
    return QF_OK;
}

static qf_status read_object(qf_context *context, const json_t *object, const Caffe__LabelMap *map,
                             qf_drawn_boxes *out)
{
    qf_drawn_box box = {0};
    const json_t *crowd = json_object_get(object, "iscrowd");
    QF_TRY(read_label(context, object, map, &box.label));
    QF_TRY(read_box(context, object, &box));
    box.difficult = json_is_true(crowd) || json_integer_value(crowd) != 0;
    return qf_drawn_boxes_add(context, out, &box);
}

static qf_status read_root(qf_context *context, const json_t *root, const Caffe__LabelMap *map,
                           qf_drawn_boxes *out)
{
    const json_t *image = json_object_get(root, "image"),
                 *objects = json_object_get(root, "annotation");
    if (!json_is_array(objects))
        return qf_fail(
            context, QF_E_FORMAT,
            "there is no list \"annotation\"; expected one file for each image, as SSD's "
            "scripts split COCO's%s",
            json_object_get(root, "annotations") ? " (this is a whole set)" : "");
    out->width = json_number_value(json_object_get(image, "width"));
    out->height = json_number_value(json_object_get(image, "height"));
    for (size_t i = 0; i < json_array_size(objects); i++)
        QF_TRY(qf_within(context, read_object(context, json_array_get(objects, i), map, out),
                         "annotation %zu", i));
    return QF_OK;
}

qf_status qf_annotation_read_json(qf_context *context, const char *path, const qf_buffer *file,
                                  const Caffe__LabelMap *map, qf_drawn_boxes *out)
{
    json_error_t error;
    (void)path;
    json_t *root;
    if (!qf_json_load(file, 0, &root, &error))
        return qf_fail(context, QF_E_MEMORY, "no memory for an annotation");
    if (!root)
        return qf_fail(context, QF_E_FORMAT, "line %d, column %d is no JSON: %s", error.line,
                       error.column, error.text);
    const qf_status status = read_root(context, root, map, out);
    json_decref(root);
    return status;
}
