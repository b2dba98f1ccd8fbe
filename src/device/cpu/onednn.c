/* oneDNN's engine, memory and primitives for the files of this folder. */
#include "device/cpu/onednn.h"

#include "base/guard.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/signals.h"

#include <string.h>

static void destroy(void *engine)
{
    qf_onednn *onednn = engine;
    dnnl_stream_destroy(onednn->stream);
    dnnl_engine_destroy(onednn->engine);
    qf_free(onednn);
}

qf_status qf_onednn_fail(qf_context *context, dnnl_status_t status, const char *what)
{
    static const char *const names[] = {"success",       "out of memory", "invalid arguments",
                                        "unimplemented", "iterator ends", "runtime error",
                                        "not required"};
    bool known = (size_t)status < sizeof names / sizeof *names;
    /* The name of the function, of a whole call. */
    const char *name = strstr(what, "dnnl_") ? strstr(what, "dnnl_") : what;
    const int length = (int)strcspn(name, "(");
    if (status == dnnl_out_of_memory)
        return qf_fail(context, QF_E_MEMORY, "oneDNN: memory ran out (in %.*s)", length, name);
    return qf_fail(context, QF_E_UNSUPPORTED, "oneDNN: %s (in %.*s)",
                   known ? names[status] : "unknown error", length, name);
}

qf_status qf_onednn_get(qf_context *context, qf_onednn **out)
{
    *out = context->engine;
    if (*out)
        return QF_OK;
    qf_onednn *onednn = qf_guard_prepare() ? qf_alloc(1, sizeof *onednn) : NULL;
    if (!onednn)
        return qf_fail(context, QF_E_MEMORY, "no memory for oneDNN");
    dnnl_status_t status = dnnl_engine_create(&onednn->engine, dnnl_cpu, 0);
    if (status == dnnl_success) {
        status = dnnl_stream_create(&onednn->stream, onednn->engine, dnnl_stream_default_flags);
        if (status != dnnl_success)
            dnnl_engine_destroy(onednn->engine);
    }
    if (status != dnnl_success) {
        qf_free(onednn);
        return qf_onednn_fail(context, status, "dnnl_engine_create");
    }
    context->engine = *out = onednn;
    context->engine_destroy = destroy;
    return QF_OK;
}

static bool kernels_move_the_stack(void)
{
    const dnnl_version_t *v = dnnl_version();
    return v->major < 3 || (v->major == 3 && (v->minor < 11 || (v->minor == 11 && v->patch < 2)));
}

void qf_kernels_begin(void)
{
    if (kernels_move_the_stack())
        qf_signals_hold();
    else
        qf_signals_enter();
}

dnnl_status_t qf_kernels_end(dnnl_status_t status)
{
    qf_signals_leave();
    return status;
}

static dnnl_status_t execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
                             const dnnl_exec_arg_t *arguments)
{
    const dnnl_status_t status = dnnl_primitive_execute(primitive, stream, count, arguments);
    return status == dnnl_success ? dnnl_stream_wait(stream) : status;
}

dnnl_status_t qf_onednn_execute(const_dnnl_primitive_t primitive, bool shared, dnnl_stream_t stream,
                                int count, const dnnl_exec_arg_t *arguments)
{
    const int threads = qf_threads_limit(shared);
    const dnnl_status_t status = QF_KERNEL(execute(primitive, stream, count, arguments));
    qf_threads_restore(threads);
    return status;
}

bool qf_onednn_has_avx2(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2;
}

bool qf_onednn_has_avx512(void)
{
    const unsigned avx512 = dnnl_cpu_isa_avx512_core;
    return (dnnl_get_effective_cpu_isa() & avx512) == avx512;
}

bool qf_onednn_has_avx512_vnni(void)
{
    const unsigned vnni = dnnl_cpu_isa_avx512_core_vnni;
    return (dnnl_get_effective_cpu_isa() & vnni) == vnni;
}

bool qf_onednn_has_exact_int8(void)
{
    return qf_onednn_has_avx512_vnni() || dnnl_get_effective_cpu_isa() == dnnl_cpu_isa_avx2_vnni;
}

bool qf_onednn_has_bf16(void)
{
    const unsigned bf16 = dnnl_cpu_isa_avx512_core_bf16;
    return (dnnl_get_effective_cpu_isa() & bf16) == bf16;
}

qf_status qf_matrix_product(qf_context *context, bool transpose_a, bool transpose_b, int m, int n,
                            int k, const float *a, const float *b, float beta, float *c)
{
    if (m == 0 || n == 0)
        return QF_OK;
    if (k == 0) { /* dnnl_sgemm() leaves c as it is */
        for (size_t i = 0; i < (size_t)m * (size_t)n; i++)
            c[i] = beta == 0 ? 0 : beta * c[i];
        return QF_OK;
    }
    const int lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
    const size_t rows = (size_t)m, columns = (size_t)n, depth = (size_t)k;
    const int threads = qf_threads_limit(qf_products_repay_threads(
        rows * columns * depth, rows * depth + depth * columns + rows * columns));
    const dnnl_status_t status = QF_KERNEL(dnnl_sgemm(
        transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1, a, lda, b, ldb, beta, c, n));
    qf_threads_restore(threads);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "dnnl_sgemm");
}

