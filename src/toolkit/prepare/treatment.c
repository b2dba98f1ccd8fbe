/* What preparing will do to each layer, and why: for people to read before any work is done. */
#include "base/memory.h"
#include "base/rows.h"
#include "model/until.h"
#include "toolkit/config/bits.h"
#include "toolkit/config/ranges.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/prepare/prepare.h"
#include "toolkit/ptq/joint_layers.h"

#include <stdio.h>
#include <string.h>

void qf_plan_destroy(qf_plan *plan)
{
    if (plan)
        qf_rows_free(plan->row, plan->rows);
    qf_free(plan);
}

/* Layers that neither compute on activations nor can be quantised say nothing in a plan. */
static bool is_silent(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {
        "Data",          "Input",         "DummyData",     "Accuracy",          "Silence",
        "Split",         "ImageData",     "HDF5Data",      "RawData",           "SoftmaxWithLoss",
        "EuclideanLoss", "AnnotatedData", "MultiBoxLoss",  "DetectionEvaluate", "Yolov3",
        "RegionLoss",    "ImageGtData",   "DetectionLoss", "DetectionAccuracy", "BboxAccuracy"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (qf_layer_is(layer, types[i]))
            return true;
    return false;
}

/* How the range of a layer's input is found. */
static void describe_range(const qf_config *config, const qf_layer_config *mine, char *text,
                           size_t size)
{
    const qf_calibration *c = &mine->calibration;
    const char *offset = qf_config_with_offset(config, c) ? "" : ", symmetric";
    if (config->calibrates && c->method == QF_HFMG)
        snprintf(text, size, "input by HFMG, %d bins%s", c->bins, offset);
    else if (config->calibrates)
        snprintf(text, size, "input by IFMR%s", offset);
    else if (mine->has_clip)
        snprintf(text, size, "input %g ... %g (%s)", (double)mine->clip_min, (double)mine->clip_max,
                 mine->calibrated_clip ? "calibrated" : "configuration");
    else
        snprintf(text, size, "input measured on the first batch");
}

static void describe_quantised(const qf_config *config, const qf_layer_config *mine,
                               const Caffe__LayerParameter *layer, qf_plan_row *row)
{
    /* together shorter than row->detail */
    char input[8] = "", range[80], learns[24] = "", weights[28] = "", steps[32] = "",
         batches[32] = "", shared[52] = "";
    const int of_weights = qf_bits(mine->weight_bits), of_input = qf_bits(mine->activation_bits);
    snprintf(row->treatment, sizeof row->treatment, "quantised");
    describe_range(config, mine, range, sizeof range);
    if (of_input != QF_BITS_CODE)
        snprintf(input, sizeof input, "%d-bit ", of_input);
    if (mine->support.has_weights && of_weights != QF_BITS_CODE)
        snprintf(weights, sizeof weights, "; %d-bit weights %s", of_weights,
                 mine->channel_wise ? "per channel" : "per tensor");
    else if (mine->support.has_weights)
        snprintf(weights, sizeof weights, "; weights %s",
                 mine->channel_wise ? "per channel" : "per tensor");
    if (config->calibrates && mine->weight_method == QF_NUQ)
        snprintf(steps, sizeof steps, ", %d codes of 256", mine->nuq_steps);
    if (mine->support.has_weights || config->calibrates)
        snprintf(batches, sizeof batches, "; %sover %d batch%s", config->calibrates ? "" : "N ",
                 config->batch_num, config->batch_num == 1 ? "" : "es");
    if (layer->n_param && layer->param[0]->name && *layer->param[0]->name)
        snprintf(shared, sizeof shared, "; shares weights '%.28s'", layer->param[0]->name);
    if (mine->ranges != CAFFE__RANGE_LEARNING__AMCT ||
        mine->weight_ranges != CAFFE__RANGE_LEARNING__AMCT)
        snprintf(learns, sizeof learns, "; ranges by %s%s%s", qf_ranges_name(mine->ranges),
                 mine->support.has_weights ? ", " : "",
                 mine->support.has_weights ? qf_ranges_name(mine->weight_ranges) : "");
    snprintf(row->detail, sizeof row->detail, "%s%s%s%s%s%s%s", input, range, weights, learns,
             steps, batches, shared);
}

static bool is_in(qf_fold fold, int index)
{
    return fold.batch_norm == index || fold.scale == index;
}

/* Is layer `index` folded into layer `into`? Training folds only what stands behind convolutions.
 */
static bool folds(const Caffe__NetParameter *net, const Caffe__NetParameter *weights,
                  const qf_config *config, int index, int into)
{
    const Caffe__LayerParameter *layer = net->layer[into];
    if (!config->calibrates)
        return is_in(qf_graph_fold(net, into), index);
    return !qf_config_skips_fusion(config, layer->name) &&
           (is_in(qf_graph_fold(net, into), index) ||
            is_in(qf_graph_fold_product(net, into), index) ||
            is_in(qf_graph_fold_front(net, into), index)) &&
           qf_layer_support(layer, qf_find_layer(weights, layer->name)).supported;
}

/* The layer that `index` will be folded into, or NULL. */
static const Caffe__LayerParameter *fold_target(const Caffe__NetParameter *net,
                                                const Caffe__NetParameter *weights,
                                                const qf_config *config, int index)
{
    for (int i = 0; i < (int)net->n_layer; i++)
        if (i != index && folds(net, weights, config, index, i))
            return net->layer[i];
    return NULL;
}

static void describe_folded(const qf_config *config, const Caffe__LayerParameter *layer,
                            const Caffe__LayerParameter *target, qf_plan_row *row)
{
    const Caffe__BatchNormParameter *p = layer->batch_norm_param;
    snprintf(row->treatment, sizeof row->treatment, "folded");
    const char *statistics = !qf_layer_is(layer, "BatchNorm") ? ""
                             : p && p->has_use_global_stats && p->use_global_stats
                                 ? "; statistics frozen"
                                 : "; statistics go on training";
    if (config->calibrates)
        snprintf(row->detail, sizeof row->detail, "into %.100s", target->name);
    else
        snprintf(row->detail, sizeof row->detail, "into %.100s when exporting%s", target->name,
                 statistics);
}

bool qf_plan_describe(const Caffe__NetParameter *net, const Caffe__NetParameter *weights,
                      const qf_config *config, int index, qf_plan_row *row)
{
    if (is_silent(net->layer[index]))
        return false;

    const Caffe__LayerParameter *layer = net->layer[index], *target;
    const qf_layer_config *mine = qf_config_find(config, layer->name);
    const qf_support support = qf_layer_support(layer, qf_find_layer(weights, layer->name));
    snprintf(row->layer, sizeof row->layer, "%s", layer->name);
    snprintf(row->type, sizeof row->type, "%s", layer->type);
    snprintf(row->treatment, sizeof row->treatment, "float");
    if (mine && mine->enabled)
        describe_quantised(config, mine, layer, row);
    else if (mine)
        snprintf(row->detail, sizeof row->detail, "switched off in the configuration");
    else if ((target = fold_target(net, weights, config, index)))
        describe_folded(config, layer, target, row);
    else if (support.reason)
        snprintf(row->detail, sizeof row->detail, "%s", support.reason);
    else
        snprintf(row->detail, sizeof row->detail, "this type is not quantised");
    return true;
}

static qf_status make_plan(qf_context *context, const Caffe__NetParameter *net,
                           const Caffe__NetParameter *weights, const qf_config *config,
                           qf_plan **out)
{
    qf_plan *plan = qf_alloc(1, sizeof *plan);
    bool whole = plan;
    for (size_t i = 0; i < net->n_layer && whole; i++) {
        qf_plan_row row = {0};
        if (!qf_plan_describe(net, weights, config, (int)i, &row))
            continue;
        qf_plan_row *mine = qf_rows_add(&plan->row, &plan->rows, sizeof row);
        whole = mine;
        if (mine)
            *mine = row;
    }
    if (!whole) {
        qf_plan_destroy(plan);
        return qf_fail(context, QF_E_MEMORY, "no memory for a plan of %zu layers", net->n_layer);
    }
    *out = plan;
    return QF_OK;
}

static qf_status say_what_is_left(qf_context *context, size_t layers, qf_plan *plan)
{
    char where[128];
    qf_plan_row *row = qf_rows_add(&plan->row, &plan->rows, sizeof *row);
    if (!row)
        return qf_fail(context, QF_E_MEMORY, "no memory for a plan");
    qf_until_describe(context, where, sizeof where);
    snprintf(row->layer, sizeof row->layer, "(the rest)");
    snprintf(row->treatment, sizeof row->treatment, "cut");
    snprintf(row->detail, sizeof row->detail, "left to your code: %zu layer%s %s", layers,
             layers == 1 ? "" : "s", where);
    return QF_OK;
}

/* With which others a layer is measured, if with any. */
static void describe_joint(const qf_joint *joint, qf_plan_row *row)
{
    const char *before = "; jointly with ";
    for (size_t i = 0; i < joint->count; i++) {
        const char *name = joint->layer[i]->name;
        const size_t length = strlen(row->detail);
        if (strcmp(name, row->layer) == 0)
            continue;
        snprintf(row->detail + length, sizeof row->detail - length, "%s%s", before, name);
        before = ", ";
    }
}

/* What is measured together shows in the folded net only. */
static qf_status plan_joint(qf_context *context, Caffe__NetParameter *net,
                            const Caffe__NetParameter *weights, const qf_config *config,
                            qf_plan *plan)
{
    qf_quant_graph graph = {.config = *config};
    qf_status status = qf_ptq_take_net(context, net, weights, &graph.quantised.net);
    if (status == QF_OK)
        status = qf_ptq_fold(context, config, &graph.quantised);
    for (size_t i = 0; status == QF_OK && i < plan->rows; i++) {
        const qf_layer_config *layer = qf_config_find(config, plan->row[i]->layer);
        if (!layer || !layer->enabled)
            continue;
        const qf_joint joint = qf_ptq_joint_of(&graph, layer);
        describe_joint(&joint, plan->row[i]);
    }
    qf_quantised_net_release(&graph.quantised);
    return status;
}

/* Calibration is of what a TEST pass runs. */
static qf_status plan_calibration(qf_context *context, Caffe__NetParameter *net,
                                  const Caffe__NetParameter *weights, const qf_config *config,
                                  qf_plan **out)
{
    Caffe__NetParameter *view = NULL;
    qf_status status = qf_ptq_view(context, net, &view);
    if (status == QF_OK)
        status = qf_toolkit_check_shared(context, view, config);
    if (status == QF_OK)
        status = make_plan(context, view, weights, config, out);
    if (status == QF_OK && config->joint_quant)
        status = plan_joint(context, net, weights, config, *out);
    if (status != QF_OK) {
        qf_plan_destroy(*out);
        *out = NULL;
    }
    qf_message_free(view);
    return status;
}

/* Which layers read channels that are, or could be, equalised. */
static qf_status plan_equalising(qf_context *context, const Caffe__NetParameter *net,
                                 Caffe__NetParameter *weights, qf_equalise choice, qf_plan *plan)
{
    qf_equalisation *found = NULL;
    const qf_status status = qf_equalise_net(context, net, weights, choice, &found);
    if (status == QF_OK)
        qf_equalisation_plan(found, plan);
    qf_equalisation_destroy(found);
    return status;
}

/* `retraining` NULL: it is calibration. */
static qf_status plan(qf_context *context, const char *model_file, const char *weights_file,
                      const char *config_file, const qf_retrain_options *retraining,
                      qf_equalise equalise, qf_plan **out)
{
    Caffe__NetParameter *net = NULL, *weights = NULL;
    qf_config config = {0};
    *out = NULL;
    qf_status status = qf_toolkit_read_whole(context, model_file, weights_file, &net, &weights);
    const size_t whole = status == QF_OK ? net->n_layer : 0;
    if (status == QF_OK)
        status = qf_toolkit_check_any_weights(context, net, weights, weights_file);
    if (status == QF_OK && retraining) /* of the whole net, which trains */
        status =
            qf_retrain_config(context, net, weights, model_file, config_file, retraining, &config);
    if (status == QF_OK)
        status = qf_within(context, qf_until_cut(context, net), "%s", model_file);
    if (status == QF_OK && !retraining)
        status = qf_ptq_load(context, net, weights, config_file, &config);
    const size_t left = status == QF_OK ? whole - qf_until_kept(net) : 0;
    if (status == QF_OK)
        status = retraining ? make_plan(context, net, weights, &config, out)
                            : plan_calibration(context, net, weights, &config, out);
    if (status == QF_OK)
        status = plan_equalising(context, net, weights, equalise, *out);
    if (status == QF_OK && left)
        status = say_what_is_left(context, left, *out);
    if (status != QF_OK) {
        qf_plan_destroy(*out);
        *out = NULL;
    }
    qf_message_free(net);
    qf_message_free(weights);
    qf_config_release(&config);
    return status;
}

qf_status qf_quant_retrain_plan(qf_context *context, const char *model_file,
                                const char *weights_file, const char *config_file,
                                const qf_retrain_options *given, qf_plan **out)
{
    qf_retrain_options options;
    *out = NULL;
    QF_TRY(qf_retrain_options_take(context, given, &options));
    const qf_equalise equalise = qf_equalise_as_record(options.equalise, options.calibrated_record);
    QF_TRY(plan(context, model_file, weights_file, config_file, &options, equalise, out));
    const qf_status status = qf_teacher_plan(context, model_file, &options, *out);
    if (status != QF_OK) {
        qf_plan_destroy(*out);
        *out = NULL;
    }
    return status;
}

qf_status qf_quant_plan(qf_context *context, const char *model_file, const char *weights_file,
                        const char *config_file, qf_plan **out)
{
    return plan(context, model_file, weights_file, config_file, NULL, QF_EQUALISE_OFF, out);
}

qf_status qf_quant_plan_equalised(qf_context *context, const char *model_file,
                                  const char *weights_file, const char *config_file,
                                  qf_equalise equalise, qf_plan **out)
{
    return plan(context, model_file, weights_file, config_file, NULL, equalise, out);
}
