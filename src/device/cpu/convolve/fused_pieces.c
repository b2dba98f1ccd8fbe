/* Convolutions cut into pieces, so that whoever goes on with the sums finds them in the cache. */
#include "device/cpu/convolve/fused_unit.h"

#include <omp.h>
#include <string.h>

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
static int count_pieces(size_t units, size_t unit_bytes, size_t piece_bytes, int threads)
{
    const size_t step = (size_t)threads;
    if (threads < 2 && units * unit_bytes <= SMALLEST_WHOLE)
        return 1;
    for (size_t pieces = step; pieces <= units; pieces += step)
        if (units % pieces == 0 && units / pieces * unit_bytes <= piece_bytes)
            return (int)pieces;
    return 1;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void qf_fused_unit_cut(const qf_convolution *c, fused_unit *u, size_t weight_bytes,
                       dnnl_dims_t x_dims, dnnl_dims_t y_dims)
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
    if (rows * row_bytes <= (size_t)u->threads * larger(SMALLEST_WHOLE, weight_bytes))
        return;
    if (is_pointwise(s)) {
        u->pieces = count_pieces(rows, row_bytes, larger(PIECE_BYTES, weight_bytes), u->threads);
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

size_t qf_fused_values_in(const qf_convolution_shape *s)
{
    size_t values = (size_t)s->batch * (size_t)s->in_channels;
    for (int i = 0; i < s->spatial_axes; i++)
        values *= (size_t)s->in[i];
    return values;
}
