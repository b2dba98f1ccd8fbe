/*
 * Proposal (Ren et al., Faster R-CNN, section 3.1): from the scores and offsets of anchors at each
 * cell of a map to the regions that are worth a look: decoded, cut to the image, without the tiny
 * ones and those that overlap a better one.
 *
 * Bottoms: scores (num, 2 · anchors, height, width), the second half for "object"; offsets (num,
 * 4 · anchors, height, width); image sizes, one row (height, width, scale …) an image or one for
 * all. Tops: regions (count, 5); then their scores (count, 1) or, with output_actual_rois_num, the
 * number of regions of each image.
 */
#include "layers/detection/anchors.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { ROW = 5 };

typedef struct state {
    qf_anchors anchors;
    qf_box *boxes; /* of one image */
    qf_candidate *candidates;
    float *rows, *scores; /* of all images */
    size_t box_capacity, candidate_capacity, row_capacity, score_capacity, row_count;
} state;

typedef Caffe__ProposalParameter proposal_param;

QF_LAYER_PARAM_OF(proposal_param, PROPOSAL_, Proposal)

static qf_status setup(qf_layer *layer)
{
    const proposal_param *p = param_of(layer);
    state *s = layer->state;
    if (!(p->min_size >= 0) || isnan(p->iou_threshold) || isnan(p->nms_thresh))
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_param: min_size must be at least 0 and iou_threshold a number");
    if (p->post_nms_topn < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_param: post_nms_topn must be at least 1, is %d", p->post_nms_topn);
    const qf_anchor_wish wish = {"proposal_param", p->base_size, p->feat_stride, p->ratio,
                                 p->scale,         p->n_ratio,   p->n_scale};
    return qf_anchors_make(layer, &wish, &s->anchors);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->anchors.box);
    qf_free(s->boxes);
    qf_free(s->candidates);
    qf_free(s->rows);
    qf_free(s->scores);
}

static qf_status shape_tops(qf_layer *layer, size_t rows)
{
    QF_TRY(qf_blob_reshape_to(layer->top[0], &(qf_shape){2, {(int)rows, ROW}}));
    if (layer->top_count == 1)
        return QF_OK;
    if (param_of(layer)->output_actual_rois_num)
        return qf_blob_reshape_to(layer->top[1],
                                  &(qf_shape){1, {qf_blob_shape(layer->bottom[0])->dim[0]}});
    return qf_blob_reshape_to(layer->top[1], &(qf_shape){2, {(int)rows, 1}});
}

/* How many rows there will be is known after the forward pass only. */
static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *scores = qf_blob_shape(layer->bottom[0]);
    const qf_shape *offsets = qf_blob_shape(layer->bottom[1]);
    const qf_shape *sizes = qf_blob_shape(layer->bottom[2]);
    char text[256];
    for (int b = 0; b < 2; b++) {
        const qf_shape *shape = b == 0 ? scores : offsets;
        const size_t channels = (b == 0 ? 2 : 4) * s->anchors.count;
        if (shape->axes != 4 || (size_t)shape->dim[1] != channels)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' has shape %s, expected 4 axes and %zu channels for %zu anchors",
                           layer->bottom[b]->name, qf_shape_text(shape, text, sizeof text),
                           channels, s->anchors.count);
    }
    if (scores->dim[0] != offsets->dim[0] || scores->dim[2] != offsets->dim[2] ||
        scores->dim[3] != offsets->dim[3])
        return qf_fail(layer->context, QF_E_SHAPE, "'%s' and '%s' differ in size",
                       layer->bottom[0]->name, layer->bottom[1]->name);
    const int rows = sizes->axes ? sizes->dim[0] : 0;
    if (rows < 1 || (rows != 1 && rows != scores->dim[0]) ||
        qf_shape_count(sizes) / (size_t)rows < 3)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must hold one row (height, width, scale) for each of the %d images, "
                       "has shape %s",
                       layer->bottom[2]->name, scores->dim[0],
                       qf_shape_text(sizes, text, sizeof text));
    return shape_tops(layer, 1);
}

/* An anchor moved and stretched by its offsets; cut to the image. */
static qf_box decode(const qf_box *anchor, const float offset[4], float height, float width)
{
    const float w = anchor->x2 - anchor->x1 + 1, h = anchor->y2 - anchor->y1 + 1;
    const float x = offset[0] * w + anchor->x1 + 0.5f * w,
                y = offset[1] * h + anchor->y1 + 0.5f * h;
    const float half_w = 0.5f * expf(offset[2]) * w, half_h = 0.5f * expf(offset[3]) * h;
    return (qf_box){fmaxf(0, fminf(x - half_w, width - 1)), fmaxf(0, fminf(y - half_h, height - 1)),
                    fmaxf(0, fminf(x + half_w, width - 1)),
                    fmaxf(0, fminf(y + half_h, height - 1))};
}

