/* Labels of ImageGtData (MS-CNN): for each size of field a map of what lies in the fields of its
 * cells, (label, centre x and y, width, height, overlap); behind them, with output_gt_boxes, the
 * objects (image, x1, y1, x2, y2, label, ignored). A cell is of an object that overlaps its field
 * by more than fg_threshold; an object that no cell is of gets the cell that its middle lies in, in
 * the map where it overlaps a field most, if that is by 0.2 or more. */
#include "layers/input/batch_labels.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { VALUES = 6, OVERLAP = 5, TRUTH_ROW = 7 };
static const float unseen_from = 0.4f, least_overlap = 0.2f;

QF_LAYER_PARAM_OF(image_gt_data_param, IMAGE_GT_DATA_, ImageGtData)

/* A map of an item. */
typedef struct map {
    int index, height, width;
    float stride, field_width, field_height;
    float *values;
} map;

/* The map in which an object overlaps a field most, and by how much; how many cells are its. */
typedef struct match {
    int map, cells;
    float overlap;
} match;

static int cells(float pixels, float stride)
{
    return (int)roundf(pixels / stride);
}

static map map_of(const qf_layer *layer, const qf_batch *batch, int index)
{
    const Caffe__ImageGtDataParameter *p = param_of(layer);
    const float stride = (float)p->downsample_rate[index];
    return (map){.index = index,
                 .height = cells((float)batch->height, stride),
                 .width = cells((float)batch->width, stride),
                 .stride = stride,
                 .field_width = (float)p->field_w[index],
                 .field_height = (float)p->field_h[index]};
}

static size_t plane_of(const map *m)
{
    return (size_t)m->height * (size_t)m->width;
}

/* Rows of the first `count` items. */
static size_t rows_of(const qf_batch *batch, int count)
{
    size_t rows = 0;
    while (rows < batch->box_count && batch->boxes[rows * QF_BOX_ROW] < (float)count)
        rows++;
    return rows;
}

static size_t count_objects(const qf_batch *batch, size_t rows)
{
    size_t objects = 0;
    for (size_t i = 0; i < rows; i++)
        objects += batch->boxes[i * QF_BOX_ROW + 1] > 0;
    return objects;
}

static qf_status reshape(qf_layer *layer, const qf_batch *batch, int count)
{
    const int maps = (int)param_of(layer)->n_downsample_rate;
    const size_t objects = count_objects(batch, rows_of(batch, count));
    for (int i = 0; i < maps; i++) {
        const map m = map_of(layer, batch, i);
        if (m.height < 1 || m.width < 1)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "image_gt_data_param: a downsample_rate of %g leaves nothing of images "
                           "of %d x %d (width x height)",
                           (double)m.stride, batch->width, batch->height);
        QF_TRY(qf_blob_reshape_to(layer->top[1 + i],
                                  &(qf_shape){4, {count, VALUES, m.height, m.width}}));
    }
    return maps + 1 < layer->top_count
               ? qf_blob_reshape_to(layer->top[1 + maps],
                                    &(qf_shape){4, {objects ? (int)objects : 1, TRUTH_ROW, 1, 1}})
               : QF_OK;
}

/* ---- a map of an item ---- */

static qf_box box_of(const float *row)
{
    return (qf_box){row[3], row[4], row[5], row[6]};
}

static void put_object(const map *m, size_t cell, const float *row)
{
    const float values[] = {row[1], (row[3] + row[5]) / 2, (row[4] + row[6]) / 2, row[5] - row[3],
                            row[6] - row[4]};
    for (size_t k = 0; k < OVERLAP; k++)
        m->values[k * plane_of(m) + cell] = values[k];
}

static bool is_unseen(const float *rows, size_t count, const qf_box *field)
{
    float covered = 0;
    for (size_t i = 0; i < count; i++) {
        const qf_box box = box_of(rows + i * QF_BOX_ROW);
        if (rows[i * QF_BOX_ROW + 1] == QF_BOX_UNSEEN)
            covered += qf_box_coverage(field, &box);
    }
    return covered >= unseen_from;
}

static void fill_cell(const qf_layer *layer, const map *m, size_t cell, const float *rows,
                      size_t count, match *matches)
{
    const float x = ((float)(cell % (size_t)m->width) + 0.5f) * m->stride;
    const float y = ((float)(cell / (size_t)m->width) + 0.5f) * m->stride;
    const qf_box field = {x - m->field_width / 2, y - m->field_height / 2, x + m->field_width / 2,
                          y + m->field_height / 2};
    float *overlap = &m->values[OVERLAP * plane_of(m) + cell];
    size_t best = 0;
    if (is_unseen(rows, count, &field)) {
        *overlap = 1;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!(rows[i * QF_BOX_ROW + 1] > 0))
            continue;
        const qf_box box = box_of(rows + i * QF_BOX_ROW);
        const float mine = qf_box_overlap(&box, &field, QF_BOX_BORDERS);
        if (mine > *overlap) {
            *overlap = mine;
            best = i;
        }
        if (mine > matches[i].overlap) {
            matches[i].overlap = mine;
            matches[i].map = m->index;
        }
    }
    if (!(*overlap > param_of(layer)->fg_threshold))
        return;
    put_object(m, cell, rows + best * QF_BOX_ROW);
    matches[best].cells++;
    if (rows[best * QF_BOX_ROW + 7] != 0)
        m->values[cell] = 0;
}

/* Cells outside of the image overlap as much as can be, so that nobody takes them for background.
 */
