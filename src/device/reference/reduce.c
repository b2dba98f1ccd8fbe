/* Sums over everything but the channels, by the reference: in double, row by row. */
#include "device/reference/reference.h"

static qf_status channel_sums(qf_context *context, qf_tensor *dy, qf_tensor *db)
{
    QF_ON_DEVICE(context);
    const qf_extent e = qf_tensor_extent(&dy->shape);
    const float *gradient;
    float *result;
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_update(context, db, QF_PLAIN, &result));
    for (size_t c = 0; c < e.channels; c++) {
        double sum = 0;
        for (size_t row = 0; row < e.batch * e.inner; row++)
            sum += (double)gradient[row * e.channels + c];
        result[c] += (float)sum;
    }
    return QF_OK;
}

static qf_status channel_products(qf_context *context, qf_tensor *a, qf_tensor *b,
                                  const float *centre, double *sum_a, double *sum_ab)
{
    QF_ON_DEVICE(context);
    const qf_extent e = qf_tensor_extent(&a->shape);
    const float *first, *second;
    QF_TRY(qf_device_read(context, a, QF_NHWC, &first));
    QF_TRY(qf_device_read(context, b, QF_NHWC, &second));
    for (size_t c = 0; c < e.channels; c++) {
        const double middle = centre ? (double)centre[c] : 0;
        sum_a[c] = sum_ab[c] = 0;
        for (size_t i = c; i < e.batch * e.inner * e.channels; i += e.channels) {
            sum_a[c] += (double)first[i];
            sum_ab[c] += (double)first[i] * ((double)second[i] - middle);
        }
    }
    return QF_OK;
}

const qf_reduce_family qf_reference_reduce = {
    .channel_sums = channel_sums,
    .channel_products = channel_products,
};
