/*
 * ProposalTarget (py-faster-rcnn's rpn.proposal_target_layer; Girshick, Fast R-CNN, section 2.3):
 * regions to learn from, drawn from proposals and the objects themselves, and what they are.
 *
 * Bottoms: proposals (count, 5), the first number the image, which is 0; objects (count, 5). Tops,
 * with the 4 axes that R-FCN's nets need: regions (sample, 5, 1, 1); their labels (sample, 1, 1,
 * 1), 0: no object; offsets to the object, in the place of its class, and their weights inside and
 * outside of the loss, (sample, 4 · classes, 1, 1) each.
 */
#include "layers/detection/anchors.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { PROPOSALS, OBJECTS, REGIONS = 0, LABELS, OFFSETS, INSIDE, OUTSIDE, ROW = 5 };

typedef struct state {
    float means[4], deviations[4], inside[4];
    qf_box *boxes; /* proposals, then objects */
    size_t *object;
    size_t *sample; /* objects, then others */
    size_t box_capacity, object_capacity, sample_capacity;
    size_t objects, others; /* that may be drawn */
} state;

QF_LAYER_PARAM_OF(proposal_target_param, PROPOSAL_TARGET_, ProposalTarget)

static qf_status setup(qf_layer *layer)
{
    static const float none[4] = {0}, ones[4] = {1, 1, 1, 1}, usual[4] = {0.1f, 0.1f, 0.2f, 0.2f};
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    state *s = layer->state;
    if (p->num_classes < 2 || p->num_classes > 1 << 20)
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_target_param: num_classes is %d, expected 2 or more, the first of "
                       "which is no object",
                       p->num_classes);
    if (p->batch_size == 0 || p->batch_size < -1 || !(p->fg_fraction >= 0 && p->fg_fraction <= 1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "proposal_target_param: batch_size must be at least 1, or -1 for all, and "
                       "fg_fraction from 0 to 1; are %d and %g",
                       p->batch_size, (double)p->fg_fraction);
    QF_TRY(qf_four_numbers(layer, "proposal_target_param.bbox_normalize_means",
                           p->n_bbox_normalize_means, p->bbox_normalize_means, none, false,
                           s->means));
    QF_TRY(qf_four_numbers(layer, "proposal_target_param.bbox_normalize_stds",
                           p->n_bbox_normalize_stds, p->bbox_normalize_stds, usual, true,
                           s->deviations));
    return qf_four_numbers(layer, "proposal_target_param.bbox_inside_weights",
                           p->n_bbox_inside_weights, p->bbox_inside_weights, ones, false,
                           s->inside);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->boxes);
    qf_free(s->object);
    qf_free(s->sample);
}

static qf_status shape_tops(qf_layer *layer, size_t rows)
{
    const int count = (int)rows, values = 4 * param_of(layer)->num_classes;
    QF_TRY(qf_blob_reshape_to(layer->top[REGIONS], &(qf_shape){4, {count, ROW, 1, 1}}));
    QF_TRY(qf_blob_reshape_to(layer->top[LABELS], &(qf_shape){4, {count, 1, 1, 1}}));
    for (int t = OFFSETS; t <= OUTSIDE; t++)
        QF_TRY(qf_blob_reshape_to(layer->top[t], &(qf_shape){4, {count, values, 1, 1}}));
    return QF_OK;
}

/* How many rows there will be is known after the forward pass only. */
static qf_status reshape(qf_layer *layer)
{
    QF_TRY(qf_objects_check(layer, layer->bottom[PROPOSALS]));
    QF_TRY(qf_objects_check(layer, layer->bottom[OBJECTS]));
    return shape_tops(layer, 1);
}

/* The class whose offsets an object's are. */
static qf_status class_of(const qf_layer *layer, const qf_objects *objects, size_t object,
                          size_t *out)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    const float label = objects->rows[ROW * object + 4];
    if (!(label >= 1 && label < (p->agnostic ? 1e6f : (float)p->num_classes)))
        return qf_fail(layer->context, QF_E_VALUE,
                       "object %zu of '%s' has the label %g, expected 1 to %d: num_classes is %d",
                       object, layer->bottom[OBJECTS]->name, (double)label, p->num_classes - 1,
                       p->num_classes);
    *out = p->agnostic ? 1 : (size_t)label;
    return QF_OK;
}

