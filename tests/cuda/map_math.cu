/* Every formula of the map family, in a kernel: scripts/check_cuda.sh compiles it. */
#include "device/families/map_math.h"

#define ADD(name) value += qf_##name##_value(x[i], k) + qf_##name##_slope(x[i], y[i], k);

extern "C" __global__ void all_map_functions(const float *x, float *y, qf_function k, int depth)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const qf_lstm_gates gates = qf_lstm_gates_of(x, i, depth);
    const qf_lstm_slopes slopes = qf_lstm_gradient(gates, x[0], x[1], x[2], x[3], x[4]);
    float value = 0;
    QF_FUNCTIONS(ADD)
    value += qf_takes_over(x[i], x[0], k.kind) ? qf_scale_negative(x[0], x[i], k.a) : 0;
    value += (float)qf_negative_product(x[0], x[i]);
    value += qf_lstm_output(gates, qf_lstm_cell(gates, x[0], x[1]));
    qf_lstm_put(&slopes, y, i, depth);
    y[i] += value;
}
