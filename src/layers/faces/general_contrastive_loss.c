/*
 * GeneralContrastiveLoss (NormFace): of distances from items to classes. The own class pays what
 * its distance has above positive_margin (positive_outlier_thresh at most), the others what theirs
 * lack to negative_margin, each times its weight; the sum is divided by the number of items. A
 * second top: the mean of what the own classes and what the others pay, without weights.
 */
#include "layers/loss/loss.h"

#include <math.h>

QF_LAYER_PARAM_OF(general_contrastive_loss_param, GENERAL_CONTRASTIVE_, GeneralContrastive)

static qf_status setup(qf_layer *layer)
{
    const Caffe__GeneralContrastiveParameter *p = param_of(layer);
    if (p->has_normalize_negative || p->square || p->max_negative_only || p->max_positive_only ||
        p->positive_first || p->exp_negative_weight || p->add_intra_mae)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "general_contrastive_loss_param: only margins, weights and "
                       "positive_outlier_thresh are known; leave out normalize_negative, square, "
                       "max_negative_only, max_positive_only, positive_first, exp_negative_weight "
                       "and add_intra_mae");
    return QF_OK;
}

static size_t classes_of(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_shape_count_range(shape, 1, shape->axes);
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape pair = qf_shape_make(1, (int[]){2});
    QF_TRY(qf_loss_reshape(layer));
    if (qf_blob_count(layer->bottom[1]) != qf_loss_batch(layer))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have one label for each of the %zu items, it has %zu",
                       layer->bottom[1]->name, qf_loss_batch(layer),
                       qf_blob_count(layer->bottom[1]));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], &pair) : QF_OK;
}

static float paid_by_own(const Caffe__GeneralContrastiveParameter *p, float distance)
{
    return fminf(p->positive_outlier_thresh, fmaxf(0, distance - p->positive_margin));
}

static float paid_by_other(const Caffe__GeneralContrastiveParameter *p, float distance)
{
    return fmaxf(0, p->negative_margin - distance);
}

static qf_status forward(qf_layer *layer)
{
    const Caffe__GeneralContrastiveParameter *p = param_of(layer);
    const size_t items = qf_loss_batch(layer), classes = classes_of(layer);
    const float *x, *labels;
    float *loss;
    double own = 0, others = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    for (size_t item = 0; item < items; item++) {
        QF_TRY(qf_loss_check_label(layer, labels[item], item, classes));
        for (size_t c = 0; c < classes; c++, x++)
            if (c == (size_t)labels[item])
                own += (double)paid_by_own(p, *x);
            else
                others += (double)paid_by_other(p, *x);
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)((fabs((double)p->positive_weight) * own +
                       fabs((double)p->negative_weight) * others) /
                      (double)items);
    if (layer->top_count == 1)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &loss));
    loss[0] = (float)(own / (double)items);
    loss[1] = classes > 1 ? (float)(others / (double)items / (double)(classes - 1)) : 0;
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const Caffe__GeneralContrastiveParameter *p = param_of(layer);
    const size_t items = qf_loss_batch(layer), classes = classes_of(layer);
    const float *x, *labels, *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    const float scale = weight[0] / (float)items;
    for (size_t at = 0; at < items * classes; at++) {
        const float own = x[at] - p->positive_margin;
        if (at % classes == (size_t)labels[at / classes])
            dx[at] =
                own > 0 && own < p->positive_outlier_thresh ? scale * fabsf(p->positive_weight) : 0;
        else
            dx[at] = x[at] < p->negative_margin ? -scale * fabsf(p->negative_weight) : 0;
    }
    return QF_OK;
}

const qf_layer_type qf_general_contrastive_loss_layer = {
    .name = "GeneralContrastiveLoss",
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 2),
    .loss = true,
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
