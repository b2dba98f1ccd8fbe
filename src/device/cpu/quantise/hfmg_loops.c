/* HFMG over many values and many ranges at once: the steps are those of quant/hfmg.h. */
#include "base/array.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"
#include "quant/hfmg_math.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PIECE = 4096 };

static size_t piece(size_t n, size_t at)
{
    return n - at < PIECE ? n - at : PIECE;
}

/* ---- values ---- */

QF_CLONES bool qf_range_of_piece(const float *x, size_t n, float *low, float *high)
{
    float least = x[0], most = x[0];
    uint32_t largest = 0;
#pragma omp simd reduction(max : most, largest) reduction(min : least)
    for (size_t i = 0; i < n; i++) {
        const float value = x[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
        most = value > most ? value : most;
        least = value < least ? value : least;
    }
    *low = least;
    *high = most;
    return largest < 0x7f800000;
}

qf_status qf_hfmg_range(qf_context *context, const float *x, size_t n, float *low, float *high)
{
    float least = *low, most = *high;
    int failed = 0;
#pragma omp parallel for schedule(static) reduction(min : least) reduction(max : most)             \
    reduction(+ : failed) if (qf_repays_threads(n))
    for (size_t at = 0; at < n; at += PIECE) {
        float lowest, highest;
        failed += !qf_range_of_piece(x + at, piece(n, at), &lowest, &highest);
        least = lowest < least ? lowest : least;
        most = highest > most ? highest : most;
    }
    for (size_t i = 0; failed && i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    *low = least;
    *high = most;
    return QF_OK;
}

QF_CLONES static void places_of(const float *x, size_t n, float low, float width, int32_t bins,
                                uint16_t *place)
{
    for (size_t i = 0; i < n; i++)
        place[i] = (uint16_t)qf_hfmg_place(x[i], low, width, bins);
}

static void count_piece(const qf_hfmg *hfmg, const float *x, size_t n, uint32_t *counts)
{
    uint16_t place[PIECE];
    places_of(x, n, hfmg->low, hfmg->width, (int32_t)hfmg->bins, place);
    for (size_t i = 0; i < n; i++)
        counts[place[i]]++;
}

qf_status qf_hfmg_count(qf_context *context, qf_hfmg *hfmg, const float *x, size_t n)
{
    const size_t bins = hfmg->bins, threads = (size_t)omp_get_max_threads();
    if (hfmg->width < FLT_EPSILON || bins > UINT16_MAX) {
        for (size_t i = 0; i < n; i++)
            hfmg->counts[qf_hfmg_bin(hfmg, x[i])]++;
        return QF_OK;
    }
    qf_array *array = qf_array_take(context, threads * bins * sizeof(uint32_t));
    if (!array)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    uint32_t *all = array->bytes;
    memset(all, 0, threads * bins * sizeof *all);
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (size_t at = 0; at < n; at += PIECE)
        count_piece(hfmg, x + at, piece(n, at), all + (size_t)omp_get_thread_num() * bins);
    for (size_t i = 0; i < threads * bins; i++)
        hfmg->counts[i % bins] += all[i];
    qf_array_release(array);
    return QF_OK;
}

/* ---- ranges ---- */

/* Bins that are not empty: where they begin, how dense they are. */
typedef struct filled {
    double *begin, *density;
    size_t count;
    double width;
} filled;

QF_CLONES static double loss_of_bins(const double *begin, const double *density, size_t n,
                                     double left, double width, double level)
{
    double loss = 0;
#pragma omp simd reduction(+ : loss)
    for (size_t i = 0; i < n; i++)
        loss += qf_hfmg_bin_loss(density[i], begin[i] - left, width, level);
    return loss;
}

/* At least `limit` where it is more than that: a loss only grows. */
static double loss_of_span(const filled *f, double left, double level, double limit)
{
    enum { STEP = 512 };
    double loss = 0;
    for (size_t at = 0; level > 0 && at < f->count && loss <= limit; at += STEP)
        loss += loss_of_bins(f->begin + at, f->density + at,
                             f->count - at < STEP ? f->count - at : STEP, left, f->width, level);
    return loss;
}

/* The first span of least loss. */
static size_t best_span(const qf_hfmg *hfmg, const filled *f, const qf_hfmg_span *spans,
                        size_t count)
{
    double least = HUGE_VAL;
    size_t best = 0;
#pragma omp parallel
    {
        double my_least = HUGE_VAL;
        size_t mine = 0;
#pragma omp for schedule(static) nowait
        for (size_t i = 0; i < count; i++) {
            const double left = (double)spans[i].left * f->width,
                         loss = loss_of_span(f, left, qf_hfmg_level(hfmg, spans[i]), my_least);
            if (loss < my_least) {
                my_least = loss;
                mine = i;
            }
        }
#pragma omp critical(qf_hfmg_best)
        if (my_least < least || (my_least == least && mine < best)) {
            least = my_least;
            best = mine;
        }
    }
    return best;
}

static void fill(const qf_hfmg *hfmg, filled *f)
{
    for (size_t i = 0; i < hfmg->bins; i++)
        if (hfmg->counts[i]) {
            f->begin[f->count] = (double)i * f->width;
            f->density[f->count++] = (double)hfmg->counts[i] / f->width;
        }
}

qf_status qf_hfmg_search(qf_context *context, const qf_hfmg *hfmg, bool with_offset, float *scale,
                         int32_t *offset)
{
    const uint64_t step = qf_hfmg_step(hfmg);
    qf_hfmg_span span = {0, hfmg->bins - 1}, *spans = qf_alloc(hfmg->bins, sizeof *spans);
    double *room = qf_alloc(2 * hfmg->bins, sizeof *room);
    qf_status status = QF_OK;
    if (spans && room) {
        filled f = {room, room + hfmg->bins, 0, (double)hfmg->width};
        size_t count = 0;
        fill(hfmg, &f);
        spans[0] = span; /* where there is nothing to try */
        while (qf_hfmg_narrow(hfmg, step, &span))
            spans[count++] = span;
        qf_hfmg_factors_of(hfmg, spans[best_span(hfmg, &f, spans, count)], with_offset, scale,
                           offset);
    } else
        status = qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    qf_free(room);
    qf_free(spans);
    return status;
}
