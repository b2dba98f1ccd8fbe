/* Quant of exported models (specification, G.4). */
#include "base/parallel.h"
#include "base/vector.h"
#include "device/cpu/quantise/lanes.h"
#include "device/cpu/quantise/quantise_loops.h"

QF_CLONES static void quantise(const float *x, uint8_t *code, size_t n, float scale, int32_t zero)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        code[i] = qf_quant_lane(x[i], scale, zero);
}

/* Of fewer bits, while the codes are in the cache. */
QF_CLONES static void raise(uint8_t *code, size_t n, uint8_t low)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        code[i] = code[i] > low ? code[i] : low;
}

void qf_quant_codes(const float *x, uint8_t *code, size_t n, float scale, int32_t offset_d,
                    int32_t low)
{
    enum { PIECE = 4096 };
    const int32_t zero = offset_d + 128;
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (size_t first = 0; first < n; first += PIECE) {
        const size_t count = n - first < PIECE ? n - first : PIECE;
        quantise(x + first, code + first, count, scale, zero);
        if (low > -128)
            raise(code + first, count, (uint8_t)(low + 128));
    }
}
