/* Fetching the small tensors of a sweep, which its loops then read for every row. */
#include "device/open_sweep.h"

static qf_status open_values(qf_context *context, qf_tensor *tensor, const float **out)
{
    *out = NULL;
    return tensor ? qf_device_read(context, tensor, QF_PLAIN, out) : QF_OK;
}

qf_status qf_sweep_open(qf_context *context, const qf_sweep *sweep, qf_open_sweep *out)
{
    *out = (qf_open_sweep){.rows = sweep->rows,
                           .channels = sweep->channels,
                           .relu = sweep->relu,
                           .relu_slope = sweep->relu_slope,
                           .relu_limit = sweep->relu_limit,
                           .search = sweep->search,
                           .count = sweep->count,
                           .codes = sweep->codes};
    QF_TRY(open_values(context, sweep->mean, &out->mean));
    QF_TRY(open_values(context, sweep->inverse, &out->inverse));
    QF_TRY(open_values(context, sweep->factor, &out->factor));
    return open_values(context, sweep->summand, &out->summand);
}

qf_status qf_sweep_open_above(qf_context *context, const qf_sweep_gradients *gradients,
                              qf_open_sweep out[QF_SWEEP_CHAIN])
{
    for (int i = 0; i < gradients->above_count; i++)
        QF_TRY(qf_sweep_open(context, gradients->above[i].sweep, &out[i]));
    return QF_OK;
}

qf_status qf_sweep_convolve_first(qf_context *context, const qf_sweep_family *family,
                                  const qf_convolved *convolved, const qf_sweep *sweep,
                                  qf_tensor *addend, qf_tensor *y)
{
    qf_tensor *made = NULL, *value = y;
    qf_status status = QF_OK;
    if (addend == y) {
        QF_TRY(qf_tensor_create(context, &made));
        value = made;
        status = qf_tensor_reshape(context, made, &y->shape);
    }
    if (status == QF_OK)
        status = convolved->family->forward(context, convolved->operation, convolved->x,
                                            convolved->weights, convolved->bias, value);
    if (status == QF_OK)
        status = family->forward(context, sweep, value, addend, y, NULL);
    qf_tensor_release(made);
    return status;
}

bool qf_sweep_is_affine(const qf_open_sweep *sweep)
{
    return sweep->mean || sweep->factor || sweep->summand;
}
