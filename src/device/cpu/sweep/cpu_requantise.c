/*
 * What follows an integer sum: DeQuant, a float addend, ReLU and Quant, in one walk. Rows are cut
 * into pieces that stay in the nearest cache between the steps.
 */
#include "device/cpu/sweep/cpu_requantise.h"

#include "device/cpu/cpu.h"

#include "base/vector.h"
#include "device/cpu/quantise/lanes.h"

#include <stdio.h>

enum { PIECE = 512 };

enum rectifier { NONE, RELU, RELU6 };

static inline __attribute__((always_inline)) float rectify(float value, float slope, float limit,
                                                           const enum rectifier rectifier)
{
    if (rectifier == RELU6)
        return value > 0 ? value < limit ? value : limit : 0;
    return rectifier == NONE || value > 0 ? value : slope * value;
}

/* The steps up to ReLU. The flags are constants where this is called, so that each combination has
 * a loop of its own. */
static inline __attribute__((always_inline)) void
dequantise(const qf_requantisation *r, const int32_t *acc, const float *addend, float *y, size_t n,
           const float *deq, const int32_t *shift, const bool adds, const enum rectifier rectifier)
{
    const float slope = r->relu_slope, limit = r->relu_limit;
    if (r->shifted) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            float value = qf_dequant_lane(acc[i], deq[i], shift[i]);
            value = adds ? value + addend[i] : value;
            y[i] = rectify(value, slope, limit, rectifier);
        }
    } else {
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            float value = (float)acc[i] * deq[i];
            value = adds ? value + addend[i] : value;
            y[i] = rectify(value, slope, limit, rectifier);
        }
    }
}

static inline __attribute__((always_inline)) void
dequantise_and(const qf_requantisation *r, const int32_t *acc, const float *addend, float *y,
               size_t n, const float *deq, const int32_t *shift, const enum rectifier rectifier)
{
    if (addend)
        dequantise(r, acc, addend, y, n, deq, shift, true, rectifier);
    else
        dequantise(r, acc, NULL, y, n, deq, shift, false, rectifier);
}

static inline __attribute__((always_inline)) void quantise(const qf_requantisation *r,
                                                           const float *x, uint8_t *codes, size_t n)
{
    const float scale = r->scale;
    const int32_t zero = r->offset_d + 128;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        codes[i] = qf_quant_lane(x[i], scale, zero);
}

QF_CLONES static void tile_loops(const qf_requantiser *q, const qf_sum_tile *t)
{
    const qf_requantisation *r = q->r;
    float kept[PIECE];
    for (size_t row = 0; row < t->rows; row++)
        for (size_t c = 0; c < t->channels; c += PIECE) {
            const size_t channel = t->channel + c, at = (t->row + row) * r->channels + channel,
                         n = t->channels - c < PIECE ? t->channels - c : PIECE;
            const int32_t *sums = t->sums + row * t->stride + c;
            const float *deq = q->deq + channel, *add = q->addend ? q->addend + at : NULL;
            const int32_t *shift = q->shift + channel;
            float *value = q->y ? q->y + at : kept;
            if (r->relu && r->relu_limit > 0)
                dequantise_and(r, sums, add, value, n, deq, shift, RELU6);
            else if (r->relu)
                dequantise_and(r, sums, add, value, n, deq, shift, RELU);
            else
                dequantise_and(r, sums, add, value, n, deq, shift, NONE);
            if (q->codes)
                quantise(r, value, q->codes + at, n);
        }
}

/* ---- which tile ---- */

/* To run is to take the tile. */
typedef struct requantise_call {
    qf_requantiser *q;
    unsigned with; /* all that the choice depends on */
} requantise_call;

enum { WITH_REGULAR_DEQ = 1, WITH_QUANT = 2, WITH_REGULAR_SCALE = 4 };

static requantise_call call_of(qf_requantiser *q)
{
    const qf_requantisation *r = q->r;
    const bool regular_scale = r->scale >= 1 / QF_REGULAR_DEQ && r->scale <= QF_REGULAR_DEQ;
    return (requantise_call){q, (r->regular ? WITH_REGULAR_DEQ : 0) | (q->codes ? WITH_QUANT : 0) |
                                    (regular_scale ? WITH_REGULAR_SCALE : 0)};
}

