/*
 * Convolutions at inference, with what follows them. In float, ReLU and the sum are operations of
 * oneDNN's primitive. In integers oneDNN leaves 32-bit sums, which qf_requantise_rows() turns into
 * values and codes; to find the sums in its cache, each thread runs the primitive on pieces of the
 * work (rows of a 1x1 convolution, images otherwise) and goes on with each piece at once.
 */
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/cpu.h"
#include "device/cpu/sweep/cpu_requantise.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <omp.h>
#include <string.h>

/* What one thread needs to run a primitive. */
typedef struct runner {
    dnnl_stream_t stream;
    dnnl_memory_t x, y, scratchpad;
    void *scratch;
} runner;

typedef struct fused_unit {
    dnnl_primitive_t primitive; /* NULL until needed */
    bool impossible;
    bool bias;
    qf_epilogue epilogue; /* float */
    int pieces, threads;  /* integer: runners; 1 piece: all threads run the primitive together */
    size_t rows;          /* of a piece: positions of the output */
    runner *runners;
    int runner_count;
    dnnl_memory_t bias_memory, zero_memory;
    int32_t zero;
    qf_operand weights;
} fused_unit;

struct qf_fused_convolution {
    fused_unit value, integer;
};

static void destroy_unit(fused_unit *u)
{
    if (u->primitive)
        dnnl_primitive_destroy(u->primitive);
    for (int i = 0; i < u->runner_count; i++) {
        runner *r = &u->runners[i];
        dnnl_memory_t memories[] = {r->x, r->y, r->scratchpad};
        for (size_t k = 0; k < sizeof memories / sizeof *memories; k++)
            if (memories[k])
                dnnl_memory_destroy(memories[k]);
        if (r->stream)
            dnnl_stream_destroy(r->stream);
        qf_free(r->scratch);
    }
    qf_free(u->runners);
    if (u->bias_memory)
        dnnl_memory_destroy(u->bias_memory);
    if (u->zero_memory)
        dnnl_memory_destroy(u->zero_memory);
    qf_operand_destroy(&u->weights);
    *u = (fused_unit){0};
}

void qf_fused_convolution_destroy(struct qf_fused_convolution *fused)
{
    if (!fused)
        return;
    destroy_unit(&fused->value);
    destroy_unit(&fused->integer);
    qf_free(fused);
}

static qf_status get_fused(qf_context *context, qf_convolution *c)
{
    if (!c->fused)
        c->fused = qf_alloc(1, sizeof *c->fused);
    return c->fused ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
}

/* ---- creating a unit ---- */

typedef struct descriptions {
    dnnl_memory_desc_t x, y, w, w_plain, bias;
} descriptions;

static qf_status describe(qf_context *context, const qf_convolution *c, const dnnl_dims_t x_dims,
                          const dnnl_dims_t y_dims, bool integer, descriptions *d)
{
    const dnnl_data_type_t codes = integer ? dnnl_u8 : dnnl_f32,
                           weights = integer ? dnnl_s8 : dnnl_f32,
                           sums = integer ? dnnl_s32 : dnnl_f32;
    const dnnl_format_tag_t tag = qf_activation_tag(c->axes);
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->x, c->axes, x_dims, codes, tag));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->y, c->axes, y_dims, sums, tag));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->w, c->weight_axes, c->w_dims, weights,
                                                  dnnl_format_tag_any));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->w_plain, c->weight_axes, c->w_dims, weights,
                                                  qf_plain_weight_tag(c->weight_axes)));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->bias, 1, c->bias_dims, sums, dnnl_a));
    return QF_OK;
}

