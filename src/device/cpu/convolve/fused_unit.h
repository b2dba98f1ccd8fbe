/* oneDNN's convolutions at inference: primitives that several threads run, each on a piece of the
 * work and with memory of its own. */
#ifndef QF_DEVICE_CPU_CONVOLVE_FUSED_UNIT_H
#define QF_DEVICE_CPU_CONVOLVE_FUSED_UNIT_H

#include "device/cpu/convolve/onednn_convolution.h"

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
    int pieces,
        threads; /* integer, swept: runners; 1 piece: all threads run the primitive together */
    size_t rows; /* of a piece: positions of the output */
    runner *runners;
    int runner_count;
    dnnl_memory_t bias_memory, zero_memory;
    int32_t zero;
    qf_operand weights;
} fused_unit;

struct qf_fused_convolution {
    fused_unit value, integer, swept;
};

/* c->fused is there afterwards. */
qf_status qf_fused_convolution_need(qf_context *, qf_convolution *c);

/* For x and y of these dimensions, a piece's; `bias`, `epilogue` and `pieces` are set. It becomes
 * impossible where oneDNN has no such primitive. */
qf_status qf_fused_unit_create(qf_context *, const qf_convolution *, fused_unit *, bool integer,
                               const dnnl_dims_t x_dims, const dnnl_dims_t y_dims);
/* Sets pieces, threads and rows of a unit, and the dimensions of a piece. 4 bytes a sum; pieces are
 * larger than `weight_bytes`, which each of them reads again. */
void qf_fused_unit_cut(const qf_convolution *, fused_unit *, size_t weight_bytes,
                       dnnl_dims_t x_dims, dnnl_dims_t y_dims);
size_t qf_fused_values_in(const qf_convolution_shape *); /* of all pieces */
void qf_fused_unit_destroy(fused_unit *);
/* Touches no context: several threads may be here. */
dnnl_status_t qf_fused_unit_execute(const fused_unit *, runner *, const void *x, void *y);

#endif
