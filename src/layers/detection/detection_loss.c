/*
 * DetectionLoss (MS-CNN, equations 1 to 4): what the cells of a map say of the objects in their
 * fields, and what of the background is looked at.
 *
 * Bottoms: maps (num, cls_num + 4, height, width), scores and offsets; labels (num, 6, height,
 * width): label, centre and sides of the object, and how much it overlaps the field. Top 0: the
 * mean of the losses of classes and, times lambda, of offsets; top 1: both parts.
 *
 * Cells without an object count if their overlap is below bg_threshold and they are drawn (random),
 * among the best of some class (bootstrap), half of each (mixture), or always (all).
 */
#include "layers/detection/cell_field.h"

#include "base/memory.h"
#include "base/random.h"
#include "layers/loss/loss.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { OVERLAP = QF_FIELD_LABELS - 1, LEAST_OF_CLASS = 4 };
enum { DRAWN = 1, BEST = 2, MIXTURE = DRAWN | BEST };

typedef struct state {
    qf_field field;
    qf_box_norm norm;
    int how;         /* cells of the background are chosen; 0: all */
    float *weights;  /* of each cell's class; 0: it does not count */
    float *gradient; /* of the loss, for all of bottom 0 */
    qf_candidate *candidates;
    size_t weight_capacity, gradient_capacity, candidate_capacity;
} state;

/* What a pass works on. */
typedef struct maps {
    size_t num, classes, width, plane;
    const float *values, *labels;
} maps;

QF_LAYER_PARAM_OF(detection_loss_param, DETECTION_LOSS_, DetectionLoss)

static qf_status setup(qf_layer *layer)
{
    static const char *const modes[] = {"all", "random", "bootstrap", "mixture"};
    const Caffe__DetectionLossParameter *p = param_of(layer);
    const float numbers[] = {(float)p->field_w, (float)p->field_h, (float)p->downsample_rate,
                             p->field_xyr, p->field_whr};
    state *s = layer->state;
    while (s->how <= MIXTURE && strcmp(p->sample_mode, modes[s->how]) != 0)
        s->how++;
    if (s->how > MIXTURE)
        return qf_fail(layer->context, QF_E_VALUE,
                       "detection_loss_param.sample_mode is '%s', expected random, bootstrap, "
                       "mixture or all",
                       p->sample_mode);
    if (!isfinite(p->lambda) || isnan(p->bg_threshold) || p->bg_multiple > 1 << 20)
        return qf_fail(layer->context, QF_E_VALUE,
                       "detection_loss_param: lambda and bg_threshold must be numbers and "
                       "bg_multiple at most %d",
                       1 << 20);
    QF_TRY(qf_box_norm_read(layer, &s->norm));
    return qf_field_make(layer, "detection_loss_param", numbers, &s->field);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->weights);
    qf_free(s->gradient);
    qf_free(s->candidates);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__DetectionLossParameter *p = param_of(layer);
    const qf_shape scalar = {0}, parts = {1, {2}};
    QF_TRY(qf_field_check_maps(layer, "detection_loss_param", p->cls_num, p->coord_num,
                               p->objectness));
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], &parts) : QF_OK;
}

static qf_status open_maps(qf_layer *layer, maps *m)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t values = qf_shape_count(shape);
    state *s = layer->state;
    *m = (maps){.num = (size_t)shape->dim[0],
                .classes = (size_t)shape->dim[1] - 4,
                .width = (size_t)shape->dim[3],
                .plane = (size_t)shape->dim[2] * (size_t)shape->dim[3]};
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &m->values));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &m->labels));
    if (!qf_grow(&s->weights, &s->weight_capacity, m->num * m->plane, sizeof *s->weights) ||
        !qf_grow(&s->gradient, &s->gradient_capacity, values, sizeof *s->gradient) ||
        !qf_grow(&s->candidates, &s->candidate_capacity, m->plane, sizeof *s->candidates))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu values", values);
    memset(s->weights, 0, m->num * m->plane * sizeof *s->weights);
    memset(s->gradient, 0, values * sizeof *s->gradient);
    return QF_OK;
}

static float label_at(const maps *m, size_t image, int channel, size_t cell)
{
    return m->labels[(image * QF_FIELD_LABELS + (size_t)channel) * m->plane + cell];
}

static float value_at(const maps *m, size_t image, size_t channel, size_t cell)
{
    return m->values[(image * (m->classes + 4) + channel) * m->plane + cell];
}

/* The class of a cell, 0: no object. Has been checked. */
static size_t class_of(const qf_layer *layer, const maps *m, size_t image, size_t cell)
{
    const size_t label = (size_t)label_at(m, image, 0, cell);
    return label && param_of(layer)->objectness ? 1 : label;
}

