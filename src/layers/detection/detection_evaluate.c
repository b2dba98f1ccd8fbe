/* DetectionEvaluate (SSD): which detections found something. For each class a row (-1, class, how
 * many objects there are, -1, -1), then for each detection (image, class, score, right, wrong); one
 * of a difficult object that does not count is neither. An average precision is made of the rows of
 * all batches (train/average_precision.h). */
#include "layers/detection/boxes.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/boxes/fit.h"
#include "data/boxes/name_sizes.h"
#include "data/sources/data_source.h"

#include <stdlib.h>
#include <string.h>

enum { ROW = 5, DETECTION_ROW = 7, IMAGES_MAX = 1 << 24 };

typedef struct object {
    int image, label;
    qf_box box;
    bool difficult, found;
} object;

typedef struct detection {
    int image, label, index;
    float score;
    qf_box box;
} detection;

typedef struct state {
    int classes, background; /* background −1: no class is */
    qf_name_sizes sizes;     /* count 0: boxes are compared as shares of the image */
    size_t position;         /* of the next batch's first image among them */
    object *objects;
    detection *detections;
    size_t object_count, detection_count, object_capacity, detection_capacity;
} state;

typedef Caffe__DetectionEvaluateParameter detection_evaluate_param;

QF_LAYER_PARAM_OF(detection_evaluate_param, DETECTION_EVALUATE_, DetectionEvaluate)

static qf_status setup(qf_layer *layer)
{
    const detection_evaluate_param *p = param_of(layer);
    state *s = layer->state;
    if (p->num_classes < 1 || p->num_classes > 1 << 20)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "detection_evaluate_param needs num_classes, with the background");
    if (!(p->overlap_threshold > 0))
        return qf_fail(layer->context, QF_E_VALUE,
                       "detection_evaluate_param: overlap_threshold must be above 0, is %g",
                       (double)p->overlap_threshold);
    if (p->resize_param)
        QF_TRY(qf_fit_check(layer->context, p->resize_param));
    s->classes = (int)p->num_classes;
    s->background = (int)p->background_label_id;
    if (!p->name_size_file)
        return QF_OK;
    if (!qf_file_exists(p->name_size_file)) { /* one can look at the net all the same */
        qf_warning(layer->context, "%s: name_size_file %s does not exist; get_image_size makes it",
                   layer->name, p->name_size_file);
        return QF_OK;
    }
    return qf_name_sizes_read(layer->context, p->name_size_file, &s->sizes);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_name_sizes_release(&s->sizes);
    qf_free(s->objects);
    qf_free(s->detections);
}

static int positive_classes(const state *s)
{
    return s->background >= 0 && s->background < s->classes ? s->classes - 1 : s->classes;
}

/* How many rows there will be is known after the forward pass only. */
static qf_status reshape(qf_layer *layer)
{
    static const struct {
        int width;
        const char *what;
    } expected[] = {{DETECTION_ROW, "DetectionOutput"}, {QF_BOX_ROW, "AnnotatedData"}};
    char text[256];
    for (int b = 0; b < 2; b++) {
        const qf_shape *shape = qf_blob_shape(layer->bottom[b]);
        if (shape->axes != 4 || shape->dim[0] != 1 || shape->dim[1] != 1 ||
            shape->dim[3] != expected[b].width)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' has shape %s, expected 1 x 1 x rows x %d, as %s makes them",
                           layer->bottom[b]->name, qf_shape_text(shape, text, sizeof text),
                           expected[b].width, expected[b].what);
    }
    return qf_blob_reshape_to(layer->top[0],
                              &(qf_shape){4, {1, 1, positive_classes(layer->state), ROW}});
}

/* ---- reading ---- */

/* Number of the row's image and class: whole ones, and not those of the background. */
static qf_status read_place(const qf_layer *layer, int bottom, size_t row, const float *values,
                            int *image, int *label)
{
    const state *s = layer->state;
    if (!(values[0] >= 0 && values[0] < IMAGES_MAX && values[1] >= 0 &&
          values[1] < (float)s->classes) ||
        (int)values[1] == s->background)
        return qf_fail(layer->context, QF_E_VALUE,
                       "row %zu of '%s' is of image %g and class %g; expected 0 or more and one of "
                       "the %d classes%s",
                       row, layer->bottom[bottom]->name, (double)values[0], (double)values[1],
                       s->classes, s->background < s->classes ? " but the background" : "");
    *image = (int)values[0];
    *label = (int)values[1];
    return QF_OK;
}

static qf_status read_objects(qf_layer *layer)
{
    state *s = layer->state;
    const size_t rows = (size_t)qf_blob_shape(layer->bottom[1])->dim[2];
    const float *values;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &values));
    if (!qf_grow(&s->objects, &s->object_capacity, rows, sizeof *s->objects))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu objects", rows);
    s->object_count = 0;
    for (size_t i = 0; i < rows; i++, values += QF_BOX_ROW) {
        object *o = &s->objects[s->object_count];
        if (values[0] < 0)
            break; /* nothing, or nothing more, is there */
        QF_TRY(read_place(layer, 1, i, values, &o->image, &o->label));
        o->box = (qf_box){values[3], values[4], values[5], values[6]};
        o->difficult = values[7] != 0;
        o->found = false;
        s->object_count++;
    }
    return QF_OK;
}

