/* Factors and summands along some axes, on the host. */
#include "device/cpu/map/cpu_map.h"

#include "base/parallel.h"
#include "device/families/walk.h"

/* n values that meet a factor each (step 1) or one for all (step 0); the steps are constants. */
static inline __attribute__((always_inline)) void scale_run(const float *x, const float *factor,
                                                            size_t factor_step,
                                                            const float *summand,
                                                            size_t summand_step, float *y, size_t n)
{
    if (factor && summand) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * factor[i * factor_step] + summand[i * summand_step];
    } else if (factor) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * factor[i * factor_step];
    } else {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] + summand[i * summand_step];
    }
}

/* Values from `first` on, `n` of them, with factors from `d` on. */
static const float *beside(const float *values, bool whole, size_t first, size_t d)
{
    return values ? values + (whole ? first : d) : NULL;
}

/* The summand has a value for each of x, not only for each factor. */
static void scale_all(const qf_walk *w, const float *x, const float *factor, const float *summand,
                      bool whole, float *y)
{
    const size_t rows = w->outer * w->repeats, dim = w->dim, inner = w->inner;
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * dim * inner))
    for (size_t row = 0; row < rows; row++) {
        const size_t first = row * dim * inner, d = row / w->repeats * dim;
        if (inner == 1) {
            scale_run(x + first, beside(factor, false, first, d), 1,
                      beside(summand, whole, first, d), 1, y + first, dim);
            continue;
        }
        for (size_t k = 0; k < dim; k++) {
            const size_t at = first + k * inner;
            const float *f = beside(factor, false, at, d + k),
                        *s = beside(summand, whole, at, d + k);
            if (whole)
                scale_run(x + at, f, 0, s, 1, y + at, inner);
            else
                scale_run(x + at, f, 0, s, 0, y + at, inner);
        }
    }
}

qf_status qf_map_scale(qf_context *context, qf_axes axes, qf_tensor *x, qf_tensor *factor,
                       qf_tensor *summand, qf_tensor *y)
{
    const qf_walk walk = qf_walk_along(&x->shape, axes);
    const bool whole = summand && qf_shape_equal(&summand->shape, &x->shape);
    const float *from, *factors = NULL, *summands = NULL;
    float *to;
    if (factor)
        QF_TRY(qf_read(context, factor, QF_PLAIN, &factors));
    if (summand)
        QF_TRY(qf_read(context, summand, whole ? walk.form : QF_PLAIN, &summands));
    QF_TRY(qf_read(context, x, walk.form, &from));
    QF_TRY(qf_write(context, y, walk.form, &to));
    scale_all(&walk, from, factors, summands, whole, to);
    return QF_OK;
}

static inline __attribute__((always_inline)) void
scale_negatives_run(const float *at, const float *x, const float *factor, size_t step, float *y,
                    size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = qf_scale_negative(at[i], x[i], factor[i * step]);
}

qf_status qf_map_scale_negatives(qf_context *context, qf_axes axes, qf_tensor *at, qf_tensor *x,
                                 qf_tensor *factor, qf_tensor *y)
{
    const qf_walk w = qf_walk_along(&x->shape, axes);
    const size_t lines = w.outer * w.repeats * w.dim; /* that share a factor */
    const float *signs, *from, *factors;
    float *to;
    QF_TRY(qf_read(context, factor, QF_PLAIN, &factors));
    QF_TRY(qf_read(context, at, w.form, &signs));
    QF_TRY(qf_read(context, x, w.form, &from));
    QF_TRY(qf_write(context, y, w.form, &to));
    if (w.inner == 1) {
#pragma omp parallel for schedule(static) if (qf_repays_threads(lines))
        for (size_t row = 0; row < w.outer * w.repeats; row++)
            scale_negatives_run(signs + row * w.dim, from + row * w.dim,
                                factors + row / w.repeats * w.dim, 1, to + row * w.dim, w.dim);
    } else {
#pragma omp parallel for schedule(static) if (qf_repays_threads(lines * w.inner))
        for (size_t line = 0; line < lines; line++)
            scale_negatives_run(signs + line * w.inner, from + line * w.inner,
                                factors + line / w.dim / w.repeats * w.dim + line % w.dim, 0,
                                to + line * w.inner, w.inner);
    }
    return QF_OK;
}
