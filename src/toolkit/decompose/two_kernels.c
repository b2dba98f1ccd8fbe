/* From a kernel to two: its weights as a matrix, LAPACK's singular value decomposition in double,
 * the first columns. */
#include "toolkit/decompose/two_kernels.h"

#include "base/finite.h"
#include "base/memory.h"

#include <limits.h>
#include <math.h>

/* Of LAPACK, which is Fortran: everything by address, matrices column by column, and the length of
 * each text behind all else. */
void dgesdd_(const char *job, const int *rows, const int *columns, double *matrix,
             const int *matrix_stride, double *singular, double *left, const int *left_stride,
             double *right, const int *right_stride, double *work, const int *work_size,
             int *integers, int *info, size_t job_length);

/* A weight's place in the matrix: rows are the smaller side's channels and the shorter axis. */
typedef struct layout {
    bool inputs_small, height_short;
    size_t rows, columns;
    size_t outputs, inputs, height, width;
} layout;

static layout layout_of(const qf_convolution_form *form, qf_decompose_mode mode)
{
    layout l = {.inputs_small = mode == QF_SCFK || mode == QF_SCSK,
                .height_short = mode == QF_FCFK || mode == QF_SCFK,
                .outputs = (size_t)form->outputs,
                .inputs = (size_t)form->inputs,
                .height = (size_t)form->kernel[0],
                .width = (size_t)form->kernel[1]};
    l.rows = (l.inputs_small ? l.inputs : l.outputs) * (l.height_short ? l.height : l.width);
    l.columns = (l.inputs_small ? l.outputs : l.inputs) * (l.height_short ? l.width : l.height);
    return l;
}

/* The matrix row by row: to LAPACK its transpose. */
static void to_matrix(const layout *l, const float *weights, double *matrix)
{
    for (size_t o = 0; o < l->outputs; o++)
        for (size_t i = 0; i < l->inputs; i++)
            for (size_t y = 0; y < l->height; y++)
                for (size_t x = 0; x < l->width; x++) {
                    const size_t small = l->inputs_small ? i : o, large = l->inputs_small ? o : i;
                    const size_t row =
                        l->height_short ? small * l->height + y : small * l->width + x;
                    const size_t column =
                        l->height_short ? large * l->width + x : large * l->height + y;
                    matrix[row * l->columns + column] = (double)*weights++;
                }
}

/* Of the transpose, columns × rows: `left` has its left vectors column by column, `right` its right
 * ones row by row. */
typedef struct decomposition {
    double *matrix, *left, *right, *work;
    int *integers;
} decomposition;

static void release(decomposition *d)
{
    qf_free(d->matrix);
    qf_free(d->left);
    qf_free(d->right);
    qf_free(d->work);
    qf_free(d->integers);
}

enum { INTEGERS = 8 }; /* for each singular value */

/* Work for large matrices is counted in an int; this is far beyond any kernel. */
enum { MOST_ROWS = 16384 };

static qf_status no_memory(qf_context *context, const layout *l)
{
    return qf_fail(context, QF_E_MEMORY, "no memory to decompose a matrix of %zu × %zu", l->rows,
                   l->columns);
}

static qf_status call_lapack(qf_context *context, const layout *l, decomposition *d,
                             double *singular)
{
    const int rows = (int)l->columns, columns = (int)l->rows; /* of the transpose */
    const int ask = -1;
    int info = 0;
    double wanted = 0;
    dgesdd_("S", &rows, &columns, d->matrix, &rows, singular, d->left, &rows, d->right, &columns,
            &wanted, &ask, d->integers, &info, 1);
    const int size = (int)wanted;
    if (info == 0 && !(d->work = qf_alloc_raw((size_t)size, sizeof *d->work)))
        return no_memory(context, l);
    if (info == 0)
        dgesdd_("S", &rows, &columns, d->matrix, &rows, singular, d->left, &rows, d->right,
                &columns, d->work, &size, d->integers, &info, 1);
    return info == 0 ? QF_OK
                     : qf_fail(context, QF_E_VALUE,
                               "the singular values of a matrix of %zu × %zu were not found: "
                               "LAPACK's dgesdd gives %d",
                               l->rows, l->columns, info);
}

