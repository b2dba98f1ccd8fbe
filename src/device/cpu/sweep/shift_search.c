/* SearchN (specification, G.3) of many channels at once: tiles, from any thread, in any order. */
#include "device/cpu/sweep/shift_search.h"

#include "base/array.h"
#include "base/memory.h"
#include "device/choose.h"
#include "device/cpu/sweep/shift_gather.h"
#include "device/cpu/sweep/shift_tile.h"

#include <omp.h>
#include <stdio.h>

struct qf_shift_search {
    size_t channels, blocks; /* of QF_SHIFT_LANES channels */
    int threads;
    bool vnni;
    qf_shift_gather gather;
    const float *deq; /* NULL: no errors */
    float *inverse;
    qf_array *array;
    qf_shift_sums *sums; /* blocks for each thread; in the array */
};

/* ---- which kernel: to run is to take it ---- */

typedef struct search_call {
    qf_shift_search *search;
    bool regular; /* what the choice depends on */
} search_call;

static qf_status accepts_vnni(qf_context *context, const void *of, const char **no)
{
    (void)context;
    *no = !((const search_call *)of)->regular ? "a step too small or too large"
          : !qf_shift_vnni_available()        ? QF_LACKS "AVX-512 VNNI"
                                              : NULL;
    return QF_OK;
}

static qf_status take_vnni(qf_context *context, const void *of)
{
    (void)context;
    ((const search_call *)of)->search->vnni = true;
    return QF_OK;
}

static qf_status take_loops(qf_context *context, const void *of)
{
    (void)context;
    ((const search_call *)of)->search->vnni = false;
    return QF_OK;
}

static void describe(const void *of, char *text, size_t size)
{
    snprintf(text, size, "%s steps", ((const search_call *)of)->regular ? "ordinary" : "absurd");
}

static const qf_implementation kernels[] = {
    {"vnni", accepts_vnni, NULL, take_vnni},
    {"loops", NULL, NULL, take_loops},
};

const qf_implementations qf_sweep_search_list = {"sweep", "search", QF_IMPLEMENTATIONS(kernels),
                                                 describe};

static qf_status choose_kernel(qf_context *context, qf_shift_search *search, bool regular)
{
    const search_call call = {search, regular};
    const qf_implementation *chosen;
    QF_TRY(qf_choose_once(context, &qf_sweep_search_list, regular, &call, &chosen));
    return chosen->run(context, &call);
}

/* ---- a search ---- */

/* What the sums of errors need; the fast division is exact where nothing leaves the range of normal
 * numbers. */
static qf_status begin_errors(qf_context *context, qf_shift_search *search, const float *deq)
{
    const size_t blocks = (search->channels + QF_SHIFT_LANES - 1) / QF_SHIFT_LANES,
                 count = (size_t)search->threads * blocks;
    bool regular = true;
    search->deq = deq;
    search->blocks = blocks;
    search->inverse = qf_alloc(search->channels, sizeof *search->inverse);
    search->array = qf_array_take(context, count * sizeof *search->sums);
    if (!search->inverse || !search->array)
        return qf_fail(context, QF_E_MEMORY, "no memory for the errors of shifts");
    search->sums = search->array->bytes;
    for (size_t c = 0; c < search->channels; c++) {
        search->inverse[c] = 1 / deq[c];
        regular &= deq[c] > 0x1p-60f && deq[c] < 0x1p60f;
    }
    for (size_t i = 0; i < count; i++) {
        search->sums[i].rows = 0;
        search->sums[i].wide = false;
    }
    return choose_kernel(context, search, regular);
}

qf_status qf_shift_search_begin(qf_context *context, const float *deq, qf_shift_tail *tails,
                                size_t channels, qf_shift_search **out)
{
    qf_shift_search *search = *out = qf_alloc(1, sizeof *search);
    if (!search)
        return qf_fail(context, QF_E_MEMORY, "no memory for the errors of shifts");
    search->channels = channels;
    search->threads = omp_get_max_threads();
    qf_status status = qf_shift_gather_begin(context, tails, channels, &search->gather);
    if (status == QF_OK && deq)
        status = begin_errors(context, search, deq);
    if (status != QF_OK) {
        qf_shift_search_destroy(search);
        *out = NULL;
    }
    return status;
}

void qf_shift_search_destroy(qf_shift_search *search)
{
    if (!search)
        return;
    qf_free(search->inverse);
    qf_array_release(search->array);
    qf_shift_gather_release(&search->gather);
    qf_free(search);
}

static void add_errors(qf_shift_search *search, const float *x, size_t rows)
{
    qf_shift_sums *sums = search->sums + (size_t)omp_get_thread_num() * search->blocks;
    qf_shift_tile tile = {.stride = search->channels};
    for (size_t row = 0; row < rows; row += QF_SHIFT_ROWS)
        for (size_t block = 0; block < search->blocks; block++) {
            const size_t first = block * QF_SHIFT_LANES, rest = search->channels - first;
            tile.x = x + row * search->channels + first;
            tile.rows = rows - row < QF_SHIFT_ROWS ? rows - row : QF_SHIFT_ROWS;
            tile.deq = search->deq + first;
            tile.inverse = search->inverse + first;
            tile.channels = rest < QF_SHIFT_LANES ? rest : QF_SHIFT_LANES;
            if (!search->vnni || !qf_shift_add_tile_vnni(&sums[block], &tile))
                qf_shift_add_tile(&sums[block], &tile);
        }
}

void qf_shift_search_add(qf_shift_search *search, const float *x, size_t rows)
{
    if (search->gather.tails)
        qf_shift_gather_add(&search->gather, x, rows);
    if (search->deq)
        add_errors(search, x, rows);
}

bool qf_shift_search_sums(const qf_shift_search *search)
{
    return search->deq != NULL;
}

/* The sums of one block of channels, of all threads; each is an integer, rounded once. */
static void add_block(const qf_shift_search *search, size_t block, qf_shift_errors *errors)
{
    const size_t first = block * QF_SHIFT_LANES, rest = search->channels - first;
    const size_t lanes = rest < QF_SHIFT_LANES ? rest : QF_SHIFT_LANES;
    qf_shift_sums *all = &search->sums[block];
    qf_shift_flush_vnni(all);
    qf_shift_widen(all);
    for (int thread = 1; thread < search->threads; thread++) {
        qf_shift_sums *sums = &search->sums[(size_t)thread * search->blocks + block];
        qf_shift_flush_vnni(sums);
        for (int n = 0; sums->wide && n < QF_SHIFT_MAX; n++)
            for (size_t c = 0; c < QF_SHIFT_LANES; c++) {
                all->low[n][c] += sums->low[n][c];
                all->high[n][c] += sums->high[n][c];
            }
    }
    for (size_t c = 0; c < lanes; c++)
        for (int n = 0; n < QF_SHIFT_MAX; n++)
            errors[first + c].error[n] += qf_shift_error(all->high[n][c], all->low[n][c]);
}

void qf_shift_search_end(qf_shift_search *search, qf_shift_errors *errors)
{
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < search->blocks; block++)
        add_block(search, block, errors);
    if (search->gather.tails)
        qf_shift_gather_end(&search->gather);
    qf_shift_search_destroy(search);
}
