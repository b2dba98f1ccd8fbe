/* Every function of the definition, in a kernel: scripts/check_cuda.sh compiles it. */
#include "quant/quant_math.h"

extern "C" __global__ void all_functions(const float *x, const int32_t *acc, float *y, int32_t *code)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const qf_ulq factors = qf_ulq_factors(x[0], x[1], 8);
    const qf_ulq_slopes slopes = qf_ulq_gradient(x[i], qf_ulq_gradient_terms(x[0], x[1], 8));
    y[0] = qf_ulq_value(x[i], factors) + qf_code_value(acc[i], qf_ulq_offset_d(factors), x[2]);
    y[1] = slopes.inside ? slopes.max : slopes.min;
    y[2] = qf_arq_code(x[i], qf_usable_scale(qf_folded_scale(qf_arq_scale(x[2], x[3], 8), x[4])), 8);
    y[3] = qf_dequant(acc[i], x[2], acc[0]) + qf_dequant_fake(x[i], x[2], acc[0]);
    bool inside;
    y[5] = qf_step_is_usable(x[2]) ? qf_step_slope(x[i], x[2], 8, &inside) : 0;
    y[4] = qf_bias_steps(x[i], x[2], x[3]) + qf_round_away(x[i]);
    code[0] = qf_ulq_code(x[i], factors) + qf_quant_code(x[i], x[2], acc[1]);
}
