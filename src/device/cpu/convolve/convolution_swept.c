/*
 * Float convolutions with a sweep behind them: each thread makes a piece of the sums and goes on
 * with it while it is in the cache, so that memory sees a value once, as behind oneDNN's own
 * operations.
 */
#include "device/cpu/convolve/fused_unit.h"
#include "device/cpu/cpu.h"
#include "device/cpu/sweep/sweep_rows.h"

#include <omp.h>

static size_t weight_bytes(const qf_convolution *c)
{
    size_t count = 1;
    for (int i = 0; i < c->weight_axes; i++)
        count *= (size_t)c->w_dims[i];
    return count * sizeof(float);
}

static qf_status get_swept_unit(qf_context *context, const convolve_call *call, fused_unit **out)
{
    qf_convolution *const c = call->c;
    const bool bias = call->bias != NULL;
    dnnl_dims_t x_dims, y_dims;
    QF_TRY(qf_fused_convolution_need(context, c));
    fused_unit *u = &c->fused->swept;
    if (u->primitive && (u->bias != bias || u->threads != omp_get_max_threads()))
        qf_fused_unit_destroy(u);
    if (!u->primitive && !u->impossible) {
        u->bias = bias;
        qf_fused_unit_cut(c, u, weight_bytes(c), x_dims, y_dims);
        QF_TRY(qf_fused_unit_create(context, c, u, false, x_dims, y_dims));
    }
    *out = u->primitive ? u : NULL;
    return QF_OK;
}

static qf_status accepts_pieces(qf_context *context, const void *of, const char **no)
{
    fused_unit *u;
    QF_TRY(get_swept_unit(context, of, &u));
    if (!u)
        *no = "oneDNN has none for this shape";
    return QF_OK;
}

/* Floats of one call. */
typedef struct arrays {
    const float *x, *addend;
    float *y;
    float *scratch; /* for a piece of each thread, where y holds the addend; or NULL */
} arrays;

static qf_status fetch(qf_context *context, const convolve_call *call, fused_unit *u, arrays *a)
{
    const float *weights;
    QF_TRY(qf_read(context, call->x, QF_NHWC, &a->x));
    QF_TRY(qf_read(context, call->w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, call->w->version));
    QF_TRY(qf_convolution_give_bias(context, u->bias_memory, call->bias, QF_PLAIN));
    if (call->addend == call->y) {
        QF_TRY(qf_update(context, call->y, QF_NHWC, &a->y));
        a->addend = a->y;
        return QF_OK;
    }
    if (call->addend)
        QF_TRY(qf_read(context, call->addend, QF_NHWC, &a->addend));
    return qf_write(context, call->y, QF_NHWC, &a->y);
}

/* Rows `first` ... of the output, whose sums are at `sums`. */
static void sweep_rows(const qf_open_sweep *sweep, const arrays *a, const float *sums, size_t first,
                       size_t rows)
{
    const size_t at = first * sweep->channels;
    qf_sweep_rows(sweep, sums, a->addend ? a->addend + at : NULL, a->y + at, rows);
}

/* All threads make the sums, then each goes on with a part of them. */
static dnnl_status_t run_whole(fused_unit *u, const qf_open_sweep *sweep, const arrays *a)
{
    float *sums = a->scratch ? a->scratch : a->y;
    const dnnl_status_t status = qf_fused_unit_execute(u, &u->runners[0], a->x, sums);
    if (status != dnnl_success)
        return status;
    const size_t threads = (size_t)u->threads;
#pragma omp parallel for schedule(static) num_threads(u->threads)
    for (size_t i = 0; i < threads; i++) {
        const size_t first = u->rows * i / threads, end = u->rows * (i + 1) / threads;
        sweep_rows(sweep, a, sums + first * sweep->channels, first, end - first);
    }
    return dnnl_success;
}

static dnnl_status_t run_pieces(const qf_convolution *c, fused_unit *u, const qf_open_sweep *sweep,
                                const arrays *a)
{
    const size_t step = qf_fused_values_in(&c->shape) / (size_t)u->pieces,
                 size = u->rows * sweep->channels;
    dnnl_status_t status = dnnl_success;
    qf_kernels_begin();
#pragma omp parallel for schedule(static) num_threads(u->threads)
    for (int piece = 0; piece < u->pieces; piece++) {
        const int thread = omp_get_thread_num();
        float *sums = a->scratch ? a->scratch + (size_t)thread * size : a->y + (size_t)piece * size;
        const dnnl_status_t mine =
            qf_fused_unit_execute(u, &u->runners[thread], a->x + (size_t)piece * step, sums);
        if (mine != dnnl_success) {
#pragma omp atomic write
            status = mine;
        } else
            sweep_rows(sweep, a, sums, (size_t)piece * u->rows, u->rows);
    }
    qf_kernels_end(status);
    return status;
}

static qf_status convolve_first(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const qf_convolved convolved = {&qf_cpu_convolve, call->c, call->x, call->w, call->bias};
    return qf_sweep_convolve_first(context, &qf_cpu_sweep, &convolved, call->sweep, call->addend,
                                   call->y);
}

static qf_status run_swept(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    arrays a = {.addend = NULL};
    qf_open_sweep sweep;
    qf_array *scratch = NULL;
    fused_unit *u;
    QF_TRY(get_swept_unit(context, call, &u));
    if (!u) /* other threads, other pieces than those that it accepted */
        return convolve_first(context, call);
    QF_TRY(qf_sweep_open(context, call->sweep, &sweep));
    QF_TRY(fetch(context, call, u, &a));
    if (call->addend == call->y) {
        const size_t size = u->rows * sweep.channels;
        scratch = qf_array_take(context, (size_t)u->runner_count * size * sizeof(float));
        if (!scratch)
            return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", size);
        a.scratch = scratch->bytes;
    }
    const dnnl_status_t status =
        u->pieces == 1 ? run_whole(u, &sweep, &a) : run_pieces(call->c, u, &sweep, &a);
    qf_array_release(scratch);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "convolution");
}

static const qf_implementation swept_list[] = {
    {"pieces", accepts_pieces, NULL, run_swept},
    {"two_steps", NULL, NULL, convolve_first},
};

const qf_implementations qf_convolve_forward_swept_list = {
    "convolve", "forward_swept", QF_IMPLEMENTATIONS(swept_list), qf_convolve_describe};

/* In `sweep`, as it is the one whose searches and countings these are. */
qf_status qf_sweep_forward_convolved(qf_context *context, const qf_convolved *convolved,
                                     const qf_sweep *sweep, qf_tensor *addend, qf_tensor *y)
{
    const bool plain = !sweep->mean && !sweep->factor && !sweep->summand;
    if (convolved->family != &qf_cpu_convolve || !plain)
        return qf_sweep_convolve_first(context, &qf_cpu_sweep, convolved, sweep, addend, y);
    const convolve_call call = {.operation = OF_FORWARD_SWEPT,
                                .with = convolved->bias ? WITH_BIAS : 0,
                                .c = convolved->operation,
                                .x = convolved->x,
                                .w = convolved->weights,
                                .bias = convolved->bias,
                                .sweep = sweep,
                                .addend = addend,
                                .y = y};
    return qf_convolve_run(context, &call);
}