static bool is_ignored(const qf_layer *layer, const maps *m, size_t image, size_t cell)
{
    return qf_label_is_ignored(qf_loss_ignored(layer), label_at(m, image, 0, cell));
}

static qf_status check_labels(const qf_layer *layer, const maps *m)
{
    const size_t labels = param_of(layer)->objectness ? 1 << 20 : m->classes;
    for (size_t image = 0; image < m->num; image++)
        for (size_t cell = 0; cell < m->plane; cell++)
            if (!is_ignored(layer, m, image, cell))
                QF_TRY(qf_loss_check_label(layer, label_at(m, image, 0, cell),
                                           image * m->plane + cell, labels));
    return QF_OK;
}

/* ---- which cells count ---- */

static bool is_background(const qf_layer *layer, const maps *m, size_t image, size_t cell)
{
    return !is_ignored(layer, m, image, cell) && class_of(layer, m, image, cell) == 0 &&
           label_at(m, image, OVERLAP, cell) < param_of(layer)->bg_threshold;
}

static void choose(const state *s, const maps *m, size_t image, size_t cell)
{
    s->weights[image * m->plane + cell] = 1;
}

static void draw(qf_layer *layer, const maps *m, size_t image, size_t objects, double share)
{
    const size_t least = LEAST_OF_CLASS * (m->classes - 1);
    const size_t wanted = (size_t)((double)(objects * param_of(layer)->bg_multiple) * share);
    for (size_t i = 0; i < (wanted > least ? wanted : least); i++) {
        const size_t cell = qf_random_below(&layer->context->random, (uint32_t)m->plane);
        if (is_background(layer, m, image, cell))
            choose(layer->state, m, image, cell);
    }
}

/* Of each class the cells that are most sure of it and wrong. */
static void take_best(qf_layer *layer, const maps *m, size_t image, double share)
{
    const state *s = layer->state;
    for (size_t k = 1; k < m->classes; k++) {
        size_t others = 0, objects = 0;
        for (size_t cell = 0; cell < m->plane; cell++) {
            objects += !is_ignored(layer, m, image, cell) && class_of(layer, m, image, cell) == k;
            if (is_background(layer, m, image, cell))
                s->candidates[others++] = (qf_candidate){value_at(m, image, k, cell), (int)cell};
        }
        const size_t wanted = (size_t)((double)(objects * param_of(layer)->bg_multiple) * share);
        const size_t most = wanted > LEAST_OF_CLASS ? wanted : LEAST_OF_CLASS;
        qf_candidates_sort(s->candidates, others);
        for (size_t i = 0; i < others && i < most; i++)
            choose(s, m, image, (size_t)s->candidates[i].index);
    }
}

static void choose_cells(qf_layer *layer, const maps *m, size_t image)
{
    const state *s = layer->state;
    const double share = s->how == MIXTURE ? 0.5 : 1;
    size_t objects = 0;
    for (size_t cell = 0; cell < m->plane; cell++) {
        if (is_ignored(layer, m, image, cell))
            continue;
        const bool object = class_of(layer, m, image, cell) > 0;
        objects += object;
        if (object || (!s->how && is_background(layer, m, image, cell)))
            choose(s, m, image, cell);
    }
    if (s->how & DRAWN)
        draw(layer, m, image, objects, share);
    if (s->how & BEST)
        take_best(layer, m, image, share);
}

/* Objects by their overlap; then objects and background to a fixed ratio. Returns how many cells
 * count. */
static size_t weigh(qf_layer *layer, const maps *m)
{
    const Caffe__DetectionLossParameter *p = param_of(layer);
    const state *s = layer->state;
    double sum[2] = {0};
    size_t chosen = 0;
    for (int apply = 0; apply < 2; apply++)
        for (size_t at = 0; at < m->num * m->plane; at++) {
            const size_t image = at / m->plane, cell = at % m->plane;
            if (s->weights[at] == 0 && !apply)
                continue;
            const bool object =
                !is_ignored(layer, m, image, cell) && class_of(layer, m, image, cell) > 0;
            if (!apply) {
                chosen++;
                if (object && p->iou_weighted)
                    s->weights[at] = label_at(m, image, OVERLAP, cell);
                sum[object] += (double)s->weights[at];
            } else if (p->pos_neg_weighted && sum[1] != 0 && sum[object] != 0) {
                const double objects = 1.0 / (1 + p->bg_multiple);
                s->weights[at] *=
                    (float)((object ? objects : 1 - objects) * (double)chosen / sum[object]);
            }
        }
    return chosen;
}

/* ---- the two losses ---- */

