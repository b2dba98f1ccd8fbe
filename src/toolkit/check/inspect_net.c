/* A net as people look at it: shapes, sizes, cost, and what quantisation will do to each layer. */
#include "toolkit/check/inspect_net.h"
#include "base/memory.h"
#include "base/rows.h"
#include "model/until.h"
#include "toolkit/check/layer_bits.h"
#include "toolkit/prepare/input_shapes.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

void qf_inspection_destroy(qf_inspection *inspection)
{
    if (!inspection)
        return;
    qf_rows_free(inspection->layer, inspection->layers);
    qf_rows_free(inspection->edge, inspection->edges);
    qf_free(inspection);
}

/* ---- multiply-adds of a forward pass ---- */

/* Every weight, once for each place of the blobs whose channels the weights' first axis counts. */
static uint64_t of_kernel(const qf_layer *layer, qf_blob *const *blobs, int count)
{
    const qf_blob *weights = layer->params[0].blob;
    uint64_t total = 0;
    for (int i = 0; i < count; i++)
        total += qf_blob_count(blobs[i]) / (uint64_t)qf_blob_dimension(weights, 0) *
                 qf_blob_count(weights);
    return total;
}

static uint64_t of_convolution(const qf_layer *layer) /* outputs x inputs / group x kernel */
{
    return of_kernel(layer, layer->top, layer->top_count);
}

static uint64_t of_deconvolution(const qf_layer *layer) /* inputs x outputs / group x kernel */
{
    return of_kernel(layer, layer->bottom, layer->bottom_count);
}

static uint64_t of_product(const qf_layer *layer)
{
    uint64_t outputs = layer->param->inner_product_param->num_output;
    return qf_blob_count(layer->top[0]) / outputs * qf_blob_count(layer->params[0].blob);
}

/* Every matrix, once for each step and stream. */
static uint64_t of_recurrent(const qf_layer *layer)
{
    uint64_t total = 0;
    for (int i = 0; i < layer->param_count; i++)
        if (qf_blob_axes(layer->params[i].blob) == 2)
            total += qf_blob_count(layer->params[i].blob);
    return total * (uint64_t)qf_blob_dimension(layer->bottom[0], 0) *
           (uint64_t)qf_blob_dimension(layer->bottom[0], 1);
}

static const struct {
    const char *type;
    uint64_t (*count)(const qf_layer *layer);
} costs[] = {
    {"Convolution", of_convolution},
    {"DepthwiseConvolution", of_convolution},
    {"Deconvolution", of_deconvolution},
    {"InnerProduct", of_product},
    {"LSTM", of_recurrent},
    {"RNN", of_recurrent},
};

static uint64_t multiply_adds(const qf_layer *layer)
{
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
        if (strcmp(costs[i].type, layer->type->name) == 0 && layer->param_count)
            return costs[i].count(layer);
    return 0;
}

/* ---- layers ---- */

static void put_shape(const qf_blob *blob, char *out, size_t size)
{
    size_t used = strlen(out);
    if (used && used < size)
        used += (size_t)snprintf(out + used, size - used, "; ");
    if (!qf_blob_axes(blob) && used < size)
        snprintf(out + used, size - used, "1");
    for (int i = 0; i < qf_blob_axes(blob) && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%d", i ? " x " : "",
                                 qf_blob_dimension(blob, i));
}

static bool is_in_place(const qf_layer *layer, const qf_blob *top)
{
    for (int i = 0; i < layer->bottom_count; i++)
        if (layer->bottom[i] == top)
            return true;
    return false;
}

static void measure(const qf_net *net, int index, qf_inspected_layer *out)
{
    const qf_layer *layer = net->layers[index];
    for (int i = 0; i < net->learnable_count; i++)
        if (net->learnables[i].layer == index)
            out->parameters += qf_blob_count(net->learnables[i].blob);
    for (int i = 0; i < layer->top_count; i++) {
        put_shape(layer->top[i], out->shape, sizeof out->shape);
        if (!is_in_place(layer, layer->top[i]))
            out->activation_bytes += sizeof(float) * qf_blob_count(layer->top[i]);
    }
    out->multiply_adds = multiply_adds(layer);
}

static int index_of(const qf_net *net, const qf_layer *layer)
{
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i] == layer)
            return i;
    return 0;
}

static qf_status connect(const Caffe__NetParameter *param, int to, const qf_net *net,
                         qf_inspection *out)
{
    for (size_t b = 0; b < param->layer[to]->n_bottom; b++) {
        const char *blob = param->layer[to]->bottom[b];
        int from = qf_graph_producer(param, blob, to);
        const qf_layer *producer =
            from >= 0 ? qf_net_find_layer(net, param->layer[from]->name) : NULL;
        if (!producer)
            continue;
        qf_inspected_edge *edge = qf_rows_add(&out->edge, &out->edges, sizeof *edge);
        if (!edge)
            return qf_fail(net->context, QF_E_MEMORY, "no memory for the net's edges");
        edge->from = from;
        edge->to = to;
        snprintf(edge->blob, sizeof edge->blob, "%s", blob);
        for (size_t t = 0; t < param->layer[from]->n_top && (int)t < producer->top_count; t++)
            if (strcmp(param->layer[from]->top[t], blob) == 0)
                put_shape(producer->top[t], edge->shape, sizeof edge->shape);
    }
    return QF_OK;
}

