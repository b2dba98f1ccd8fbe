/* SearchN (specification, G.3). */
#include "base/array.h"
#include "base/memory.h"
#include "quant/shift_tile.h"

#include <math.h>
#include <omp.h>

static int32_t clip16(int64_t x)
{
    return x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : (int32_t)x;
}

/* What shifts 1 … 16 lose of one accumulator: floor, as an arithmetic shift does, then 16 bits. */
static void add_accumulator(qf_shift_errors *errors, int32_t acc)
{
    for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
        int64_t kept = (int64_t)clip16((int64_t)acc >> shift) * ((int64_t)1 << shift);
        double lost = (double)(kept - acc);
        errors->error[shift - 1] += lost * lost;
    }
}

void qf_shift_add(qf_shift_errors *errors, const float *x, size_t n, size_t stride, float deq)
{
    for (size_t i = 0; i < n; i++)
        add_accumulator(errors, qf_saturate_int32((double)roundf(x[i * stride] / deq)));
}

void qf_shift_add_accumulators(qf_shift_errors *errors, const int32_t *acc, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++)
        add_accumulator(errors, acc[i * stride]);
}

/* ---- many channels at once: tiles, from any thread in any order ---- */

struct qf_shift_search {
    size_t channels, blocks; /* of QF_SHIFT_LANES channels */
    int threads;
    bool vnni;
    const float *deq;
    float *inverse;
    qf_array *array;
    qf_shift_sums *sums; /* blocks for each thread; in the array */
};

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
    search->vnni = qf_shift_vnni_available();
    for (size_t c = 0; c < channels; c++) {
        search->inverse[c] = 1 / deq[c];
        search->vnni &= deq[c] > 0x1p-60f && deq[c] < 0x1p60f;
    }
    for (size_t i = 0; i < (size_t)threads * blocks; i++) {
        search->sums[i].rows = 0;
        search->sums[i].wide = false;
    }
    return QF_OK;
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
        for (int n = 0; n < QF_SHIFT_MAX; n++) {
            const uint64_t low = all->low[n][c];
            const int64_t high = all->high[n][c] + (int64_t)(low >> 32);
            errors[first + c].error[n] += (double)high * 0x1p32 + (double)(low & UINT32_MAX);
        }
}

void qf_shift_search_end(qf_shift_search *search, qf_shift_errors *errors)
{
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < search->blocks; block++)
        add_block(search, block, errors);
    qf_shift_search_destroy(search);
}

void qf_shift_search_add_all(qf_shift_search *search, const float *x, size_t rows)
{
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < rows; row += QF_SHIFT_ROWS)
        qf_shift_search_add(search, x + row * search->channels,
                            rows - row < QF_SHIFT_ROWS ? rows - row : QF_SHIFT_ROWS);
}

qf_status qf_shift_add_rows(qf_context *context, qf_shift_errors *errors, const float *x,
                            size_t rows, size_t channels, const float *deq)
{
    qf_shift_search *search;
    QF_TRY(qf_shift_search_begin(context, deq, channels, &search));
    qf_shift_search_add_all(search, x, rows);
    qf_shift_search_end(search, errors);
    return QF_OK;
}

int qf_shift_best(const qf_shift_errors *errors)
{
    int best = 0;
    for (int i = 1; i < QF_SHIFT_MAX; i++)
        if (errors->error[i] < errors->error[best])
            best = i;
    return best + 1;
}
