/* HingeLoss and MultinomialLogisticLoss: the mean over items of what their values lose beside a
 * label. The second reads probabilities that another layer computed. */
#include "layers/loss/loss.h"

static size_t classes_of(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_shape_count_range(shape, 1, shape->axes);
}

static qf_status reshape(qf_layer *layer)
{
    QF_TRY(qf_loss_reshape(layer));
    if (classes_of(layer) == 0)
        return qf_fail(layer->context, QF_E_SHAPE, "'%s' has no values", layer->bottom[0]->name);
    if (qf_blob_count(layer->bottom[1]) == qf_loss_batch(layer))
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "'%s' must have one label for each of the %zu items of '%s', it has %zu",
                   layer->bottom[1]->name, qf_loss_batch(layer), layer->bottom[0]->name,
                   qf_blob_count(layer->bottom[1]));
}

static qf_status forward(qf_layer *layer, qf_loss_kind kind)
{
    const size_t items = qf_loss_batch(layer);
    const qf_value_loss loss = {.kind = kind, .items = items};
    size_t valid;
    QF_TRY(qf_loss_check_labels(layer, loss.ignored, classes_of(layer), &valid));
    return qf_loss_forward(layer, &loss, (float)items);
}

static qf_status backward(qf_layer *layer, qf_loss_kind kind)
{
    const qf_value_loss loss = {.kind = kind, .items = qf_loss_batch(layer)};
    return qf_loss_backward(layer, &loss, (float)loss.items, 0);
}

static qf_loss_kind hinge_kind(const qf_layer *layer)
{
    const Caffe__HingeLossParameter *p =
        QF_LAYER_PARAM(layer, hinge_loss_param, HINGE_LOSS_, HingeLoss);
    return p->norm == CAFFE__HINGE_LOSS_PARAMETER__NORM__L2 ? QF_SQUARED_HINGE : QF_HINGE;
}

static qf_status hinge_loss_forward(qf_layer *layer)
{
    return forward(layer, hinge_kind(layer));
}

static qf_status hinge_loss_backward(qf_layer *layer)
{
    return backward(layer, hinge_kind(layer));
}

static qf_status multinomial_logistic_loss_forward(qf_layer *layer)
{
    return forward(layer, QF_LOG_LOSS);
}

static qf_status multinomial_logistic_loss_backward(qf_layer *layer)
{
    return backward(layer, QF_LOG_LOSS);
}

#define LAYER(stem, type_name)                                                                     \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        QF_BOTTOMS(2, 2),                                                                          \
        QF_TOPS(1, 1),                                                                             \
        .loss = true,                                                                              \
        .no_gradient_bottoms = 1u << 1,                                                            \
        .reshape = reshape,                                                                        \
        .forward = stem##_forward,                                                                 \
        .backward = stem##_backward,                                                               \
    };

LAYER(hinge_loss, "HingeLoss")
LAYER(multinomial_logistic_loss, "MultinomialLogisticLoss")
