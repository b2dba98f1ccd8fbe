/* The layers of exported models (specification, G.4, G.5, I.4, I.5). */
#include "quant/quant.h"

#include "base/parallel.h"
#include "base/vector.h"
#include "quant/lanes.h"

#include <string.h>

QF_CLONES static void quantise(const float *x, uint8_t *code, size_t n, float scale, int32_t zero)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        code[i] = qf_quant_lane(x[i], scale, zero);
}

QF_CLONES static void dequantise(const uint8_t *code, float *y, size_t n, float scale, int32_t zero)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = qf_code_value(code[i], zero, scale);
}

void qf_quant_fake(const float *x, float *y, uint8_t *code, size_t n, float scale, int32_t offset_d)
{
    enum { PIECE = 4096 };
    const int32_t zero = offset_d + 128;
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (size_t first = 0; first < n; first += PIECE) {
        const size_t count = n - first < PIECE ? n - first : PIECE;
        uint8_t unwanted[PIECE], *codes = code ? code + first : unwanted;
        quantise(x + first, codes, count, scale, zero);
        if (y)
            dequantise(codes, y + first, count, scale, zero);
    }
}

qf_status qf_bias_code(qf_context *context, float bias, float scale_d, float scale_w, int32_t *code)
{
    const float quotient = qf_bias_steps(bias, scale_d, scale_w), deq = scale_d * scale_w;
    if (!(quotient >= -2147483648.0f && quotient < 2147483648.0f))
        return qf_fail(context, QF_E_VALUE,
                       "Quantized bias %g of the layer (%g, in steps of scale_d * scale_w = %g) "
                       "exceed int32 range; "
                       "Do bias quantize failed. Skip this layer (skip_layers) or retrain it with "
                       "a smaller bias",
                       (double)quotient, (double)bias, (double)deq);
    *code = (int32_t)quotient;
    return QF_OK;
}

uint64_t qf_pack_dequant(float deq, int shift, int offset_w)
{
    uint32_t bits;
    memcpy(&bits, &deq, sizeof bits);
    return bits | (uint64_t)(uint8_t)shift << 32 | (uint64_t)(uint8_t)offset_w << 40;
}

void qf_unpack_dequant(uint64_t word, float *deq, int *shift, int *offset_w)
{
    uint32_t bits = (uint32_t)word;
    memcpy(deq, &bits, sizeof bits);
    *shift = (uint8_t)(word >> 32);
    *offset_w = (int8_t)(word >> 40);
}
