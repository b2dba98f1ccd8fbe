/*
 * MultiBoxLoss (SSD): places and classes of the boxes that stand for ground truth, and classes of
 * the hardest of the others (Liu et al., equation 1). Bottoms: offsets (num, 4 · priors · slots),
 * scores (num, priors · num_classes), priors, ground truth (1, 1, rows, 8).
 */
#include "layers/detection/multi_box_match.h"
#include "layers/loss/loss.h"

#include "base/memory.h"

#include <limits.h>
#include <string.h>

typedef struct state {
    qf_matching matching;
    float *gradient; /* of the scores of one prior */
} state;

enum {
    NONE = CAFFE__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__NONE,
    HARD_EXAMPLE = CAFFE__MULTI_BOX_LOSS_PARAMETER__MINING_TYPE__HARD_EXAMPLE,
    SMOOTH_L1 = CAFFE__MULTI_BOX_LOSS_PARAMETER__LOC_LOSS_TYPE__SMOOTH_L1,
};

static qf_status setup(qf_layer *layer)
{
    const qf_multi_box_param *p =
        QF_LAYER_PARAM(layer, multibox_loss_param, MULTI_BOX_LOSS_, MultiBoxLoss);
    state *s = layer->state;
    const bool mining = (int)p->mining_type != NONE;
    if (p->num_classes < 1 || p->num_classes > INT_MAX)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "multibox_loss_param needs num_classes, with the background");
    if (p->background_label_id >= p->num_classes)
        return qf_fail(layer->context, QF_E_VALUE,
                       "multibox_loss_param: background_label_id %u is none of the %u classes",
                       p->background_label_id, p->num_classes);
    if (p->map_object_to_agnostic && (p->num_classes != 2 || p->background_label_id != 0))
        return qf_fail(layer->context, QF_E_VALUE,
                       "multibox_loss_param: map_object_to_agnostic goes with num_classes 2 and "
                       "background_label_id 0");
    if (p->has_do_neg_mining && (p->do_neg_mining != 0) != mining)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "multibox_loss_param: do_neg_mining contradicts mining_type; leave it out");
    if (mining && !p->share_location)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "multibox_loss_param: mining needs share_location; set mining_type: NONE");
    if ((int)p->mining_type == HARD_EXAMPLE && p->sample_size < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "multibox_loss_param: sample_size must be at least 1, is %d",
                       p->sample_size);
    if (!(p->neg_pos_ratio >= 0))
        return qf_fail(layer->context, QF_E_VALUE,
                       "multibox_loss_param: neg_pos_ratio must not be negative, is %g",
                       (double)p->neg_pos_ratio);
    s->matching.param = p;
    s->matching.code = (qf_box_code){(int)p->code_type, p->encode_variance_in_target};
    s->matching.classes = (int)p->num_classes;
    s->matching.slots = p->share_location ? 1 : (int)p->num_classes;
    s->gradient = qf_alloc(p->num_classes, sizeof *s->gradient);
    return s->gradient
               ? QF_OK
               : qf_fail(layer->context, QF_E_MEMORY, "no memory for %u classes", p->num_classes);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_matching_release(&s->matching);
    qf_free(s->gradient);
}

static qf_status reshape(qf_layer *layer)
{
    const qf_matching *m = &((state *)layer->state)->matching;
    const qf_shape scalar = {0};
    const qf_shape *loc = qf_blob_shape(layer->bottom[0]), *conf = qf_blob_shape(layer->bottom[1]);
    const size_t priors = qf_blob_count(layer->bottom[2]) / 8;
    char text[256];
    if (!loc->axes || !conf->axes || loc->dim[0] != conf->dim[0])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' and '%s' must have the same number of images", layer->bottom[0]->name,
                       layer->bottom[1]->name);
    QF_TRY(qf_priors_check_predictions(layer, layer->bottom[0], priors, 4 * (size_t)m->slots,
                                       "locations"));
    QF_TRY(
        qf_priors_check_predictions(layer, layer->bottom[1], priors, (size_t)m->classes, "scores"));
    if (qf_blob_count(layer->bottom[3]) % 8)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must hold rows of 8 numbers (image, label, instance, x1, y1, x2, y2, "
                       "difficult), has shape %s",
                       layer->bottom[3]->name,
                       qf_shape_text(qf_blob_shape(layer->bottom[3]), text, sizeof text));
    return qf_blob_reshape_to(layer->top[0], &scalar);
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    (void)top, (void)index;
    const qf_matching *m = &((const state *)layer->state)->matching;
    const qf_loss_counts counts = {.full = (size_t)m->images * m->priors.count,
                                   .valid = m->match_count,
                                   .batch = (size_t)m->images};
    return qf_loss_items(layer, CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__VALID, &counts);
}

