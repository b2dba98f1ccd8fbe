/*
 * BoxTarget (MS-CNN, whose prototxts call it ProposalTarget; model/upgrade_fork_fields.c): regions
 * to learn from, of all images of a batch, drawn from proposals and the objects themselves.
 *
 * Bottoms: proposals (count, 5, …), the first number the image; objects (count, 7, …): image, x1,
 * y1, x2, y2, label, 1 if it does not count. Tops, of 4 axes: regions (sample, 5); labels (sample,
 * 1), 0: no object; offsets (sample, 4 · cls_num, or 8 unless bbox_reg_param is cls_aware) and
 * their weights inside and outside of the loss; the objects (sample, 6): label, corners, overlap;
 * and what each region weighs.
 *
 * Where proposals do not suffice, background of other overlaps is taken, then boxes anywhere.
 */
#include "layers/detection/cell_field.h"

#include "base/memory.h"
#include "layers/detection/anchors.h"

#include <math.h>
#include <string.h>

enum { PROPOSALS, TRUTHS };
enum { REGIONS, LABELS, OFFSETS, INSIDE, OUTSIDE, OBJECTS, WEIGHTS, TOPS };
enum { ROW = 5, TRUTH_ROW = 7, OBJECT_ROW = 6, LEAST_SIDE = 32, TRIALS = 1000 };

typedef struct region {
    int image, truth; /* truth −1: none in this image */
    float overlap;
    qf_box box;
} region;

typedef struct state {
    qf_box_norm norm;
    region *regions;
    size_t *objects, *others, *rest; /* of the regions: indices */
    size_t region_capacity, object_capacity, other_capacity, rest_capacity;
    size_t count, object_count, other_count, rest_count;
} state;

QF_LAYER_PARAM_OF(proposal_target_param, PROPOSAL_TARGET_, ProposalTarget)

static bool knows_classes(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, bbox_reg_param, BBOX_REG_, BBoxReg)->cls_aware;
}

static size_t values_of(const qf_layer *layer)
{
    return knows_classes(layer) ? 4 * (size_t)param_of(layer)->cls_num : 8;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    if (p->cls_num < 2 || p->cls_num > 1 << 20 || p->num_img_per_batch < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_target_param needs cls_num of 2 or more, the first of which is no "
                       "object, and num_img_per_batch; has %u and %u",
                       p->cls_num, p->num_img_per_batch);
    if (p->batch_size == 0 || p->batch_size < -1 || !(p->fg_fraction >= 0 && p->fg_fraction <= 1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_target_param: batch_size must be at least 1, or -1 for all, and "
                       "fg_fraction from 0 to 1; are %d and %g",
                       p->batch_size, (double)p->fg_fraction);
    if (!(p->fg_thr > 0 && p->fg_thr >= p->bg_thr_hg))
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_target_param: fg_thr must be above 0 and at least bg_thr_hg, are "
                       "%g and %g",
                       (double)p->fg_thr, (double)p->bg_thr_hg);
    if (p->img_width <= LEAST_SIDE || p->img_height <= LEAST_SIDE || p->img_width > 1 << 24 ||
        p->img_height > 1 << 24)
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_target_param: img_width and img_height must be above %d, are %u "
                       "and %u",
                       LEAST_SIDE, p->img_width, p->img_height);
    return qf_box_norm_read(layer, &((state *)layer->state)->norm);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->regions);
    qf_free(s->objects);
    qf_free(s->others);
    qf_free(s->rest);
}

static qf_status shape_tops(qf_layer *layer, size_t rows)
{
    const int values = (int)values_of(layer);
    const int widths[TOPS] = {ROW, 1, values, values, values, OBJECT_ROW, 1};
    for (int t = 0; t < layer->top_count; t++)
        QF_TRY(qf_blob_reshape_to(layer->top[t], &(qf_shape){4, {(int)rows, widths[t], 1, 1}}));
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const int batch = param_of(layer)->batch_size;
    const qf_shape *truths = qf_blob_shape(layer->bottom[TRUTHS]);
    char text[256];
    QF_TRY(qf_objects_check(layer, layer->bottom[PROPOSALS]));
    if (truths->axes < 2 || qf_shape_count_range(truths, 1, truths->axes) != TRUTH_ROW)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected a row of %d numbers for each object: image, "
                       "x1, y1, x2, y2, label, ignored",
                       layer->bottom[TRUTHS]->name, qf_shape_text(truths, text, sizeof text),
                       TRUTH_ROW);
    const int proposals = qf_blob_shape(layer->bottom[PROPOSALS])->dim[0];
    return shape_tops(layer, (size_t)(batch > 0 ? batch : proposals > 1 ? proposals : 1));
}

/* ---- regions, and the objects that they are most like ---- */

