/* Parts of qaffe-bench. */
#ifndef QF_BENCH_BENCH_H
#define QF_BENCH_BENCH_H

#include "base/buffer.h"
#include "base/file.h"
#include "nn/net.h"

#include <dnnl.h>
#include <stdio.h>

void resnet50(qf_buffer *net, int batch); /* appends the prototxt */

/* One bare oneDNN primitive that a layer cannot do without, in the layout that oneDNN likes best.
 */
typedef struct bare_kernel {
    const char *layer;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[8];
    int count;
    double best; /* seconds */
} bare_kernel;

typedef struct bare_kernels {
    qf_context *context;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    bare_kernel *items;
    size_t count, capacity;
    dnnl_memory_t *memory; /* all that the arguments refer to */
    size_t memory_count, memory_capacity;
} bare_kernels;

/* The kernels of every layer of a built net, forward and backward. */
qf_status bare_create(const qf_net *net, bare_kernels *out);
qf_status bare_run(bare_kernels *kernels); /* all of them once; keeps the best time of each */
double bare_sum(const bare_kernels *kernels, const char *layer); /* NULL: of all layers */
void bare_destroy(bare_kernels *kernels);

#endif
