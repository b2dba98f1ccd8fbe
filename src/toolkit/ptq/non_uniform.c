/* Non-uniform quantisation of a layer's weights: clusters of codes, and scales that fit them. */
#include "toolkit/ptq/non_uniform.h"

#include "base/memory.h"
#include "quant/nuq.h"

#include <float.h>
#include <string.h>

void qf_nuq_restrict(int8_t *codes, size_t count, int steps)
{
    uint64_t counts[QF_NUQ_CODES] = {0};
    int8_t becomes[QF_NUQ_CODES];
    for (size_t i = 0; i < count; i++)
        counts[codes[i] + QF_NUQ_CODES / 2]++;
    qf_nuq_cluster(counts, steps, becomes);
    for (size_t i = 0; i < count; i++)
        codes[i] = becomes[codes[i] + QF_NUQ_CODES / 2];
}

static size_t count_of(qf_weight_layout layout)
{
    return layout.outer * layout.channels * layout.inner;
}

static double squared_error(const float *w, qf_weight_layout layout, const float *scale,
                            const int8_t *codes)
{
    double sum = 0;
    for (size_t i = 0; i < count_of(layout); i++) {
        const float step = scale[i / layout.inner % layout.channels];
        const double error = (double)w[i] - (double)((float)codes[i] * step);
        sum += error * error;
    }
    return sum;
}

/* The least squares of each scale; one that fits nothing stays. `sums`: two for each. */
static void fit_scales(const float *w, qf_weight_layout layout, const int8_t *codes, double *sums,
                       float *scale)
{
    memset(sums, 0, 2 * layout.channels * sizeof *sums);
    for (size_t i = 0; i < count_of(layout); i++) {
        double *sum = sums + 2 * (i / layout.inner % layout.channels);
        sum[0] += (double)w[i] * codes[i];
        sum[1] += (double)codes[i] * codes[i];
    }
    for (size_t c = 0; c < layout.channels; c++) {
        const double fitted = sums[2 * c] / sums[2 * c + 1];
        if (fitted >= FLT_EPSILON && fitted <= 1 / FLT_EPSILON)
            scale[c] = (float)fitted;
    }
}

/* What an iteration works on, besides what it begins with. */
typedef struct attempt {
    float *scale;
    int8_t *codes;
    double *sums;
} attempt;

static void iterate(const float *w, qf_weight_layout layout, int steps, int iterations,
                    const attempt *a, float *scale, int8_t *codes)
{
    const size_t count = count_of(layout);
    double error = squared_error(w, layout, scale, codes);
    for (int i = 0; i < iterations; i++) {
        memcpy(a->scale, scale, layout.channels * sizeof *scale);
        fit_scales(w, layout, codes, a->sums, a->scale);
        for (size_t k = 0; k < count; k++)
            a->codes[k] = (int8_t)qf_arq_code(w[k], a->scale[k / layout.inner % layout.channels],
                                              QF_BITS_CODE);
        qf_nuq_restrict(a->codes, count, steps);
        const double now = squared_error(w, layout, a->scale, a->codes);
        if (!(now < error))
            return; /* the next one would begin with the same */
        error = now;
        memcpy(scale, a->scale, layout.channels * sizeof *scale);
        memcpy(codes, a->codes, count);
    }
}

qf_status qf_nuq_quantise(qf_context *context, const float *w, qf_weight_layout layout, int steps,
                          int iterations, float *scale, int8_t *codes)
{
    const attempt a = {.scale = qf_alloc_raw(layout.channels, sizeof *a.scale),
                       .codes = qf_alloc_raw(count_of(layout), 1),
                       .sums = qf_alloc_raw(layout.channels, 2 * sizeof *a.sums)};
    qf_status status = QF_OK;
    if (!a.scale || !a.codes || !a.sums)
        status = qf_fail(context, QF_E_MEMORY, "no memory for codes");
    if (status == QF_OK) {
        qf_nuq_restrict(codes, count_of(layout), steps);
        iterate(w, layout, steps, iterations, &a, scale, codes);
    }
    qf_free(a.scale);
    qf_free(a.codes);
    qf_free(a.sums);
    return status;
}
