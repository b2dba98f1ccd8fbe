/* Labels of losses, and the number that divides their sum. */
#include "layers/loss/loss.h"

#define MODE(name) CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__##name

static int normalization(const Caffe__LossParameter *p, int otherwise)
{
    if (p->has_normalization)
        return (int)p->normalization;
    if (p->has_normalize)
        return p->normalize ? MODE(VALID) : MODE(BATCH_SIZE);
    return otherwise;
}

double qf_loss_items(const qf_layer *layer, int otherwise, const qf_loss_counts *counts)
{
    const Caffe__LossParameter *p = QF_LAYER_PARAM(layer, loss_param, LOSS_, Loss);
    switch (normalization(p, otherwise)) {
    case MODE(FULL):
        return (double)counts->full;
    case MODE(VALID):
        return (double)counts->valid;
    case MODE(BATCH_SIZE):
        return (double)counts->batch;
    case MODE(PRE_FIXED):
        return (double)p->pre_fixed_normalizer;
    default:
        return QF_SUM_OF_BATCH;
    }
}

float qf_loss_divisor(double items)
{
    return items > 1 ? (float)items : 1;
}

qf_ignored_label qf_loss_ignored(const qf_layer *layer)
{
    const Caffe__LossParameter *p = QF_LAYER_PARAM(layer, loss_param, LOSS_, Loss);
    return (qf_ignored_label){p->has_ignore_label, p->ignore_label};
}

qf_status qf_loss_check_label(const qf_layer *layer, float label, size_t item, size_t classes)
{
    if (label >= 0 && label < (float)classes)
        return QF_OK;
    return qf_fail(
        layer->context, QF_E_VALUE,
        "label %zu is %g, but there are only %zu classes (0 to %zu); does num_output of the "
        "last layer fit the data?",
        item, (double)label, classes, classes - 1);
}

qf_status qf_loss_check_labels(const qf_layer *layer, qf_ignored_label ignored, size_t classes,
                               size_t *valid)
{
    const float *labels;
    *valid = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    for (size_t item = 0; item < qf_blob_count(layer->bottom[1]); item++) {
        if (qf_label_is_ignored(ignored, labels[item]))
            continue;
        QF_TRY(qf_loss_check_label(layer, labels[item], item, classes));
        (*valid)++;
    }
    return QF_OK;
}

size_t qf_loss_batch(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return shape->axes ? (size_t)shape->dim[0] : 1;
}

qf_status qf_loss_classes(const qf_layer *layer, int axis, int *index, qf_classes *out)
{
    const qf_blob *labels = layer->bottom[1];
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], axis, index));
    *out = qf_classes_along(qf_blob_shape(layer->bottom[0]), *index);
    const size_t items = qf_classes_items(out);
    if (qf_blob_count(labels) == items)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "'%s' has %zu labels, expected %zu: one for each prediction along axis %d",
                   labels->name, qf_blob_count(labels), items, *index);
}

double qf_loss_mean_over(const qf_layer *layer, const qf_classes *c, int axis, size_t valid,
                         int top)
{
    if (top > 0)
        return QF_MEAN_OF_BATCH;
    const qf_loss_counts counts = {qf_classes_items(c), valid,
                                   qf_shape_count_range(qf_blob_shape(layer->bottom[0]), 0, axis)};
    return qf_loss_items(layer, CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__VALID, &counts);
}

qf_status qf_loss_reshape(qf_layer *layer)
{
    const qf_shape scalar = {0};
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *b = qf_blob_shape(layer->bottom[1]);
    char first[256], second[256];
    if (a->axes < 1 || b->axes < 1 || a->dim[0] != b->dim[0])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s and '%s' of shape %s must have one first dimension, the "
                       "batch",
                       layer->bottom[0]->name, qf_shape_text(a, first, sizeof first),
                       layer->bottom[1]->name, qf_shape_text(b, second, sizeof second));
    return qf_blob_reshape_to(layer->top[0], &scalar);
}

static qf_loss_operands operands_of(const qf_layer *layer)
{
    qf_tensor *values[4] = {NULL};
    for (int i = 0; i < layer->bottom_count; i++)
        values[i] = layer->bottom[i]->data;
    return (qf_loss_operands){values[0], values[1], values[2], values[3]};
}

qf_status qf_loss_forward(qf_layer *layer, const qf_value_loss *s, float divisor)
{
    const qf_loss_operands operands = operands_of(layer);
    return layer->device->reduce->value_loss(layer->context, s, &operands, divisor,
                                             layer->top[0]->data);
}

qf_status qf_loss_backward(qf_layer *layer, const qf_value_loss *s, float divisor, int side)
{
    const qf_loss_operands operands = operands_of(layer);
    const float *weight;
    if (!layer->propagate_down[side])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    return layer->device->reduce->value_loss_backward(
        layer->context, s, &operands, (side == 0 ? weight[0] : -weight[0]) / divisor,
        layer->bottom[side]->diff);
}
