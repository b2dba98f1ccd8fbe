/* The reference's quantisation: value by value, as quant/quant_math.h says. */
#include "base/memory.h"
#include "device/gradient_add.h"
#include "device/reference/first_range.h"

#include <string.h>

static qf_status wide_activations(qf_context *context, qf_tensor *x, qf_ulq factors, qf_tensor *y)
{
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        to[i] = qf_ulq_value(from[i], factors);
    return QF_OK;
}

static qf_status activations(qf_context *context, qf_tensor *x, qf_ulq factors, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    const float *from;
    uint8_t *to;
    if (factors.levels > UINT8_MAX)
        return wide_activations(context, x, factors, codes);
    QF_TRY(qf_device_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_device_write(context, codes, QF_CODES, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        to[i] = qf_ulq_code(from[i], factors);
    codes->code_scale = factors.scale;
    codes->code_zero = -factors.offset;
    return QF_OK;
}

static qf_status activations_backward(qf_context *context, qf_tensor *x, qf_tensor *dy,
                                      qf_ulq_terms terms, qf_tensor *dx, qf_tensor *const d_clip[2])
{
    QF_ON_DEVICE(context);
    const float *values, *gradient;
    float *result = NULL;
    double sums[2] = {0, 0};
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    if (dx)
        QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        const qf_ulq_slopes slopes = qf_ulq_gradient(values[i], terms);
        sums[0] += (double)(gradient[i] * slopes.max);
        sums[1] += (double)(gradient[i] * slopes.min);
        if (dx)
            result[i] = slopes.inside ? gradient[i] : 0;
    }
    QF_TRY(qf_gradient_add(context, d_clip[0], &sums[0], 1));
    return qf_gradient_add(context, d_clip[1], &sums[1], 1);
}

/* The largest and the smallest weight of a channel; false: there is a NaN. */
static bool find_ends(const float *w, qf_weight_layout l, size_t channel, float *max, float *min)
{
    *max = *min = w[channel * l.inner];
    for (size_t o = 0; o < l.outer; o++)
        for (size_t i = 0; i < l.inner; i++) {
            const float value = w[(o * l.channels + channel) * l.inner + i];
            if (value != value)
                return false;
            *max = value > *max ? value : *max;
            *min = value < *min ? value : *min;
        }
    return true;
}

static qf_status weights(qf_context *context, qf_tensor *master, qf_weight_layout l, int bits,
                         float *scale, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    const float *from;
    int8_t *to = NULL;
    float max, min;
    if (l.outer * l.inner == 0 || l.channels == 0)
        return qf_fail(context, QF_E_SHAPE, "there are no weights to quantise");
    QF_TRY(qf_device_read(context, master, QF_PLAIN, &from));
    if (codes)
        QF_TRY(qf_device_write(context, codes, QF_WEIGHT_CODES, &to));
    for (size_t c = 0; c < l.channels; c++) {
        if (!find_ends(from, l, c, &max, &min))
            return qf_fail(context, QF_E_VALUE, QF_NAN_WEIGHTS, c);
        scale[c] = qf_arq_scale(max, min, bits);
        QF_TRY(
            qf_within(context, qf_process_scale(context, &scale[c]), "weights of channel %zu", c));
    }
    for (size_t i = 0; codes && i < l.outer * l.channels * l.inner; i++)
        to[i] =
            (int8_t)qf_arq_code(from[i], qf_usable_scale(scale[i / l.inner % l.channels]), bits);
    return QF_OK;
}

static qf_status weights_by_steps(qf_context *context, qf_tensor *master, qf_weight_layout l,
                                  int bits, const float *step, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    const float *from;
    int8_t *to;
    QF_TRY(qf_device_read(context, master, QF_PLAIN, &from));
    QF_TRY(qf_device_write(context, codes, QF_WEIGHT_CODES, &to));
    for (size_t i = 0; i < l.outer * l.channels * l.inner; i++)
        if (from[i] != from[i])
            return qf_fail(context, QF_E_VALUE, QF_NAN_WEIGHTS, i / l.inner % l.channels);
        else
            to[i] = (int8_t)qf_arq_code(from[i], step[i / l.inner % l.channels], bits);
    return QF_OK;
}

static qf_status steps_backward(qf_context *context, qf_tensor *master, qf_weight_layout l,
                                int bits, const float *step, qf_tensor *dw, double *d_step)
{
    QF_ON_DEVICE(context);
    const float *w;
    float *gradient;
    bool inside;
    QF_TRY(qf_device_read(context, master, QF_PLAIN, &w));
    QF_TRY(qf_device_update(context, dw, QF_PLAIN, &gradient));
    memset(d_step, 0, l.channels * sizeof *d_step);
    for (size_t i = 0; i < l.outer * l.channels * l.inner; i++) {
        const size_t c = i / l.inner % l.channels;
        d_step[c] += (double)(gradient[i] * qf_step_slope(w[i], step[c], bits, &inside));
        gradient[i] = inside ? gradient[i] : 0;
    }
    return QF_OK;
}

static qf_status soften(qf_context *context, const qf_soft_rounding *s, qf_tensor *v,
                        qf_tensor *floor, qf_tensor *w)
{
    QF_ON_DEVICE(context);
    const float *from, *floors;
    float *to;
    QF_TRY(qf_device_read(context, v, QF_PLAIN, &from));
    QF_TRY(qf_device_read(context, floor, QF_PLAIN, &floors));
    QF_TRY(qf_device_write(context, w, QF_PLAIN, &to));
    for (size_t i = 0; i < s->channels * s->inner; i++)
        to[i] = qf_soft_weight(from[i], floors[i], s->step[i / s->inner], s->low, s->high);
    return QF_OK;
}

static qf_status soften_backward(qf_context *context, const qf_soft_rounding *s, qf_tensor *v,
                                 qf_tensor *dw, qf_tensor *dv)
{
    QF_ON_DEVICE(context);
    const float *from, *gradient;
    float *to;
    QF_TRY(qf_device_read(context, v, QF_PLAIN, &from));
    QF_TRY(qf_device_read(context, dw, QF_PLAIN, &gradient));
    QF_TRY(qf_device_write(context, dv, QF_PLAIN, &to));
    for (size_t i = 0; i < s->channels * s->inner; i++)
        to[i] = qf_soft_gradient(from[i], gradient[i], s->step[i / s->inner], s->low, s->high,
                                 s->pull, s->beta);
    return QF_OK;
}

static qf_status quant(qf_context *context, qf_tensor *x, float scale, int32_t offset_d,
                       int32_t low, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    const float *from;
    uint8_t *to;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_device_write(context, codes, QF_CODES, &to));
    for (size_t i = 0; i < qf_shape_count(&codes->shape); i++) {
        const int32_t code = qf_quant_code(from[i], scale, offset_d);
        to[i] = (uint8_t)((code > low ? code : low) + 128);
    }
    codes->code_scale = scale;
    codes->code_zero = offset_d + 128;
    return QF_OK;
}

