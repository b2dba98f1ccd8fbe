/*
 * Convolutions of codes at inference, with what follows them. oneDNN leaves 32-bit sums, which
 * qf_requantise_rows() turns into values and codes; to find the sums in its cache, each thread runs
 * the primitive on pieces of the work (rows of a 1x1 convolution, images otherwise) and goes on
 * with each piece at once.
 */
#include "device/cpu/convolve/fused_unit.h"
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/cpu.h"
#include "device/cpu/sweep/cpu_requantise.h"

#include <omp.h>
#include <string.h>

static qf_status get_integer_unit(qf_context *context, qf_convolution *c, bool bias,
                                  fused_unit **out)
{
    dnnl_dims_t x_dims, y_dims;
    QF_TRY(qf_fused_convolution_need(context, c));
    fused_unit *u = &c->fused->integer;
    *out = NULL;
    if (u->primitive && (u->bias != bias || u->threads != omp_get_max_threads()))
        qf_fused_unit_destroy(u);
    if (!u->primitive && !u->impossible && qf_convolution_has_int8(&c->shape)) {
        u->bias = bias;
        qf_fused_unit_cut(c, u, 0, x_dims, y_dims);
        QF_TRY(qf_fused_unit_create(context, c, u, true, x_dims, y_dims));
    }
    *out = u->primitive ? u : NULL;
    return QF_OK;
}

typedef struct operands {
    const uint8_t *x;
    const int8_t *w;
    const int32_t *bias;
    int zero;
} operands;

static qf_status run_pieces(qf_context *context, const qf_convolution *c, fused_unit *u,
                            const operands *o, const qf_requantiser *q)
{
    const size_t step = qf_fused_values_in(&c->shape) / (size_t)u->pieces;
    const size_t sums = u->rows * q->r->channels;
    qf_array *scratch = qf_array_take(context, (size_t)u->runner_count * sums * sizeof(int32_t));
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", sums);
    dnnl_status_t status = dnnl_success;
    if (u->pieces == 1) {
        status = qf_fused_unit_execute(u, &u->runners[0], o->x, scratch->bytes);
        if (status == dnnl_success)
            qf_requantise_all(q, scratch->bytes, 0, u->rows);
    } else {
        qf_kernels_begin();
#pragma omp parallel for schedule(static) num_threads(u->threads)
        for (int piece = 0; piece < u->pieces; piece++) {
            const int thread = omp_get_thread_num();
            int32_t *acc = (int32_t *)scratch->bytes + (size_t)thread * sums;
            dnnl_status_t mine =
                qf_fused_unit_execute(u, &u->runners[thread], o->x + (size_t)piece * step, acc);
            qf_requantise_rows(q, acc, (size_t)piece * u->rows, u->rows);
            if (mine != dnnl_success) {
#pragma omp atomic write
                status = mine;
            }
        }
        qf_kernels_end(status);
    }
    qf_array_release(scratch);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "convolution");
}

static qf_status accepts_pieces(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    fused_unit *u;
    if (!qf_convolution_has_int8(&call->c->shape))
        *no = QF_LACKS "exact int8";
    if (*no)
        return QF_OK;
    QF_TRY(get_integer_unit(context, call->c, call->bias != NULL, &u));
    if (!u)
        *no = "oneDNN has none for this shape";
    return QF_OK;
}

/* Sums in a tensor of their own, then requantised: where there is nothing better. */
static qf_status run_two_steps(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const qf_convolution_shape *s = &call->c->shape;
    qf_shape shape = {.axes = 2 + s->spatial_axes, .dim = {s->batch, s->out_channels}};
    qf_tensor *acc;
    memcpy(&shape.dim[2], s->out, (size_t)s->spatial_axes * sizeof *s->out);
    QF_TRY(qf_tensor_create(context, &acc));
    qf_status status = qf_tensor_reshape(context, acc, &shape);
    if (status == QF_OK)
        status =
            qf_convolution_forward_integer(context, call->c, call->x, call->w, call->bias, acc);
    if (status == QF_OK)
        status =
            qf_requantise(context, call->requantisation, acc, call->addend, call->y, call->codes);
    qf_tensor_release(acc);
    return status;
}

static qf_status run_integer_pieces(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    operands o = {.zero = call->x->code_zero};
    qf_requantiser requantiser;
    fused_unit *u;
    QF_TRY(get_integer_unit(context, call->c, call->bias != NULL, &u));
    if (!u) /* other threads, other pieces than those that it accepted */
        return run_two_steps(context, call);
    QF_TRY(qf_tensor_read(context, call->x, QF_CODES, &o.x));
    QF_TRY(qf_tensor_read(context, call->w, QF_WEIGHT_CODES, &o.w));
    if (call->bias)
        QF_TRY(qf_tensor_read(context, call->bias, QF_INTEGERS, &o.bias));
    QF_TRY(qf_requantiser_open(context, call->requantisation, call->addend, call->y, call->codes,
                               &requantiser));
    QF_TRY(qf_operand_load(context, &u->weights, o.w, NULL, call->w->version));
    if (call->bias)
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias_memory, (void *)o.bias));
    u->zero = o.zero;
    return run_pieces(context, call->c, u, &o, &requantiser);
}

static qf_status run_tiles(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    qf_requantiser requantiser;
    QF_TRY(qf_requantiser_open(context, call->requantisation, call->addend, call->y, call->codes,
                               &requantiser));
    return qf_integer_convolution_forward(context, &call->c->integer, &call->c->shape, call->x,
                                          call->w, false, call->bias, &requantiser, NULL);
}

static const qf_implementation requantised_list[] = {
    {"tiles", qf_tiles_accept, NULL, run_tiles},
    {"depthwise", qf_depthwise_accepts, NULL, qf_depthwise_forward_requantised},
    {"onednn", accepts_pieces, NULL, run_integer_pieces},
    {"two_steps", NULL, NULL, run_two_steps}, /* as forward_integer chooses */
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_forward_requantised_list = {
    "convolve", "forward_requantised", QF_IMPLEMENTATIONS(requantised_list), qf_convolve_describe};

qf_status qf_convolution_forward_requantised(qf_context *context, qf_convolution *c, qf_tensor *x,
                                             qf_tensor *w, qf_tensor *bias,
                                             const qf_requantisation *r, qf_tensor *addend,
                                             qf_tensor *y, qf_tensor *codes)
{
    const convolve_call call = {.operation = OF_FORWARD_REQUANTISED,
                                .with = WITH_CODES | (bias ? WITH_BIAS : 0),
                                .c = c,
                                .x = x,
                                .w = w,
                                .bias = bias,
                                .requantisation = r,
                                .addend = addend,
                                .y = y,
                                .codes = codes};
    return qf_convolve_run(context, &call);
}
