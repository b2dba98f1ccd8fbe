/* ARQ: weights, with a scale for each channel and no offset (specification, G.2). */
#include "quant/quant.h"

#include <float.h>
#include <math.h>

/* The limit that counts: the value of larger magnitude, the negative one if equal; divided by 127
 * or by −128, the code that it gets. */
static float limit_to_scale(float max, float min)
{
    float limit = fabsf(max) > fabsf(min) ? max : min;
    return limit > 0 ? limit / 127 : limit / -128;
}

qf_status qf_arq_scales(qf_context *context, const float *w, qf_weight_layout layout, float *scale)
{
    if (layout.outer * layout.inner == 0 || layout.channels == 0)
        return qf_fail(context, QF_E_SHAPE, "there are no weights to quantise");
    for (size_t c = 0; c < layout.channels; c++) {
        float max = w[c * layout.inner], min = max;
        bool is_nan = false;
        for (size_t o = 0; o < layout.outer; o++) {
            const float *row = w + (o * layout.channels + c) * layout.inner;
            for (size_t i = 0; i < layout.inner; i++) {
                is_nan = is_nan || row[i] != row[i];
                max = row[i] > max ? row[i] : max;
                min = row[i] < min ? row[i] : min;
            }
        }
        if (is_nan)
            return qf_fail(context, QF_E_VALUE,
                           "the weights of channel %zu contain NaN; did training diverge? Use a "
                           "smaller base_lr",
                           c);
        scale[c] = limit_to_scale(max, min);
        qf_status status = qf_process_scale(context, &scale[c]);
        QF_TRY(qf_within(context, status, "weights of channel %zu", c));
    }
    return QF_OK;
}

float qf_folded_scale(float scale, float factor)
{
    return fmaxf(fabsf(factor) * scale, FLT_EPSILON);
}

void qf_arq_codes(const float *w, qf_weight_layout layout, const float *scale, int8_t *codes,
                  float *w_fake)
{
    size_t rows = layout.outer * layout.channels;
#pragma omp parallel for schedule(static) if (rows * layout.inner > 1 << 15)
    for (size_t r = 0; r < rows; r++) {
        const float given = scale[r % layout.channels];
        const float step = given < FLT_EPSILON ? 1 : given; /* as qf_process_scale does */
        for (size_t i = r * layout.inner; i < (r + 1) * layout.inner; i++) {
            float code = roundf(w[i] / step);
            code = code < -128 ? -128 : code > 127 ? 127 : code;
            if (codes)
                codes[i] = (int8_t)code;
            if (w_fake)
                w_fake[i] = code * step;
        }
    }
}