/* By image and class, the best first. */
static int in_order(const void *a, const void *b)
{
    const detection *x = a, *y = b;
    const int order = qf_scores_order(x->score, y->score);
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static qf_status read_detections(qf_layer *layer)
{
    state *s = layer->state;
    const size_t rows = (size_t)qf_blob_shape(layer->bottom[0])->dim[2];
    const float *values;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &values));
    if (!qf_grow(&s->detections, &s->detection_capacity, rows, sizeof *s->detections))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu detections", rows);
    s->detection_count = 0;
    for (size_t i = 0; i < rows; i++, values += DETECTION_ROW) {
        detection *d = &s->detections[s->detection_count];
        if (values[0] < 0 || values[1] < 0)
            continue; /* nothing was found */
        QF_TRY(read_place(layer, 0, i, values, &d->image, &d->label));
        d->index = (int)i;
        d->score = values[2];
        d->box = (qf_box){values[3], values[4], values[5], values[6]};
        s->detection_count++;
    }
    qsort(s->detections, s->detection_count, sizeof *s->detections, in_order);
    return QF_OK;
}

/* ---- comparing ---- */

static qf_box to_pixels(const qf_layer *layer, int image, const qf_box *box)
{
    const state *s = layer->state;
    const qf_name_size *size = &s->sizes.items[(s->position + (size_t)image) % s->sizes.count];
    return qf_fit_back(param_of(layer)->resize_param, size->height, size->width, box);
}

/* With names and sizes, all boxes become pixels of the images as they were. */
static void use_sizes(qf_layer *layer)
{
    state *s = layer->state;
    for (size_t i = 0; s->sizes.count && i < s->object_count; i++)
        s->objects[i].box = to_pixels(layer, s->objects[i].image, &s->objects[i].box);
    for (size_t i = 0; s->sizes.count && i < s->detection_count; i++)
        s->detections[i].box = to_pixels(layer, s->detections[i].image, &s->detections[i].box);
}

/* The object of the detection's image and class that it overlaps most; NULL: it has none. */
static object *nearest(const state *s, const detection *d, float *overlap)
{
    const qf_box_kind kind = s->sizes.count ? QF_BOX_PIXELS : QF_BOX_BORDERS;
    object *best = NULL;
    for (size_t i = 0; i < s->object_count; i++) {
        object *o = &s->objects[i];
        if (o->image != d->image || o->label != d->label)
            continue;
        const float both = qf_box_overlap(&d->box, &o->box, kind);
        if (!best || both > *overlap) {
            best = o;
            *overlap = both;
        }
    }
    return best;
}

static void judge(const qf_layer *layer, const detection *d, float *row)
{
    const detection_evaluate_param *p = param_of(layer);
    float overlap = 0;
    object *o = nearest(layer->state, d, &overlap);
    row[0] = (float)d->image;
    row[1] = (float)d->label;
    row[2] = d->score;
    row[3] = row[4] = 0;
    if (!o || overlap < p->overlap_threshold) {
        row[4] = 1;
    } else if (p->evaluate_difficult_gt || !o->difficult) {
        row[o->found ? 4 : 3] = 1;
        o->found = true;
    }
}

static void count_objects(const qf_layer *layer, int label, float *row)
{
    const state *s = layer->state;
    int count = 0;
    for (size_t i = 0; i < s->object_count; i++)
        count += s->objects[i].label == label &&
                 (param_of(layer)->evaluate_difficult_gt || !s->objects[i].difficult);
    row[0] = row[3] = row[4] = -1;
    row[1] = (float)label;
    row[2] = (float)count;
}

/* So many images were in the batch, as far as anything is said of them. */
static void move_on(state *s)
{
    int last = -1;
    for (size_t i = 0; i < s->object_count; i++)
        last = s->objects[i].image > last ? s->objects[i].image : last;
    if (s->detection_count && s->detections[s->detection_count - 1].image > last)
        last = s->detections[s->detection_count - 1].image;
    if (s->sizes.count)
        s->position = (s->position + (size_t)(last + 1)) % s->sizes.count;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    float *y;
    if (param_of(layer)->name_size_file && !s->sizes.count)
        QF_TRY(qf_name_sizes_read(layer->context, param_of(layer)->name_size_file, &s->sizes));
    QF_TRY(read_objects(layer));
    QF_TRY(read_detections(layer));
    use_sizes(layer);
    const int rows = positive_classes(s) + (int)s->detection_count;
    QF_TRY(qf_blob_reshape_to(layer->top[0], &(qf_shape){4, {1, 1, rows, ROW}}));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    for (int label = 0; label < s->classes; label++)
        if (label != s->background) {
            count_objects(layer, label, y);
            y += ROW;
        }
    for (size_t i = 0; i < s->detection_count; i++, y += ROW)
        judge(layer, &s->detections[i], y);
    return QF_OK;
}

/* What a pass does besides its top: the names of the next batch are the next ones. */
static qf_status conclude(qf_layer *layer)
{
    move_on(layer->state);
    return QF_OK;
}

/* ---- where it stands among the names and sizes ---- */

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    out->position = ((const state *)layer->state)->position;
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    state *s = layer->state;
    s->position = s->sizes.count ? (size_t)(to->position % s->sizes.count) : 0;
    return QF_OK;
}

static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    const state *s = layer->state;
    *items = s->sizes.count;
    *batch = s->sizes.count ? (int)s->sizes.count : 1; /* never more batches than there are data */
    return QF_OK;
}

const qf_layer_type qf_detection_evaluate_layer = {
    .name = "DetectionEvaluate",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .conclude = conclude,
    .destroy = destroy,
    .data_state = data_state,
    .data_restore = data_restore,
    .data_round = data_round,
};
