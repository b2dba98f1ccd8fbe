/* The gradients of a sweep, stage by stage over whole arrays: the value again, from the codes and
 * the value's readers through ReLU, then to Scale, BatchNorm and x. Sums are in double, each by one
 * thread in the order of the rows. */
#include "device/reference/sweep_stages.h"

#include "device/gradient_add.h"
#include "tensor/convert.h"

#include "base/memory.h"

#include <string.h>

typedef struct work {
    const float *x, *y, *addend, *above[QF_SWEEP_CHAIN];
    qf_open_sweep above_sweep[QF_SWEEP_CHAIN];
    float *value, *other;  /* the value, and that of a sweep above */
    float *d;              /* the gradient in front of ReLU, */
    float *dx;             /* and that of x */
    double *sum, *product; /* of each channel: Σ d and Σ d · x̂ */
    double clip[2];        /* gradients of the range's ends */
} work;

static qf_status open_work(qf_context *context, const qf_open_sweep *sweep, work *w)
{
    const size_t n = sweep->rows * sweep->channels;
    *w = (work){.value = qf_alloc_raw(n, sizeof *w->value),
                .other = qf_alloc_raw(n, sizeof *w->other),
                .d = qf_alloc(n, sizeof *w->d),
                .dx = qf_alloc_raw(n, sizeof *w->dx),
                .sum = qf_alloc(sweep->channels, sizeof *w->sum),
                .product = qf_alloc(sweep->channels, sizeof *w->product)};
    return w->value && w->other && w->d && w->dx && w->sum && w->product
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for the gradients of a sweep");
}

static void close_work(work *w)
{
    void *all[] = {w->value, w->other, w->d, w->dx, w->sum, w->product};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        qf_free(all[i]);
}

/* ---- the value ---- */

static qf_status read_values(qf_context *context, const qf_sweep_gradients *g, work *w)
{
    QF_TRY(qf_sweep_open_above(context, g, w->above_sweep));
    if (g->x)
        QF_TRY(qf_device_read(context, g->x, QF_NHWC, &w->x));
    if (g->y)
        QF_TRY(qf_device_read(context, g->y, QF_NHWC, &w->y));
    if (g->addend)
        QF_TRY(qf_device_read(context, g->addend, QF_NHWC, &w->addend));
    for (int i = 0; i < g->above_count; i++)
        QF_TRY(qf_device_read(context, g->above[i].x, QF_NHWC, &w->above[i]));
    return QF_OK;
}

/* From the last of the sweeps above, each of which makes the addend of the one before. */
static void make_value(const qf_open_sweep *sweep, const qf_sweep_gradients *g, work *w)
{
    const float *addend = w->addend;
    for (int i = g->above_count; i-- > 0;) {
        float *to = addend == w->other ? w->value : w->other;
        qf_reference_sweep_value(&w->above_sweep[i], w->above[i], addend, to);
        addend = to;
    }
    float *to = addend == w->value ? w->other : w->value;
    qf_reference_sweep_value(sweep, w->x, addend, to);
    w->y = to;
}

/* ---- the gradient in front of ReLU ---- */

/* d += the gradients of these tensors; *any: d is set. */
static qf_status add_readers(qf_context *context, qf_tensor *const *readers, int count, float *d,
                             bool *any)
{
    for (int r = 0; r < count; r++) {
        const float *gradient;
        if (qf_tensor_is_zero(readers[r]))
            continue;
        QF_TRY(qf_device_read(context, readers[r], QF_NHWC, &gradient));
        const size_t n = qf_shape_count(&readers[r]->shape);
        const bool first = !*any;
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++)
            d[i] = first ? gradient[i] : d[i] + gradient[i];
        *any = true;
    }
    return QF_OK;
}

/* Through the clip range: d becomes the value's gradient; the ends' gradients are those of ULQ. */
static void clip(const qf_ulq_terms *terms, const float *value, float *d, size_t n,
                 double d_clip[2])
{
    for (size_t i = 0; i < n; i++) {
        const qf_ulq_slopes slopes = qf_ulq_gradient(value[i], *terms);
        d_clip[0] += (double)(d[i] * slopes.max);
        d_clip[1] += (double)(d[i] * slopes.min);
        d[i] = slopes.inside ? d[i] : 0;
    }
}

static void rectify_gradient(const qf_open_sweep *sweep, const float *y, float *d)
{
    const float slope = sweep->relu_slope, limit = sweep->relu_limit;
    const size_t n = sweep->rows * sweep->channels;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        d[i] *= limit > 0 ? (y[i] > 0 && y[i] < limit ? 1 : 0) : y[i] > 0 ? 1 : slope;
}

