/* Products of many small matrices, stored in any order, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

/* z += x · y, where x is rows × inner and y is inner × columns. */
static void multiply_add(const float *x, qf_matrices mx, const float *y, qf_matrices my, float *z,
                         qf_matrices mz, size_t rows, size_t inner, size_t columns)
{
#pragma omp parallel for schedule(static) if (rows * inner * columns > 1 << 16)
    for (size_t i = 0; i < rows; i++) {
        if (my.column == 1 && mz.column == 1) { /* rows of y, scaled and summed */
            for (size_t k = 0; k < inner; k++) {
                const float factor = x[i * mx.row + k * mx.column];
                const float *from = y + k * my.row;
                float *to = z + i * mz.row;
#pragma omp simd
                for (size_t j = 0; j < columns; j++)
                    to[j] += factor * from[j];
            }
            continue;
        }
        for (size_t j = 0; j < columns; j++) {
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (size_t k = 0; k < inner; k++)
                sum += x[i * mx.row + k * mx.column] * y[k * my.row + j * my.column];
            z[i * mz.row + j * mz.column] += sum;
        }
    }
}

qf_status qf_multiply_batched(qf_context *context, const qf_batched_product *s, qf_tensor *a,
                              qf_tensor *b, qf_tensor *c)
{
    const float *first, *second;
    float *result;
    QF_TRY(qf_read(context, a, QF_PLAIN, &first));
    QF_TRY(qf_read(context, b, QF_PLAIN, &second));
    QF_TRY(qf_update(context, c, QF_PLAIN, &result));
    for (size_t i = 0; i < s->batch; i++)
        multiply_add(first + i * s->a.batch, s->a, second + i * s->b.batch, s->b,
                     result + i * s->c.batch, s->c, s->rows, s->inner, s->columns);
    return QF_OK;
}
