/* The calibration model (specification of post-training quantisation, 2.3 and 6): weights that are
 * quantised already, and beside each quantised layer what measures its input and its sums. */
#include "base/memory.h"
#include "base/output.h"
#include "toolkit/config/bits.h"
#include "toolkit/export/fold.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/prepare/prepare.h"
#include "toolkit/ptq/joint_layers.h"
#include "toolkit/ptq/non_uniform.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct calibration {
    qf_quant_graph *graph;
    Caffe__NetParameter *net; /* a copy of the graph's, folded */
    qf_record *record;
} calibration;

typedef qf_status layer_function(qf_context *context, calibration *c,
                                 const qf_layer_config *config);

/* ---- weights ---- */

/* With scales of its own, or those of all layers that it is measured with; with all codes, or few.
 */
static qf_status quantise(qf_context *context, const qf_quant_graph *graph,
                          const qf_layer_config *config, const Caffe__LayerParameter *layer,
                          qf_quantised *q)
{
    const qf_joint joint = qf_ptq_joint_of(graph, config);
    qf_weight_layout layout;
    QF_TRY(qf_quantised_layout(context, layer, config->channel_wise, &layout));
    QF_TRY(qf_quantise_weights(context, layer->blobs[0]->data, layout, qf_bits(config->weight_bits),
                               q));
    if (config->weight_method == QF_NUQ)
        return qf_nuq_quantise(context, layer->blobs[0]->data, layout, config->nuq_steps,
                               config->nuq_iterations, q->scale, q->codes);
    if (joint.count == 1)
        return QF_OK;
    QF_TRY(qf_ptq_joint_scales(context, graph, &joint, q));
    qf_quantised_take_codes(q, layer);
    return QF_OK;
}

static qf_status replace_weights(qf_context *context, const qf_quant_graph *graph,
                                 const qf_layer_config *config, Caffe__LayerParameter *layer,
                                 qf_record_entry *entry)
{
    qf_quantised q = {.name = config->name};
    qf_status status = quantise(context, graph, config, layer, &q);
    if (status == QF_OK)
        status = qf_quantised_give_weights(context, &q, layer);
    if (status == QF_OK)
        status = qf_record_set_scales(context, entry, q.scale, q.scales);
    entry->has_num_bits_w = q.weight_bits != 8;
    entry->num_bits_w = (uint32_t)q.weight_bits;
    qf_fold_unshare(layer); /* others keep their floats */
    qf_free(q.scale);
    qf_free(q.codes);
    return status;
}

/* A layer without weights has the scale 1, so that every entry has one. */
static qf_status calibrate_weights(qf_context *context, calibration *c,
                                   const qf_layer_config *config)
{
    const float one = 1;
    qf_record_entry *entry;
    QF_TRY(qf_record_find_or_add(context, c->record, config->name, &entry));
    if (!config->support.has_weights)
        return qf_record_set_scales(context, entry, &one, 1);
    Caffe__LayerParameter *layer = qf_find_layer(c->net, config->name);
    return qf_within(context, replace_weights(context, c->graph, config, layer, entry), "layer %s",
                     config->name);
}

/* ---- activations ---- */

static qf_status set_ifmr(qf_context *context, const calibration *c, const qf_layer_config *config,
                          Caffe__LayerParameter *layer)
{
    const qf_calibration *from = &config->calibration;
    QF_TRY(qf_message_new(context, &caffe__ifmrparameter__descriptor, &layer->ifmr_param));
    Caffe__IFMRParameter *to = layer->ifmr_param;
    to->has_batch_num = to->has_with_offset = true;
    to->batch_num = (uint32_t)c->graph->config.batch_num;
    to->with_offset = qf_config_with_offset(&c->graph->config, from);
    to->search_range_start = (float)from->search_range[0];
    to->search_range_end = (float)from->search_range[1];
    to->search_step = (float)from->search_step;
    to->max_percentile = (float)from->max_percentile;
    to->min_percentile = (float)from->min_percentile;
    to->has_num_bits = qf_bits(config->activation_bits) != 8;
    to->num_bits = (uint32_t)qf_bits(config->activation_bits);
    return qf_set_string(context, &to->record_file_path, c->graph->file[QF_GRAPH_RECORD]);
}