static qf_status take(qf_layer *layer, int bottom, size_t index, const float *row)
{
    state *s = layer->state;
    region *r = &s->regions[s->count++];
    if (!(row[0] >= 0 && row[0] < (float)param_of(layer)->num_img_per_batch))
        return qf_fail(layer->context, QF_E_VALUE,
                       "row %zu of '%s' lies in image %g, but proposal_target_param has "
                       "num_img_per_batch %u",
                       index, layer->bottom[bottom]->name, (double)row[0],
                       param_of(layer)->num_img_per_batch);
    *r = (region){.image = (int)row[0], .truth = -1};
    memcpy(&r->box, row + 1, sizeof r->box);
    return qf_box_is_finite(&r->box) ? QF_OK
                                     : qf_fail(layer->context, QF_E_VALUE,
                                               "row %zu of '%s' has a coordinate that is no number",
                                               index, layer->bottom[bottom]->name);
}

static void match(const float *truths, size_t count, region *r)
{
    for (size_t i = 0; i < count; i++) {
        qf_box box;
        if ((int)truths[i * TRUTH_ROW] != r->image)
            continue;
        memcpy(&box, truths + i * TRUTH_ROW + 1, sizeof box);
        const float overlap = qf_box_overlap(&r->box, &box, QF_BOX_PIXELS);
        if (r->truth < 0 || overlap > r->overlap) {
            r->truth = (int)i;
            r->overlap = overlap;
        }
    }
}

/* Room for all proposals and objects, and as many boxes anywhere as a batch has. */
static qf_status make_room(qf_layer *layer, size_t boxes)
{
    state *s = layer->state;
    const size_t batch = param_of(layer)->batch_size > 0 ? (size_t)param_of(layer)->batch_size : 1;
    if (qf_grow(&s->regions, &s->region_capacity, boxes + batch, sizeof *s->regions) &&
        qf_grow(&s->objects, &s->object_capacity, boxes + batch, sizeof *s->objects) &&
        qf_grow(&s->others, &s->other_capacity, boxes + batch, sizeof *s->others) &&
        qf_grow(&s->rest, &s->rest_capacity, boxes + batch, sizeof *s->rest))
        return QF_OK;
    return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu regions", boxes + batch);
}

static qf_status gather(qf_layer *layer, const float *proposals, const float *truths,
                        size_t truth_count)
{
    state *s = layer->state;
    const size_t count = (size_t)qf_blob_shape(layer->bottom[PROPOSALS])->dim[0];
    QF_TRY(make_room(layer, count + truth_count));
    s->count = 0;
    for (size_t i = 0; i < count; i++)
        QF_TRY(take(layer, PROPOSALS, i, proposals + i * ROW));
    for (size_t i = 0; i < truth_count; i++)
        QF_TRY(take(layer, TRUTHS, i, truths + i * TRUTH_ROW));
    for (size_t i = 0; i < s->count; i++)
        match(truths, truth_count, &s->regions[i]);
    return QF_OK;
}

static void sort_out(qf_layer *layer, const float *truths)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    state *s = layer->state;
    s->object_count = s->other_count = s->rest_count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const region *r = &s->regions[i];
        if (r->truth >= 0 && r->overlap >= p->fg_thr) {
            if (truths[(size_t)r->truth * TRUTH_ROW + 6] == 0)
                s->objects[s->object_count++] = i;
        } else if (r->overlap >= p->bg_thr_lw && r->overlap < p->bg_thr_hg) {
            s->others[s->other_count++] = i;
        } else {
            s->rest[s->rest_count++] = i;
        }
    }
}

/* ---- the sample ---- */

/* A box of some image that overlaps no object as an object would; after many trials any. */
static void add_anywhere(qf_layer *layer, const float *truths, size_t truth_count)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    qf_random *random = &layer->context->random;
    state *s = layer->state;
    region *r = &s->regions[s->count];
    for (int trial = 0; trial < TRIALS; trial++) {
        const uint32_t x = qf_random_below(random, p->img_width - LEAST_SIDE);
        const uint32_t y = qf_random_below(random, p->img_height - LEAST_SIDE);
        const uint32_t width = qf_random_below(random, p->img_width - x);
        const uint32_t height = qf_random_below(random, p->img_height - y);
        *r = (region){.image = (int)qf_random_below(random, p->num_img_per_batch), .truth = -1};
        r->box.x1 = (float)x;
        r->box.y1 = (float)y;
        r->box.x2 = (float)(x + (width > LEAST_SIDE ? width : LEAST_SIDE) - 1);
        r->box.y2 = (float)(y + (height > LEAST_SIDE ? height : LEAST_SIDE) - 1);
        match(truths, truth_count, r);
        if (r->overlap < p->fg_thr)
            break;
    }
    r->truth = -1;
    s->others[s->other_count++] = s->count++;
}

