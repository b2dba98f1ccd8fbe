/* Values on their way into IFMR's bins, block by block, each of which is in the nearest cache when
 * it is counted; by any thread, in any order. */
#include "device/cpu/quantise/ifmr_count.h"

#include "base/array.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "device/choose.h"
#include "device/cpu/onednn.h"
#include "device/cpu/quantise/ifmr_places.h"
#include "device/cpu/quantise/quantise_loops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What one thread has counted since it last handed it over. */
typedef struct part {
    qf_ifmr_grid grid;
    uint32_t *counts;
    qf_ifmr_end top, bottom;
    bool used, failed; /* failed: some value is not finite */
} part;

struct qf_ifmr_count {
    qf_ifmr_data *data;
    qf_ifmr_look *look;
    qf_ifmr_grid grid;  /* of the data at the beginning */
    float above, below; /* what is not beyond these is no end, by what was there before */
    int threads;
    part *parts;     /* of each thread */
    qf_array *array; /* their counts */
};

/* ---- which kernel: to run is to take it ---- */

typedef struct count_call {
    qf_ifmr_count *count;
} count_call;

static qf_status accepts_avx512(qf_context *context, const void *of, const char **no)
{
    (void)context;
    (void)of;
    *no = qf_onednn_has_avx512() ? NULL : QF_LACKS "AVX-512";
    return QF_OK;
}

static qf_status take_avx512(qf_context *context, const void *of)
{
    (void)context;
    ((const count_call *)of)->count->look = qf_ifmr_look_avx512;
    return QF_OK;
}

static qf_status take_loops(qf_context *context, const void *of)
{
    (void)context;
    ((const count_call *)of)->count->look = qf_ifmr_look_loops;
    return QF_OK;
}

static void describe(const void *of, char *text, size_t size)
{
    (void)of;
    snprintf(text, size, "of any values");
}

static const qf_implementation kernels[] = {
    {"avx512", accepts_avx512, NULL, take_avx512},
    {"loops", NULL, NULL, take_loops},
};

const qf_implementations qf_quantise_ifmr_list = {"quantise", "ifmr_add",
                                                  QF_IMPLEMENTATIONS(kernels), describe};

/* ---- a block ---- */

static void look(const qf_ifmr_count *count, const part *p, const float *x, size_t n,
                 qf_ifmr_block *block)
{
    count->look(x, n, 1 / qf_ifmr_grid_width(&p->grid), block);
}

static void count_places(const part *p, const qf_ifmr_block *block, size_t n)
{
    uint32_t *counts = p->counts - p->grid.first; /* of 0 */
#pragma GCC unroll 8
    for (size_t i = 0; i < block->count; i++)
        counts[block->place[i]]++;
    *counts += (uint32_t)(n - block->count);
}

static void clear(part *p)
{
    memset(p->counts, 0, QF_IFMR_DATA_BINS * sizeof *p->counts);
    p->top.count = p->bottom.count = 0;
}

static void hand_over(const qf_ifmr_count *count, part *p)
{
#pragma omp critical(qf_ifmr_counts)
    {
        qf_ifmr_data_add(count->data, &p->grid, p->counts, &p->top, &p->bottom);
        p->grid = count->data->grid;
    }
}

/* Room for values beyond those so far; true: they belong into other bins now. */
static bool widen(const qf_ifmr_count *count, part *p, float lowest, float highest)
{
    if (lowest >= p->grid.lowest && highest <= p->grid.highest)
        return false;
    const qf_ifmr_grid grid = qf_ifmr_grid_with(&p->grid, lowest, highest);
    const bool other = grid.exponent != p->grid.exponent || grid.first != p->grid.first;
    if (other) {
        hand_over(count, p);
        clear(p);
        p->grid = qf_ifmr_grid_with(&p->grid, lowest, highest);
    } else
        p->grid = grid;
    return other;
}

/* Values of a chunk, times `sign`, that belong to an end. */
static void add_to_end(qf_ifmr_end *end, const float *x, size_t n, float sign, float above)
{
    for (size_t i = 0; i < n; i++)
        if (sign * x[i] > above)
            qf_ifmr_end_add(end, sign * x[i]);
}

/* Does a chunk whose highest value this is have a part in the end? */
static bool reaches(const qf_ifmr_end *end, float highest, float above)
{
    return highest > above && (end->count < QF_IFMR_ENDS || highest > end->value[0]);
}

