/*
 * BoxOutput (MS-CNN): the regions that are worth a look, from maps whose cells look at fields of
 * several sizes.
 *
 * Bottoms: maps (num, classes + 4, height, width), the first class no object, each with a field_w,
 * field_h and downsample_rate. Tops: regions (count, 5, 1, 1); the same with a score, (count, 6, 1,
 * 1). The score is by how much the best class exceeds no object. If there are none at all, one
 * small region, so that the layers behind have something to work on.
 */
#include "layers/detection/cell_field.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { ROW = 6 };
typedef enum overlap_of { OF_BOTH, OF_SMALLER, OF_FIRST } overlap_of; /* what it is a part of */

typedef struct state {
    qf_field *fields; /* one for each bottom */
    qf_box_norm norm;
    overlap_of part;
    qf_box *boxes; /* of one image */
    qf_candidate *candidates;
    float *rows; /* of all images */
    size_t box_capacity, candidate_capacity, row_capacity, row_count;
} state;

QF_LAYER_PARAM_OF(box_output_param, BOX_OUTPUT_, BoxOutput)

static qf_status read_nms_type(qf_layer *layer, const char *name)
{
    static const char *const names[] = {"IOU", "IOMU", "IOFU"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            ((state *)layer->state)->part = (overlap_of)i;
            return QF_OK;
        }
    return qf_fail(layer->context, QF_E_VALUE,
                   "box_output_param.nms_type is '%s', expected IOU, IOMU or IOFU", name);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__BoxOutputParameter *p = param_of(layer);
    const size_t maps = (size_t)layer->bottom_count;
    state *s = layer->state;
    if (p->n_field_w != maps || p->n_field_h != maps || p->n_downsample_rate != maps)
        return qf_fail(layer->context, QF_E_VALUE,
                       "box_output_param has %zu field_w, %zu field_h and %zu downsample_rate, "
                       "expected one of each for the %zu bottoms",
                       p->n_field_w, p->n_field_h, p->n_downsample_rate, maps);
    if (isnan(p->fg_thr) || isnan(p->iou_thr) || isnan(p->min_size))
        return qf_fail(layer->context, QF_E_VALUE,
                       "box_output_param: fg_thr, iou_thr and min_size must be numbers");
    s->fields = qf_alloc(maps, sizeof *s->fields);
    if (!s->fields)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu fields", maps);
    for (size_t i = 0; i < maps; i++) {
        const float numbers[] = {(float)p->field_w[i], (float)p->field_h[i],
                                 (float)p->downsample_rate[i], p->field_xyr, p->field_whr};
        QF_TRY(qf_field_make(layer, "box_output_param", numbers, &s->fields[i]));
    }
    QF_TRY(qf_box_norm_read(layer, &s->norm));
    return read_nms_type(layer, p->nms_type);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->fields);
    qf_free(s->boxes);
    qf_free(s->candidates);
    qf_free(s->rows);
}

static qf_status shape_tops(qf_layer *layer, size_t rows)
{
    for (int t = 0; t < layer->top_count; t++)
        QF_TRY(qf_blob_reshape_to(layer->top[t],
                                  &(qf_shape){4, {(int)rows, t == 0 ? ROW - 1 : ROW, 1, 1}}));
    return QF_OK;
}

/* How many rows there will be is known after the forward pass only. */
static qf_status reshape(qf_layer *layer)
{
    const qf_shape *first = qf_blob_shape(layer->bottom[0]);
    char text[256], other[256];
    for (int b = 0; b < layer->bottom_count; b++) {
        const qf_shape *shape = qf_blob_shape(layer->bottom[b]);
        if (shape->axes != 4 || shape->dim[1] < 6)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' has shape %s, expected 4 axes and at least 6 channels: classes, "
                           "the first of which is no object, and 4 offsets",
                           layer->bottom[b]->name, qf_shape_text(shape, text, sizeof text));
        if (shape->dim[0] != first->dim[0] || shape->dim[1] != first->dim[1])
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' has shape %s, but '%s' %s; images and channels must be as many",
                           layer->bottom[b]->name, qf_shape_text(shape, text, sizeof text),
                           layer->bottom[0]->name, qf_shape_text(first, other, sizeof other));
    }
    return shape_tops(layer, 1);
}

/* The box is moved into the image at the left and at the top, and cut at the others, as there. */
static qf_box into_image(const qf_box *box, float width, float height)
{
    const float x = fmaxf(box->x1, 0), y = fmaxf(box->y1, 0);
    return (qf_box){x, y, x + fminf(box->x2 - box->x1, width - x),
                    y + fminf(box->y2 - box->y1, height - y)};
}

