/* Convolution, forward: in float, in 8-bit codes with float or integer results. */
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/convolve/onednn_convolution.h"
#include "tensor/convert.h"

#include "base/clock.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

/* ---- codes in, float out ---- */

/* Floats hold integers up to 2^24, and no sum of so few products of codes exceeds that: a float
 * convolution of the integers gives the same bits as one in int8. */
static bool is_exact_in_float(const qf_convolution_shape *s)
{
    double products = (double)(s->in_channels / s->groups);
    for (int i = 0; i < s->spatial_axes; i++)
        products *= s->kernel[i];
    return products * 255 * 128 <= 1 << 24;
}

static qf_status give_scales(qf_context *context, qf_convolution *c, unit *u, const qf_tensor *x,
                             const qf_tensor *w, qf_tensor *bias)
{
    for (int i = 0; i < c->shape.out_channels; i++)
        c->scale[i] = x->code_scale * w->weight_scale[w->weight_scale_count > 1 ? i : 0];
    QF_DNNL(context, dnnl_memory_set_data_handle(u->scale, c->scale));
    return qf_convolution_give_bias(context, u->bias, bias, QF_PLAIN);
}

/* The kinds of unit for codes: in int8, or (exact) in float on integers. */
static unit_kind kind_of(const convolve_call *call, bool exact)
{
    return exact        ? (call->bias ? FORWARD_EXACT_BIAS : FORWARD_EXACT)
           : call->bias ? FORWARD_CODES_BIAS
                        : FORWARD_CODES;
}

static qf_status execute_on_integers(qf_context *context, unit *u, unit_kind kind, qf_tensor *x,
                                     const uint8_t *codes, float *result)
{
    const size_t count = qf_shape_count(&x->shape);
    qf_array *integers = qf_array_take(context, count * sizeof(float));
    if (!integers)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu values", count);
    qf_codes_to_float(codes, integers->bytes, count, x->code_zero, 1);
    const qf_status status = qf_convolution_execute(context, u, kind, integers->bytes, result);
    qf_array_release(integers);
    return status;
}

static qf_status run_codes(qf_context *context, const convolve_call *call, bool exact)
{
    const unit_kind kind = kind_of(call, exact);
    qf_tensor *const x = call->x, *const w = call->w;
    const uint8_t *codes;
    const int8_t *weights;
    float *result;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, call->c, kind, &u));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, w->version));
    QF_TRY(give_scales(context, call->c, u, x, w, call->bias));
    QF_TRY(qf_write(context, call->y, QF_NHWC, &result));
    if (exact)
        return execute_on_integers(context, u, kind, x, codes, result);
    u->zero = x->code_zero;
    return qf_convolution_execute(context, u, kind, codes, result);
}

static qf_status run_int8(qf_context *context, const void *call)
{
    return run_codes(context, call, false);
}

static qf_status run_exact_float(qf_context *context, const void *call)
{
    return run_codes(context, call, true);
}

/* What both ask of a call. */
static const char *refuses_codes(const convolve_call *call)
{
    return !(call->with & WITH_CODES)                   ? "no codes of input and weights"
           : call->with / WITH_MODE == QF_COMPUTE_FLOAT ? "the context computes in float"
                                                        : NULL;
}

static qf_status accepts_int8(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    *no = refuses_codes(call);
    if (!*no && !qf_convolution_has_int8(&call->c->shape))
        *no = QF_LACKS "exact int8";
    return *no ? QF_OK : qf_convolution_accepts_unit(context, call, kind_of(call, false), no);
}

static qf_status accepts_exact_float(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    *no = refuses_codes(call);
    if (!*no && !is_exact_in_float(&call->c->shape))
        *no = "sums may exceed 2^24";
    return *no ? QF_OK : qf_convolution_accepts_unit(context, call, kind_of(call, true), no);
}

/* Best of some runs. */
static qf_status measure(qf_status (*run)(qf_context *, const void *), qf_context *context,
                         const convolve_call *call, double *best)
{
    enum { RUNS = 4 }; /* the first one prepares */
    *best = INFINITY;
    for (int i = 0; i < RUNS; i++) {
        const double start = qf_seconds();
        QF_TRY(run(context, call));
        *best = i > 0 ? fmin(*best, qf_seconds() - start) : *best;
    }
    return QF_OK;
}

/* What the times depend on. */
typedef struct timed {
    qf_convolution_shape shape;
    unsigned with;
    int threads;
} timed;
_Static_assert(sizeof(timed) <= QF_TIMED_KEY, "the context can keep it");

static qf_status time_both(qf_context *context, const convolve_call *call, bool *int8_suits)
{
    const qf_convolution_shape *s = &call->c->shape;
    double int8, exact;
    QF_TRY(measure(run_int8, context, call, &int8));
    QF_TRY(measure(run_exact_float, context, call, &exact));
    qf_debug(context, "Convolution of %d by %d channels, kernel %d: int8 %.3f ms, float %.3f ms",
             s->in_channels / s->groups, s->out_channels, s->kernel[0], 1e3 * int8, 1e3 * exact);
    *int8_suits = int8 <= exact;
    return QF_OK;
}

