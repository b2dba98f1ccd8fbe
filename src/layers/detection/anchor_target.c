/*
 * AnchorTarget (py-faster-rcnn's rpn.anchor_target_layer; Ren et al., section 3.1.2): which anchors
 * a region proposal network is to learn from, and what.
 *
 * Bottoms: scores (1, 2 · anchors, height, width), of which only the shape counts; objects (count,
 * 5); the image's size (height, width, scale); more are not read. Tops: labels (1, 1, anchors ·
 * height, width): 1 object, 0 none, −1 not to learn from; offsets to the object that an anchor
 * overlaps most, and their weights inside and outside of the loss, (1, 4 · anchors, height, width)
 * each.
 */
#include "layers/detection/anchors.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { SCORES, OBJECTS, SIZE, LABELS = 0, OFFSETS, INSIDE, OUTSIDE };

typedef struct state {
    qf_anchors anchors;
    float inside[4];
    /* One for each anchor of each cell, in the order of cells; those that lie in the image count.
     */
    signed char *label;
    size_t *object; /* that it overlaps most */
    float *overlap;
    size_t *chosen; /* of one label, to draw from */
    float *most;    /* by object: its greatest overlap */
    size_t label_capacity, object_capacity, overlap_capacity, chosen_capacity, most_capacity;
} state;

QF_LAYER_PARAM_OF(anchor_target_param, ANCHOR_TARGET_, AnchorTarget)

static qf_status setup(qf_layer *layer)
{
    static const float ones[4] = {1, 1, 1, 1};
    const Caffe__AnchorTargetParameter *p = param_of(layer);
    state *s = layer->state;
    if (p->rpn_batchsize < 1 || !(p->rpn_fg_fraction >= 0 && p->rpn_fg_fraction <= 1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "anchor_target_param: rpn_batchsize must be at least 1 and rpn_fg_fraction "
                       "from 0 to 1, are %d and %g",
                       p->rpn_batchsize, (double)p->rpn_fg_fraction);
    if (!(p->rpn_positive_weight < 1) || isnan(p->rpn_positive_overlap) ||
        isnan(p->rpn_negative_overlap) || isnan(p->allowed_border))
        return qf_fail(layer->context, QF_E_VALUE,
                       "anchor_target_param: rpn_positive_weight must be below 1, overlaps and "
                       "allowed_border numbers");
    QF_TRY(qf_four_numbers(layer, "anchor_target_param.rpn_bbox_inside_weights",
                           p->n_rpn_bbox_inside_weights, p->rpn_bbox_inside_weights, ones, false,
                           s->inside));
    const qf_anchor_wish wish = {
        "anchor_target_param", p->base_size, p->feat_stride, p->ratios, p->scales,
        p->n_ratios,           p->n_scales};
    return qf_anchors_make(layer, &wish, &s->anchors);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->anchors.box);
    qf_free(s->label);
    qf_free(s->object);
    qf_free(s->overlap);
    qf_free(s->chosen);
    qf_free(s->most);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *map = qf_blob_shape(layer->bottom[SCORES]);
    const int anchors = (int)s->anchors.count;
    char text[256];
    if (map->axes != 4 || map->dim[0] != 1 || map->dim[1] != 2 * anchors)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected one image and %d channels for %d anchors",
                       layer->bottom[SCORES]->name, qf_shape_text(map, text, sizeof text),
                       2 * anchors, anchors);
    QF_TRY(qf_objects_check(layer, layer->bottom[OBJECTS]));
    if (qf_blob_count(layer->bottom[SIZE]) < 3)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must hold a row (height, width, scale), has shape %s",
                       layer->bottom[SIZE]->name,
                       qf_shape_text(qf_blob_shape(layer->bottom[SIZE]), text, sizeof text));
    const int height = map->dim[2], width = map->dim[3];
    QF_TRY(qf_blob_reshape_to(layer->top[LABELS], &(qf_shape){4, {1, 1, anchors * height, width}}));
    for (int t = OFFSETS; t <= OUTSIDE; t++)
        QF_TRY(qf_blob_reshape_to(layer->top[t], &(qf_shape){4, {1, 4 * anchors, height, width}}));
    return QF_OK;
}

/* Where things are in a map of cells. */
typedef struct grid {
    size_t anchors, width, plane, count;
} grid;

static grid grid_of(const qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *map = qf_blob_shape(layer->bottom[SCORES]);
    const size_t plane = (size_t)map->dim[2] * (size_t)map->dim[3];
    return (grid){s->anchors.count, (size_t)map->dim[3], plane, plane * s->anchors.count};
}

static qf_box anchor_of(const state *s, const grid *g, size_t index)
{
    const size_t cell = index / g->anchors;
    return qf_anchor_at(&s->anchors, index % g->anchors, cell / g->width, cell % g->width);
}

enum { NOT_SEEN = -2, NEITHER = -1, NONE = 0, OBJECT = 1 };

/* Only what lies in the image is looked at. */
static void measure(const qf_layer *layer, const grid *g, const qf_objects *objects,
                    const float *size)
{
    const float border = param_of(layer)->allowed_border;
    state *s = layer->state;
    for (size_t k = 0; k < objects->count; k++)
        s->most[k] = 0;
    for (size_t i = 0; i < g->count; i++) {
        const qf_box box = anchor_of(s, g, i);
        const bool inside = box.x1 >= -border && box.y1 >= -border && box.x2 < size[1] + border &&
                            box.y2 < size[0] + border;
        s->label[i] = inside ? NEITHER : NOT_SEEN;
        if (!inside)
            continue;
        s->object[i] = qf_objects_best(objects, &box, &s->overlap[i]);
        for (size_t k = 0; k < objects->count; k++)
            s->most[k] =
                fmaxf(s->most[k], qf_box_overlap(&box, qf_object_box(objects, k), QF_BOX_PIXELS));
    }
}

