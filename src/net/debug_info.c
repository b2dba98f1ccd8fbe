/* What a solver's debug_info logs: magnitudes of everything that flows through a net. */
#include "net/net.h"

#include <math.h>

/* Adds the L1 norm and the square of the L2 norm. */
static qf_status add_norms(qf_context *context, qf_tensor *tensor, double *l1, double *squares)
{
    const float *values;
    QF_TRY(qf_read(context, tensor, qf_tensor_any_float(tensor), &values));
    for (size_t i = 0, count = qf_shape_count(&tensor->shape); i < count; i++) {
        *l1 += fabs((double)values[i]);
        *squares += (double)values[i] * (double)values[i];
    }
    return QF_OK;
}

/* Mean absolute value. */
static qf_status mean_magnitude(qf_context *context, qf_tensor *tensor, double *mean)
{
    double sum = 0, squares = 0;
    size_t count = qf_shape_count(&tensor->shape);
    QF_TRY(add_norms(context, tensor, &sum, &squares));
    *mean = count ? sum / (double)count : 0;
    return QF_OK;
}

qf_status qf_net_log_forward(qf_net *net, const qf_layer *layer)
{
    double mean;
    for (int i = 0; i < layer->top_count; i++) {
        QF_TRY(mean_magnitude(net->context, layer->top[i]->data, &mean));
        qf_info(net->context, "    [Forward] Layer %s, top blob %s data: %g", layer->name,
                layer->top[i]->name, mean);
    }
    for (int i = 0; i < layer->param_count; i++) {
        QF_TRY(mean_magnitude(net->context, layer->params[i].blob->data, &mean));
        qf_info(net->context, "    [Forward] Layer %s, param blob %d data: %g", layer->name, i,
                mean);
    }
    return QF_OK;
}

qf_status qf_net_log_backward(qf_net *net, const qf_layer *layer)
{
    double mean;
    for (int i = 0; i < layer->bottom_count; i++) {
        if (!layer->propagate_down[i])
            continue;
        QF_TRY(mean_magnitude(net->context, layer->bottom[i]->diff, &mean));
        qf_info(net->context, "    [Backward] Layer %s, bottom blob %s diff: %g", layer->name,
                layer->bottom[i]->name, mean);
    }
    for (int i = 0; i < layer->param_count; i++) {
        if (!layer->params[i].propagate)
            continue;
        QF_TRY(mean_magnitude(net->context, layer->params[i].blob->diff, &mean));
        qf_info(net->context, "    [Backward] Layer %s, param blob %d diff: %g", layer->name, i,
                mean);
    }
    return QF_OK;
}

qf_status qf_net_log_params(qf_net *net)
{
    double data = 0, data_squares = 0, diff = 0, diff_squares = 0;
    for (int i = 0; i < net->learnable_count; i++) {
        QF_TRY(add_norms(net->context, net->learnables[i].blob->data, &data, &data_squares));
        QF_TRY(add_norms(net->context, net->learnables[i].blob->diff, &diff, &diff_squares));
    }
    qf_problem(net->context,
               "    [Backward] All net params (data, diff): L1 norm = (%g, %g); L2 norm = (%g, %g)",
               data, diff, sqrt(data_squares), sqrt(diff_squares));
    return QF_OK;
}
