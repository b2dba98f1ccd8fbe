/* Rows of weights brought to length 1, and the gradient of that. */
#include "layers/convolution/unit_rows.h"

qf_status qf_unit_rows_create(qf_layer *layer, float eps, qf_unit_rows *rows)
{
    qf_context *context = layer->context;
    const qf_shape *weights = qf_blob_shape(layer->params[0].blob);
    const qf_shape scalar = {0}, row = qf_shape_make(1, weights->dim);
    float *one;
    rows->eps = eps;
    QF_TRY(qf_tensor_create(context, &rows->unit));
    QF_TRY(qf_tensor_create(context, &rows->gradient));
    QF_TRY(qf_tensor_create(context, &rows->reciprocal));
    QF_TRY(qf_tensor_create(context, &rows->one));
    QF_TRY(qf_tensor_reshape(context, rows->unit, weights));
    QF_TRY(qf_tensor_reshape(context, rows->gradient, weights));
    QF_TRY(qf_tensor_reshape(context, rows->reciprocal, &row));
    QF_TRY(qf_tensor_reshape(context, rows->one, &scalar));
    QF_TRY(qf_write(context, rows->one, QF_PLAIN, &one));
    one[0] = 1;
    return QF_OK;
}

void qf_unit_rows_release(qf_unit_rows *rows)
{
    qf_tensor_release(rows->unit);
    qf_tensor_release(rows->gradient);
    qf_tensor_release(rows->reciprocal);
    qf_tensor_release(rows->one);
}

qf_status qf_unit_rows_settle(qf_layer *layer, const qf_unit_rows *rows)
{
    if (layer->phase != QF_TRAIN)
        return QF_OK;
    QF_TRY(qf_unit_rows_update(layer, rows));
    return qf_tensor_copy(layer->context, layer->params[0].blob->data, rows->unit);
}

qf_status qf_unit_rows_update(qf_layer *layer, const qf_unit_rows *rows)
{
    return layer->device->normalise->unit_length(layer->context, rows->eps,
                                                 layer->params[0].blob->data, rows->one,
                                                 rows->reciprocal, rows->unit);
}

qf_status qf_unit_rows_pass_gradient(qf_layer *layer, const qf_unit_rows *rows)
{
    qf_blob *weights = layer->params[0].blob;
    QF_TRY(layer->device->normalise->unit_length_backward(layer->context, weights->data, rows->one,
                                                          rows->reciprocal, rows->gradient,
                                                          rows->gradient));
    return layer->device->map->weighted_sum(layer->context, 1, weights->diff, 1, rows->gradient,
                                            weights->diff);
}
