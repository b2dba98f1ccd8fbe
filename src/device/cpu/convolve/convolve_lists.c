/* How the CPU's convolution chooses between its implementations, and the last of each list: the
 * reference's plain loops, on the host. */
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/reference/reference.h"

#include <stdio.h>

/* ---- the reference's operations, with the arguments of a call ---- */

typedef qf_status (*plain_operation)(qf_context *, qf_convolution *, const convolve_call *);

#define PLAIN(operation, ...)                                                                      \
    static qf_status plain_##operation(qf_context *context, qf_convolution *c,                     \
                                       const convolve_call *a)                                     \
    {                                                                                              \
        return qf_reference_convolve.operation(context, c, __VA_ARGS__);                           \
    }
PLAIN(forward, a->x, a->w, a->bias, a->y)
PLAIN(forward_integer, a->x, a->w, a->bias, a->y)
PLAIN(transposed, a->x, a->w, a->bias, a->y)
PLAIN(transposed_integer, a->x, a->w, a->bias, a->y)
PLAIN(backward, a->x, a->w, a->dy, a->dw, a->dx)
PLAIN(backward_data, a->dy, a->w, a->dx)
PLAIN(backward_weights, a->x, a->dy, a->dw)
PLAIN(forward_fused, a->x, a->w, a->bias, a->epilogue, a->y)
PLAIN(forward_requantised, a->x, a->w, a->bias, a->requantisation, a->addend, a->y, a->codes)

static const struct {
    const qf_implementations *list;
    plain_operation plain;
} operations[OPERATIONS] = {
    [OF_FORWARD] = {&qf_convolve_forward_list, plain_forward},
    [OF_FORWARD_INTEGER] = {&qf_convolve_forward_integer_list, plain_forward_integer},
    [OF_TRANSPOSED] = {&qf_convolve_transposed_list, plain_transposed},
    [OF_TRANSPOSED_INTEGER] = {&qf_convolve_transposed_integer_list, plain_transposed_integer},
    [OF_BACKWARD] = {&qf_convolve_backward_list, plain_backward},
    [OF_BACKWARD_DATA] = {&qf_convolve_backward_data_list, plain_backward_data},
    [OF_BACKWARD_WEIGHTS] = {&qf_convolve_backward_weights_list, plain_backward_weights},
    [OF_FORWARD_FUSED] = {&qf_convolve_forward_fused_list, plain_forward_fused},
    [OF_FORWARD_REQUANTISED] = {&qf_convolve_forward_requantised_list, plain_forward_requantised},
    [OF_FORWARD_SWEPT] = {&qf_convolve_forward_swept_list, NULL},
};

qf_status qf_convolve_run_reference(qf_context *context, const void *of)
{
    QF_ON_HOST(context);
    const convolve_call *call = of;
    if (!call->c->plain)
        QF_TRY(qf_reference_convolve.create(context, &call->c->shape, &call->c->plain));
    return operations[call->operation].plain(context, call->c->plain, call);
}

/* ---- choosing ---- */

qf_status qf_convolve_choose(qf_context *context, const convolve_call *call,
                             const qf_implementation **out)
{
    const qf_implementation **chosen = &call->c->chosen[call->operation][call->with];
    QF_TRY(qf_choose(context, operations[call->operation].list, call, chosen));
    *out = *chosen;
    return QF_OK;
}

qf_status qf_convolve_run(qf_context *context, const convolve_call *call)
{
    const qf_implementation *chosen;
    QF_TRY(qf_convolve_choose(context, call, &chosen));
    return chosen->run(context, call);
}

qf_status qf_convolve_run_forward(qf_context *context, convolve_operation operation, unsigned with,
                                  qf_convolution *c, qf_tensor *x, qf_tensor *w, qf_tensor *bias,
                                  qf_tensor *y)
{
    const convolve_call call = {
        .operation = operation, .with = with, .c = c, .x = x, .w = w, .bias = bias, .y = y};
    return qf_convolve_run(context, &call);
}

static int print_sizes(char *text, size_t size, const int *sizes, int count)
{
    int length = 0;
    for (int i = 0; i < count; i++)
        length += snprintf(text + length, size - (size_t)length, "%s%d", i ? "x" : "", sizes[i]);
    return length;
}

/* "64x56x56 to 128x28x28, kernel 3x3, stride 2x2, codes" */
void qf_convolve_describe(const void *of, char *text, size_t size)
{
    const convolve_call *call = of;
    const qf_convolution_shape *s = &call->c->shape;
    const int axes = s->spatial_axes;
    char in[48], out[48], kernel[48], stride[48];
    print_sizes(in, sizeof in, s->in, axes);
    print_sizes(out, sizeof out, s->out, axes);
    print_sizes(kernel, sizeof kernel, s->kernel, axes);
    print_sizes(stride, sizeof stride, s->stride, axes);
    const int length = snprintf(text, size, "%dx%dx%s to %dx%s, kernel %s, stride %s", s->batch,
                                s->in_channels, in, s->out_channels, out, kernel, stride);
    if (length > 0 && (size_t)length < size)
        snprintf(text + length, size - (size_t)length, "%s%s", s->groups > 1 ? ", groups" : "",
                 call->with & WITH_CODES ? ", codes" : "");
}