static qf_status dequantise_fake(qf_context *context, qf_tensor *x, qf_tensor *deq,
                                 qf_tensor *shift, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const size_t channels = qf_tensor_extent(&x->shape).channels;
    const size_t step = qf_shape_count(&deq->shape) > 1 ? 1 : 0;
    const float *from, *scales, *shifts;
    float *to;
    QF_TRY(qf_device_read(context, deq, QF_PLAIN, &scales));
    QF_TRY(qf_device_read(context, shift, QF_PLAIN, &shifts));
    QF_TRY(qf_device_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        const size_t c = i % channels * step;
        to[i] = qf_dequant_fake(from[i], scales[c], (int)shifts[c]);
    }
    return QF_OK;
}

/* The values of all, one tensor behind the other. */
static qf_status gather(qf_context *context, qf_tensor *const *x, int count, float *values)
{
    for (int i = 0; i < count; i++) {
        const size_t n = qf_shape_count(&x[i]->shape);
        const float *from;
        QF_TRY(qf_device_read(context, x[i], QF_NHWC, &from));
        memcpy(values, from, n * sizeof *values);
        values += n;
    }
    return QF_OK;
}

static qf_status hfmg_add(qf_context *context, qf_hfmg *hfmg, qf_tensor *const *x, int count)
{
    QF_ON_DEVICE(context);
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += qf_shape_count(&x[i]->shape);
    float *values = qf_alloc(n, sizeof *values);
    if (!values)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu values", n);
    qf_status status = gather(context, x, count, values);
    if (status == QF_OK)
        status = qf_hfmg_add(context, hfmg, values, n);
    qf_free(values);
    return status;
}

static qf_status hfmg_decide(qf_context *context, const qf_hfmg *hfmg, bool with_offset,
                             float *scale, int32_t *offset_d)
{
    (void)context;
    qf_hfmg_factors(hfmg, with_offset, scale, offset_d);
    return QF_OK;
}

const qf_quantise_family qf_reference_quantise = {
    .activations = activations,
    .activations_backward = activations_backward,
    .weights = weights,
    .weights_by_steps = weights_by_steps,
    .steps_backward = steps_backward,
    .soften = soften,
    .soften_backward = soften_backward,
    .dequantise_fake = dequantise_fake,
    .first_range = qf_reference_first_range,
    .ifmr_add = qf_reference_ifmr_add,
    .ifmr_decide = qf_reference_ifmr_decide,
    .hfmg_add = hfmg_add,
    .hfmg_decide = hfmg_decide,
    .quant = quant,
};
