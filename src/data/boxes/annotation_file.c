/* What the formats share, and the plainest of them: lines of "label left top right bottom". */
#include "data/boxes/annotation_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/boxes/label_map.h"
#include "data/sources/list_text.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

enum { COORDINATE_MAX = 1 << 24 };

qf_status qf_drawn_boxes_add(qf_context *context, qf_drawn_boxes *boxes, const qf_drawn_box *box)
{
    const double sides[] = {box->left, box->top, box->right, box->bottom};
    for (size_t i = 0; i < 4; i++)
        if (!(fabs(sides[i]) <= COORDINATE_MAX))
            return qf_fail(context, QF_E_VALUE,
                           "box %zu, (%g, %g) to (%g, %g), is none in pixels of an image",
                           boxes->count, sides[0], sides[1], sides[2], sides[3]);
    QF_TRY(qf_check_limit(context, QF_LIMIT_LIST_LINES, boxes->count + 1, "there are"));
    if (!qf_grow(&boxes->items, &boxes->capacity, boxes->count + 1, sizeof *boxes->items))
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu boxes", boxes->count + 1);
    boxes->items[boxes->count++] = *box;
    return QF_OK;
}

void qf_drawn_boxes_release(qf_drawn_boxes *boxes)
{
    qf_free(boxes->items);
    *boxes = (qf_drawn_boxes){0};
}

qf_status qf_annotation_label(qf_context *context, const Caffe__LabelMap *map, const char *name,
                              int *out)
{
    return qf_label_of(map, name, out)
               ? QF_OK
               : qf_fail(context, QF_E_VALUE, "the class '%s' is not in the label map", name);
}

/* ---- text ---- */

static qf_status read_text(qf_context *context, const char *path, const Caffe__LabelMap *map,
                           qf_drawn_boxes *out)
{
    (void)map;
    qf_buffer text = {0};
    qf_status status = qf_list_text_read(context, path, &text);
    qf_list_words words = {text.data, 1, false};
    for (const char *word; status == QF_OK && (word = qf_list_next_word(&words));) {
        const int line = words.line;
        qf_drawn_box box = {0};
        double *const sides[] = {&box.left, &box.top, &box.right, &box.bottom};
        bool good = qf_list_integer(word, 0, INT32_MAX, &box.label);
        for (int i = 0; i < 4 && good; i++) {
            const char *side = qf_list_next_word(&words);
            good = side && qf_list_number(side, sides[i]);
        }
        status = good ? qf_drawn_boxes_add(context, out, &box)
                      : qf_fail(context, QF_E_FORMAT,
                                "line %d: expected a label, and left, top, right and bottom of a "
                                "box",
                                line);
    }
    qf_buffer_release(&text);
    return status;
}

/* ---- all formats ---- */

static const struct {
    const char *name;
    qf_annotation_reader *read; /* NULL: read_text() */
} formats[] = {
    [QF_ANNOTATION_XML] = {"xml", qf_annotation_read_xml},
    [QF_ANNOTATION_JSON] = {"json", qf_annotation_read_json},
    [QF_ANNOTATION_TEXT] = {"txt", NULL},
};

qf_status qf_annotation_format_find(qf_context *context, const char *name,
                                    qf_annotation_format *out)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) {
            *out = (qf_annotation_format)i;
            return QF_OK;
        }
    return qf_fail(context, QF_E_ARGUMENT, "unknown label_type '%s'; there are xml, json and txt",
                   name);
}

qf_status qf_annotation_file_read(qf_context *context, const char *path,
                                  qf_annotation_format format, const Caffe__LabelMap *map,
                                  qf_drawn_boxes *out)
{
    qf_buffer file = {0};
    *out = (qf_drawn_boxes){0};
    if (!formats[format].read)
        return qf_within(context, read_text(context, path, map, out), "%s", path);
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK)
        status =
            qf_within(context, formats[format].read(context, path, &file, map, out), "%s", path);
    qf_buffer_release(&file);
    return status;
}

/* ---- into a datum ---- */

static void warn(qf_context *context, const char *path, const qf_drawn_boxes *boxes, double height,
                 double width)
{
    for (size_t i = 0; i < boxes->count; i++) {
        const qf_drawn_box *b = &boxes->items[i];
        if (fmin(b->left, b->right) < 0 || fmin(b->top, b->bottom) < 0 ||
            fmax(b->left, b->right) > width || fmax(b->top, b->bottom) > height)
            qf_warning(context, "%s bounding box exceeds image boundary.", path);
        if (b->left > b->right || b->top > b->bottom)
            qf_warning(context, "%s bounding box irregular.", path);
    }
}

/* The group of a label, made where there is none. */
static qf_status group_of(qf_context *context, int label, Caffe__AnnotatedDatum *datum,
                          Caffe__AnnotationGroup **out)
{
    for (size_t i = 0; i < datum->n_annotation_group; i++)
        if (datum->annotation_group[i]->group_label == label) {
            *out = datum->annotation_group[i];
            return QF_OK;
        }
    QF_TRY(qf_message_new(context, &caffe__annotation_group__descriptor, out));
    (*out)->has_group_label = true;
    (*out)->group_label = label;
    qf_status status =
        qf_append(context, &datum->n_annotation_group, &datum->annotation_group, out, sizeof *out);
    if (status != QF_OK)
        qf_message_free(*out);
    return status;
}

static qf_status add_box(qf_context *context, const qf_drawn_box *from, double height, double width,
                         Caffe__AnnotatedDatum *datum)
{
    Caffe__AnnotationGroup *group = NULL;
    Caffe__Annotation *annotation;
    QF_TRY(group_of(context, from->label, datum, &group));
    QF_TRY(qf_message_new(context, &caffe__annotation__descriptor, &annotation));
    annotation->has_instance_id = true;
    annotation->instance_id = (int32_t)group->n_annotation;
    qf_status status =
        qf_message_new(context, &caffe__normalized_bbox__descriptor, &annotation->bbox);
    if (status == QF_OK) {
        Caffe__NormalizedBBox *box = annotation->bbox;
        box->has_xmin = box->has_ymin = box->has_xmax = box->has_ymax = box->has_difficult = true;
        box->xmin = (float)from->left / (float)width;
        box->ymin = (float)from->top / (float)height;
        box->xmax = (float)from->right / (float)width;
        box->ymax = (float)from->bottom / (float)height;
        box->difficult = from->difficult;
        status = qf_append(context, &group->n_annotation, &group->annotation, &annotation,
                           sizeof annotation);
    }
    if (status != QF_OK)
        qf_message_free(annotation);
    return status;
}

qf_status qf_drawn_boxes_store(qf_context *context, const char *path, const qf_drawn_boxes *boxes,
                               int height, int width, Caffe__AnnotatedDatum *out)
{
    const bool said = boxes->width > 0 && boxes->height > 0;
    const double down = said ? boxes->height : height, across = said ? boxes->width : width;
    if (said && boxes->height != height)
        qf_warning(context, "%s inconsistent image height.", path);
    if (said && boxes->width != width)
        qf_warning(context, "%s inconsistent image width.", path);
    warn(context, path, boxes, down, across);
    for (size_t i = 0; i < boxes->count; i++)
        QF_TRY(add_box(context, &boxes->items[i], down, across, out));
    return QF_OK;
}
