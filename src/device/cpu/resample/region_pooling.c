/* Pooling of regions: a bin's place is found once for a block of channels. */
#include "device/cpu/resample/cpu_resample.h"

#include "base/parallel.h"

#include <string.h>

enum { BLOCK = 8 }; /* channels: few enough that threads share R-FCN's 21 classes */

typedef struct pooling {
    const qf_region_pooling *shape;
    const float *rows; /* the regions */
    size_t regions, blocks;
} pooling;

static qf_status open_pooling(qf_context *context, const qf_region_pooling *s, qf_tensor *regions,
                              const qf_tensor *y, pooling *p)
{
    *p = (pooling){.shape = s,
                   .regions = (size_t)y->shape.dim[0],
                   .blocks = ((size_t)s->outputs + BLOCK - 1) / BLOCK};
    return qf_read(context, regions, QF_PLAIN, &p->rows);
}

/* A walk over the bins of a region, for one block of channels. */
typedef struct step {
    const float *row;
    int h, w, first, end; /* outputs first … end − 1 */
    qf_region_bin bin;
    size_t at; /* of output `first`, in the result; outputs lie `bins` apart */
} step;

static bool next(const pooling *p, size_t region, size_t block, step *s)
{
    const qf_region_pooling *shape = p->shape;
    const size_t bins = (size_t)shape->pooled[0] * (size_t)shape->pooled[1];
    if (!s->row) {
        const int first = (int)block * BLOCK;
        const int end = shape->outputs - first < BLOCK ? shape->outputs : first + BLOCK;
        *s = (step){.row = p->rows + region * QF_REGION_NUMBERS, .first = first, .end = end};
        s->at = (region * (size_t)shape->outputs + (size_t)first) * bins;
    } else {
        s->at++;
        if (++s->w == shape->pooled[1]) {
            s->w = 0;
            s->h++;
        }
    }
    if (s->h == shape->pooled[0])
        return false;
    s->bin = qf_region_bin_of(shape, s->row, s->h, s->w);
    return true;
}

qf_status qf_pool_regions(qf_context *context, const qf_region_pooling *s, qf_tensor *x,
                          qf_tensor *regions, qf_tensor *y, qf_tensor *winner)
{
    const size_t bins = (size_t)s->pooled[0] * (size_t)s->pooled[1];
    pooling p;
    const float *from;
    float *to;
    int32_t *winners = NULL;
    QF_TRY(open_pooling(context, s, regions, y, &p));
    QF_TRY(qf_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_write(context, y, QF_PLAIN, &to));
    if (winner)
        QF_TRY(qf_tensor_write(context, winner, QF_INTEGERS, &winners));
#pragma omp parallel for collapse(2) schedule(static)
    for (size_t region = 0; region < p.regions; region++)
        for (size_t block = 0; block < p.blocks; block++)
            for (step it = {0}; next(&p, region, block, &it);)
                for (int c = it.first; c < it.end; c++) {
                    const size_t at = it.at + (size_t)(c - it.first) * bins;
                    to[at] = qf_region_value(s, &it.bin,
                                             from + qf_region_plane(s, it.row, c, it.h, it.w),
                                             winners ? &winners[at] : NULL);
                }
    return QF_OK;
}

/* Regions overlap, channels do not meet: each gets its regions in their order. */
qf_status qf_pool_regions_backward(qf_context *context, const qf_region_pooling *s,
                                   qf_tensor *regions, qf_tensor *winner, qf_tensor *dy,
                                   qf_tensor *dx)
{
    const size_t bins = (size_t)s->pooled[0] * (size_t)s->pooled[1];
    pooling p;
    const float *from;
    float *to;
    const int32_t *winners = NULL;
    QF_TRY(open_pooling(context, s, regions, dy, &p));
    if (winner)
        QF_TRY(qf_tensor_read(context, winner, QF_INTEGERS, &winners));
    QF_TRY(qf_read(context, dy, QF_PLAIN, &from));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &to));
    memset(to, 0, qf_shape_count(&dx->shape) * sizeof *to);
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < p.blocks; block++)
        for (size_t region = 0; region < p.regions; region++)
            for (step it = {0}; next(&p, region, block, &it);)
                for (int c = it.first; c < it.end; c++) {
                    const size_t at = it.at + (size_t)(c - it.first) * bins;
                    qf_region_spread(s, &it.bin, winners ? &winners[at] : NULL, from[at],
                                     to + qf_region_plane(s, it.row, c, it.h, it.w));
                }
    return QF_OK;
}