static qf_status accepts_avx512(qf_context *context, const void *of, const char **no)
{
    const requantise_call *call = of;
    const bool quantises = call->with & WITH_QUANT;
    (void)context;
    *no = !(call->with & WITH_REGULAR_DEQ)                  ? "an absurd factor of a channel"
          : quantises && !(call->with & WITH_REGULAR_SCALE) ? "an absurd scale of the codes"
          : !qf_onednn_has_avx512()                         ? QF_LACKS "AVX-512"
                                                            : NULL;
    return QF_OK;
}

static qf_status take_avx512(qf_context *context, const void *of)
{
    (void)context;
    ((const requantise_call *)of)->q->tile = qf_requantise_tile_avx512;
    return QF_OK;
}

static qf_status take_loops(qf_context *context, const void *of)
{
    (void)context;
    ((const requantise_call *)of)->q->tile = tile_loops;
    return QF_OK;
}

static void describe(const void *of, char *text, size_t size)
{
    const requantise_call *call = of;
    snprintf(text, size, "to %s", call->with & WITH_QUANT ? "codes" : "values");
}

static const qf_implementation tiles[] = {
    {"avx512", accepts_avx512, NULL, take_avx512},
    {"loops", NULL, NULL, take_loops},
};

const qf_implementations qf_sweep_requantise_list = {"sweep", "requantise",
                                                     QF_IMPLEMENTATIONS(tiles), describe};

/* ---- requantising ---- */

qf_status qf_requantiser_open(qf_context *context, const qf_requantisation *r, qf_tensor *addend,
                              qf_tensor *y, qf_tensor *codes, qf_requantiser *out)
{
    *out = (qf_requantiser){.r = r};
    QF_TRY(qf_read(context, r->deq, QF_PLAIN, &out->deq));
    QF_TRY(qf_tensor_read(context, r->shift, QF_INTEGERS, &out->shift));
    if (addend)
        QF_TRY(qf_read(context, addend, QF_NHWC, &out->addend));
    if (y)
        QF_TRY(qf_write(context, y, QF_NHWC, &out->y));
    if (codes) {
        QF_TRY(qf_tensor_write(context, codes, QF_CODES, &out->codes));
        codes->code_scale = r->scale;
        codes->code_zero = r->offset_d + 128;
    }
    const requantise_call call = call_of(out);
    const qf_implementation *chosen;
    QF_TRY(qf_choose_once(context, &qf_sweep_requantise_list, call.with, &call, &chosen));
    return chosen->run(context, &call);
}

void qf_requantise_rows(const qf_requantiser *q, const int32_t *acc, size_t first, size_t rows)
{
    const size_t channels = q->r->channels;
    const qf_sum_tile tile = {acc, channels, first, rows, 0, channels};
    q->tile(q, &tile);
}

void qf_requantise_all(const qf_requantiser *q, const int32_t *acc, size_t first, size_t rows)
{
    enum { BLOCKS = 64, SMALL = 1 << 14 };
    const size_t channels = q->r->channels;
#pragma omp parallel for schedule(static) if (rows * channels > SMALL)
    for (int block = 0; block < BLOCKS; block++) {
        const size_t begin = rows * (size_t)block / BLOCKS,
                     end = rows * (size_t)(block + 1) / BLOCKS;
        qf_requantise_rows(q, acc + begin * channels, first + begin, end - begin);
    }
}

qf_status qf_requantise(qf_context *context, const qf_requantisation *r, qf_tensor *acc,
                        qf_tensor *addend, qf_tensor *y, qf_tensor *codes)
{
    const int32_t *sums;
    qf_requantiser requantiser;
    QF_TRY(qf_tensor_read(context, acc, QF_INTEGERS, &sums));
    QF_TRY(qf_requantiser_open(context, r, addend, y, codes, &requantiser));
    const size_t count = qf_shape_count(&acc->shape);
    if (count)
        qf_requantise_all(&requantiser, sums, 0, count / r->channels);
    return QF_OK;
}
