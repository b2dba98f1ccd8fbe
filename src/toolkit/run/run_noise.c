/* The noise that quantising a layer's input adds, over one test batch. */
#include "net/net.h"
#include "toolkit/run/run.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"

#include <math.h>
#include <string.h>

/* 10 log10(Σ x² / Σ (x − y)²). */
static qf_status ratio(qf_context *context, qf_tensor *before, qf_tensor *after, double *out)
{
    const float *x, *y;
    double signal = 0, noise = 0;
    QF_TRY(qf_read(context, before, QF_NHWC, &x));
    QF_TRY(qf_read(context, after, QF_NHWC, &y));
    for (size_t i = 0, n = qf_shape_count(&before->shape); i < n; i++) {
        signal += (double)x[i] * (double)x[i];
        noise += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    }
    *out = 10 * log10(signal / noise);
    return QF_OK;
}

/* Codes are read as the floats that they stand for. */
static bool is_quantiser(const qf_layer *layer)
{
    return strcmp(layer->type->name, "ActivationQAT") == 0 ||
           strcmp(layer->type->name, "Quant") == 0;
}

/* The quantiser in front of a layer, behind its WeightQAT if it has weights. */
static const qf_layer *quantiser_of(const qf_net *net, const char *name)
{
    const qf_layer *layer = qf_net_find_layer(net, name);
    for (int steps = 0; layer && layer->bottom_count && steps < 2; steps++) {
        layer = qf_net_producer(net, layer->bottom[0], layer);
        if (layer && is_quantiser(layer))
            return layer;
    }
    return NULL;
}

static qf_status measure(qf_net *net, qf_qat_row **rows, int count)
{
    for (int l = 0; l < net->layer_count; l++) {
        /* Right after the quantiser: its input may be overwritten in place later. */
        QF_TRY(qf_net_forward_range(net, l, l, NULL));
        const qf_layer *layer = net->layers[l];
        if (!is_quantiser(layer))
            continue;
        for (int i = 0; i < count; i++)
            if (quantiser_of(net, rows[i]->name) == layer)
                QF_TRY(ratio(net->context, layer->bottom[0]->data, layer->top[0]->data,
                             &rows[i]->activation_sqnr));
    }
    return QF_OK;
}

qf_status qf_run_activation_noise(qf_context *context, const qf_data_options *data,
                                  const char *model, const char *weights, qf_qat_row **rows,
                                  int count)
{
    qf_data_options options;
    qf_net *net = NULL;
    qf_status status = qf_data_options_take(context, data, &options);
    if (status == QF_OK)
        status = qf_fed_net_open(context, &options, model, weights, &net);
    if (status == QF_OK)
        status = measure(net, rows, count);
    qf_net_destroy(net);
    return status;
}
