/* What exported models hold: codes of biases and DeQuant's words (specification, I.4, I.5). */
#include "quant/quant.h"

#include <string.h>

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