/* In a net that is quantised already there is nothing left to be planned. */
static bool is_quantised(const qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        if (qf_layer_is_quantiser(net->layers[i]->type->name))
            return true;
    return false;
}

static qf_status describe_quantised(const qf_net *net, const qf_layer *layer, bool weights_given,
                                    qf_inspected_layer *row)
{
    qf_layer_bits bits;
    QF_TRY(qf_layer_bits_find(net, layer, weights_given, &bits));
    row->weight_bits = bits.weights;
    row->activation_bits = bits.input;
    if (!bits.input && multiply_adds(layer))
        snprintf(row->treatment, sizeof row->treatment, "float");
    if (!bits.input)
        return QF_OK;
    snprintf(row->treatment, sizeof row->treatment, "quantised");
    if (bits.weights)
        snprintf(row->detail, sizeof row->detail, "%d-bit weights, %d-bit input", bits.weights,
                 bits.input);
    else
        snprintf(row->detail, sizeof row->detail, "%d-bit input", bits.input);
    return QF_OK;
}

static qf_status inspect(qf_context *context, const Caffe__NetParameter *param, qf_net *net,
                         const Caffe__NetParameter *weights, const qf_config *config,
                         bool weights_given, qf_inspection *out)
{
    const bool quantised = is_quantised(net);
    snprintf(out->name, sizeof out->name, "%s", qf_net_name(net));
    for (size_t i = 0; i < param->n_layer; i++) {
        qf_inspected_layer *row = qf_rows_add(&out->layer, &out->layers, sizeof *row);
        if (!row)
            return qf_fail(context, QF_E_MEMORY, "no memory for %zu layers", param->n_layer);
        qf_plan_row plan = {0};
        const qf_layer *layer = qf_net_find_layer(net, param->layer[i]->name);
        snprintf(row->name, sizeof row->name, "%s", param->layer[i]->name);
        snprintf(row->type, sizeof row->type, "%s", param->layer[i]->type);
        if (layer)
            measure(net, index_of(net, layer), row);
        if (!quantised && qf_plan_describe(param, weights, config, (int)i, &plan)) {
            memcpy(row->treatment, plan.treatment, sizeof row->treatment);
            memcpy(row->detail, plan.detail, sizeof row->detail);
        }
        if (quantised && layer)
            QF_TRY(describe_quantised(net, layer, weights_given, row));
        QF_TRY(connect(param, (int)i, net, out));
    }
    return QF_OK;
}

qf_status qf_inspect_net(qf_context *context, const Caffe__NetParameter *param, qf_net *net,
                         bool weights_given, qf_inspection **out)
{
    Caffe__NetParameter *weights;
    qf_config config = {0};
    *out = NULL;
    QF_TRY(qf_net_to_proto(net, false, &weights));
    qf_status status = qf_config_defaults(context, param, weights, &config);
    if (status == QF_E_ARGUMENT) /* nothing can be quantised; each layer says why */
        status = QF_OK;
    if (status == QF_OK && !(*out = qf_alloc(1, sizeof **out)))
        status = qf_fail(context, QF_E_MEMORY, "no memory for an inspection");
    if (status == QF_OK)
        status = inspect(context, param, net, weights, &config, weights_given, *out);
    qf_config_release(&config);
    qf_message_free(weights);
    return status;
}

qf_status qf_inspect(qf_context *context, const char *model_file, const char *weights_file,
                     const char *shapes, qf_phase phase, int level, const char *const *stages,
                     size_t stage_count, qf_inspection **out)
{
    qf_net *net = NULL;
    Caffe__NetParameter *whole, *param = NULL;
    *out = NULL;
    QF_TRY(qf_until_read(context, model_file, &whole));
    qf_status status = qf_net_param_set_state(context, whole, phase, level, stages, stage_count);
    if (status == QF_OK && shapes)
        status = qf_input_shapes_apply(context, whole, shapes);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, whole, NULL, &net);
    status = qf_input_shapes_suggest(context, status, whole, shapes);
    status = qf_within(context, status, "%s", model_file);
    if (status == QF_OK && weights_file)
        status = qf_net_load_weights_list(net, weights_file);
    if (status == QF_OK) /* the layers of the phase, before Splits are inserted */
        status = qf_net_param_filter(context, whole, &param);
    if (status == QF_OK)
        status = qf_inspect_net(context, param, net, weights_file, out);
    qf_message_free(param);
    qf_message_free(whole);
    qf_net_destroy(net);
    return status;
}
