/* Quantisation on the host: the loops of quantise_loops.h, on tensors. What rounding by addition
 * cannot handle, absurd ranges, is left to the reference. */
#include "device/cpu/cpu.h"
#include "device/cpu/quantise/ifmr_count.h"
#include "device/cpu/quantise/quantise_loops.h"
#include "device/gradient_add.h"
#include "device/reference/reference.h"

#include <math.h>
#include <stdio.h>

/* Forward, or (dy) backward. */
typedef struct quantise_call {
    bool regular; /* what the choice depends on */
    qf_tensor *x, *dy, *dx, *codes;
    qf_ulq factors;
    qf_ulq_terms terms;
    qf_tensor *const *d_clip; /* two */
} quantise_call;

static void describe(const void *of, char *text, size_t size)
{
    snprintf(text, size, "%s range", ((const quantise_call *)of)->regular ? "ordinary" : "absurd");
}

static qf_status accepts_vectors(qf_context *context, const void *of, const char **no)
{
    (void)context;
    *no = ((const quantise_call *)of)->regular ? NULL : "steps too many to be counted";
    return QF_OK;
}

static qf_status run(qf_context *context, const qf_implementations *list, const quantise_call *call)
{
    const qf_implementation *chosen;
    QF_TRY(qf_choose_once(context, list, call->regular, call, &chosen));
    return chosen->run(context, call);
}

/* ---- activations ---- */

static qf_status vectors_forward(qf_context *context, const void *of)
{
    const quantise_call *call = of;
    const float *from;
    uint8_t *to;
    QF_TRY(qf_read(context, call->x, QF_NHWC, &from));
    if (call->factors.levels > UINT8_MAX) {
        float *values;
        QF_TRY(qf_write(context, call->codes, QF_NHWC, &values));
        qf_ulq_values(from, values, qf_shape_count(&call->x->shape), call->factors);
        return QF_OK;
    }
    QF_TRY(qf_tensor_write(context, call->codes, QF_CODES, &to));
    qf_ulq_codes(from, to, qf_shape_count(&call->x->shape), call->factors);
    call->codes->code_scale = call->factors.scale;
    call->codes->code_zero = -call->factors.offset;
    return QF_OK;
}

static qf_status reference_forward(qf_context *context, const void *of)
{
    QF_ON_HOST(context);
    const quantise_call *call = of;
    return qf_reference_quantise.activations(context, call->x, call->factors, call->codes);
}

static const qf_implementation forward_list[] = {
    {"vectors", accepts_vectors, NULL, vectors_forward},
    {"reference", NULL, NULL, reference_forward},
};

const qf_implementations qf_quantise_activations_list = {
    "quantise", "activations", QF_IMPLEMENTATIONS(forward_list), describe};

static qf_status activations(qf_context *context, qf_tensor *x, qf_ulq factors, qf_tensor *codes)
{
    const quantise_call call = {
        .regular = qf_ulq_rounds_by_addition(factors), .x = x, .factors = factors, .codes = codes};
    return run(context, &qf_quantise_activations_list, &call);
}

/* ---- their gradients ---- */

static qf_status vectors_backward(qf_context *context, const void *of)
{
    const quantise_call *call = of;
    const float *values, *gradient;
    float *result = NULL;
    double sums[2] = {0, 0};
    QF_TRY(qf_read(context, call->x, QF_NHWC, &values));
    QF_TRY(qf_read(context, call->dy, QF_NHWC, &gradient));
    if (call->dx)
        QF_TRY(qf_write(context, call->dx, QF_NHWC, &result));
    qf_ulq_backward(values, gradient, result, qf_shape_count(&call->x->shape), &call->terms, sums);
    QF_TRY(qf_gradient_add(context, call->d_clip[0], &sums[0], 1));
    return qf_gradient_add(context, call->d_clip[1], &sums[1], 1);
}

static qf_status reference_backward(qf_context *context, const void *of)
{
    QF_ON_HOST(context);
    const quantise_call *call = of;
    return qf_reference_quantise.activations_backward(context, call->x, call->dy, call->terms,
                                                      call->dx, call->d_clip);
}

static const qf_implementation backward_list[] = {
    {"vectors", accepts_vectors, NULL, vectors_backward},
    {"reference", NULL, NULL, reference_backward},
};

const qf_implementations qf_quantise_activations_backward_list = {
    "quantise", "activations_backward", QF_IMPLEMENTATIONS(backward_list), describe};

static qf_status activations_backward(qf_context *context, qf_tensor *x, qf_tensor *dy,
                                      qf_ulq_terms terms, qf_tensor *dx, qf_tensor *const d_clip[2])
{
    const quantise_call call = {
        .regular = terms.regular, .x = x, .dy = dy, .dx = dx, .terms = terms, .d_clip = d_clip};
    return run(context, &qf_quantise_activations_backward_list, &call);
}

/* ---- what has one way ---- */

static qf_status weights(qf_context *context, qf_tensor *master, qf_weight_layout layout, int bits,
                         float *scale, qf_tensor *codes)
{
    const float *from;
    int8_t *to = NULL;
    QF_TRY(qf_read(context, master, QF_PLAIN, &from));
    if (codes)
        QF_TRY(qf_tensor_write(context, codes, QF_WEIGHT_CODES, &to));
    return qf_arq_quantise(context, from, layout, bits, scale, to);
}

