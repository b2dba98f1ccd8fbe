/* SearchN (specification, G.3). */
#include "quant/quant.h"

#include <math.h>

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

int qf_shift_best(const qf_shift_errors *errors)
{
    int best = 0;
    for (int i = 1; i < QF_SHIFT_MAX; i++)
        if (errors->error[i] < errors->error[best])
            best = i;
    return best + 1;
}