/* Does the anchor overlap an object as much as any does? */
static bool is_best(const state *s, const qf_objects *objects, const qf_box *box)
{
    for (size_t k = 0; k < objects->count; k++)
        if (s->most[k] > 0 &&
            qf_box_overlap(box, qf_object_box(objects, k), QF_BOX_PIXELS) == s->most[k])
            return true;
    return false;
}

static void label(const qf_layer *layer, const grid *g, const qf_objects *objects)
{
    const Caffe__AnchorTargetParameter *p = param_of(layer);
    const state *s = layer->state;
    for (size_t i = 0; i < g->count; i++) {
        if (s->label[i] == NOT_SEEN)
            continue;
        const qf_box box = anchor_of(s, g, i);
        const bool low = s->overlap[i] < p->rpn_negative_overlap;
        const bool object = (objects->count && s->overlap[i] >= p->rpn_positive_overlap) ||
                            is_best(s, objects, &box);
        const bool none = low && (p->rpn_clobber_positives || !object);
        s->label[i] = none ? NONE : object ? OBJECT : NEITHER;
    }
}

/* At most so many keep the label, drawn from all that have it. Returns how many do. */
static size_t thin_out(const qf_layer *layer, const grid *g, int wanted, size_t most)
{
    const state *s = layer->state;
    size_t count = 0;
    for (size_t i = 0; i < g->count; i++)
        if (s->label[i] == wanted)
            s->chosen[count++] = i;
    const size_t left_out = count > most ? count - most : 0;
    qf_sample_items(&layer->context->random, s->chosen, count, left_out);
    for (size_t i = 0; i < left_out; i++)
        s->label[s->chosen[i]] = NEITHER;
    return count - left_out;
}

static qf_status put(qf_layer *layer, const grid *g, const qf_objects *objects,
                     const float weights[2])
{
    const state *s = layer->state;
    float *tops[OUTSIDE + 1];
    for (int t = 0; t <= OUTSIDE; t++) {
        QF_TRY(qf_write(layer->context, layer->top[t]->data, QF_PLAIN, &tops[t]));
        memset(tops[t], 0, qf_blob_count(layer->top[t]) * sizeof **tops);
    }
    for (size_t i = 0; i < g->count; i++) {
        const size_t cell = i / g->anchors, anchor = i % g->anchors;
        const int mine = s->label[i];
        tops[LABELS][anchor * g->plane + cell] = mine >= NONE ? (float)mine : -1;
        if (mine == NOT_SEEN)
            continue;
        const qf_box box = anchor_of(s, g, i);
        float offsets[4] = {0};
        if (objects->count)
            qf_box_offsets(&box, qf_object_box(objects, s->object[i]), offsets);
        for (size_t k = 0; k < 4; k++) {
            const size_t at = (4 * anchor + k) * g->plane + cell;
            tops[OFFSETS][at] = offsets[k];
            tops[INSIDE][at] = mine == OBJECT ? s->inside[k] : 0;
            tops[OUTSIDE][at] = mine >= NONE ? weights[mine] : 0;
        }
    }
    return QF_OK;
}

static qf_status make_room(qf_layer *layer, const grid *g, size_t objects)
{
    state *s = layer->state;
    return qf_grow(&s->label, &s->label_capacity, g->count, sizeof *s->label) &&
                   qf_grow(&s->object, &s->object_capacity, g->count, sizeof *s->object) &&
                   qf_grow(&s->overlap, &s->overlap_capacity, g->count, sizeof *s->overlap) &&
                   qf_grow(&s->chosen, &s->chosen_capacity, g->count, sizeof *s->chosen) &&
                   qf_grow(&s->most, &s->most_capacity, objects, sizeof *s->most)
               ? QF_OK
               : qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu anchors", g->count);
}

static qf_status forward(qf_layer *layer)
{
    const Caffe__AnchorTargetParameter *p = param_of(layer);
    const grid g = grid_of(layer);
    const size_t batch = (size_t)p->rpn_batchsize;
    qf_objects objects;
    const float *size;
    QF_TRY(qf_objects_read(layer, layer->bottom[OBJECTS], &objects));
    QF_TRY(qf_read(layer->context, layer->bottom[SIZE]->data, QF_PLAIN, &size));
    QF_TRY(make_room(layer, &g, objects.count));
    measure(layer, &g, &objects, size);
    label(layer, &g, &objects);
    const size_t positive =
        thin_out(layer, &g, OBJECT, (size_t)(p->rpn_fg_fraction * (float)batch));
    const size_t negative = thin_out(layer, &g, NONE, batch - positive);
    const float share = p->rpn_positive_weight;
    const float weights[2] = {share < 0 ? 1 / fmaxf((float)(positive + negative), 1)
                                        : (1 - share) / fmaxf((float)negative, 1),
                              share < 0 ? 1 / fmaxf((float)(positive + negative), 1)
                                        : share / fmaxf((float)positive, 1)};
    return put(layer, &g, &objects, weights);
}

const qf_layer_type qf_anchor_target_layer = {
    .name = "AnchorTarget",
    .state_size = sizeof(state),
    QF_BOTTOMS(3, 4),
    QF_TOPS(4, 4),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