static bool is_shared(const qf_operand *operand)
{
    return qf_repays_threads(operand->size / sizeof(float));
}

qf_status qf_operand_create(qf_context *context, qf_operand *operand,
                            const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *desired,
                            bool into, int scales)
{
    qf_onednn *onednn;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_DNNL(context,
            dnnl_memory_create(&operand->memory, desired, onednn->engine, DNNL_MEMORY_NONE));
    if (!scales && dnnl_memory_desc_equal(plain, desired))
        return QF_OK;
    QF_DNNL(context, dnnl_memory_create(&operand->plain, plain, onednn->engine, DNNL_MEMORY_NONE));
    operand->size = dnnl_memory_desc_get_size(desired);
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t description;
    QF_DNNL(context, dnnl_primitive_attr_create(&attributes));
    dnnl_status_t status = dnnl_success;
    if (scales) {
        const float at_run_time = DNNL_RUNTIME_F32_VAL;
        dnnl_memory_desc_t row;
        status = dnnl_primitive_attr_set_output_scales(attributes, 1, 1 << 0, &at_run_time);
        if (status == dnnl_success)
            status = dnnl_memory_desc_init_by_tag(&row, 1, (dnnl_dims_t){scales}, dnnl_f32, dnnl_a);
        if (status == dnnl_success)
            status = dnnl_memory_create(&operand->scale, &row, onednn->engine, DNNL_MEMORY_NONE);
    }
    const int threads = qf_threads_limit(is_shared(operand));
    if (status == dnnl_success)
        status =
            dnnl_reorder_primitive_desc_create(&description, into ? plain : desired, onednn->engine,
                                               into ? desired : plain, onednn->engine, attributes);
    dnnl_primitive_attr_destroy(attributes);
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&operand->reorder, description);
        dnnl_primitive_desc_destroy(description);
    }
    qf_threads_restore(threads);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "reorder");
}

void qf_operand_release(qf_operand *operand)
{
    qf_array_release(operand->array);
    operand->array = NULL;
    operand->version = 0;
}

void qf_operand_destroy(qf_operand *operand)
{
    dnnl_memory_t memories[] = {operand->memory, operand->plain, operand->scale};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i])
            dnnl_memory_destroy(memories[i]);
    if (operand->reorder)
        dnnl_primitive_destroy(operand->reorder);
    qf_operand_release(operand);
    *operand = (qf_operand){0};
}

static qf_status need_array(qf_context *context, qf_operand *operand)
{
    if (operand->array)
        return QF_OK;
    operand->array = qf_array_take(context, operand->size);
    if (!operand->array)
        return qf_fail(context, QF_E_MEMORY, "no memory for reordered weights");
    QF_DNNL(context, dnnl_memory_set_data_handle(operand->memory, operand->array->bytes));
    return QF_OK;
}

static qf_status run_reorder(qf_context *context, qf_operand *operand, void *plain,
                             const float *scale, bool into)
{
    qf_onednn *onednn;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_DNNL(context, dnnl_memory_set_data_handle(operand->plain, plain));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, into ? operand->plain : operand->memory},
                                   {DNNL_ARG_TO, into ? operand->memory : operand->plain},
                                   {DNNL_ARG_ATTR_OUTPUT_SCALES, operand->scale}};
    if (operand->scale)
        QF_DNNL(context, dnnl_memory_set_data_handle(operand->scale, (void *)scale));
    QF_DNNL(context, qf_onednn_execute(operand->reorder, is_shared(operand), onednn->stream,
                                       operand->scale ? 3 : 2, arguments));
    return QF_OK;
}

qf_status qf_operand_load(qf_context *context, qf_operand *operand, const void *plain,
                          const float *scale, uint64_t version)
{
    if (!operand->reorder) {
        QF_DNNL(context, dnnl_memory_set_data_handle(operand->memory, (void *)plain));
        return QF_OK;
    }
    if (operand->array && operand->version == version)
        return QF_OK;
    QF_TRY(need_array(context, operand));
    QF_TRY(run_reorder(context, operand, (void *)plain, scale, true));
    operand->version = version;
    return QF_OK;
}

qf_status qf_operand_prepare(qf_context *context, qf_operand *operand, void *plain)
{
    if (operand->reorder)
        return need_array(context, operand);
    QF_DNNL(context, dnnl_memory_set_data_handle(operand->memory, plain));
    return QF_OK;
}

qf_status qf_operand_store(qf_context *context, qf_operand *operand, void *plain,
                           const float *scale)
{
    return operand->reorder ? run_reorder(context, operand, plain, scale, false) : QF_OK;
}
