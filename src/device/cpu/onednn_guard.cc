/* oneDNN's C functions, with what they throw made a status. */
#include "device/cpu/onednn_guard.h"

extern "C" {
#include "base/memory.h"
}

#include <atomic>
#include <new>

/* A primitive whose making threw stays in oneDNN's cache as one that can never be had. */
static void empty_cache()
{
    try {
        int capacity;
        if (dnnl_get_primitive_cache_capacity(&capacity) == dnnl_success &&
            dnnl_set_primitive_cache_capacity(0) == dnnl_success)
            dnnl_set_primitive_cache_capacity(capacity);
    } catch (...) { /* then it stays */
    }
}

template <auto function, int reserve> struct guard;

template <typename... Arguments, dnnl_status_t (*function)(Arguments...), int reserve>
struct guard<function, reserve> {
    static dnnl_status_t call(Arguments... arguments)
    {
        if (reserve > 0 && !qf_memory_is_there((size_t)reserve << 20))
            return dnnl_out_of_memory;
        dnnl_status_t status;
        try {
            return function(arguments...);
        } catch (const std::bad_alloc &) {
            status = dnnl_out_of_memory;
        } catch (...) {
            status = dnnl_runtime_error;
        }
        empty_cache();
        return status;
    }
};

/* Products generate code when the first of their kind is summed. */
template <auto function, typename... Rest>
static dnnl_status_t product(char transpose_a, char transpose_b, Rest... rest)
{
    static std::atomic<bool> seen[4];
    std::atomic<bool> &kind = seen[(transpose_a == 'T') << 1 | (transpose_b == 'T')];
    if (!kind && !qf_memory_is_there((size_t)32 << 20))
        return dnnl_out_of_memory;
    const dnnl_status_t status = guard<function, 0>::call(transpose_a, transpose_b, rest...);
    if (status == dnnl_success)
        kind = true;
    return status;
}

const struct qf_guarded qf_guarded = {
#define X(name, reserve) guard<dnnl_##name, reserve>::call,
    QF_GUARDED(X)
#undef X
        product<dnnl_sgemm>,
    product<dnnl_gemm_u8s8s32>,
};
