/* InfogainLoss: −mean Σ_k H[label, k] log p(k), p the softmax of bottom 0. H comes from a file or
 * is bottom 2; the identity makes it SoftmaxWithLoss. */
#include "layers/loss/loss.h"

typedef struct state {
    int axis;
    qf_classes classes;
    qf_tensor *probability;
    qf_blob *matrix; /* from the file, or NULL */
    size_t valid;    /* labels that were not ignored in the last forward pass */
} state;

QF_LAYER_PARAM_OF(infogain_loss_param, INFOGAIN_LOSS_, InfogainLoss)

static qf_status load_matrix(qf_layer *layer, const char *path)
{
    state *s = layer->state;
    Caffe__BlobProto *proto;
    QF_TRY(qf_blob_create(layer->context, path, &s->matrix));
    QF_TRY(qf_wire_read(layer->context, path, &caffe__blob_proto__descriptor, &proto));
    const qf_status status = qf_blob_from_proto(s->matrix, proto, true);
    qf_message_free(proto);
    return qf_within(layer->context, status, "%s", path);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__LossParameter *loss = QF_LAYER_PARAM(layer, loss_param, LOSS_, Loss);
    const Caffe__InfogainLossParameter *p = param_of(layer);
    if (loss->has_normalize)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "InfogainLoss has no loss_param.normalize; use normalization");
    QF_TRY(qf_tensor_create(layer->context, &((state *)layer->state)->probability));
    if (layer->bottom_count > 2)
        return QF_OK;
    if (!p->source || !*p->source)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "InfogainLoss needs its matrix, as infogain_loss_param.source or as a third "
                       "bottom");
    return load_matrix(layer, p->source);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor_release(s->probability);
    qf_blob_release(s->matrix);
}

static qf_blob *matrix_of(const qf_layer *layer)
{
    return layer->bottom_count > 2 ? layer->bottom[2] : ((state *)layer->state)->matrix;
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_loss_reshape(layer));
    QF_TRY(qf_loss_classes(layer, param_of(layer)->axis, &s->axis, &s->classes));
    const size_t classes = s->classes.classes;
    if (qf_blob_count(matrix_of(layer)) != classes * classes)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the infogain matrix '%s' has %zu values, expected %zu x %zu",
                       matrix_of(layer)->name, qf_blob_count(matrix_of(layer)), classes, classes);
    QF_TRY(qf_tensor_reshape(layer->context, s->probability, bottom));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], bottom) : QF_OK;
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    const state *s = layer->state;
    (void)index;
    return qf_loss_mean_over(layer, &s->classes, s->axis, s->valid, top);
}

static float divisor(const qf_layer *layer)
{
    return qf_loss_divisor(mean_over(layer, 0, 0));
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    const qf_ignored_label ignored = qf_loss_ignored(layer);
    const float *p, *label, *matrix;
    float *loss;
    double sum = 0;
    QF_TRY(qf_loss_check_labels(layer, ignored, c->classes, &s->valid));
    QF_TRY(layer->device->reduce->softmax(layer->context, layer->bottom[0]->data, s->axis,
                                          s->probability));
    QF_TRY(qf_read(layer->context, s->probability, c->form, &p));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &label));
    QF_TRY(qf_read(layer->context, matrix_of(layer)->data, QF_PLAIN, &matrix));
    for (size_t item = 0; item < qf_classes_items(c); item++) {
        if (qf_label_is_ignored(ignored, label[item]))
            continue;
        const float *row = matrix + (size_t)label[item] * c->classes;
        for (size_t k = 0; k < c->classes; k++)
            sum += (double)(row[k] * qf_negative_log(p[qf_classes_first(c, item) + k * c->inner],
                                                     QF_LEAST_PROBABILITY));
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)sum / divisor(layer);
    return layer->top_count > 1
               ? qf_tensor_copy(layer->context, layer->top[1]->data, s->probability)
               : QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    const qf_ignored_label ignored = qf_loss_ignored(layer);
    const float *p, *label, *matrix, *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_loss_check_labels(layer, ignored, c->classes,
                                &s->valid)); /* they may have been changed since */
    QF_TRY(qf_read(layer->context, s->probability, c->form, &p));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &label));
    QF_TRY(qf_read(layer->context, matrix_of(layer)->data, QF_PLAIN, &matrix));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, c->form, &dx));
    const float scale = weight[0] / divisor(layer);
    for (size_t item = 0; item < qf_classes_items(c); item++) {
        const float *row = qf_label_is_ignored(ignored, label[item])
                               ? NULL
                               : matrix + (size_t)label[item] * c->classes;
        float sum = 0;
        for (size_t k = 0; row && k < c->classes; k++)
            sum += row[k];
        for (size_t k = 0; k < c->classes; k++) {
            const size_t at = qf_classes_first(c, item) + k * c->inner;
            dx[at] = row ? scale * (p[at] * sum - row[k]) : 0;
        }
    }
    return QF_OK;
}

const qf_layer_type qf_infogain_loss_layer = {
    .name = "InfogainLoss",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 3),
    QF_TOPS(1, 2),
    .loss = true,
    .no_gradient_bottoms = 1u << 1 | 1u << 2,
    .setup = setup,
    .reshape = reshape,
    .mean_over = mean_over,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