static qf_status set_hfmg(qf_context *context, const calibration *c, const qf_layer_config *config,
                          Caffe__LayerParameter *layer)
{
    QF_TRY(qf_message_new(context, &caffe__hfmgparameter__descriptor, &layer->hfmg_param));
    Caffe__HFMGParameter *to = layer->hfmg_param;
    to->has_batch_num = to->has_with_offset = to->has_num_of_bins = true;
    to->batch_num = (uint32_t)c->graph->config.batch_num;
    to->with_offset = qf_config_with_offset(&c->graph->config, &config->calibration);
    to->num_of_bins = (uint32_t)config->calibration.bins;
    return qf_set_string(context, &to->record_file_path, c->graph->file[QF_GRAPH_RECORD]);
}

static qf_status add_ifmr(qf_context *context, Caffe__LayerParameter *layer, const char *object)
{
    Caffe__IFMRParameter *p = layer->ifmr_param;
    return qf_append_string(context, &p->n_object_layer, &p->object_layer, object);
}

static qf_status add_hfmg(qf_context *context, Caffe__LayerParameter *layer, const char *object)
{
    Caffe__HFMGParameter *p = layer->hfmg_param;
    return qf_append_string(context, &p->n_object_layer, &p->object_layer, object);
}

static const struct method {
    const char *type, *suffix;
    qf_status (*set)(qf_context *, const calibration *, const qf_layer_config *,
                     Caffe__LayerParameter *);
    qf_status (*add)(qf_context *, Caffe__LayerParameter *, const char *object);
} methods[] = {
    [QF_IFMR] = {"IFMR", "ifmr_layer", set_ifmr, add_ifmr},
    [QF_HFMG] = {"HFMG", "hfmg_layer", set_hfmg, add_hfmg},
};

/* Whose input it measures: it reads what they read. */
static qf_status add_objects(qf_context *context, const calibration *c, const struct method *method,
                             const qf_joint *joint, Caffe__LayerParameter *made)
{
    for (size_t i = 0; i < joint->count; i++) {
        const Caffe__LayerParameter *object = qf_find_layer(c->net, joint->layer[i]->name);
        QF_TRY(qf_append_string(context, &made->n_bottom, &made->bottom, object->bottom[0]));
        QF_TRY(method->add(context, made, object->name));
    }
    return QF_OK;
}

/* Right before the layer, or the last of those that are measured together; nobody reads it. */
static qf_status insert_activation(qf_context *context, calibration *c,
                                   const qf_layer_config *config)
{
    const struct method *method = &methods[config->calibration.method];
    const qf_joint joint = qf_ptq_joint_of(c->graph, config);
    Caffe__LayerParameter *made = NULL;
    char *name;
    if (config != joint.layer[joint.count - 1])
        return QF_OK;
    QF_TRY(qf_prepare_name(context, &name, config->name, method->suffix));
    qf_status status = qf_graph_new_layer(context, name, method->type, NULL, NULL, &made);
    qf_free(name);
    if (status == QF_OK)
        status = method->set(context, c, config, made);
    if (status == QF_OK)
        status = add_objects(context, c, method, &joint, made);
    if (status == QF_OK)
        status = qf_graph_insert(context, c->net, qf_graph_find(c->net, config->name), made);
    if (status != QF_OK)
        qf_message_free(made);
    return status;
}

/* ---- sums ---- */

