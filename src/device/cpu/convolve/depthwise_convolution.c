/* Depthwise convolutions in integers, row by row (depthwise_integer.h): their sums, or values and
 * codes made of a row's sums while they are in the nearest cache. */
#include "device/cpu/convolve/depthwise_integer.h"
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/cpu/sweep/cpu_requantise.h"

#include "base/memory.h"
#include "base/parallel.h"

struct qf_depthwise {
    int16_t *weights; /* as qf_depthwise_integer_row() wants them */
    uint64_t version;
    bool packed; /* of that version */
};

void qf_depthwise_destroy(struct qf_depthwise *d)
{
    if (!d)
        return;
    qf_free(d->weights);
    qf_free(d);
}

qf_status qf_depthwise_accepts(qf_context *context, const void *of, const char **no)
{
    (void)context;
    if (!qf_depthwise_integer_fits(&((const convolve_call *)of)->c->shape))
        *no = "channels are not for themselves, or not two axes";
    return QF_OK;
}

typedef struct job {
    const qf_convolution_shape *s;
    const uint8_t *x;
    int zero;
    const int16_t *weights;
    const int32_t *bias;
    int rows;     /* of all images' results */
    size_t width; /* values of a row */
} job;

static qf_status pack(qf_context *context, qf_convolution *c, qf_tensor *w, const int16_t **out)
{
    const int8_t *codes;
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &codes));
    if (!c->depthwise)
        c->depthwise = qf_alloc(1, sizeof *c->depthwise);
    struct qf_depthwise *d = c->depthwise;
    if (d && !d->weights)
        d->weights = qf_alloc_raw(qf_shape_count(&w->shape), sizeof *d->weights);
    if (!d || !d->weights)
        return qf_fail(context, QF_E_MEMORY, "no memory for weights");
    if (!d->packed || d->version != w->version)
        qf_depthwise_integer_pack(&c->shape, codes, d->weights);
    d->version = w->version;
    d->packed = true;
    *out = d->weights;
    return QF_OK;
}

static qf_status open_job(qf_context *context, const convolve_call *call, job *out)
{
    const qf_convolution_shape *s = &call->c->shape;
    *out = (job){.s = s,
                 .zero = call->x->code_zero,
                 .rows = s->batch * s->out[0],
                 .width = (size_t)s->out[1] * (size_t)s->out_channels};
    QF_TRY(qf_tensor_read(context, call->x, QF_CODES, &out->x));
    QF_TRY(pack(context, call->c, call->w, &out->weights));
    return call->bias ? qf_tensor_read(context, call->bias, QF_INTEGERS, &out->bias) : QF_OK;
}

static bool is_large(const job *j)
{
    return qf_repays_threads((size_t)j->rows * j->width *
                             (size_t)(j->s->kernel[0] * j->s->kernel[1]));
}

static void sum_row(const job *j, int row, int32_t *sums)
{
    const qf_convolution_shape *s = j->s;
    const size_t image = (size_t)s->in[0] * (size_t)s->in[1] * (size_t)s->in_channels;
    qf_depthwise_integer_row(s, j->x + (size_t)(row / s->out[0]) * image, j->zero, j->weights,
                             j->bias, row % s->out[0], sums);
}

qf_status qf_depthwise_forward_integer(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    int32_t *result;
    job j;
    QF_TRY(open_job(context, call, &j));
    QF_TRY(qf_tensor_write(context, call->y, QF_INTEGERS, &result));
#pragma omp parallel for schedule(static) if (is_large(&j))
    for (int row = 0; row < j.rows; row++)
        sum_row(&j, row, result + (size_t)row * j.width);
    return QF_OK;
}

qf_status qf_depthwise_forward_requantised(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    qf_requantiser requantiser;
    job j;
    QF_TRY(open_job(context, call, &j));
    QF_TRY(qf_requantiser_open(context, call->requantisation, call->addend, call->y, call->codes,
                               &requantiser));
    const size_t columns = (size_t)j.s->out[1];
    qf_array *scratch =
        qf_array_take(context, (size_t)omp_get_max_threads() * j.width * sizeof(int32_t));
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", j.width);
#pragma omp parallel for schedule(static) if (is_large(&j))
    for (int row = 0; row < j.rows; row++) {
        int32_t *sums = (int32_t *)scratch->bytes + (size_t)omp_get_thread_num() * j.width;
        sum_row(&j, row, sums);
        qf_requantise_rows(&requantiser, sums, (size_t)row * columns, columns);
    }
    qf_array_release(scratch);
    return QF_OK;
}
