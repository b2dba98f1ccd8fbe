/* Labels of a batch: numbers, boxes in SSD's and in YOLO's order, a label for each pixel. */
#include "layers/input/batch_labels.h"

#include <string.h>

enum { YOLO_BOXES = 300, YOLO_ROW = 5 };

/* ---- numbers ---- */

static qf_status reshape_numbers(qf_layer *layer, const qf_batch *batch, int count)
{
    const qf_shape labels = qf_shape_make(1, &count);
    (void)batch;
    return qf_blob_reshape_to(layer->top[1], &labels);
}

static qf_status write_numbers(qf_layer *layer, const qf_batch *batch, int count)
{
    float *y;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &y));
    memcpy(y, batch->labels, (size_t)count * sizeof *y);
    return QF_OK;
}

const qf_batch_labels qf_labels_numbers = {reshape_numbers, write_numbers};

/* ---- a label for each pixel ---- */

static qf_status reshape_maps(qf_layer *layer, const qf_batch *batch, int count)
{
    const qf_shape maps = qf_shape_make(4, (int[]){count, 1, batch->height, batch->width});
    const qf_shape extents = qf_shape_make(4, (int[]){count, 1, 1, 2});
    QF_TRY(qf_blob_reshape_to(layer->top[1], &maps));
    return layer->top_count > 2 ? qf_blob_reshape_to(layer->top[2], &extents) : QF_OK;
}

static qf_status write_maps(qf_layer *layer, const qf_batch *batch, int count)
{
    const size_t size = (size_t)batch->size * (size_t)batch->height * (size_t)batch->width;
    float *out;
    (void)count; /* the tops are of so many */
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &out));
    memcpy(out, batch->maps, qf_blob_count(layer->top[1]) * sizeof *out);
    if (layer->top_count < 3)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[2]->data, QF_PLAIN, &out));
    memcpy(out, batch->maps + size, qf_blob_count(layer->top[2]) * sizeof *out);
    return QF_OK;
}

const qf_batch_labels qf_labels_maps = {reshape_maps, write_maps};

/* ---- boxes ---- */

/* Rows of the first `count` items. */
static size_t rows_of(const qf_batch *batch, int count)
{
    size_t rows = batch->box_count;
    while (rows && batch->boxes[(rows - 1) * QF_BOX_ROW] >= (float)count)
        rows--;
    return rows;
}

static qf_status reshape_boxes(qf_layer *layer, const qf_batch *batch, int count)
{
    const size_t rows = rows_of(batch, count);
    const qf_shape labels = qf_shape_make(4, (int[]){1, 1, rows ? (int)rows : 1, QF_BOX_ROW});
    return qf_blob_reshape_to(layer->top[1], &labels);
}

/* Where nothing is on any image, one row of -1. */
static qf_status write_boxes(qf_layer *layer, const qf_batch *batch, int count)
{
    const size_t rows = rows_of(batch, count);
    float *y;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &y));
    for (size_t i = 0; !rows && i < QF_BOX_ROW; i++)
        y[i] = -1;
    if (rows)
        memcpy(y, batch->boxes, rows * QF_BOX_ROW * sizeof *y);
    return QF_OK;
}

const qf_batch_labels qf_labels_boxes = {reshape_boxes, write_boxes};

static qf_status reshape_yolo(qf_layer *layer, const qf_batch *batch, int count)
{
    const qf_shape labels = qf_shape_make(4, (int[]){count, 1, YOLO_BOXES, YOLO_ROW});
    (void)batch;
    return qf_blob_reshape_to(layer->top[1], &labels);
}

/* The first boxes of each image; the batch's rows are in the order of images. */
static qf_status put_yolo(qf_layer *layer, const qf_batch *batch, int count, bool easy)
{
    size_t written = 0, image = SIZE_MAX;
    float *y;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &y));
    memset(y, 0, qf_blob_count(layer->top[1]) * sizeof *y);
    const float *row = batch->boxes;
    for (size_t rows = rows_of(batch, count); rows; rows--, row += QF_BOX_ROW) {
        written = (size_t)row[0] == image ? written : 0;
        image = (size_t)row[0];
        if ((easy && row[7] != 0) || written == YOLO_BOXES)
            continue;
        const float box[] = {row[1] - 1, (row[3] + row[5]) / 2, (row[4] + row[6]) / 2,
                             row[5] - row[3], row[6] - row[4]};
        memcpy(y + (image * YOLO_BOXES + written++) * YOLO_ROW, box, sizeof box);
    }
    return QF_OK;
}

static qf_status write_yolo(qf_layer *layer, const qf_batch *batch, int count)
{
    return put_yolo(layer, batch, count, false);
}

static qf_status write_yolo_easy(qf_layer *layer, const qf_batch *batch, int count)
{
    return put_yolo(layer, batch, count, true);
}

const qf_batch_labels qf_labels_yolo = {reshape_yolo, write_yolo},
                      qf_labels_yolo_easy = {reshape_yolo, write_yolo_easy};
