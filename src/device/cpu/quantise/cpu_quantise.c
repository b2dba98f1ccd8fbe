/* Quantisation in training on the host: the loops of quant/, on tensors. */
#include "device/cpu/cpu.h"

static qf_status activations(qf_context *context, qf_tensor *x, qf_ulq factors, qf_tensor *codes)
{
    const float *from;
    uint8_t *to;
    QF_TRY(qf_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_tensor_write(context, codes, QF_CODES, &to));
    qf_ulq_forward(from, NULL, to, qf_shape_count(&x->shape), factors);
    codes->code_scale = factors.scale;
    codes->code_zero = -factors.offset;
    return QF_OK;
}

static qf_status activations_backward(qf_context *context, qf_tensor *x, qf_tensor *dy,
                                      float clip_max, float clip_min, qf_tensor *dx,
                                      qf_tensor *const d_clip[2])
{
    const float *values, *gradient;
    float *result = NULL;
    double sums[2] = {0, 0};
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    if (dx)
        QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    qf_ulq_backward(values, gradient, result, qf_shape_count(&x->shape), clip_max, clip_min, sums);
    for (int i = 0; i < 2; i++) {
        float *to;
        if (!d_clip[i])
            continue;
        QF_TRY(qf_update(context, d_clip[i], QF_PLAIN, &to));
        to[0] += (float)sums[i];
    }
    return QF_OK;
}

static qf_status weights(qf_context *context, qf_tensor *master, qf_weight_layout layout,
                         float *scale, qf_tensor *codes)
{
    const float *from;
    int8_t *to;
    QF_TRY(qf_read(context, master, QF_PLAIN, &from));
    QF_TRY(qf_tensor_write(context, codes, QF_WEIGHT_CODES, &to));
    return qf_arq_quantise(context, from, layout, scale, to);
}

const qf_quantise_family qf_cpu_quantise = {
    .activations = activations,
    .activations_backward = activations_backward,
    .weights = weights,
    .dequantise_fake = qf_dequantise_fake,
};
