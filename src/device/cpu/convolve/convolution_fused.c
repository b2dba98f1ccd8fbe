/* Float convolutions at inference: ReLU and the sum are operations of oneDNN's primitive. */
#include "device/cpu/convolve/fused_unit.h"

static bool same_epilogue(const qf_epilogue *a, const qf_epilogue *b)
{
    return a->sum == b->sum && a->relu == b->relu && a->relu_slope == b->relu_slope &&
           a->relu_limit == b->relu_limit;
}

/* Without AVX2, oneDNN's depthwise kernel crashes where channels fill no vector and something
 * follows (seen in 2.6.3). */
static bool crashes(const qf_convolution_shape *s)
{
    enum { VECTOR = 4 };
    return s->groups > 1 && s->groups == s->in_channels && s->out_channels % VECTOR != 0 &&
           !qf_onednn_has_avx2();
}

static qf_status get_value_unit(qf_context *context, const convolve_call *call, fused_unit **out)
{
    qf_convolution *const c = call->c;
    QF_TRY(qf_fused_convolution_need(context, c));
    fused_unit *u = &c->fused->value;
    if (u->primitive &&
        (u->bias != (call->bias != NULL) || !same_epilogue(&u->epilogue, call->epilogue)))
        qf_fused_unit_destroy(u);
    if (!u->primitive && !u->impossible) {
        u->bias = call->bias != NULL;
        u->epilogue = *call->epilogue;
        QF_TRY(qf_fused_unit_create(context, c, u, false, c->x_dims, c->y_dims));
    }
    *out = u->primitive ? u : NULL;
    return QF_OK;
}

static qf_status accepts_fused(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    fused_unit *u;
    if (crashes(&call->c->shape)) {
        *no = "would crash for so many channels without AVX2";
        return QF_OK;
    }
    QF_TRY(get_value_unit(context, call, &u));
    if (!u)
        *no = "oneDNN has none for this shape";
    return QF_OK;
}

static qf_status run_fused(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const float *source, *weights;
    float *result;
    fused_unit *u;
    QF_TRY(get_value_unit(context, call, &u));
    if (!u) /* another epilogue than the one that it accepted */
        return qf_convolve_run_reference(context, call);
    QF_TRY(qf_read(context, call->x, QF_NHWC, &source));
    QF_TRY(qf_read(context, call->w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, call->w->version));
    QF_TRY(qf_convolution_give_bias(context, u->bias_memory, call->bias, QF_PLAIN));
    QF_TRY(call->epilogue->sum ? qf_update(context, call->y, QF_NHWC, &result)
                               : qf_write(context, call->y, QF_NHWC, &result));
    QF_DNNL(context, qf_fused_unit_execute(u, &u->runners[0], source, result));
    return QF_OK;
}

static const qf_implementation fused_list[] = {
    {"onednn", accepts_fused, NULL, run_fused},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_forward_fused_list = {
    "convolve", "forward_fused", QF_IMPLEMENTATIONS(fused_list), qf_convolve_describe};

qf_status qf_convolution_forward_fused(qf_context *context, qf_convolution *c, qf_tensor *x,
                                       qf_tensor *w, qf_tensor *bias, const qf_epilogue *epilogue,
                                       qf_tensor *y)
{
    const convolve_call call = {.operation = OF_FORWARD_FUSED,
                                .with = (bias ? WITH_BIAS : 0) | (epilogue->sum ? WITH_SUM : 0) |
                                        (epilogue->relu ? WITH_RELU : 0),
                                .c = c,
                                .x = x,
                                .w = w,
                                .bias = bias,
                                .epilogue = epilogue,
                                .y = y};
    return qf_convolve_run(context, &call);
}