static bool count_block(const qf_ifmr_count *count, part *p, const float *x, size_t n)
{
    qf_ifmr_block block;
    look(count, p, x, n, &block);
    if (!block.finite)
        return false;
    float high = block.highest[0], low = block.lowest[0];
    for (size_t at = 0, chunk = 0; at < n; at += QF_IFMR_CHUNK, chunk++) {
        const size_t size = n - at < QF_IFMR_CHUNK ? n - at : QF_IFMR_CHUNK;
        const float highest = block.highest[chunk], lowest = block.lowest[chunk];
        high = fmaxf(high, highest);
        low = fminf(low, lowest);
        if (reaches(&p->top, highest, count->above))
            add_to_end(&p->top, x + at, size, 1, count->above);
        if (reaches(&p->bottom, -lowest, count->below))
            add_to_end(&p->bottom, x + at, size, -1, count->below);
    }
    if (widen(count, p, low, high))
        look(count, p, x, n, &block);
    count_places(p, &block, n);
    return true;
}

/* ---- counting ---- */

static float least_of(const qf_ifmr_end *end)
{
    return end->count < QF_IFMR_ENDS ? -INFINITY : end->value[0];
}

static qf_status make_parts(qf_context *context, qf_ifmr_count *count)
{
    const size_t threads = (size_t)count->threads;
    count->parts = qf_alloc(threads, sizeof *count->parts);
    count->array = qf_array_take(context, threads * QF_IFMR_DATA_BINS * sizeof(uint32_t));
    if (!count->parts || !count->array)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    for (size_t i = 0; i < threads; i++)
        count->parts[i].counts = (uint32_t *)count->array->bytes + i * QF_IFMR_DATA_BINS;
    return QF_OK;
}

qf_status qf_ifmr_count_begin(qf_context *context, qf_ifmr_data *data, qf_ifmr_count **out)
{
    const qf_implementation *chosen = NULL;
    qf_ifmr_count *count = *out = qf_alloc(1, sizeof *count);
    if (!count)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    *count = (qf_ifmr_count){.data = data,
                             .grid = data->grid,
                             .above = least_of(&data->top),
                             .below = least_of(&data->bottom),
                             .threads = omp_get_max_threads()};
    const count_call call = {count};
    qf_status status = make_parts(context, count);
    if (status == QF_OK)
        status = qf_choose_once(context, &qf_quantise_ifmr_list, 0, &call, &chosen);
    if (status == QF_OK)
        status = chosen->run(context, &call);
    if (status != QF_OK) {
        qf_ifmr_count_destroy(count);
        *out = NULL;
    }
    return status;
}

void qf_ifmr_count_add(qf_ifmr_count *count, const float *x, size_t n)
{
    part *p = &count->parts[omp_get_thread_num()];
    if (!p->used) {
        p->used = true;
        p->grid = count->grid;
        clear(p);
    }
    for (size_t at = 0; at < n && !p->failed; at += QF_IFMR_BLOCK)
        p->failed = !count_block(count, p, x + at, n - at < QF_IFMR_BLOCK ? n - at : QF_IFMR_BLOCK);
}

bool qf_ifmr_count_end(qf_ifmr_count *count)
{
    bool finite = true;
    for (int i = 0; i < count->threads; i++) {
        part *p = &count->parts[i];
        finite &= !p->failed;
        if (p->used)
            hand_over(count, p);
    }
    qf_ifmr_count_destroy(count);
    return finite;
}

void qf_ifmr_count_destroy(qf_ifmr_count *count)
{
    if (!count)
        return;
    qf_array_release(count->array);
    qf_free(count->parts);
    qf_free(count);
}

qf_status qf_ifmr_count_all(qf_context *context, qf_ifmr_data *data, const float *x, size_t n)
{
    qf_ifmr_count *count;
    QF_TRY(qf_ifmr_count_begin(context, data, &count));
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (size_t at = 0; at < n; at += QF_IFMR_BLOCK)
        qf_ifmr_count_add(count, x + at, n - at < QF_IFMR_BLOCK ? n - at : QF_IFMR_BLOCK);
    const bool finite = qf_ifmr_count_end(count);
    for (size_t i = 0; !finite && i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    return QF_OK;
}