static qf_status decompose(qf_context *context, const layout *l, const float *weights,
                           decomposition *d, double *singular)
{
    size_t all;
    if (l->rows > MOST_ROWS || l->columns > INT_MAX || !qf_multiply(l->rows, l->columns, &all))
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "a matrix of %zu × %zu is too large to decompose, %d rows are possible",
                       l->rows, l->columns, MOST_ROWS);
    d->matrix = qf_alloc_raw(all, sizeof *d->matrix);
    d->left = qf_alloc_raw(all, sizeof *d->left);
    d->right = qf_alloc_raw(l->rows * l->rows, sizeof *d->right);
    d->integers = qf_alloc_raw(INTEGERS * l->rows, sizeof *d->integers);
    if (!d->matrix || !d->left || !d->right || !d->integers)
        return no_memory(context, l);
    to_matrix(l, weights, d->matrix);
    return call_lapack(context, l, d, singular);
}

/* A kernel of one axis, made of the small side's vectors (the matrix' left ones), or of the large
 * side's times their singular values. */
static bool fill(const layout *l, const decomposition *d, const qf_factors *f, bool small,
                 qf_kernel *kernel)
{
    const bool first = small == l->inputs_small, high = small == l->height_short;
    const size_t channels = first ? l->inputs : l->outputs, axis = high ? l->height : l->width;
    kernel->shape[0] = (int)(first ? f->rank : channels);
    kernel->shape[1] = (int)(first ? channels : f->rank);
    kernel->shape[2] = high ? (int)axis : 1;
    kernel->shape[3] = high ? 1 : (int)axis;
    kernel->values = qf_alloc_raw(f->rank * channels * axis, sizeof *kernel->values);
    for (size_t k = 0; kernel->values && k < f->rank; k++)
        for (size_t c = 0; c < channels; c++)
            for (size_t a = 0; a < axis; a++) {
                const size_t at = c * axis + a;
                const double value = small ? d->right[at * l->rows + k]
                                           : d->left[k * l->columns + at] * f->singular[k];
                const size_t place = first ? k * channels + c : c * f->rank + k;
                kernel->values[place * axis + a] = (float)value;
            }
    return kernel->values;
}

qf_status qf_decompose_weights(qf_context *context, const qf_convolution_form *form,
                               qf_decompose_mode mode, const float *weights, qf_factors *out)
{
    const layout l = layout_of(form, mode);
    decomposition d = {0};
    *out = (qf_factors){.length = l.rows};
    if (!qf_all_finite(weights, l.rows * l.columns))
        return qf_fail(context, QF_E_VALUE, "weight tensor contains invalid number(inf or nan)");
    out->singular = qf_alloc(l.rows, sizeof *out->singular);
    qf_status status =
        out->singular ? decompose(context, &l, weights, &d, out->singular) : no_memory(context, &l);
    if (status == QF_OK) {
        out->rank = qf_decompose_rank(form, out->singular, l.rows, &out->estimate);
        if (!fill(&l, &d, out, l.inputs_small, &out->first) ||
            !fill(&l, &d, out, !l.inputs_small, &out->last))
            status = no_memory(context, &l);
    }
    release(&d);
    return status;
}

void qf_factors_release(qf_factors *factors)
{
    qf_free(factors->singular);
    qf_free(factors->first.values);
    qf_free(factors->last.values);
    *factors = (qf_factors){0};
}

double qf_factors_error(const qf_factors *factors)
{
    double all = 0, lost = 0;
    for (size_t i = 0; i < factors->length; i++) {
        const double square = factors->singular[i] * factors->singular[i];
        all += square;
        lost += i < factors->rank ? 0 : square;
    }
    return all > 0 ? sqrt(lost / all) : 0;
}