static float divisor(const qf_layer *layer)
{
    return qf_loss_divisor(mean_over(layer, 0, 0));
}

/* propagate_down in the prototxt also says whether a part counts in the loss at all. */
static bool counts(const qf_layer *layer, int bottom)
{
    return !layer->param->n_propagate_down || layer->param->propagate_down[bottom];
}

static double loc_loss(const qf_matching *m)
{
    double sum = 0;
    for (int image = 0; image < m->images; image++)
        for (int slot = 0; slot < m->slots; slot++)
            for (size_t i = 0; i < m->priors.count; i++) {
                float difference[4];
                if (qf_matching_of(m, image, slot)[i].truth < 0)
                    continue;
                qf_matching_difference(m, image, slot, i, difference);
                sum += (double)qf_matching_loc_loss(m, difference);
            }
    return sum;
}

/* Loss of the scores of prior `at` (of all images), and its gradient. */
static float conf_loss(const qf_matching *m, size_t at, float *gradient)
{
    const int image = (int)(at / m->priors.count);
    const bool mined = (int)m->param->mining_type != NONE;
    return qf_matching_conf_loss(m, m->conf + at * (size_t)m->classes,
                                 qf_matching_label(m, image, at % m->priors.count),
                                 mined || m->samples[at] == QF_POSITIVE, gradient);
}

static qf_status forward(qf_layer *layer)
{
    qf_matching *m = &((state *)layer->state)->matching;
    float *loss;
    double sum = 0;
    QF_TRY(qf_matching_find(layer, m));
    if (counts(layer, 0))
        sum += (double)m->param->loc_weight * loc_loss(m);
    for (size_t at = 0; counts(layer, 1) && at < (size_t)m->images * m->priors.count; at++)
        if (m->samples[at] != QF_NO_SAMPLE)
            sum += (double)conf_loss(m, at, NULL);
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)divisor(layer));
    return QF_OK;
}

static qf_status backward_loc(qf_layer *layer, float scale)
{
    const qf_matching *m = &((const state *)layer->state)->matching;
    float *dx;
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    memset(dx, 0, qf_blob_count(layer->bottom[0]) * sizeof *dx);
    for (int image = 0; image < m->images; image++)
        for (int slot = 0; slot < m->slots; slot++)
            for (size_t i = 0; i < m->priors.count; i++) {
                float difference[4], variance[4];
                if (qf_matching_of(m, image, slot)[i].truth < 0)
                    continue;
                qf_matching_difference(m, image, slot, i, difference);
                memcpy(variance, &m->priors.variance[i], sizeof variance);
                float *at =
                    dx +
                    (((size_t)image * m->priors.count + i) * (size_t)m->slots + (size_t)slot) * 4;
                for (int k = 0; k < 4; k++)
                    at[k] = scale / (m->code.variance_in_target ? variance[k] : 1) *
                            ((int)m->param->loc_loss_type == SMOOTH_L1
                                 ? qf_smooth_l1_slope(difference[k], 1)
                                 : difference[k]);
            }
    return QF_OK;
}

static qf_status backward_conf(qf_layer *layer, float scale)
{
    const state *s = layer->state;
    const qf_matching *m = &s->matching;
    float *dx;
    QF_TRY(qf_write(layer->context, layer->bottom[1]->diff, QF_PLAIN, &dx));
    memset(dx, 0, qf_blob_count(layer->bottom[1]) * sizeof *dx);
    for (size_t at = 0; at < (size_t)m->images * m->priors.count; at++) {
        if (m->samples[at] == QF_NO_SAMPLE)
            continue;
        conf_loss(m, at, s->gradient);
        for (int c = 0; c < m->classes; c++)
            dx[at * (size_t)m->classes + (size_t)c] = scale * s->gradient[c];
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    qf_matching *m = &((state *)layer->state)->matching;
    const float *weight;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &m->loc));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &m->conf));
    QF_TRY(qf_priors_read(layer, layer->bottom[2], &m->code, &m->priors));
    const float scale = weight[0] / divisor(layer);
    if (layer->propagate_down[0])
        QF_TRY(backward_loc(layer, scale * m->param->loc_weight));
    return layer->propagate_down[1] ? backward_conf(layer, scale) : QF_OK;
}

const qf_layer_type qf_multi_box_loss_layer = {
    .name = "MultiBoxLoss",
    .state_size = sizeof(state),
    QF_BOTTOMS(4, 4),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 2 | 1u << 3,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .mean_over = mean_over,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