/* All boxes of an image in one map that are good and large enough, as candidates. */
static size_t enumerate(qf_layer *layer, int map, const float *values, size_t count)
{
    const Caffe__BoxOutputParameter *p = param_of(layer);
    const qf_shape *shape = qf_blob_shape(layer->bottom[map]);
    const size_t width = (size_t)shape->dim[3], plane = (size_t)shape->dim[2] * width;
    const size_t classes = (size_t)shape->dim[1] - 4;
    state *s = layer->state;
    const qf_field *field = &s->fields[map];
    for (size_t cell = 0; cell < plane; cell++) {
        float score = -INFINITY;
        for (size_t k = 1; k < classes; k++)
            score = fmaxf(score, values[k * plane + cell]);
        score -= values[cell];
        if (!(score >= p->fg_thr))
            continue;
        const qf_box whole = qf_field_box(field, &s->norm, cell / width, cell % width,
                                          values + classes * plane + cell, plane);
        const qf_box box = into_image(&whole, (float)shape->dim[3] * field->stride,
                                      (float)shape->dim[2] * field->stride);
        if (box.x2 - box.x1 >= p->min_size && box.y2 - box.y1 >= p->min_size) {
            s->boxes[count] = box;
            s->candidates[count] = (qf_candidate){score, (int)count};
            count++;
        }
    }
    return count;
}

static float overlap(overlap_of part, const qf_box *kept, const qf_box *other)
{
    if (part == OF_BOTH)
        return qf_box_overlap(kept, other, QF_BOX_BORDERS);
    const float first = qf_box_area(kept, QF_BOX_BORDERS);
    const float second = qf_box_area(other, QF_BOX_BORDERS);
    const float of = part == OF_SMALLER ? fminf(first, second) : first;
    return of > 0 ? qf_box_common_area(kept, other, QF_BOX_BORDERS) / of : 0;
}

/* Of sorted candidates those stay, in front, that no better one that stays covers too much. */
static size_t suppress(qf_layer *layer, size_t count)
{
    const state *s = layer->state;
    const float most = param_of(layer)->iou_thr;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool alone = true;
        for (size_t k = 0; k < kept && alone; k++)
            alone = !(overlap(s->part, &s->boxes[s->candidates[k].index],
                              &s->boxes[s->candidates[i].index]) > most);
        if (alone)
            s->candidates[kept++] = s->candidates[i];
    }
    return kept;
}

static qf_status put_rows(qf_layer *layer, int image, size_t count)
{
    state *s = layer->state;
    if (!qf_grow(&s->rows, &s->row_capacity, (s->row_count + count) * ROW, sizeof *s->rows))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu regions",
                       s->row_count + count);
    for (size_t i = 0; i < count; i++) {
        float *row = s->rows + s->row_count++ * ROW;
        row[0] = (float)image;
        memcpy(row + 1, &s->boxes[s->candidates[i].index], sizeof *s->boxes);
        row[5] = s->candidates[i].score;
    }
    return QF_OK;
}

static qf_status find_regions(qf_layer *layer, int image)
{
    const Caffe__BoxOutputParameter *p = param_of(layer);
    state *s = layer->state;
    size_t count = 0;
    for (int b = 0; b < layer->bottom_count; b++) {
        const float *values;
        const size_t item = qf_shape_count_range(qf_blob_shape(layer->bottom[b]), 1, 4);
        QF_TRY(qf_read(layer->context, layer->bottom[b]->data, QF_PLAIN, &values));
        count = enumerate(layer, b, values + (size_t)image * item, count);
    }
    qf_candidates_sort(s->candidates, count);
    if (p->max_nms_num && count > p->max_nms_num)
        count = p->max_nms_num;
    count = suppress(layer, count);
    if (p->max_post_nms_num && count > p->max_post_nms_num)
        count = p->max_post_nms_num;
    return put_rows(layer, image, count);
}

static qf_status put_tops(qf_layer *layer)
{
    static const float somewhere[2][ROW] = {{0, 1, 1, 10, 10}, {0}};
    const state *s = layer->state;
    const size_t rows = s->row_count ? s->row_count : 1;
    QF_TRY(shape_tops(layer, rows));
    for (int t = 0; t < layer->top_count; t++) {
        const size_t numbers = t == 0 ? ROW - 1 : ROW;
        float *y;
        QF_TRY(qf_write(layer->context, layer->top[t]->data, QF_PLAIN, &y));
        for (size_t i = 0; i < rows; i++)
            memcpy(y + i * numbers, s->row_count ? s->rows + i * ROW : somewhere[t],
                   numbers * sizeof *y);
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    size_t cells = 0;
    for (int b = 0; b < layer->bottom_count; b++)
        cells += qf_shape_count_range(qf_blob_shape(layer->bottom[b]), 2, 4);
    if (!qf_grow(&s->boxes, &s->box_capacity, cells, sizeof *s->boxes) ||
        !qf_grow(&s->candidates, &s->candidate_capacity, cells, sizeof *s->candidates))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu boxes", cells);
    s->row_count = 0;
    for (int image = 0; image < qf_blob_shape(layer->bottom[0])->dim[0]; image++)
        QF_TRY(find_regions(layer, image));
    return put_tops(layer);
}

const qf_layer_type qf_box_output_layer = {
    .name = "BoxOutput",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, -1),
    QF_TOPS(1, 2),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
