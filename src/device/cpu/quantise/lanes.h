/*
 * qf_dequant() and qf_quant_code() of one value, bit for bit, in a form that compilers make vectors
 * of: no calls, no 64-bit arithmetic, no branches. For loops marked QF_CLONES (base/vector.h).
 */
#ifndef QF_DEVICE_CPU_QUANTISE_LANES_H
#define QF_DEVICE_CPU_QUANTISE_LANES_H

#include <math.h>
#include <stdint.h>

/* clip16(round_away(acc / 2^shift)) · deq · 2^shift; shift 0: acc · deq. */
static inline __attribute__((always_inline)) float qf_dequant_lane(int32_t acc, float deq,
                                                                   int32_t shift)
{
    const uint32_t negative = acc < 0;
    const uint32_t magnitude = negative ? 0u - (uint32_t)acc : (uint32_t)acc;
    const uint32_t half = (1u << shift) >> 1;
    const uint32_t limit = (shift ? INT16_MAX : INT32_MAX) + negative;
    uint32_t steps = (magnitude + half) >> shift;
    steps = steps < limit ? steps : limit;
    return (float)(int32_t)(negative ? 0u - steps : steps) * deq * (float)(1 << shift);
}

/* The unsigned code: clamp(round_away(x / scale) + zero, 0, 255); NaN gives 0. */
static inline __attribute__((always_inline)) uint8_t qf_quant_lane(float x, float scale,
                                                                   int32_t zero)
{
    /* Adding the number below 1/2, then cutting off, rounds half away: no quotient below a tie is
     * carried over it, and a tie always is. Codes saturate long before ±512. */
    const float below_half = 0x1.fffffep-2f;
    float quotient = x / scale;
    quotient = quotient > 512 ? 512 : quotient;
    quotient = quotient > -512 ? quotient : -512;
    int32_t code = (int32_t)(quotient + copysignf(below_half, quotient)) + zero;
    code = code < 0 ? 0 : code;
    return (uint8_t)(code > 255 ? 255 : code);
}

#endif