/* All boxes of an image that are large enough, as candidates. */
static size_t enumerate(qf_layer *layer, const float *scores, const float *offsets,
                        const float *size, bool two_scales)
{
    const proposal_param *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t map_width = (size_t)shape->dim[3], plane = (size_t)shape->dim[2] * map_width;
    const float least_h = p->min_size * size[2], least_w = p->min_size * size[two_scales ? 3 : 2];
    size_t count = 0, index = 0;
    for (size_t cell = 0; cell < plane; cell++)
        for (size_t k = 0; k < s->anchors.count; k++, index++) {
            const qf_box anchor = qf_anchor_at(&s->anchors, k, cell / map_width, cell % map_width);
            const float score = scores[(s->anchors.count + k) * plane + cell];
            float offset[4];
            for (size_t i = 0; i < 4; i++)
                offset[i] = offsets[(4 * k + i) * plane + cell];
            const qf_box box = decode(&anchor, offset, size[0], size[1]);
            s->boxes[index] = box;
            if (box.x2 - box.x1 + 1 >= least_w && box.y2 - box.y1 + 1 >= least_h && !isnan(score))
                s->candidates[count++] = (qf_candidate){score, (int)index};
        }
    return count;
}

/* Puts the first `count` candidates behind the rows that are there; one empty region where an image
 * has none, so that the layers behind have something to work on. */
static qf_status put_rows(qf_layer *layer, int image, size_t count)
{
    state *s = layer->state;
    const size_t rows = s->row_count + (count ? count : 1);
    if (!qf_grow(&s->rows, &s->row_capacity, rows * ROW, sizeof *s->rows) ||
        !qf_grow(&s->scores, &s->score_capacity, rows, sizeof *s->scores))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu regions", rows);
    for (size_t i = 0; s->row_count < rows; i++, s->row_count++) {
        float *row = s->rows + s->row_count * ROW;
        const qf_box nowhere = {0};
        row[0] = (float)image;
        memcpy(row + 1, count ? &s->boxes[s->candidates[i].index] : &nowhere, sizeof nowhere);
        s->scores[s->row_count] = count ? s->candidates[i].score : 0;
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const proposal_param *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t boxes = s->anchors.count * (size_t)shape->dim[2] * (size_t)shape->dim[3];
    const int size_rows = qf_blob_shape(layer->bottom[2])->dim[0];
    const size_t size_values = qf_blob_count(layer->bottom[2]) / (size_t)size_rows;
    const float *scores, *offsets, *sizes;
    float *y, *counts = NULL;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &scores));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &offsets));
    QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &sizes));
    if (layer->top_count > 1 && p->output_actual_rois_num)
        QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &counts));
    if (!qf_grow(&s->boxes, &s->box_capacity, boxes, sizeof *s->boxes) ||
        !qf_grow(&s->candidates, &s->candidate_capacity, boxes, sizeof *s->candidates))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu boxes", boxes);
    s->row_count = 0;
    for (int image = 0; image < shape->dim[0]; image++) {
        const float *size = sizes + (size_rows > 1 ? (size_t)image : 0) * size_values;
        if (!(size[0] >= 0 && size[1] >= 0 && size[0] < 1e8f && size[1] < 1e8f))
            return qf_fail(layer->context, QF_E_VALUE, "'%s' says that image %d has %g × %g pixels",
                           layer->bottom[2]->name, image, (double)size[1], (double)size[0]);
        size_t count = enumerate(layer, scores + (size_t)image * 2 * boxes,
                                 offsets + (size_t)image * 4 * boxes, size, size_values > 3);
        qf_candidates_sort(s->candidates, count);
        if (p->pre_nms_topn > 0 && count > (size_t)p->pre_nms_topn)
            count = (size_t)p->pre_nms_topn;
        count = qf_boxes_suppress(s->boxes, s->candidates, count, QF_BOX_PIXELS,
                                  p->has_nms_thresh ? p->nms_thresh : p->iou_threshold, 1,
                                  p->post_nms_topn);
        QF_TRY(put_rows(layer, image, count));
        if (counts)
            counts[image] = (float)count;
    }
    QF_TRY(shape_tops(layer, s->row_count));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    memcpy(y, s->rows, s->row_count * ROW * sizeof *y);
    if (layer->top_count > 1 && !counts) {
        QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &y));
        memcpy(y, s->scores, s->row_count * sizeof *y);
    }
    return QF_OK;
}

const qf_layer_type qf_proposal_layer = {
    .name = "Proposal",
    .state_size = sizeof(state),
    QF_BOTTOMS(3, 3),
    QF_TOPS(1, 2),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
