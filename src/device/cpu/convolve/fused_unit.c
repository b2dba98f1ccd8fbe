/* Making and running oneDNN's primitives for convolutions at inference. */
#include "device/cpu/convolve/fused_unit.h"

#include "base/memory.h"

#include <omp.h>

void qf_fused_unit_destroy(fused_unit *u)
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
    qf_fused_unit_destroy(&fused->value);
    qf_fused_unit_destroy(&fused->integer);
    qf_fused_unit_destroy(&fused->swept);
    qf_free(fused);
}

qf_status qf_fused_convolution_need(qf_context *context, qf_convolution *c)
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

qf_status qf_fused_unit_create(qf_context *context, const qf_convolution *c, fused_unit *u,
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

dnnl_status_t qf_fused_unit_execute(const fused_unit *u, runner *r, const void *x, void *y)
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
