/*
 * SegAccuracy (DeepLab, PSPNet): of the pixels' best classes beside their labels, the share that is
 * right, the mean of that over the classes, and the mean over the classes of what both have in
 * common by what either has (intersection over union). With `reset: false` of all batches since the
 * net was made.
 */
#include "layers/loss/loss.h"

#include "base/memory.h"

#include <string.h>

typedef struct state {
    qf_classes classes;
    double *counts;  /* of pixels: [label · classes + best class], over earlier batches */
    double *pending; /* the same with this batch; taken in by conclude */
    size_t capacity, pending_capacity;
} state;

QF_LAYER_PARAM_OF(seg_accuracy_param, SEG_ACCURACY_, SegAccuracy)

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->counts);
    qf_free(s->pending);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape three = qf_shape_make(4, (int[]){1, 1, 1, 3});
    const size_t before = s->classes.classes;
    int axis;
    QF_TRY(qf_loss_classes(layer, 1, &axis, &s->classes));
    const size_t size = s->classes.classes * s->classes.classes;
    QF_TRY(qf_check_limit(layer->context, QF_LIMIT_TENSOR_ELEMENTS, size,
                          "the pairs of %zu classes are", s->classes.classes));
    if (!qf_grow(&s->counts, &s->capacity, size, sizeof *s->counts) ||
        !qf_grow(&s->pending, &s->pending_capacity, size, sizeof *s->pending))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for the pairs of %zu classes",
                       s->classes.classes);
    if (before != s->classes.classes)
        memset(s->counts, 0, size * sizeof *s->counts);
    return qf_blob_reshape_to(layer->top[0], &three);
}

static bool is_ignored(const Caffe__SegAccuracyParameter *p, float label)
{
    for (size_t i = 0; i < p->n_ignore_label; i++)
        if (label == (float)p->ignore_label[i])
            return true;
    return false;
}

static size_t best_class(const qf_classes *c, const float *scores)
{
    size_t best = 0;
    for (size_t k = 1; k < c->classes; k++)
        if (scores[k * c->inner] > scores[best * c->inner])
            best = k;
    return best;
}

/* Classes that no pixel has do not count in the mean of recalls; those that none has and none is
 * taken for do not in the mean of intersections over unions. */
static void measure(const double *counts, size_t classes, float *out)
{
    double right = 0, all = 0, recalls = 0, unions = 0;
    size_t there = 0, met = 0;
    for (size_t k = 0; k < classes; k++) {
        double labelled = 0, taken = 0;
        for (size_t other = 0; other < classes; other++) {
            labelled += counts[k * classes + other];
            taken += counts[other * classes + k];
        }
        const double hits = counts[k * classes + k], either = labelled + taken - hits;
        right += hits;
        all += labelled;
        recalls += labelled > 0 ? hits / labelled : 0;
        there += labelled > 0;
        unions += either > 0 ? hits / either : 0;
        met += either > 0;
    }
    out[0] = all > 0 ? (float)(right / all) : 0;
    out[1] = there ? (float)(recalls / (double)there) : 0;
    out[2] = met ? (float)(unions / (double)met) : 0;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    const float *scores, *labels;
    float *out;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, c->form, &scores));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    memcpy(s->pending, s->counts, c->classes * c->classes * sizeof *s->pending);
    for (size_t item = 0; item < qf_classes_items(c); item++) {
        if (is_ignored(param_of(layer), labels[item]))
            continue;
        QF_TRY(qf_loss_check_label(layer, labels[item], item, c->classes));
        s->pending[(size_t)labels[item] * c->classes +
                   best_class(c, scores + qf_classes_first(c, item))]++;
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &out));
    measure(s->pending, c->classes, out);
    return QF_OK;
}

static qf_status conclude(qf_layer *layer)
{
    state *s = layer->state;
    if (!param_of(layer)->reset)
        memcpy(s->counts, s->pending, s->classes.classes * s->classes.classes * sizeof *s->counts);
    return QF_OK;
}

const qf_layer_type qf_seg_accuracy_layer = {
    .name = "SegAccuracy",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .no_backward = true,
    .reshape = reshape,
    .forward = forward,
    .conclude = conclude,
    .destroy = destroy,
};
