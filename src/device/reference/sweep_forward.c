/* The sweep, stage by stage over whole arrays: each stage rounds as the layer that it stands for.
 */
#include "device/reference/sweep_stages.h"

#include "base/memory.h"

#include <string.h>

/* ---- stages ---- */

static void normalise(const qf_open_sweep *sweep, float *value)
{
    const size_t channels = sweep->channels;
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < sweep->rows; row++)
        for (size_t c = 0; c < channels; c++) {
            float *v = &value[row * channels + c];
            *v = (*v - sweep->mean[c]) * sweep->inverse[c];
        }
}

static void scale(const qf_open_sweep *sweep, float *value)
{
    const size_t channels = sweep->channels;
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < sweep->rows; row++)
        for (size_t c = 0; c < channels; c++) {
            float *v = &value[row * channels + c];
            if (sweep->factor)
                *v *= sweep->factor[c];
            if (sweep->summand)
                *v += sweep->summand[c];
        }
}

static void add(float *value, const float *addend, size_t n)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        value[i] += addend[i];
}

float qf_reference_rectify(float value, float slope, float limit)
{
    if (limit > 0)
        return value > 0 ? value < limit ? value : limit : 0;
    return value > 0 ? value : slope * value;
}

static void rectify(const qf_open_sweep *sweep, float *value, size_t n)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        value[i] = qf_reference_rectify(value[i], sweep->relu_slope, sweep->relu_limit);
}

/* The search, if there is one, sees the values in front of the addend. */
static void run_stages(const qf_open_sweep *sweep, qf_shift_search *search, const float *addend,
                       float *value)
{
    const size_t n = sweep->rows * sweep->channels;
    if (sweep->mean)
        normalise(sweep, value);
    scale(sweep, value);
    if (search)
        qf_reference_search_add(search, value, sweep->rows);
    if (addend)
        add(value, addend, n);
    if (sweep->relu)
        rectify(sweep, value, n);
}

void qf_reference_sweep_value(const qf_open_sweep *sweep, const float *x, const float *addend,
                              float *value)
{
    memcpy(value, x, sweep->rows * sweep->channels * sizeof *value);
    run_stages(sweep, NULL, addend, value);
}

/* ---- forward ---- */

/* A copy: y may be x, or the addend, and is written before the last of them is read. */
static qf_status read_values(qf_context *context, qf_tensor *tensor, float *values)
{
    const float *source;
    QF_TRY(qf_device_read(context, tensor, QF_NHWC, &source));
    memcpy(values, source, qf_shape_count(&tensor->shape) * sizeof *values);
    return QF_OK;
}

static qf_status write_results(qf_context *context, const qf_open_sweep *sweep, const float *value,
                               qf_tensor *y, qf_tensor *codes)
{
    const size_t n = sweep->rows * sweep->channels;
    float *result;
    uint8_t *code;
    if (y) {
        QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
        memcpy(result, value, n * sizeof *result);
    }
    if (codes) {
        QF_TRY(qf_device_write(context, codes, QF_CODES, &code));
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++)
            code[i] = qf_ulq_code(value[i], sweep->codes);
        codes->code_scale = sweep->codes.scale;
        codes->code_zero = -sweep->codes.offset;
    }
    return QF_OK;
}

qf_status qf_reference_sweep_forward(qf_context *context, const qf_sweep *of, qf_tensor *x,
                                     qf_tensor *addend, qf_tensor *y, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    const float *summand = NULL;
    qf_open_sweep open;
    const qf_open_sweep *sweep = &open;
    QF_TRY(qf_sweep_open(context, of, &open));
    float *value = qf_alloc_raw(sweep->rows * sweep->channels, sizeof *value);
    qf_status status = value ? read_values(context, x, value)
                             : qf_fail(context, QF_E_MEMORY, "no memory for the values of a sweep");
    if (status == QF_OK && addend)
        status = qf_device_read(context, addend, QF_NHWC, &summand);
    if (status == QF_OK) {
        run_stages(sweep, sweep->search, summand, value);
        if (sweep->count)
            qf_reference_count_add(sweep->count, value, sweep->rows * sweep->channels);
        status = write_results(context, sweep, value, y, codes);
    }
    qf_free(value);
    return status;
}

static qf_status forward_convolved(qf_context *context, const qf_convolved *convolved,
                                   const qf_sweep *sweep, qf_tensor *addend, qf_tensor *y)
{
    return qf_sweep_convolve_first(context, &qf_reference_sweep, convolved, sweep, addend, y);
}

const qf_sweep_family qf_reference_sweep = {
    .search_begin = qf_reference_search_begin,
    .search_end = qf_reference_search_end,
    .search_destroy = qf_reference_search_destroy,
    .count_begin = qf_reference_count_begin,
    .count_end = qf_reference_count_end,
    .count_destroy = qf_reference_count_destroy,
    .forward = qf_reference_sweep_forward,
    .forward_convolved = forward_convolved,
    .backward = qf_reference_sweep_backward,
    .requantise = qf_reference_requantise,
};
