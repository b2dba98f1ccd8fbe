/* oneDNN's C functions let C++ exceptions out: std::bad_alloc where memory runs out, errors of its
 * assembler, broken promises of its cache. In this folder their names mean functions that catch
 * them (onednn_guard.cc) and give a status. A call costs one jump more.
 *
 * What catching cannot mend: its objects are constructed at NULL where the allocator of its own
 * finds no memory. So before it makes something, or sums its first products, there must be enough
 * memory left for that. */
#ifndef QF_DEVICE_CPU_ONEDNN_GUARD_H
#define QF_DEVICE_CPU_ONEDNN_GUARD_H

#include <dnnl.h>

/* Whatever may allocate, and MiB that must be there before: code that is generated takes most. */
#define QF_GUARDED(X)                                                                              \
    X(engine_create, 16)                                                                           \
    X(stream_create, 1)                                                                            \
    X(memory_create, 1)                                                                            \
    X(memory_set_data_handle, 0)                                                                   \
    X(post_ops_create, 1)                                                                          \
    X(post_ops_append_sum, 1)                                                                      \
    X(post_ops_append_eltwise, 1)                                                                  \
    X(post_ops_append_binary, 1)                                                                   \
    X(primitive_attr_create, 1)                                                                    \
    X(primitive_attr_set_post_ops, 1)                                                              \
    X(primitive_attr_set_zero_points, 1)                                                           \
    X(primitive_attr_set_output_scales, 1)                                                         \
    X(primitive_desc_create, 32)                                                                   \
    X(reorder_primitive_desc_create, 32)                                                           \
    X(primitive_create, 32)                                                                        \
    X(primitive_execute, 0)                                                                        \
    X(stream_wait, 0)

#ifdef __cplusplus
extern "C" {
#endif

extern const struct qf_guarded {
#define X(name, reserve) __typeof__(dnnl_##name) *name;
    QF_GUARDED(X)
#undef X
    __typeof__(dnnl_sgemm) *sgemm;
    __typeof__(dnnl_gemm_u8s8s32) *gemm_u8s8s32;
} qf_guarded;

#ifdef __cplusplus
}
#else
#define dnnl_engine_create qf_guarded.engine_create
#define dnnl_stream_create qf_guarded.stream_create
#define dnnl_memory_create qf_guarded.memory_create
#define dnnl_memory_set_data_handle qf_guarded.memory_set_data_handle
#define dnnl_post_ops_create qf_guarded.post_ops_create
#define dnnl_post_ops_append_sum qf_guarded.post_ops_append_sum
#define dnnl_post_ops_append_eltwise qf_guarded.post_ops_append_eltwise
#define dnnl_post_ops_append_binary qf_guarded.post_ops_append_binary
#define dnnl_primitive_attr_create qf_guarded.primitive_attr_create
#define dnnl_primitive_attr_set_post_ops qf_guarded.primitive_attr_set_post_ops
#define dnnl_primitive_attr_set_zero_points qf_guarded.primitive_attr_set_zero_points
#define dnnl_primitive_attr_set_output_scales qf_guarded.primitive_attr_set_output_scales
#define dnnl_primitive_desc_create qf_guarded.primitive_desc_create
#define dnnl_reorder_primitive_desc_create qf_guarded.reorder_primitive_desc_create
#define dnnl_primitive_create qf_guarded.primitive_create
#define dnnl_primitive_execute qf_guarded.primitive_execute
#define dnnl_stream_wait qf_guarded.stream_wait
#define dnnl_sgemm qf_guarded.sgemm
#define dnnl_gemm_u8s8s32 qf_guarded.gemm_u8s8s32
#endif
#endif