static dnnl_status_t set_attributes(dnnl_primitive_attr_t attributes, bool integer,
                                    const qf_epilogue *epilogue)
{
    const int32_t at_run_time = DNNL_RUNTIME_S32_VAL;
    dnnl_post_ops_t operations;
    /* Several threads run one primitive: each brings its own scratchpad. */
    dnnl_status_t status =
        dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && integer)
        return dnnl_primitive_attr_set_zero_points(attributes, DNNL_ARG_SRC, 1, 0, &at_run_time);
    if (status != dnnl_success || !(epilogue->sum || epilogue->relu))
        return status;
    status = dnnl_post_ops_create(&operations);
    if (status != dnnl_success)
        return status;
    if (epilogue->sum)
        status = dnnl_post_ops_append_sum(operations, 1);
    if (status == dnnl_success && epilogue->relu && epilogue->relu_limit > 0)
        status =
            dnnl_post_ops_append_eltwise(operations, 1, dnnl_eltwise_clip, 0, epilogue->relu_limit);
    else if (status == dnnl_success && epilogue->relu)
        status =
            dnnl_post_ops_append_eltwise(operations, 1, dnnl_eltwise_relu, epilogue->relu_slope, 0);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attributes, operations);
    dnnl_post_ops_destroy(operations);
    return status;
}

static dnnl_status_t create_description(const qf_convolution *c, const fused_unit *u, bool integer,
                                        const descriptions *d, dnnl_engine_t engine,
                                        dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t operation;
    dnnl_primitive_attr_t attributes;
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &operation, dnnl_forward_inference, dnnl_convolution_direct, &d->x, &d->w,
        u->bias ? &d->bias : NULL, &d->y, c->strides, c->dilates, c->pads, c->pads_end);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_create(&attributes);
    if (status != dnnl_success)
        return status;
    status = set_attributes(attributes, integer, &u->epilogue);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(out, &operation, attributes, engine, NULL);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

static qf_status create_runner(qf_context *context, const qf_onednn *onednn, runner *r,
                               const descriptions *d, const_dnnl_primitive_desc_t description)
{
    const dnnl_memory_desc_t *scratchpad =
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    const size_t size = dnnl_memory_desc_get_size(scratchpad);
    QF_DNNL(context, dnnl_stream_create(&r->stream, onednn->engine, dnnl_stream_default_flags));
    QF_DNNL(context, dnnl_memory_create(&r->x, &d->x, onednn->engine, DNNL_MEMORY_NONE));
    QF_DNNL(context, dnnl_memory_create(&r->y, &d->y, onednn->engine, DNNL_MEMORY_NONE));
    QF_DNNL(context,
            dnnl_memory_create(&r->scratchpad, scratchpad, onednn->engine, DNNL_MEMORY_NONE));
    r->scratch = qf_alloc_raw(size ? size : 1, 1);
    if (!r->scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    QF_DNNL(context, dnnl_memory_set_data_handle(r->scratchpad, r->scratch));
    return QF_OK;
}

static qf_status create_memories(qf_context *context, const qf_onednn *onednn, fused_unit *u,
                                 bool integer, const descriptions *d,
                                 const_dnnl_primitive_desc_t description)
{
    const int count = u->pieces > 1 ? u->threads : 1;
    u->runners = qf_alloc((size_t)count, sizeof *u->runners);
    if (!u->runners)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    for (; u->runner_count < count; u->runner_count++)
        QF_TRY(create_runner(context, onednn, &u->runners[u->runner_count], d, description));
    if (u->bias)
        QF_DNNL(context,
                dnnl_memory_create(&u->bias_memory, &d->bias, onednn->engine, DNNL_MEMORY_NONE));
    if (integer) {
        dnnl_memory_desc_t single;
        QF_DNNL(context,
                dnnl_memory_desc_init_by_tag(&single, 1, (dnnl_dims_t){1}, dnnl_s32, dnnl_a));
        QF_DNNL(context,
                dnnl_memory_create(&u->zero_memory, &single, onednn->engine, DNNL_MEMORY_NONE));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->zero_memory, &u->zero));
    }
    return qf_operand_create(context, &u->weights, &d->w_plain,
                             dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0),
                             true, 0);
}

