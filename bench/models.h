/* The nets of the benchmarks. */
#ifndef QF_BENCH_MODELS_H
#define QF_BENCH_MODELS_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct bench_model {
    const char *name, *title;
    int batch;                                /* usual size */
    void (*write)(qf_buffer *net, int batch); /* appends the prototxt of a net that trains */
} bench_model;

extern const bench_model bench_models[]; /* ends with a NULL name */

const bench_model *bench_model_find(const char *name); /* NULL if there is none */

#endif
