/* What follows an integer sum, value by value: DeQuant, a float addend, ReLU, Quant. */
#include "device/reference/sweep_stages.h"

typedef struct arrays {
    const int32_t *sums, *shift;
    const float *deq;
    const float *addend; /* NULL: nothing is added; may be y */
    float *y;            /* may be NULL, like codes */
    uint8_t *codes;
} arrays;

static qf_status fetch(qf_context *context, const qf_requantisation *r, qf_tensor *acc,
                       qf_tensor *addend, qf_tensor *y, qf_tensor *codes, arrays *out)
{
    *out = (arrays){0};
    QF_TRY(qf_device_read(context, r->deq, QF_PLAIN, &out->deq));
    QF_TRY(qf_device_read(context, r->shift, QF_INTEGERS, &out->shift));
    QF_TRY(qf_device_read(context, acc, QF_INTEGERS, &out->sums));
    if (y && y == addend) {
        QF_TRY(qf_device_update(context, y, QF_NHWC, &out->y));
        out->addend = out->y;
    } else {
        if (addend)
            QF_TRY(qf_device_read(context, addend, QF_NHWC, &out->addend));
        if (y)
            QF_TRY(qf_device_write(context, y, QF_NHWC, &out->y));
    }
    if (codes) {
        QF_TRY(qf_device_write(context, codes, QF_CODES, &out->codes));
        codes->code_scale = r->scale;
        codes->code_zero = r->offset_d + 128;
    }
    return QF_OK;
}

qf_status qf_reference_requantise(qf_context *context, const qf_requantisation *r, qf_tensor *acc,
                                  qf_tensor *addend, qf_tensor *y, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    arrays a;
    QF_TRY(fetch(context, r, acc, addend, y, codes, &a));
    const size_t n = qf_shape_count(&acc->shape);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        const size_t c = i % r->channels;
        float value = qf_dequant(a.sums[i], a.deq[c], a.shift[c]);
        if (a.addend)
            value += a.addend[i];
        if (r->relu)
            value = qf_reference_rectify(value, r->relu_slope, r->relu_limit);
        if (a.y)
            a.y[i] = value;
        if (a.codes)
            a.codes[i] = (uint8_t)(qf_quant_code(value, r->scale, r->offset_d) + 128);
    }
    return QF_OK;
}