static qf_status create_unit(qf_context *context, const qf_convolution *c, fused_unit *u,
                             bool integer, const dnnl_dims_t x_dims, const dnnl_dims_t y_dims)
{
    qf_onednn *onednn;
    descriptions d;
    dnnl_primitive_desc_t description;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_TRY(describe(context, c, x_dims, y_dims, integer, &d));
    /* A primitive for pieces is made for one thread. */
    const int threads = omp_get_max_threads();
    if (u->pieces > 1)
        omp_set_num_threads(1);
    dnnl_status_t status = create_description(c, u, integer, &d, onednn->engine, &description);
    qf_status result = QF_OK;
    if (status == dnnl_success) {
        result = create_memories(context, onednn, u, integer, &d, description);
        if (result == QF_OK)
            status = dnnl_primitive_create(&u->primitive, description);
        dnnl_primitive_desc_destroy(description);
    }
    omp_set_num_threads(threads);
    if (status == dnnl_unimplemented) {
        u->impossible = true;
        return QF_OK;
    }
    return status == dnnl_success || result != QF_OK
               ? result
               : qf_onednn_fail(context, status, "convolution");
}

/* Touches no context: several threads may be here. */
static dnnl_status_t execute(const fused_unit *u, runner *r, const void *x, void *y)
{
    dnnl_exec_arg_t arguments[6] = {{DNNL_ARG_SRC, r->x},
                                    {DNNL_ARG_DST, r->y},
                                    {DNNL_ARG_WEIGHTS, u->weights.memory},
                                    {DNNL_ARG_SCRATCHPAD, r->scratchpad}};
    int count = 4;
    if (u->bias)
        arguments[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, u->bias_memory};
    if (u->zero_memory)
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, u->zero_memory};
    dnnl_status_t status = dnnl_memory_set_data_handle(r->x, (void *)x);
    if (status == dnnl_success)
        status = dnnl_memory_set_data_handle(r->y, y);
    return status == dnnl_success
               ? qf_onednn_execute(u->primitive, true, r->stream, count, arguments)
               : status;
}

/* ---- float ---- */

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
    QF_TRY(get_fused(context, c));
    fused_unit *u = &c->fused->value;
    if (u->primitive &&
        (u->bias != (call->bias != NULL) || !same_epilogue(&u->epilogue, call->epilogue)))
        destroy_unit(u);
    if (!u->primitive && !u->impossible) {
        u->bias = call->bias != NULL;
        u->epilogue = *call->epilogue;
        QF_TRY(create_unit(context, c, u, false, c->x_dims, c->y_dims));
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
    const float *source, *weights, *bias_values;
    float *result;
    fused_unit *u;
    QF_TRY(get_value_unit(context, call, &u));
    if (!u) /* another epilogue than the one that it accepted */
        return qf_convolve_run_reference(context, call);
    QF_TRY(qf_read(context, call->x, QF_NHWC, &source));
    QF_TRY(qf_read(context, call->w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, call->w->version));
    if (call->bias) {
        QF_TRY(qf_read(context, call->bias, QF_PLAIN, &bias_values));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias_memory, (void *)bias_values));
    }
    QF_TRY(call->epilogue->sum ? qf_update(context, call->y, QF_NHWC, &result)
                               : qf_write(context, call->y, QF_NHWC, &result));
    QF_DNNL(context, execute(u, &u->runners[0], source, result));
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

/* ---- integers ---- */

enum {
    PIECE_BYTES = 1 << 18,    /* of sums: a part of a core's cache, which weights need too */
    SMALLEST_WHOLE = 1 << 19, /* bytes of sums a thread, up to which the whole is one piece */
};

static bool is_pointwise(const qf_convolution_shape *s)
{
    for (int i = 0; i < s->spatial_axes; i++)
        if (s->kernel[i] != 1 || s->stride[i] != 1 || s->pad[i] != 0 || s->pad_end[i] != 0)
            return false;
    return true;
}

