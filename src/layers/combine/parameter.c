/* Parameter: a learnable blob as a top. Forks fill it; Caffe's begins with 0. */
#include "layers/layer.h"

static qf_status setup(qf_layer *layer)
{
    const Caffe__ParameterParameter *p =
        QF_LAYER_PARAM(layer, parameter_param, PARAMETER_, Parameter);
    qf_shape shape = {0};
    for (size_t i = 0; p->shape && i < p->shape->n_dim; i++) {
        if (i == QF_MAX_AXES || p->shape->dim[i] < 0 || p->shape->dim[i] > INT32_MAX)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "parameter_param.shape: dimension %zu (%lld) is not possible", i,
                           (long long)p->shape->dim[i]);
        shape.dim[shape.axes++] = (int)p->shape->dim[i];
    }
    return qf_layer_add_param(layer, &shape, p->filler ? p->filler : p->blob_filler);
}

static qf_status reshape(qf_layer *layer)
{
    return qf_blob_reshape_like(layer->top[0], layer->params[0].blob);
}

/* A copy, so that a layer that works in place on the top does not change the weights. */
static qf_status forward(qf_layer *layer)
{
    return qf_tensor_copy(layer->context, layer->top[0]->data, layer->params[0].blob->data);
}

/* Added up over passes like every other parameter's gradient; Caffe keeps the last pass's. */
static qf_status backward(qf_layer *layer)
{
    const float *dy;
    float *sum;
    if (!layer->params[0].propagate)
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_update(layer->context, layer->params[0].blob->diff, QF_PLAIN, &sum));
    for (size_t i = 0, n = qf_blob_count(layer->top[0]); i < n; i++)
        sum[i] += dy[i];
    return QF_OK;
}

const qf_layer_type qf_parameter_layer = {
    .name = "Parameter",
    QF_BOTTOMS(0, 0),
    QF_TOPS(1, 1),
    .setup = setup,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