static void fill_map(const qf_layer *layer, const map *m, const float *rows, size_t count,
                     match *matches)
{
    const float *image = rows + (count - 1) * QF_BOX_ROW; /* QF_BOX_OF_IMAGE comes last */
    const int left = cells(image[3], m->stride), top = cells(image[4], m->stride);
    const int right = left + cells(image[5] - image[3], m->stride);
    const int bottom = top + cells(image[6] - image[4], m->stride);
    for (int h = 0; h < m->height; h++)
        for (int w = 0; w < m->width; w++) {
            const size_t cell = (size_t)h * (size_t)m->width + (size_t)w;
            if (w < left || w >= right || h < top || h >= bottom)
                m->values[OVERLAP * plane_of(m) + cell] = 1;
            else
                fill_cell(layer, m, cell, rows, count, matches);
        }
}

static int cell_at(float pixel, float stride, int cells)
{
    const float at = floorf(pixel / stride);
    return at > 0 ? (at < (float)(cells - 1) ? (int)at : cells - 1) : 0;
}

/* What no cell is of. */
static void put_missed(const map *maps, const float *row, const match *found)
{
    const map *m = &maps[found->map];
    if (!(row[1] > 0) || row[7] != 0 || found->cells || found->overlap < least_overlap)
        return;
    const int h = cell_at((row[4] + row[6]) / 2, m->stride, m->height);
    const int w = cell_at((row[3] + row[5]) / 2, m->stride, m->width);
    const size_t cell = (size_t)h * (size_t)m->width + (size_t)w;
    if (!(m->values[cell] > 0))
        put_object(m, cell, row);
}

/* ---- all of them ---- */

static qf_status write_maps(qf_layer *layer, const qf_batch *batch, size_t rows, map *maps,
                            match *matches)
{
    const size_t count = param_of(layer)->n_downsample_rate;
    for (size_t i = 0; i < count; i++) {
        maps[i] = map_of(layer, batch, (int)i);
        QF_TRY(qf_write(layer->context, layer->top[1 + i]->data, QF_PLAIN, &maps[i].values));
        memset(maps[i].values, 0, qf_blob_count(layer->top[1 + i]) * sizeof *maps[i].values);
    }
    for (size_t from = 0, to; from < rows; from = to) {
        const float *first = batch->boxes + from * QF_BOX_ROW;
        for (to = from; to < rows && batch->boxes[to * QF_BOX_ROW] == *first;)
            to++;
        for (size_t i = 0; i < count; i++)
            fill_map(layer, &maps[i], first, to - from, matches + from);
        for (size_t i = from; i < to; i++)
            put_missed(maps, batch->boxes + i * QF_BOX_ROW, &matches[i]);
        for (size_t i = 0; i < count; i++)
            maps[i].values += VALUES * plane_of(&maps[i]);
    }
    return QF_OK;
}

/* Without objects one that does not count. */
static qf_status write_objects(qf_layer *layer, const qf_batch *batch, size_t rows, qf_blob *top)
{
    static const float none[TRUTH_ROW] = {0, 1, 1, 2, 2, 1, 1};
    float *y;
    QF_TRY(qf_write(layer->context, top->data, QF_PLAIN, &y));
    memcpy(y, none, sizeof none);
    for (size_t i = 0; i < rows; i++) {
        const float *row = batch->boxes + i * QF_BOX_ROW;
        if (!(row[1] > 0))
            continue;
        const float values[TRUTH_ROW] = {row[0], row[3], row[4], row[5], row[6], row[1], row[7]};
        memcpy(y, values, sizeof values);
        y += TRUTH_ROW;
    }
    return QF_OK;
}

static qf_status write(qf_layer *layer, const qf_batch *batch, int count)
{
    const size_t rows = rows_of(batch, count), map_count = param_of(layer)->n_downsample_rate;
    map *maps = qf_alloc(map_count, sizeof *maps);
    match *matches = qf_alloc(rows, sizeof *matches);
    qf_status status = maps && matches ? write_maps(layer, batch, rows, maps, matches)
                                       : qf_fail(layer->context, QF_E_MEMORY,
                                                 "no memory for the labels of %zu boxes", rows);
    qf_free(maps);
    qf_free(matches);
    if (status == QF_OK && map_count + 1 < (size_t)layer->top_count)
        status = write_objects(layer, batch, rows, layer->top[map_count + 1]);
    return status;
}

const qf_batch_labels qf_labels_fields = {reshape, write};

qf_status qf_labels_fields_check(const qf_layer *layer)
{
    const Caffe__ImageGtDataParameter *p = param_of(layer);
    const size_t maps = p->n_downsample_rate;
    const size_t tops = 1 + maps + (p->output_gt_boxes ? 1 : 0);
    if (maps < 1 || p->n_field_w != maps || p->n_field_h != maps || p->coord_num != 4)
        return qf_fail(layer->context, QF_E_VALUE,
                       "image_gt_data_param has %zu downsample_rate, %zu field_w and %zu field_h, "
                       "expected as many of each, at least one, and coord_num 4",
                       maps, p->n_field_w, p->n_field_h);
    if ((size_t)layer->top_count != tops)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "an ImageGtData layer of %zu downsample_rate %s output_gt_boxes has %zu "
                       "tops, this one %d",
                       maps, p->output_gt_boxes ? "with" : "without", tops, layer->top_count);
    for (size_t i = 0; i < maps; i++)
        if (p->downsample_rate[i] < 1 || p->field_w[i] < 1 || p->field_h[i] < 1)
            return qf_fail(layer->context, QF_E_VALUE,
                           "image_gt_data_param: downsample_rate, field_w and field_h must be at "
                           "least 1, number %zu of each is %u, %u and %u",
                           i, p->downsample_rate[i], p->field_w[i], p->field_h[i]);
    return QF_OK;
}
