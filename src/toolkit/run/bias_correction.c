/* Bias correction by what is measured (Nagel et al. 2019, section 4.2 and its appendix): for each
 * layer the mean over images and pixels of what the float net puts out less what the quantised net
 * does, in which the layers before it are corrected already. */
#include "toolkit/run/bias_correction.h"

#include "base/amct_log.h"
#include "base/memory.h"
#include "toolkit/export/fold.h"
#include "toolkit/report/net_pair.h"
#include "toolkit/toolkit.h"

#include <math.h>

typedef struct correcting {
    qf_context *context;
    qf_flow *flow;
    qf_quant_graph *graph;
    qf_net_pair pair;
    int batches, done, total;
} correcting;

static Caffe__LayerParameter *layer_of(const correcting *c, const qf_pair_unit *unit)
{
    return qf_find_layer(c->graph->quantised.net, c->pair.fake->layers[unit->object]->name);
}

/* Every layer with weights gets a bias to be corrected. */
static qf_status add_biases(qf_context *context, const qf_quant_graph *graph)
{
    for (size_t i = 0; i < graph->config.count; i++) {
        const qf_layer_config *config = &graph->config.layers[i];
        if (!config->enabled || !config->support.has_weights)
            continue;
        Caffe__LayerParameter *layer = qf_find_layer(graph->quantised.net, config->name);
        QF_TRY(qf_fold_add_bias(context, layer, qf_fold_outputs(layer)));
    }
    return QF_OK;
}

/* Adds to each channel's sum what `plain` has more than `fake`; *each: values of a channel. */
static qf_status add_errors(qf_context *context, qf_tensor *plain, qf_tensor *fake, size_t channels,
                            double *sum, size_t *each)
{
    const float *x, *y;
    const size_t count = qf_shape_count(&plain->shape);
    if (count != qf_shape_count(&fake->shape) || plain->shape.axes < 2 ||
        (size_t)plain->shape.dim[1] != channels || !count)
        return qf_fail(context, QF_E_MISMATCH, "the models are not of one net");
    QF_TRY(qf_read(context, plain, QF_PLAIN, &x));
    QF_TRY(qf_read(context, fake, QF_PLAIN, &y));
    const size_t items = (size_t)plain->shape.dim[0], inner = count / items / channels;
    for (size_t block = 0; block < items * channels; block++)
        for (size_t k = block * inner; k < (block + 1) * inner; k++)
            sum[block % channels] += (double)x[k] - (double)y[k];
    *each += items * inner;
    return QF_OK;
}

static qf_status tell(correcting *c)
{
    const qf_run_callbacks callbacks = qf_flow_callbacks(c->flow);
    c->done++;
    if (callbacks.progress)
        callbacks.progress(
            callbacks.user,
            &(qf_progress){.testing = true, .iteration = c->done, .total = c->total});
    if (callbacks.action && callbacks.action(callbacks.user) == QF_STOP)
        return qf_fail(c->context, QF_E_STOPPED, "stopped while biases were corrected");
    return QF_OK;
}

static qf_status measure(correcting *c, const qf_pair_unit *unit, size_t channels, double *mean)
{
    size_t each = 0;
    for (int b = 0; b < c->batches; b++) {
        QF_TRY(qf_net_pair_next(&c->pair));
        QF_TRY(add_errors(c->context, qf_pair_plain_output(&c->pair, unit),
                          qf_pair_fake_output(&c->pair, unit), channels, mean, &each));
        QF_TRY(tell(c));
    }
    for (size_t i = 0; i < channels; i++)
        mean[i] /= (double)each;
    return QF_OK;
}

/* In the net that runs, and in the one that is exported. */
static qf_status give(correcting *c, const qf_pair_unit *unit, size_t channels, const double *mean)
{
    qf_layer *object = c->pair.fake->layers[unit->object];
    Caffe__BlobProto *bias = layer_of(c, unit)->blobs[1];
    float *values;
    double largest = 0;
    QF_TRY(qf_update(c->context, object->params[1].blob->data, QF_PLAIN, &values));
    for (size_t i = 0; i < channels; i++) {
        values[i] += (float)mean[i];
        bias->data[i] += (float)mean[i];
        largest = fmax(largest, fabs(mean[i]));
    }
    qf_amct_say(c->context, QF_INFO, "BiasCorrection",
                "Layer %s: means of its channels were off by up to %.3g", object->name, largest);
    return QF_OK;
}

static qf_status correct(correcting *c, const qf_pair_unit *unit)
{
    const qf_layer *object = c->pair.fake->layers[unit->object];
    const Caffe__LayerParameter *layer = layer_of(c, unit);
    if (object->param_count < 2 || !layer || layer->n_blobs < 2)
        return QF_OK; /* Pooling */
    const size_t channels = layer->blobs[1]->n_data;
    double *mean = qf_alloc(channels, sizeof *mean);
    qf_status status = mean ? measure(c, unit, channels, mean)
                            : qf_fail(c->context, QF_E_MEMORY, "no memory for means");
    if (status == QF_OK)
        status = give(c, unit, channels, mean);
    qf_free(mean);
    return status;
}

qf_status qf_run_correct_biases(qf_flow *flow, qf_quant_graph *graph, const char *model,
                                const char *weights, const qf_data_options *data, int batches)
{
    const qf_random random = flow->context->random;
    const qf_pair_files files = {
        .model = model, .weights = weights, .prefix = flow->save_path, .data = data};
    correcting c = {.context = flow->context, .flow = flow, .graph = graph, .batches = batches};
    flow->stage = "correcting biases";
    qf_status status = add_biases(c.context, graph);
    if (status == QF_OK)
        status = qf_quant_graph_export(c.context, graph, QF_SAVE_FAKE_QUANT, flow->save_path);
    if (status == QF_OK)
        status = qf_net_pair_open(c.context, &files, &c.pair);
    c.total = batches * (int)c.pair.count;
    for (size_t i = 0; status == QF_OK && i < c.pair.count; i++)
        status = correct(&c, &c.pair.units[i]);
    qf_net_pair_close(&c.pair);
    flow->context->random = random;
    return status;
}