/* Behind the layer, but not before its range is known. */
static qf_status insert_search(qf_context *context, calibration *c, const qf_layer_config *config)
{
    const qf_joint joint = qf_ptq_joint_of(c->graph, config);
    const int last = qf_graph_find(c->net, joint.layer[joint.count - 1]->name);
    Caffe__LayerParameter *made;
    if (!config->support.has_weights || qf_bits(config->activation_bits) > 8)
        return QF_OK;
    qf_status status = qf_prepare_new_search(
        context, config, "search_n_layer", qf_find_layer(c->net, config->name)->top[0],
        c->graph->config.batch_num, c->graph->file[QF_GRAPH_RECORD], &made);
    if (status == QF_OK)
        status = qf_graph_insert(context, c->net, last + 1, made);
    if (status != QF_OK)
        qf_message_free(made);
    return status;
}

/* ---- the step ---- */

static const struct pass {
    const char *name;
    layer_function *run; /* for each quantised layer */
} passes[] = {
    {"WeightsCalibrationPass", calibrate_weights},
    {"InsertActivationCalibrationPass", insert_activation},
    {"InsertSearchNPass", insert_search},
};
enum { PASSES = sizeof passes / sizeof *passes };

static qf_status build(qf_context *context, calibration *c)
{
    const qf_config *config = &c->graph->config;
    qf_ptq_say_joint(context, c->graph);
    QF_TRY(qf_message_copy(context, c->graph->quantised.net, &c->net));
    QF_TRY(qf_message_new(context, &amct__scale_offset_record__descriptor, &c->record));
    for (int p = 0; p < PASSES; p++) {
        qf_amct_say(context, QF_INFO, "Optimizer", "Do <class '%s'>", passes[p].name);
        for (size_t i = 0; i < config->count; i++)
            if (config->layers[i].enabled)
                QF_TRY(passes[p].run(context, c, &config->layers[i]));
    }
    return QF_OK;
}

static qf_status write_files(qf_context *context, calibration *c, const char *model_file,
                             const char *weights_file)
{
    char *const *file = c->graph->file;
    const size_t mark = qf_outputs_begin(context);
    qf_status status =
        qf_equalise_leave_beside(context, file[QF_GRAPH_MODEL], file[QF_GRAPH_WEIGHTS],
                                 c->graph->equalise, file[QF_GRAPH_RECORD]);
    if (status == QF_OK)
        status = qf_toolkit_write_net(context, c->net, model_file, weights_file);
    if (status == QF_OK) /* last: it replaces what an earlier net may still need */
        status = qf_record_write(context, file[QF_GRAPH_RECORD], c->record);
    QF_TRY(qf_outputs_end(context, mark, status));
    qf_toolkit_say_saved(context, model_file, weights_file);
    return QF_OK;
}

/* It is written, too; that it exists is worth a word only where something is in it. */
static qf_status check_record(qf_context *context, const qf_quant_graph *graph)
{
    const char *record = graph->file[QF_GRAPH_RECORD];
    struct stat found;
    if (stat(record, &found) == 0 && S_ISREG(found.st_mode) && found.st_size == 0)
        return qf_output_probe(context, record);
    return qf_toolkit_check_outputs(context, &record, 1, (const char *const *)graph->file,
                                    QF_GRAPH_RECORD);
}

qf_status qf_quantize_model(qf_context *context, qf_quant_graph *graph,
                            const char *modified_model_file, const char *modified_weights_file)
{
    calibration c = {.graph = graph};
    const char *outputs[] = {modified_model_file, modified_weights_file};
    qf_status status = qf_toolkit_check_outputs(context, outputs, 2,
                                                (const char *const *)graph->file, QF_GRAPH_FILES);
    if (status == QF_OK)
        status = check_record(context, graph);
    if (status == QF_OK) {
        qf_amct_begin(context);
        status = build(context, &c);
    }
    if (status == QF_OK)
        status = write_files(context, &c, modified_model_file, modified_weights_file);
    qf_message_free(c.net);
    qf_message_free(c.record);
    return qf_amct_outcome(context, "quantize_model", status);
}