static qf_status weights_by_steps(qf_context *context, qf_tensor *master, qf_weight_layout layout,
                                  int bits, const float *step, qf_tensor *codes)
{
    const float *from;
    int8_t *to;
    QF_TRY(qf_read(context, master, QF_PLAIN, &from));
    QF_TRY(qf_tensor_write(context, codes, QF_WEIGHT_CODES, &to));
    return qf_step_codes(context, from, layout, bits, step, to);
}

static qf_status steps_backward(qf_context *context, qf_tensor *master, qf_weight_layout layout,
                                int bits, const float *step, qf_tensor *dw, double *d_step)
{
    const float *from;
    float *gradient;
    QF_TRY(qf_read(context, master, QF_PLAIN, &from));
    QF_TRY(qf_update(context, dw, QF_PLAIN, &gradient));
    qf_step_gradients(from, layout, bits, step, gradient, d_step);
    return QF_OK;
}

static qf_status soften(qf_context *context, const qf_soft_rounding *s, qf_tensor *v,
                        qf_tensor *floor, qf_tensor *w)
{
    const float *from, *floors;
    float *to;
    QF_TRY(qf_read(context, v, QF_PLAIN, &from));
    QF_TRY(qf_read(context, floor, QF_PLAIN, &floors));
    QF_TRY(qf_write(context, w, QF_PLAIN, &to));
    qf_soft_weights(s, from, floors, to);
    return QF_OK;
}

static qf_status soften_backward(qf_context *context, const qf_soft_rounding *s, qf_tensor *v,
                                 qf_tensor *dw, qf_tensor *dv)
{
    const float *from, *gradient;
    float *to;
    QF_TRY(qf_read(context, v, QF_PLAIN, &from));
    QF_TRY(qf_read(context, dw, QF_PLAIN, &gradient));
    QF_TRY(qf_write(context, dv, QF_PLAIN, &to));
    qf_soft_gradients(s, from, gradient, to);
    return QF_OK;
}

static qf_status first_range(qf_context *context, qf_tensor *x, const qf_ifmr_options *options,
                             float *scale, int32_t *offset_d)
{
    const size_t n = qf_shape_count(&x->shape);
    const float *values;
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    return n <= QF_IFMR_EXACT ? qf_ifmr_exact(context, options, values, n, scale, offset_d)
                              : qf_ifmr_histogram(context, options, values, n, scale, offset_d);
}

/* Values that are kept are kept in the order of QF_NHWC, as first_range sums them up. */
static qf_status ifmr_add(qf_context *context, qf_ifmr_data *data, qf_tensor *x)
{
    const size_t n = qf_shape_count(&x->shape);
    const bool few = qf_ifmr_data_keeps(data, n);
    const float *values;
    bool kept;
    QF_TRY(qf_read(context, x, few ? QF_NHWC : qf_tensor_any_float(x), &values));
    QF_TRY(qf_ifmr_data_keep(context, data, values, n, &kept));
    return kept ? QF_OK : qf_ifmr_count_all(context, data, values, n);
}

static qf_status ifmr_decide(qf_context *context, const qf_ifmr_data *data,
                             const qf_ifmr_options *options, float *scale, int32_t *offset_d)
{
    return qf_ifmr_of_data(context, options, data, scale, offset_d);
}

static qf_status hfmg_add(qf_context *context, qf_hfmg *hfmg, qf_tensor *const *x, int count)
{
    float low = INFINITY, high = -INFINITY;
    const float *values;
    qf_hfmg next;
    for (int i = 0; i < count; i++) {
        QF_TRY(qf_read(context, x[i], qf_tensor_any_float(x[i]), &values));
        QF_TRY(qf_hfmg_range(context, values, qf_shape_count(&x[i]->shape), &low, &high));
    }
    if (low > high) /* no values */
        return QF_OK;
    QF_TRY(qf_hfmg_next(context, hfmg, low, high, &next));
    qf_status status = QF_OK;
    for (int i = 0; status == QF_OK && i < count; i++) {
        status = qf_read(context, x[i], qf_tensor_any_float(x[i]), &values);
        if (status == QF_OK)
            status = qf_hfmg_count(context, &next, values, qf_shape_count(&x[i]->shape));
    }
    if (status == QF_OK)
        qf_hfmg_replace(hfmg, &next);
    qf_hfmg_release(&next);
    return status;
}

static qf_status hfmg_decide(qf_context *context, const qf_hfmg *hfmg, bool with_offset,
                             float *scale, int32_t *offset_d)
{
    return qf_hfmg_search(context, hfmg, with_offset, scale, offset_d);
}

static qf_status quant(qf_context *context, qf_tensor *x, float scale, int32_t offset_d,
                       int32_t low, qf_tensor *codes)
{
    const float *from;
    uint8_t *to;
    QF_TRY(qf_read(context, x, QF_NHWC, &from));
    /* In place too: the codes have an array of their own. */
    QF_TRY(qf_tensor_write(context, codes, QF_CODES, &to));
    qf_quant_codes(from, to, qf_shape_count(&codes->shape), scale, offset_d, low);
    codes->code_scale = scale;
    codes->code_zero = offset_d + 128;
    return QF_OK;
}

const qf_quantise_family qf_cpu_quantise = {
    .activations = activations,
    .activations_backward = activations_backward,
    .weights = weights,
    .weights_by_steps = weights_by_steps,
    .steps_backward = steps_backward,
    .soften = soften,
    .soften_backward = soften_backward,
    .dequantise_fake = qf_dequantise_fake,
    .first_range = first_range,
    .ifmr_add = ifmr_add,
    .ifmr_decide = ifmr_decide,
    .hfmg_add = hfmg_add,
    .hfmg_decide = hfmg_decide,
    .quant = quant,
};
