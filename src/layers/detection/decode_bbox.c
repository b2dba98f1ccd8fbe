/*
 * DecodeBBox (Cascade R-CNN in MS-CNN's fork): the regions of the next stage, from those of this
 * one and the offsets that it found.
 *
 * Bottoms: offsets (count, 8, …), of which the last 4 are those of an object; regions (count, 5,
 * …); in TRAIN the objects that they belong to (count, …), the last number of each how much they
 * overlap. Top: regions (kept, 5, 1, 1). In TRAIN those are left out that have turned inside out or
 * overlap their object by gt_iou_thr or more; if none is left, the first stays as it was.
 */
#include "layers/detection/cell_field.h"

#include "base/memory.h"

#include <string.h>

enum { OFFSETS, REGIONS, OBJECTS, VALUES = 8, ROW = 5 };

typedef struct state {
    qf_box_norm norm;
    float *rows; /* that are kept */
    size_t capacity;
} state;

static qf_status setup(qf_layer *layer)
{
    return qf_box_norm_read(layer, &((state *)layer->state)->norm);
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->rows);
}

static size_t row_size(const qf_blob *blob)
{
    const qf_shape *shape = qf_blob_shape(blob);
    return shape->axes > 1 ? qf_shape_count_range(shape, 1, shape->axes) : 1;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *first = qf_blob_shape(layer->bottom[0]);
    char text[256];
    for (int b = 0; b < layer->bottom_count; b++) {
        const qf_shape *shape = qf_blob_shape(layer->bottom[b]);
        const size_t expected = b == OFFSETS ? VALUES : b == REGIONS ? ROW : 0;
        if (shape->axes < 1 || first->axes < 1 || shape->dim[0] != first->dim[0] ||
            (expected && row_size(layer->bottom[b]) != expected))
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' has shape %s, expected rows of %d offsets, of %d numbers of "
                           "regions, of objects, as many of each",
                           layer->bottom[b]->name, qf_shape_text(shape, text, sizeof text), VALUES,
                           ROW);
    }
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){4, {first->dim[0], ROW, 1, 1}});
}

static bool stays(const qf_layer *layer, const qf_box *box, const float *object)
{
    const Caffe__DecodeBBoxParameter *p =
        QF_LAYER_PARAM(layer, decode_bbox_param, DECODE_BBOX_, DecodeBBox);
    if (layer->phase != QF_TRAIN)
        return true;
    return box->x1 <= box->x2 && box->y1 <= box->y2 && !(object && *object >= p->gt_iou_thr);
}

/* The number of rows that are kept, in the state. */
static size_t keep_rows(qf_layer *layer, const float *offsets, const float *regions,
                        const float *objects)
{
    state *s = layer->state;
    const size_t count = (size_t)qf_blob_shape(layer->bottom[0])->dim[0];
    const size_t width = objects ? row_size(layer->bottom[OBJECTS]) : 0;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        qf_box region;
        memcpy(&region, regions + i * ROW + 1, sizeof region);
        const qf_box box = qf_region_moved(&region, &s->norm, offsets + i * VALUES + 4);
        if (!stays(layer, &box, objects ? objects + (i + 1) * width - 1 : NULL))
            continue;
        s->rows[kept * ROW] = regions[i * ROW];
        memcpy(s->rows + kept++ * ROW + 1, &box, sizeof box);
    }
    if (!kept && count)
        memcpy(s->rows, regions, ROW * sizeof *s->rows);
    return kept || !count ? kept : 1;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const size_t values = qf_blob_count(layer->bottom[REGIONS]);
    const float *offsets, *regions, *objects = NULL;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[OFFSETS]->data, QF_PLAIN, &offsets));
    QF_TRY(qf_read(layer->context, layer->bottom[REGIONS]->data, QF_PLAIN, &regions));
    if (layer->bottom_count > OBJECTS)
        QF_TRY(qf_read(layer->context, layer->bottom[OBJECTS]->data, QF_PLAIN, &objects));
    if (!qf_grow(&s->rows, &s->capacity, values, sizeof *s->rows))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu numbers", values);
    const size_t kept = keep_rows(layer, offsets, regions, objects);
    QF_TRY(qf_blob_reshape_to(layer->top[0], &(qf_shape){4, {(int)kept, ROW, 1, 1}}));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    memcpy(y, s->rows, kept * ROW * sizeof *y);
    return QF_OK;
}

const qf_layer_type qf_decode_bbox_layer = {
    .name = "DecodeBBox",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 3),
    QF_TOPS(1, 1),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