/* Proposals and objects as boxes. */
static qf_status gather(qf_layer *layer, const qf_objects *objects, size_t *count)
{
    state *s = layer->state;
    const float *rows;
    const size_t proposals = (size_t)qf_blob_shape(layer->bottom[PROPOSALS])->dim[0];
    *count = proposals + objects->count;
    QF_TRY(qf_read(layer->context, layer->bottom[PROPOSALS]->data, QF_PLAIN, &rows));
    if (!qf_grow(&s->boxes, &s->box_capacity, *count, sizeof *s->boxes) ||
        !qf_grow(&s->object, &s->object_capacity, *count, sizeof *s->object) ||
        !qf_grow(&s->sample, &s->sample_capacity, 2 * *count, sizeof *s->sample))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu regions", *count);
    for (size_t i = 0; i < proposals; i++) {
        if (!(rows[ROW * i] > -1 && rows[ROW * i] < 1)) /* a whole number, as ROIPooling reads it */
            return qf_fail(layer->context, QF_E_VALUE,
                           "region %zu of '%s' lies in image %g; only batches of one image have "
                           "targets",
                           i, layer->bottom[PROPOSALS]->name, (double)rows[ROW * i]);
        memcpy(&s->boxes[i], rows + ROW * i + 1, sizeof *s->boxes);
    }
    for (size_t i = 0; i < objects->count; i++)
        s->boxes[proposals + i] = *qf_object_box(objects, i);
    return QF_OK;
}

/* By what they overlap: the objects at the front of the sample, others in its second half. */
static void sort_out(qf_layer *layer, const qf_objects *objects, size_t count)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    state *s = layer->state;
    s->objects = s->others = 0;
    for (size_t i = 0; i < count; i++) {
        float overlap;
        s->object[i] = qf_objects_best(objects, &s->boxes[i], &overlap);
        if (objects->count && overlap >= p->fg_thresh)
            s->sample[s->objects++] = i;
        else if (overlap < p->bg_thresh_hi && overlap >= p->bg_thresh_lo)
            s->sample[count + s->others++] = i;
    }
}

/* Draws, and moves both kinds together. Returns how many are objects; *all: of both. */
static size_t draw(qf_layer *layer, size_t count, size_t *all)
{
    const Caffe__ProposalTargetParameter *p = param_of(layer);
    const state *s = layer->state;
    qf_random *random = &layer->context->random;
    const size_t batch = p->batch_size < 0 ? count : (size_t)p->batch_size;
    const size_t share =
        p->batch_size < 0 ? count : (size_t)rint((double)p->fg_fraction * (double)batch);
    const size_t objects = s->objects < share ? s->objects : share;
    const size_t others = s->others < batch - objects ? s->others : batch - objects;
    qf_sample_items(random, s->sample, s->objects, objects);
    qf_sample_items(random, s->sample + count, s->others, others);
    memmove(s->sample + objects, s->sample + count, others * sizeof *s->sample);
    *all = objects + others;
    return objects;
}

static qf_status put(qf_layer *layer, const qf_objects *truth, size_t objects, size_t all)
{
    const state *s = layer->state;
    const size_t values = 4 * (size_t)param_of(layer)->num_classes;
    float *tops[OUTSIDE + 1];
    QF_TRY(shape_tops(layer, all));
    for (int t = 0; t <= OUTSIDE; t++) {
        QF_TRY(qf_write(layer->context, layer->top[t]->data, QF_PLAIN, &tops[t]));
        memset(tops[t], 0, qf_blob_count(layer->top[t]) * sizeof **tops);
    }
    for (size_t i = 0; i < all; i++) {
        const size_t region = s->sample[i], object = s->object[region];
        float offsets[4];
        size_t class = 0;
        memcpy(tops[REGIONS] + ROW * i + 1, &s->boxes[region], sizeof *s->boxes);
        if (i >= objects)
            continue;
        QF_TRY(class_of(layer, truth, object, &class));
        tops[LABELS][i] = truth->rows[ROW * object + 4];
        qf_box_offsets(&s->boxes[region], qf_object_box(truth, object), offsets);
        for (size_t k = 0; k < 4; k++) {
            const size_t at = i * values + 4 * class + k;
            tops[OFFSETS][at] = (offsets[k] - s->means[k]) / s->deviations[k];
            tops[INSIDE][at] = s->inside[k];
            tops[OUTSIDE][at] = s->inside[k] > 0;
        }
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    qf_objects truth;
    size_t count, all;
    QF_TRY(qf_objects_read(layer, layer->bottom[OBJECTS], &truth));
    QF_TRY(gather(layer, &truth, &count));
    sort_out(layer, &truth, count);
    const size_t objects = draw(layer, count, &all);
    return put(layer, &truth, objects, all);
}

const qf_layer_type qf_proposal_target_layer = {
    .name = "ProposalTarget",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(5, 5),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
