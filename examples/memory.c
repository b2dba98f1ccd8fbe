/*
 * A net without files: its text is in the program, and weights travel as bytes.
 *   memory
 * makes a net, saves its weights to memory, as a program would send them elsewhere, and gives them
 * to another net, which then computes the same.
 */
#include <qaffe/qaffe.h>
#include <stdio.h>

static const char text[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 4 } } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'y'"
    "  inner_product_param { num_output: 2 weight_filler { type: 'xavier' } } }";

static qf_status make(qf_context *context, qf_net **out)
{
    return qf_net_create_from_memory(context, text, sizeof text - 1, QF_TEST, 0, NULL, 0, out);
}

static qf_status compute(qf_net *net)
{
    float *x;
    const float *y;
    qf_status status = qf_blob_mutable_data(qf_net_blob(net, "x"), &x);
    if (status != QF_OK)
        return status;
    for (int i = 0; i < 4; i++)
        x[i] = (float)(i + 1);
    status = qf_net_forward(net, NULL);
    if (status == QF_OK)
        status = qf_blob_data(qf_net_blob(net, "y"), &y);
    if (status == QF_OK)
        printf("%.4f %.4f\n", (double)y[0], (double)y[1]);
    return status;
}

static qf_status send(qf_net *from, qf_net *to)
{
    void *bytes;
    size_t size;
    qf_status status = qf_net_save_weights_to_memory(from, &bytes, &size);
    if (status == QF_OK)
        status = qf_net_load_weights_from_memory(to, bytes, size);
    qf_memory_release(bytes);
    return status;
}

int main(void)
{
    qf_context *context;
    qf_net *from = NULL, *to = NULL;
    if (qf_context_create(&context) != QF_OK)
        return 1;
    qf_status status = make(context, &from);
    if (status == QF_OK)
        status = make(context, &to);
    if (status == QF_OK)
        status = send(from, to);
    if (status == QF_OK)
        status = compute(from);
    if (status == QF_OK)
        status = compute(to);
    if (status != QF_OK)
        fprintf(stderr, "memory: %s\n", qf_error_text(context));
    qf_net_destroy(from);
    qf_net_destroy(to);
    qf_context_destroy(context);
    return status != QF_OK;
}
