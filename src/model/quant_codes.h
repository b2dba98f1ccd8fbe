/* What the parameters of a Quant layer say: code = clamp(round(x / scale) + offset_d, low … high).
 * Codes of fewer bits than 8 are the upmost of the 8 bits, so that a range from 0 up clips at 127
 * without being told (docs/bits.md). */
#ifndef QF_MODEL_QUANT_CODES_H
#define QF_MODEL_QUANT_CODES_H

#include "model/model.h"

typedef struct qf_quant_codes_of {
    int bits;
    int32_t offset_d, low, high;
} qf_quant_codes_of;

/* The largest code. */
static inline int32_t qf_highest_code(int bits)
{
    return bits > 8 ? (1 << (bits - 1)) - 1 : 127;
}

/* By how much a file's offset_d is above one for codes −2^(bits − 1) … 2^(bits − 1) − 1. */
static inline int32_t qf_code_lift(int bits)
{
    return qf_highest_code(bits) - ((1 << (bits - 1)) - 1);
}

/* How many bytes hold offset_d. */
static inline size_t qf_offset_bytes(int bits)
{
    return bits > 8 ? 2 : 1;
}

/* Of parameters whose offset has that many. */
static inline qf_quant_codes_of qf_quant_codes_read(const Caffe__QuantParameter *p)
{
    const int bits = (int)p->num_bits;
    const int32_t high = qf_highest_code(bits);
    const int32_t offset = bits > 8
                               ? (int16_t)(uint16_t)(p->offset.data[0] | p->offset.data[1] << 8)
                               : (int8_t)p->offset.data[0];
    return (qf_quant_codes_of){bits, offset, high - (1 << bits) + 1, high};
}

#endif