/* Both give the same bits, so the choice may depend on the moment. */
static qf_status suits_int8(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    const char *not_exact = NULL;
    timed key;
    bool suits;
    QF_TRY(accepts_exact_float(context, call, &not_exact));
    if (not_exact || call->with / WITH_MODE == QF_COMPUTE_INT8)
        return QF_OK;
    memset(&key, 0, sizeof key);
    key.shape = call->c->shape;
    key.with = call->with;
    key.threads = context->threads;
    if (!qf_timing_known(context, &qf_convolve_forward_list, &key, sizeof key, &suits)) {
        QF_TRY(time_both(context, call, &suits));
        QF_TRY(qf_timing_keep(context, &qf_convolve_forward_list, &key, sizeof key, suits));
    }
    if (!suits)
        *no = "exact_float was faster";
    return QF_OK;
}

/* ---- floats ---- */

static qf_status accepts_float(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    return qf_convolution_accepts_unit(context, call, call->bias ? FORWARD_BIAS : FORWARD, no);
}

static qf_status run_float(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const unit_kind kind = call->bias ? FORWARD_BIAS : FORWARD;
    const float *source, *weights;
    float *result;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, call->c, kind, &u));
    QF_TRY(qf_read(context, call->x, QF_NHWC, &source));
    QF_TRY(qf_read(context, call->w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, call->w->version));
    QF_TRY(qf_convolution_give_bias(context, u->bias, call->bias, QF_PLAIN));
    QF_TRY(qf_write(context, call->y, QF_NHWC, &result));
    return qf_convolution_execute(context, u, kind, source, result);
}

static const qf_implementation forward[] = {
    {"int8", accepts_int8, suits_int8, run_int8},
    {"exact_float", accepts_exact_float, NULL, run_exact_float},
    {"onednn", accepts_float, NULL, run_float},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_forward_list = {
    "convolve", "forward", QF_IMPLEMENTATIONS(forward), qf_convolve_describe};

static bool are_codes(const qf_tensor *x, const qf_tensor *w)
{
    return qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
           (w->weight_scale_count == 1 || w->weight_scale_axis == 0);
}

qf_status qf_convolution_forward(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y)
{
    const unsigned with = (are_codes(x, w) ? WITH_CODES : 0) | (bias ? WITH_BIAS : 0) |
                          (unsigned)context->compute * WITH_MODE;
    return qf_convolve_run_forward(context, OF_FORWARD, with, c, x, w, bias, y);
}

/* ---- codes in, accumulators out ---- */

static qf_status run_tiles(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    int32_t *result;
    QF_TRY(qf_tensor_write(context, call->y, QF_INTEGERS, &result));
    return qf_integer_convolution_forward(context, &call->c->integer, &call->c->shape, call->x,
                                          call->w, false, call->bias, NULL, result);
}

static qf_status accepts_integer(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    if (!qf_convolution_has_int8(&call->c->shape))
        *no = QF_LACKS "exact int8";
    return *no ? QF_OK
               : qf_convolution_accepts_unit(
                     context, call, call->bias ? FORWARD_INTEGER_BIAS : FORWARD_INTEGER, no);
}

static qf_status suits_integer(qf_context *context, const void *of, const char **no)
{
    const qf_convolution_shape *s = &((const convolve_call *)of)->c->shape;
    (void)context;
    if (s->groups > 1 && s->groups == s->in_channels)
        *no = "slow where channels are for themselves";
    return QF_OK;
}

static qf_status run_integer(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const unit_kind kind = call->bias ? FORWARD_INTEGER_BIAS : FORWARD_INTEGER;
    const uint8_t *codes;
    const int8_t *weights;
    int32_t *result;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, call->c, kind, &u));
    QF_TRY(qf_tensor_read(context, call->x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, call->w, QF_WEIGHT_CODES, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, call->w->version));
    QF_TRY(qf_convolution_give_bias(context, u->bias, call->bias, QF_INTEGERS));
    QF_TRY(qf_tensor_write(context, call->y, QF_INTEGERS, &result));
    u->zero = call->x->code_zero;
    return qf_convolution_execute(context, u, kind, codes, result);
}

static const qf_implementation integers[] = {
    {"tiles", qf_tiles_accept, NULL, run_tiles},
    {"onednn", accepts_integer, suits_integer, run_integer},
    {"depthwise", qf_depthwise_accepts, NULL, qf_depthwise_forward_integer},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_forward_integer_list = {
    "convolve", "forward_integer", QF_IMPLEMENTATIONS(integers), qf_convolve_describe};

qf_status qf_convolution_forward_integer(qf_context *context, qf_convolution *c, qf_tensor *x,
                                         qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const unsigned with = WITH_CODES | (bias ? WITH_BIAS : 0);
    return qf_convolve_run_forward(context, OF_FORWARD_INTEGER, with, c, x, w, bias, y);
}
