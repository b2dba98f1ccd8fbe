/* How the CPU's convolution chooses between its implementations, and the last of each list: the
 * reference's plain loops, on the host. */
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/reference/reference.h"

#include <stdio.h>

static const qf_implementations *const lists[OPERATIONS] = {
    [OF_FORWARD] = &qf_convolve_forward_list,
    [OF_FORWARD_INTEGER] = &qf_convolve_forward_integer_list,
    [OF_TRANSPOSED] = &qf_convolve_transposed_list,
    [OF_TRANSPOSED_INTEGER] = &qf_convolve_transposed_integer_list,
    [OF_BACKWARD] = &qf_convolve_backward_list,
    [OF_BACKWARD_DATA] = &qf_convolve_backward_data_list,
    [OF_BACKWARD_WEIGHTS] = &qf_convolve_backward_weights_list,
    [OF_FORWARD_FUSED] = &qf_convolve_forward_fused_list,
    [OF_FORWARD_REQUANTISED] = &qf_convolve_forward_requantised_list,
};

qf_status qf_convolve_choose(qf_context *context, const convolve_call *call,
                             const qf_implementation **out)
{
    const qf_implementation **chosen = &call->c->chosen[call->operation][call->with];
    QF_TRY(qf_choose(context, lists[call->operation], call, chosen));
    *out = *chosen;
    return QF_OK;
}

qf_status qf_convolve_run(qf_context *context, const convolve_call *call)
{
    const qf_implementation *chosen;
    QF_TRY(qf_convolve_choose(context, call, &chosen));
    return chosen->run(context, call);
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

qf_status qf_convolve_run_reference(qf_context *context, const void *of)
{
    const convolve_call *a = of;
    const qf_convolve_family *plain = &qf_reference_convolve;
    if (!a->c->plain)
        QF_TRY(plain->create(context, &a->c->shape, &a->c->plain));
    qf_convolution *c = a->c->plain;
    switch (a->operation) {
    case OF_FORWARD:
        return plain->forward(context, c, a->x, a->w, a->bias, a->y);
    case OF_FORWARD_INTEGER:
        return plain->forward_integer(context, c, a->x, a->w, a->bias, a->y);
    case OF_TRANSPOSED:
        return plain->transposed(context, c, a->x, a->w, a->bias, a->y);
    case OF_TRANSPOSED_INTEGER:
        return plain->transposed_integer(context, c, a->x, a->w, a->bias, a->y);
    case OF_BACKWARD:
        return plain->backward(context, c, a->x, a->w, a->dy, a->dw, a->dx);
    case OF_BACKWARD_DATA:
        return plain->backward_data(context, c, a->dy, a->w, a->dx);
    case OF_BACKWARD_WEIGHTS:
        return plain->backward_weights(context, c, a->x, a->dy, a->dw);
    case OF_FORWARD_FUSED:
        return plain->forward_fused(context, c, a->x, a->w, a->bias, a->epilogue, a->y);
    case OF_FORWARD_REQUANTISED:
        return plain->forward_requantised(context, c, a->x, a->w, a->bias, a->requantisation,
                                          a->addend, a->y, a->codes);
    case OPERATIONS:
        break;
    }
    return qf_fail(context, QF_E_UNSUPPORTED, "no such operation of convolutions");
}
