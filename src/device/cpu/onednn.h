/* What the files of the CPU device share: oneDNN's engine, and primitives whose weights it wants
 * in an order of its own. The differences between versions of oneDNN stay in this folder. */
#ifndef QF_DEVICE_CPU_ONEDNN_H
#define QF_DEVICE_CPU_ONEDNN_H

#include "device/cpu/onednn_guard.h"
#include "device/device.h"

typedef struct qf_onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} qf_onednn;

/* The context's engine, created on first use. */
qf_status qf_onednn_get(qf_context *context, qf_onednn **out);
qf_status qf_onednn_fail(qf_context *context, dnnl_status_t status, const char *what);
#define QF_DNNL(context, call)                                                                     \
    do {                                                                                           \
        dnnl_status_t qf_dnnl_ = (call);                                                           \
        if (qf_dnnl_ != dnnl_success)                                                              \
            return qf_onednn_fail((context), qf_dnnl_, #call);                                     \
    } while (0)

/* Every call that lets oneDNN compute stands in this: before 3.11.2 some of its kernels for matrix
 * products and convolutions use the stack pointer for other things, and no signal's handler may
 * run on such a thread (base/signals.h). Threads that compute for a parallel region may do so, too;
 * the region itself stands between qf_kernels_begin() and qf_kernels_end(). */
#define QF_KERNEL(call) (qf_kernels_begin(), qf_kernels_end(call))
void qf_kernels_begin(void);
dnnl_status_t qf_kernels_end(dnnl_status_t status);

/* Run a primitive to its end, by the calling thread alone if it was made so and is not `shared`. */
dnnl_status_t qf_onednn_execute(const_dnnl_primitive_t primitive, bool shared, dnnl_stream_t stream,
                                int count, const dnnl_exec_arg_t *arguments);

/* Are products of 8-bit codes summed exactly? Without VNNI instructions oneDNN adds pairs of
 * products in 16 bits, which saturate. */
bool qf_onednn_has_exact_int8(void);
bool qf_onednn_has_avx2(void);
bool qf_onednn_has_avx512(void);
bool qf_onednn_has_avx512_vnni(void);

/* Has it instructions for bf16? */
bool qf_onednn_has_bf16(void);

/* c[m, n] = op(a)[m, k] · op(b)[k, n] + beta · c, floats in C order; op(a) = aᵀ if so said. */
qf_status qf_matrix_product(qf_context *context, bool transpose_a, bool transpose_b, int m, int n,
                            int k, const float *a, const float *b, float beta, float *c);

/* Weights that a primitive wants in its own order: a memory object, and, where that order or type
 * differs from the plain one, an array and a reorder. */
typedef struct qf_operand {
    dnnl_memory_t memory, plain, scale;
    dnnl_primitive_t reorder; /* NULL: the orders agree */
    size_t size;              /* of the array */
    qf_array *array;          /* NULL between uses of an operand that is released */
    uint64_t version;         /* of the tensor that the array holds */
} qf_operand;

/* `desired`: what the primitive asked for. `into`: from plain to desired; else the other way.
 * `scales` > 0: on the way each index of axis 0, so many, is multiplied by a factor. */
qf_status qf_operand_create(qf_context *context, qf_operand *operand,
                            const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *desired,
                            bool into, int scales);
void qf_operand_destroy(qf_operand *operand);
/* Bring a plain array into the operand; skipped where `version` is what it holds. `scale` as many
 * factors as said, or NULL. */
qf_status qf_operand_load(qf_context *context, qf_operand *operand, const void *plain,
                          const float *scale, uint64_t version);
/* Where the primitive shall write, and bringing what it wrote into the plain array. */
qf_status qf_operand_prepare(qf_context *context, qf_operand *operand, void *plain);
qf_status qf_operand_store(qf_context *context, qf_operand *operand, void *plain,
                           const float *scale);
/* Give the array back, for operands that change at every use anyway. */
void qf_operand_release(qf_operand *operand);

#endif
