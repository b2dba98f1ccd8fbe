/* The fake DeQuant on the host: what shifts to 16 bits lose, channel by channel. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

qf_status qf_dequantise_fake(qf_context *context, qf_tensor *x, qf_tensor *deq, qf_tensor *shift,
                             qf_tensor *y)
{
    const size_t channels = qf_tensor_extent(&x->shape).channels, count = qf_shape_count(&x->shape);
    const size_t step = qf_shape_count(&deq->shape) > 1 ? 1 : 0;
    const float *from, *scales, *shifts;
    float *to;
    QF_TRY(qf_read(context, deq, QF_PLAIN, &scales));
    QF_TRY(qf_read(context, shift, QF_PLAIN, &shifts));
    QF_TRY(qf_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_write(context, y, QF_NHWC, &to));
#pragma omp parallel for if (qf_repays_threads(count))
    for (size_t row = 0; row < count / (channels ? channels : 1); row++)
        for (size_t c = 0; c < channels; c++) {
            const size_t at = row * channels + c;
            to[at] = qf_dequant_fake(from[at], scales[c * step], (int)shifts[c * step]);
        }
    return QF_OK;
}