/* Leaves a sample in `objects` and `others`, a whole batch. */
static void draw(qf_layer *layer, const float *truths, size_t truth_count)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    qf_random *random = &layer->context->random;
    state *s = layer->state;
    size_t batch = s->object_count + s->other_count, share = s->object_count;
    if (p->batch_size > 0) {
        batch = (size_t)p->batch_size;
        share = (size_t)lroundf(p->fg_fraction * (float)batch);
    } else if (batch == 0) {
        batch = 1;
    }
    if (s->object_count > share) {
        qf_sample_items(random, s->objects, s->object_count, share);
        s->object_count = share;
    }
    if (s->other_count > batch - s->object_count) {
        qf_sample_items(random, s->others, s->other_count, batch - s->object_count);
        s->other_count = batch - s->object_count;
    }
    for (size_t i = 0; i < s->rest_count && s->object_count + s->other_count < batch; i++)
        s->others[s->other_count++] = s->rest[i];
    while (s->object_count + s->other_count < batch)
        add_anywhere(layer, truths, truth_count);
}

/* ---- the tops ---- */

static qf_status put_object(qf_layer *layer, size_t at, const region *r, const float *truth,
                            float *const *tops)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    const state *s = layer->state;
    const float label = truth[5];
    float offsets[4];
    qf_box box;
    if (!(label >= 1 && label < (float)p->cls_num))
        return qf_fail(layer->context, QF_E_VALUE,
                       "object %d of '%s' has the label %g, expected 1 to %u: cls_num is %u",
                       r->truth, layer->bottom[TRUTHS]->name, (double)label, p->cls_num - 1,
                       p->cls_num);
    memcpy(&box, truth + 1, sizeof box);
    qf_box_offsets(&r->box, &box, offsets);
    const size_t first = at * values_of(layer) + 4 * (knows_classes(layer) ? (size_t)label : 1);
    for (size_t k = 0; k < 4; k++) {
        tops[OFFSETS][first + k] = (offsets[k] - s->norm.mean[k]) / s->norm.deviation[k];
        tops[INSIDE][first + k] = tops[OUTSIDE][first + k] = 1;
    }
    tops[LABELS][at] = tops[OBJECTS][at * OBJECT_ROW] = label;
    memcpy(tops[OBJECTS] + at * OBJECT_ROW + 1, &box, sizeof box);
    tops[OBJECTS][at * OBJECT_ROW + 5] = r->overlap;
    return QF_OK;
}

/* Objects and background in the ratio of fg_fraction, and, with iou_weighted, objects by their
 * overlap. */
static void weigh(const qf_layer *layer, const float *objects, float *weights)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    const state *s = layer->state;
    const size_t all = s->object_count + s->other_count;
    float sum[2] = {0};
    for (size_t i = 0; i < all; i++) {
        const bool object = i < s->object_count;
        weights[i] = object && p->iou_weighted ? objects[i * OBJECT_ROW + 5] : 1;
        sum[object] += weights[i];
    }
    for (size_t i = 0; i < all && sum[1] > 0; i++) {
        const bool object = i < s->object_count;
        const float share = object ? p->fg_fraction : 1 - p->fg_fraction;
        weights[i] *= share * (float)all / sum[object];
    }
}

static qf_status put(qf_layer *layer, const float *truths)
{
    const state *s = layer->state;
    const size_t all = s->object_count + s->other_count;
    float *tops[TOPS];
    QF_TRY(shape_tops(layer, all));
    for (int t = 0; t < layer->top_count; t++) {
        QF_TRY(qf_write(layer->context, layer->top[t]->data, QF_PLAIN, &tops[t]));
        memset(tops[t], 0, qf_blob_count(layer->top[t]) * sizeof **tops);
    }
    for (size_t i = 0; i < all; i++) {
        const bool object = i < s->object_count;
        const region *r = &s->regions[object ? s->objects[i] : s->others[i - s->object_count]];
        tops[REGIONS][i * ROW] = (float)r->image;
        memcpy(tops[REGIONS] + i * ROW + 1, &r->box, sizeof r->box);
        if (object)
            QF_TRY(put_object(layer, i, r, truths + (size_t)r->truth * TRUTH_ROW, tops));
    }
    if (layer->top_count > WEIGHTS)
        weigh(layer, tops[OBJECTS], tops[WEIGHTS]);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const size_t truth_count = (size_t)qf_blob_shape(layer->bottom[TRUTHS])->dim[0];
    const float *proposals, *truths;
    QF_TRY(qf_read(layer->context, layer->bottom[PROPOSALS]->data, QF_PLAIN, &proposals));
    QF_TRY(qf_read(layer->context, layer->bottom[TRUTHS]->data, QF_PLAIN, &truths));
    QF_TRY(gather(layer, proposals, truths, truth_count));
    sort_out(layer, truths);
    draw(layer, truths, truth_count);
    return put(layer, truths);
}

const qf_layer_type qf_box_target_layer = {
    .name = "BoxTarget",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(OBJECTS + 1, TOPS),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
