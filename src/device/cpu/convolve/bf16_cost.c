/* What gradients in bf16 cost here: there are processors that have its instructions and are no
 * faster with them. Timed on two convolutions of ResNet's kind, in turns with float. */
#include "device/cpu/cpu.h"

#include "base/clock.h"
#include "device/cpu/onednn.h"

enum { ROUNDS = 6 }; /* the first warms caches and makes primitives */

static const qf_convolution_shape shapes[] = {
    /* axes, batch, in, out, groups, sizes, (results), kernel, stride, dilation, pad, pad behind */
    {2, 4, 64, 64, 1, {14, 14}, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 4, 256, 64, 1, {14, 14}, {14, 14}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
};

enum { SHAPES = sizeof shapes / sizeof *shapes, WIDEST = 256 };

typedef struct sample {
    qf_convolution *convolution;
    qf_tensor *x, *w, *dy, *dx, *dw;
} sample;

static qf_status make_tensor(qf_context *context, int first, int second, const int *sizes,
                             qf_tensor **out)
{
    const qf_shape shape = {.axes = 4, .dim = {first, second, sizes[0], sizes[1]}};
    QF_TRY(qf_tensor_create(context, out));
    return qf_tensor_reshape(context, *out, &shape);
}

/* Numbers of ordinary size; which ones does not matter. */
static qf_status fill(qf_context *context, const sample *s)
{
    uint8_t *codes;
    int8_t *weights;
    float *gradient, scale[WIDEST];
    QF_TRY(qf_tensor_write(context, s->x, QF_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&s->x->shape); i++)
        codes[i] = (uint8_t)(i * 37 % 251);
    s->x->code_scale = 0.03f;
    s->x->code_zero = 101;
    QF_TRY(qf_tensor_write(context, s->w, QF_WEIGHT_CODES, &weights));
    for (size_t i = 0; i < qf_shape_count(&s->w->shape); i++)
        weights[i] = (int8_t)((int)(i * 29 % 255) - 127);
    for (int o = 0; o < s->w->shape.dim[0]; o++)
        scale[o] = 0.01f;
    QF_TRY(qf_tensor_set_weight_scale(context, s->w, scale, s->w->shape.dim[0], 0));
    QF_TRY(qf_write(context, s->dy, QF_NHWC, &gradient));
    for (size_t i = 0; i < qf_shape_count(&s->dy->shape); i++)
        gradient[i] = (float)(i * 31 % 127) / 64 - 1;
    return QF_OK;
}

static qf_status make_sample(qf_context *context, const qf_convolution_shape *shape, sample *out)
{
    QF_TRY(make_tensor(context, shape->batch, shape->in_channels, shape->in, &out->x));
    QF_TRY(make_tensor(context, shape->batch, shape->in_channels, shape->in, &out->dx));
    QF_TRY(make_tensor(context, shape->batch, shape->out_channels, shape->out, &out->dy));
    QF_TRY(make_tensor(context, shape->out_channels, shape->in_channels, shape->kernel, &out->w));
    QF_TRY(make_tensor(context, shape->out_channels, shape->in_channels, shape->kernel, &out->dw));
    QF_TRY(fill(context, out));
    return qf_cpu.convolve->create(context, shape, &out->convolution);
}

static void release_sample(sample *s)
{
    qf_tensor *const tensors[] = {s->x, s->w, s->dy, s->dx, s->dw};
    if (s->convolution)
        qf_cpu.convolve->destroy(s->convolution);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        qf_tensor_release(tensors[i]);
}

/* Shortens *best where this time was less. */
static qf_status time_backward(qf_context *context, const sample *s, qf_backward how, double *best)
{
    context->backward = how;
    qf_tensor_set_zero(s->dw);
    const double start = qf_seconds();
    QF_TRY(qf_cpu.convolve->backward(context, s->convolution, s->x, s->w, s->dy, s->dw, s->dx));
    const double taken = qf_seconds() - start;
    if (taken < *best)
        *best = taken;
    return QF_OK;
}

static qf_status compare(qf_context *context, const qf_convolution_shape *shape, double best[2])
{
    sample s = {0};
    qf_status status = make_sample(context, shape, &s);
    for (int round = 0; round < ROUNDS && status == QF_OK; round++) {
        if (round == 1)
            best[0] = best[1] = 1e30;
        status = time_backward(context, &s, QF_BACKWARD_F32, &best[0]);
        if (status == QF_OK)
            status = time_backward(context, &s, QF_BACKWARD_BF16, &best[1]);
    }
    release_sample(&s);
    return status;
}

qf_status qf_cpu_bf16_cost(qf_context *context, double *cost)
{
    const qf_backward asked = context->backward;
    double sum[2] = {0};
    qf_status status = QF_OK;
    *cost = 0;
    if (!qf_onednn_has_bf16())
        return QF_OK;
    for (int i = 0; i < SHAPES && status == QF_OK; i++) {
        double best[2] = {1e30, 1e30};
        status = compare(context, &shapes[i], best);
        sum[0] += best[0];
        sum[1] += best[1];
    }
    context->backward = asked;
    if (status == QF_OK)
        *cost = sum[1] / sum[0];
    return qf_within(context, status, "timing gradients in bf16");
}
