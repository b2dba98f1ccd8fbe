/* SearchN (specification, G.3) of many channels at once: tiles, from any thread, in any order. */
#include "device/cpu/sweep/shift_search.h"

#include "base/array.h"
#include "base/memory.h"
#include "device/choose.h"
#include "device/cpu/sweep/shift_tile.h"

#include <omp.h>
#include <stdio.h>

struct qf_shift_search {
    size_t channels, blocks; /* of QF_SHIFT_LANES channels */
    int threads;
    bool vnni;
    const float *deq;
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

qf_status qf_shift_search_begin(qf_context *context, const float *deq, size_t channels,
                                qf_shift_search **out)
{
    const size_t blocks = (channels + QF_SHIFT_LANES - 1) / QF_SHIFT_LANES;
    const int threads = omp_get_max_threads();
    qf_shift_search *search = *out = qf_alloc(1, sizeof *search);
    if (search) {
        search->inverse = qf_alloc(channels, sizeof *search->inverse);
        search->array = qf_array_take(context, (size_t)threads * blocks * sizeof *search->sums);
    }
    if (!search || !search->inverse || !search->array) {
        qf_shift_search_destroy(search);
        *out = NULL;
        return qf_fail(context, QF_E_MEMORY, "no memory for the errors of shifts");
    }
    search->sums = search->array->bytes;
    search->channels = channels;
    search->blocks = blocks;
    search->threads = threads;
    search->deq = deq;
    /* The fast division is exact where nothing leaves the range of normal numbers. */
    bool regular = true;
    for (size_t c = 0; c < channels; c++) {
        search->inverse[c] = 1 / deq[c];
        regular &= deq[c] > 0x1p-60f && deq[c] < 0x1p60f;
    }
    for (size_t i = 0; i < (size_t)threads * blocks; i++) {
        search->sums[i].rows = 0;
        search->sums[i].wide = false;
    }
    const qf_status status = choose_kernel(context, search, regular);
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
    qf_free(search);
}

void qf_shift_search_add(qf_shift_search *search, const float *x, size_t rows)
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
    qf_shift_search_destroy(search);
}
