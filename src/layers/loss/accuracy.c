/* Accuracy: share of items whose label is among the top_k; a tie counts against the label. */
#include "layers/loss/loss.h"

#include "base/memory.h"

#include <string.h>

typedef struct state {
    qf_classes classes;
    size_t counted;  /* labels that were not ignored in the last forward pass */
    size_t *members; /* the same of each class; NULL: nobody wants to know */
} state;

static const Caffe__AccuracyParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, accuracy_param, ACCURACY_, Accuracy);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__AccuracyParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape scalar = {0};
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &axis));
    s->classes = qf_classes_along(qf_blob_shape(layer->bottom[0]), axis);
    size_t items = qf_classes_items(&s->classes), labels = qf_blob_count(layer->bottom[1]);
    if (items != labels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %zu labels, expected %zu: one for each prediction",
                       layer->bottom[1]->name, labels, items);
    if (p->top_k < 1 || p->top_k > s->classes.classes)
        return qf_fail(layer->context, QF_E_VALUE, "top_k is %u, but there are %zu classes",
                       p->top_k, s->classes.classes);
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    if (layer->top_count < 2)
        return QF_OK;
    qf_free(s->members);
    s->members = qf_alloc(s->classes.classes, sizeof *s->members);
    if (!s->members)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory to count the members of classes");
    const qf_shape each = qf_shape_make(1, (int[]){(int)s->classes.classes});
    return qf_blob_reshape_to(layer->top[1], &each);
}

static bool is_correct(const qf_classes *c, const float *scores, size_t label, size_t top_k)
{
    size_t better = 0; /* or equal, without itself */
    const float mine = scores[label * c->inner];
    for (size_t k = 0; k < c->classes; k++)
        better += k != label && scores[k * c->inner] >= mine;
    return better < top_k;
}

/* Per class, in place: counts of correct items → shares. */
static qf_status forward(qf_layer *layer)
{
    const Caffe__AccuracyParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    const qf_ignored_label ignored = {p->has_ignore_label, p->ignore_label};
    const float *scores, *labels;
    float *accuracy, *each = NULL;
    size_t correct = 0, items = qf_classes_items(c);
    s->counted = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, c->form, &scores));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    if (layer->top_count > 1) {
        QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &each));
        memset(each, 0, c->classes * sizeof *each);
    }
    for (size_t item = 0; item < items; item++) {
        if (qf_label_is_ignored(ignored, labels[item]))
            continue;
        if (!(labels[item] >= 0 && labels[item] < (float)c->classes))
            return qf_fail(layer->context, QF_E_VALUE,
                           "label %zu is %g, but there are only %zu classes", item,
                           (double)labels[item], c->classes);
        size_t label = (size_t)labels[item];
        bool hit = is_correct(c, scores + qf_classes_first(c, item), label, p->top_k);
        correct += hit;
        s->counted++;
        if (each)
            each[label] += hit;
    }
    for (size_t k = 0; each && k < c->classes; k++) {
        s->members[k] = 0;
        for (size_t item = 0; item < items; item++)
            s->members[k] += (size_t)labels[item] == k;
        each[k] = s->members[k] ? each[k] / (float)s->members[k] : 0;
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &accuracy));
    accuracy[0] = s->counted ? (float)correct / (float)s->counted : 0;
    return QF_OK;
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    const state *s = layer->state;
    return (double)(top > 0 ? s->members[index] : s->counted);
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->members);
}

const qf_layer_type qf_accuracy_layer = {
    .name = "Accuracy",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 2,
    .no_backward = true,
    .reshape = reshape,
    .forward = forward,
    .mean_over = mean_over,
    .destroy = destroy,
};
