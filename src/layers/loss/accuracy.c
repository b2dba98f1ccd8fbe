/* Accuracy: share of items whose label is among the top_k; a tie counts against the label. With
 * `min_is_better` (happynear's fork) among the lowest. */
#include "layers/loss/loss.h"

#include "base/memory.h"

#include <string.h>

typedef struct state {
    qf_labelling labelling;
    size_t classes;
    qf_tensor *ranks;  /* of each label among the scores of its item */
    qf_tensor *turned; /* with min_is_better: the scores with the other sign */
    size_t counted;    /* labels that were not ignored in the last forward pass */
    size_t *members;   /* the same of each class; NULL: nobody wants to know */
} state;

QF_LAYER_PARAM_OF(accuracy_param, ACCURACY_, Accuracy)

static qf_status setup(qf_layer *layer)
{
    const Caffe__AccuracyParameter *p = param_of(layer);
    state *s = layer->state;
    s->labelling.ignored = (qf_ignored_label){p->has_ignore_label, p->ignore_label};
    if (p->min_is_better)
        QF_TRY(qf_tensor_create(layer->context, &s->turned));
    return qf_tensor_create(layer->context, &s->ranks);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__AccuracyParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape scalar = {0};
    qf_classes c;
    QF_TRY(qf_loss_classes(layer, p->axis, &s->labelling.axis, &c));
    s->classes = c.classes;
    if (p->top_k < 1 || p->top_k > s->classes)
        return qf_fail(layer->context, QF_E_VALUE, "top_k is %u, but there are %zu classes",
                       p->top_k, s->classes);
    QF_TRY(qf_tensor_reshape(layer->context, s->ranks, qf_blob_shape(layer->bottom[1])));
    if (s->turned)
        QF_TRY(qf_tensor_reshape(layer->context, s->turned, qf_blob_shape(layer->bottom[0])));
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    if (layer->top_count < 2)
        return QF_OK;
    qf_free(s->members);
    s->members = qf_alloc(s->classes, sizeof *s->members);
    if (!s->members)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory to count the members of classes");
    const qf_shape each = qf_shape_make(1, (int[]){(int)s->classes});
    return qf_blob_reshape_to(layer->top[1], &each);
}

/* Per class: shares of items that are correct. */
static qf_status write_shares(qf_layer *layer, const float *ranks)
{
    state *s = layer->state;
    const float *labels;
    float *each;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &each));
    memset(each, 0, s->classes * sizeof *each);
    memset(s->members, 0, s->classes * sizeof *s->members);
    for (size_t item = 0; item < qf_blob_count(layer->bottom[1]); item++)
        if (ranks[item] >= 0) {
            each[(size_t)labels[item]] += ranks[item] < (float)param_of(layer)->top_k;
            s->members[(size_t)labels[item]]++;
        }
    for (size_t k = 0; k < s->classes; k++)
        each[k] = s->members[k] ? each[k] / (float)s->members[k] : 0;
    return QF_OK;
}

/* Scores stay where they are; what comes to the host is a number for each label. */
static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const float *ranks;
    float *accuracy;
    size_t correct = 0;
    QF_TRY(qf_loss_check_labels(layer, s->labelling.ignored, s->classes, &s->counted));
    if (s->turned)
        QF_TRY(layer->device->map->weighted_sum(layer->context, -1, layer->bottom[0]->data, 0, NULL,
                                                s->turned));
    QF_TRY(layer->device->reduce->label_ranks(layer->context, &s->labelling,
                                              s->turned ? s->turned : layer->bottom[0]->data,
                                              layer->bottom[1]->data, s->ranks));
    QF_TRY(qf_read(layer->context, s->ranks, QF_PLAIN, &ranks));
    for (size_t item = 0; item < qf_blob_count(layer->bottom[1]); item++)
        correct += ranks[item] >= 0 && ranks[item] < (float)param_of(layer)->top_k;
    if (layer->top_count > 1)
        QF_TRY(write_shares(layer, ranks));
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
    state *s = layer->state;
    qf_tensor_release(s->ranks);
    qf_tensor_release(s->turned);
    qf_free(s->members);
}

const qf_layer_type qf_accuracy_layer = {
    .name = "Accuracy",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 2),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .mean_over = mean_over,
    .destroy = destroy,
};