static qf_status make_gradient(qf_context *context, const qf_open_sweep *sweep,
                               const qf_sweep_gradients *g, work *w)
{
    bool any = false;
    if (!w->y && (sweep->relu || g->code_count))
        make_value(sweep, g, w);
    QF_TRY(add_readers(context, g->codes, g->code_count, w->d, &any));
    if (any)
        clip(&g->terms, w->y, w->d, sweep->rows * sweep->channels, w->clip);
    QF_TRY(add_readers(context, g->dy, g->count, w->d, &any));
    if (sweep->relu)
        rectify_gradient(sweep, w->y, w->d);
    return QF_OK;
}

/* ---- Scale and BatchNorm ---- */

static void add_channels(const qf_open_sweep *sweep, const work *w)
{
    const size_t channels = sweep->channels;
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < channels; c++)
        for (size_t i = c; i < sweep->rows * channels; i += channels) {
            const float x = sweep->mean ? (w->x[i] - sweep->mean[c]) * sweep->inverse[c] : w->x[i];
            w->sum[c] += (double)w->d[i];
            w->product[c] += (double)w->d[i] * (double)x;
        }
}

/* With statistics of the batch, which depend on x, too:
 * dx = inverse · (factor · d − mean(factor · d) − x̂ · mean(factor · d · x̂)). */
static void normalise_gradient(const qf_open_sweep *sweep, const work *w)
{
    const size_t channels = sweep->channels;
    const double rows = (double)sweep->rows;
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < channels; c++) {
        const float factor = sweep->factor ? sweep->factor[c] : 1, inverse = sweep->inverse[c];
        const float constant = (float)((double)factor * w->sum[c] / rows);
        const float correction = (float)((double)factor * w->product[c] / rows * (double)inverse);
        for (size_t i = c; i < sweep->rows * channels; i += channels)
            w->dx[i] =
                (w->d[i] * factor - constant - (w->x[i] - sweep->mean[c]) * correction) * inverse;
    }
}

/* With statistics that do not. */
static void scale_gradient(const qf_open_sweep *sweep, const work *w)
{
    const size_t channels = sweep->channels;
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < channels; c++) {
        const float factor = sweep->factor ? sweep->factor[c] : 1,
                    inverse = sweep->inverse ? sweep->inverse[c] : 1;
        for (size_t i = c; i < sweep->rows * channels; i += channels)
            w->dx[i] = w->d[i] * factor * inverse;
    }
}

/* ---- results: by now nothing is read any more that may be written ---- */

static qf_status write_floats(qf_context *context, qf_tensor *tensor, const float *from)
{
    float *to;
    QF_TRY(qf_device_write(context, tensor, QF_NHWC, &to));
    memcpy(to, from, qf_shape_count(&tensor->shape) * sizeof *to);
    return QF_OK;
}

static qf_status write_dx(qf_context *context, const qf_open_sweep *sweep,
                          const qf_sweep_gradients *g, const work *w)
{
    uint16_t *rounded;
    if (!g->dx_weights)
        return write_floats(context, g->dx, w->dx);
    QF_TRY(qf_device_write(context, g->dx, QF_BF16, &rounded));
    qf_rows_to_bf16(w->dx, g->dx_weights->weight_scale, rounded, sweep->rows, sweep->channels);
    return qf_tensor_set_weight_scale(context, g->dx, g->dx_weights->weight_scale,
                                      (int)sweep->channels, 1);
}

static qf_status run(qf_context *context, const qf_open_sweep *sweep, const qf_sweep_gradients *g,
                     work *w)
{
    QF_TRY(read_values(context, g, w));
    QF_TRY(make_gradient(context, sweep, g, w));
    if (qf_sweep_is_affine(sweep))
        add_channels(sweep, w);
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_gradient_add(context, g->clip[i], &w->clip[i], 1));
    QF_TRY(qf_gradient_add(context, g->summand, w->sum, sweep->channels));
    QF_TRY(qf_gradient_add(context, g->factor, w->product, sweep->channels));
    if (g->dx && g->batch_statistics)
        normalise_gradient(sweep, w);
    else if (g->dx)
        scale_gradient(sweep, w);
    if (g->d)
        QF_TRY(write_floats(context, g->d, w->d));
    return g->dx ? write_dx(context, sweep, g, w) : QF_OK;
}

qf_status qf_reference_sweep_backward(qf_context *context, const qf_sweep *of,
                                      const qf_sweep_gradients *g)
{
    QF_ON_DEVICE(context);
    work w;
    qf_open_sweep sweep;
    QF_TRY(qf_sweep_open(context, of, &sweep));
    qf_status status = open_work(context, &sweep, &w);
    if (status == QF_OK)
        status = run(context, &sweep, g, &w);
    close_work(&w);
    return status;
}