/* How many equal pieces, a multiple of the threads; 1 if that cannot be. */
static int count_pieces(size_t units, size_t unit_bytes, int threads)
{
    const size_t step = (size_t)threads;
    if (threads < 2 && units * unit_bytes <= SMALLEST_WHOLE)
        return 1;
    for (size_t pieces = step; pieces <= units; pieces += step)
        if (units % pieces == 0 && units / pieces * unit_bytes <= PIECE_BYTES)
            return (int)pieces;
    return 1;
}

/* Dimensions of a piece. */
static void cut(const qf_convolution *c, fused_unit *u, dnnl_dims_t x_dims, dnnl_dims_t y_dims)
{
    const qf_convolution_shape *s = &c->shape;
    size_t positions = 1;
    memcpy(x_dims, c->x_dims, sizeof(dnnl_dims_t));
    memcpy(y_dims, c->y_dims, sizeof(dnnl_dims_t));
    for (int i = 0; i < s->spatial_axes; i++)
        positions *= (size_t)s->out[i];
    const size_t rows = positions * (size_t)s->batch;
    const size_t row_bytes = (size_t)s->out_channels * sizeof(int32_t);
    u->threads = omp_get_max_threads();
    u->pieces = 1;
    u->rows = rows;
    if (rows * row_bytes <= (size_t)u->threads * SMALLEST_WHOLE)
        return;
    if (is_pointwise(s)) {
        u->pieces = count_pieces(rows, row_bytes, u->threads);
        u->rows = rows / (size_t)u->pieces;
        if (u->pieces == 1)
            return;
        x_dims[0] = y_dims[0] = 1;
        for (int i = 0; i < s->spatial_axes; i++)
            x_dims[2 + i] = y_dims[2 + i] = i == s->spatial_axes - 1 ? (int64_t)u->rows : 1;
    } else if (s->batch > 1 && s->batch % u->threads == 0) {
        u->pieces = s->batch;
        u->rows = positions;
        x_dims[0] = y_dims[0] = 1;
    }
}

static qf_status get_integer_unit(qf_context *context, qf_convolution *c, bool bias,
                                  fused_unit **out)
{
    dnnl_dims_t x_dims, y_dims;
    QF_TRY(get_fused(context, c));
    fused_unit *u = &c->fused->integer;
    *out = NULL;
    if (u->primitive && (u->bias != bias || u->threads != omp_get_max_threads()))
        destroy_unit(u);
    if (!u->primitive && !u->impossible && qf_convolution_has_int8(&c->shape)) {
        u->bias = bias;
        cut(c, u, x_dims, y_dims);
        QF_TRY(create_unit(context, c, u, true, x_dims, y_dims));
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

static size_t bytes_of_input(const qf_convolution_shape *s)
{
    size_t bytes = (size_t)s->batch * (size_t)s->in_channels;
    for (int i = 0; i < s->spatial_axes; i++)
        bytes *= (size_t)s->in[i];
    return bytes;
}

static qf_status run_pieces(qf_context *context, const qf_convolution *c, fused_unit *u,
                            const operands *o, const qf_requantiser *q)
{
    const size_t step = bytes_of_input(&c->shape) / (size_t)u->pieces;
    const size_t sums = u->rows * q->r->channels;
    qf_array *scratch = qf_array_take(context, (size_t)u->runner_count * sums * sizeof(int32_t));
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", sums);
    dnnl_status_t status = dnnl_success;
    if (u->pieces == 1) {
        status = execute(u, &u->runners[0], o->x, scratch->bytes);
        if (status == dnnl_success)
            qf_requantise_all(q, scratch->bytes, 0, u->rows);
    } else {
        qf_kernels_begin();
#pragma omp parallel for schedule(static) num_threads(u->threads)
        for (int piece = 0; piece < u->pieces; piece++) {
            const int thread = omp_get_thread_num();
            int32_t *acc = (int32_t *)scratch->bytes + (size_t)thread * sums;
            dnnl_status_t mine = execute(u, &u->runners[thread], o->x + (size_t)piece * step, acc);
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