/* Adds what a cell's class costs, and the gradient. */
static double class_loss(const qf_layer *layer, const maps *m, size_t image, size_t cell,
                         double weight, double count)
{
    const state *s = layer->state;
    const size_t label = class_of(layer, m, image, cell);
    double largest = -INFINITY, sum = 0;
    for (size_t k = 0; k < m->classes; k++)
        largest = fmax(largest, (double)value_at(m, image, k, cell));
    for (size_t k = 0; k < m->classes; k++)
        sum += exp((double)value_at(m, image, k, cell) - largest);
    for (size_t k = 0; k < m->classes; k++) {
        const double p = exp((double)value_at(m, image, k, cell) - largest) / sum;
        s->gradient[(image * (m->classes + 4) + k) * m->plane + cell] =
            (float)((p - (k == label)) * weight / count);
    }
    const double p = exp((double)value_at(m, image, label, cell) - largest) / sum;
    return -log(fmax(p, (double)FLT_MIN)) * weight / count;
}

/* Where an object's centre and sides lie for a cell, as offset k. */
static float target_of(const qf_layer *layer, const maps *m, size_t image, size_t cell, int k)
{
    const state *s = layer->state;
    const float side = k % 2 == 0 ? s->field.width : s->field.height;
    const float value = label_at(m, image, 1 + k, cell);
    const float index = (float)(k == 0 ? cell % m->width : cell / m->width);
    const float offset =
        k < 2 ? (value - (index + 0.5f) * s->field.stride) / side : logf(fmaxf(value, 2) / side);
    return (offset - s->norm.mean[k]) / s->norm.deviation[k];
}

/* Predictions count as far as their bounds; beyond them they get the gradient of the bound, or they
 * would never come back. All offsets of a kind have one bound, as there. */
static float bounded(const state *s, int k, float value)
{
    const float *mean = s->norm.mean + k / 2 * 2, *deviation = s->norm.deviation + k / 2 * 2;
    const float middle = (mean[0] + mean[1]) / 2, spread = sqrtf(deviation[0] * deviation[1]);
    return (qf_field_bound(&s->field, k, value * spread + middle) - middle) / spread;
}

static double offset_loss(const qf_layer *layer, const maps *m, size_t image, size_t cell,
                          double count)
{
    const Caffe__DetectionLossParameter *p = param_of(layer);
    const state *s = layer->state;
    double loss = 0;
    for (int k = 0; k < 4; k++) {
        const size_t at = (image * (m->classes + 4) + m->classes + (size_t)k) * m->plane + cell;
        const double d =
            (double)bounded(s, k, m->values[at]) - (double)target_of(layer, m, image, cell, k);
        const bool smooth = p->bb_smooth && fabs(d) >= 1;
        loss += smooth ? fabs(d) - 0.5 : d * d / 2;
        s->gradient[at] = (float)((smooth ? copysign(1, d) : d) * (double)p->lambda / count);
    }
    return loss * (double)p->lambda / count;
}

static size_t count_objects(const qf_layer *layer, const maps *m)
{
    size_t objects = 0;
    for (size_t at = 0; at < m->num * m->plane; at++)
        objects += !is_ignored(layer, m, at / m->plane, at % m->plane) &&
                   class_of(layer, m, at / m->plane, at % m->plane) > 0;
    return objects;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    double parts[2] = {0};
    float *y;
    maps m;
    QF_TRY(open_maps(layer, &m));
    QF_TRY(check_labels(layer, &m));
    for (size_t image = 0; image < m.num; image++)
        choose_cells(layer, &m, image);
    const size_t objects = count_objects(layer, &m), chosen = weigh(layer, &m);
    for (size_t at = 0; at < m.num * m.plane; at++) {
        const size_t image = at / m.plane, cell = at % m.plane;
        if (s->weights[at] != 0)
            parts[0] += class_loss(layer, &m, image, cell, (double)s->weights[at], (double)chosen);
        if (objects && !is_ignored(layer, &m, image, cell) && class_of(layer, &m, image, cell))
            parts[1] += offset_loss(layer, &m, image, cell, 4 * (double)objects);
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    *y = (float)(parts[0] + parts[1]);
    if (layer->top_count == 1)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &y));
    y[0] = (float)parts[0];
    y[1] = (float)parts[1];
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    for (size_t i = 0; i < qf_blob_count(layer->bottom[0]); i++)
        dx[i] = *weight * s->gradient[i];
    return QF_OK;
}

const qf_layer_type qf_detection_loss_layer = {
    .name = "DetectionLoss",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 2),
    .loss = true,
    .no_gradient_bottoms = 1u << 1,
    QF_IGNORES_VALUES,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
