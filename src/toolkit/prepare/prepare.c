/* From a float model to one that learns to live with int8: ActivationQAT and WeightQAT in front of
 * every enabled layer, SearchN behind it (specification, section E). */
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "quant/quant.h"
#include "toolkit/prepare/dead_channels.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

static const char MODULE[] = "Prepare";

typedef struct preparation {
    qf_context *context;
    Caffe__NetParameter *net, *weights;
    const qf_config *config;
    const char *record;
} preparation;

static qf_status format_name(qf_context *context, char **out, const char *format, const char *name)
{
    qf_buffer text = {0};
    qf_buffer_print(&text, format, name);
    *out = text.failed ? NULL : qf_strdup(text.data);
    qf_buffer_release(&text);
    return *out ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a name");
}

static qf_status append_layer(qf_context *context, Caffe__NetParameter *net,
                              Caffe__LayerParameter *layer)
{
    return qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer);
}

/* ---- parameter settings ---- */

static qf_status spec_at(qf_context *context, Caffe__LayerParameter *layer, size_t index,
                         Caffe__ParamSpec **out)
{
    while (layer->n_param <= index) {
        Caffe__ParamSpec *spec;
        QF_TRY(qf_message_new(context, &caffe__param_spec__descriptor, &spec));
        qf_status status = qf_append(context, &layer->n_param, &layer->param, &spec, sizeof spec);
        if (status != QF_OK) {
            qf_message_free(spec);
            return status;
        }
    }
    *out = layer->param[index];
    return QF_OK;
}

static qf_status set_multipliers(qf_context *context, Caffe__LayerParameter *layer, size_t index,
                                 float lr_mult, float decay_mult)
{
    Caffe__ParamSpec *spec;
    QF_TRY(spec_at(context, layer, index, &spec));
    spec->has_lr_mult = spec->has_decay_mult = true;
    spec->lr_mult = lr_mult;
    spec->decay_mult = decay_mult;
    return QF_OK;
}

/* ---- the inserted layers ---- */

/* Is the tensor the output of a ReLU, so that it has no negative values? */
static bool is_rectified(const Caffe__NetParameter *net, const char *blob, int before)
{
    int producer = qf_graph_producer(net, blob, before);
    if (producer != QF_NONE && qf_layer_is(net->layer[producer], "ReLU6"))
        return true;
    if (producer == QF_NONE || !qf_layer_is(net->layer[producer], "ReLU"))
        return false;
    const Caffe__ReLUParameter *p = net->layer[producer]->relu_param;
    return !p || p->negative_slope == 0;
}

static qf_status fixed_min_of(const preparation *p, const qf_layer_config *config, int index,
                              bool *out)
{
    const char *bottom = p->net->layer[index]->bottom[0];
    bool rectified = is_rectified(p->net, bottom, index);
    *out = rectified;
    if (config->fixed_min == QF_AUTOMATIC || (config->fixed_min == QF_YES) == rectified)
        return QF_OK;
    return qf_fail(p->context, QF_E_ARGUMENT,
                   "layer %s: fixed_min is %s, but its input '%s' is %sthe output of a ReLU; leave "
                   "fixed_min out or correct it",
                   config->name, config->fixed_min == QF_YES ? "true" : "false", bottom,
                   rectified ? "" : "not ");
}

/* An ActivationQAT that already stands before `index`, reads the same tensor, and has these
 * settings. */
static Caffe__LayerParameter *find_activation(const preparation *p, int index, const char *bottom,
                                              const Caffe__RetrainDataQuantParameter *wanted)
{
    for (int i = index - 1; i >= 0; i--) {
        Caffe__LayerParameter *layer = p->net->layer[i];
        if (qf_layer_is(layer, "ActivationQAT") && strcmp(layer->bottom[0], bottom) == 0) {
            const Caffe__RetrainDataQuantParameter *q = layer->retrain_data_quant_param;
            if (q->clip_max == wanted->clip_max && q->clip_min == wanted->clip_min &&
                q->ifmr_init == wanted->ifmr_init && q->fixed_min == wanted->fixed_min)
                return layer;
        }
        if (qf_layer_writes(layer, bottom))
            break; /* before this it is another tensor */
    }
    return NULL;
}

static qf_status set_activation(const preparation *p, const qf_layer_config *config, bool fixed_min,
                                Caffe__RetrainDataQuantParameter *out)
{
    out->has_clip_max = out->has_clip_min = out->has_ifmr_init = out->has_with_offset =
        out->has_fixed_min = true;
    out->ifmr_init = !config->has_clip;
    if (config->has_clip) {
        out->clip_max = config->clip_max;
        out->clip_min = config->clip_min;
    }
    out->fixed_min = fixed_min;
    QF_TRY(qf_set_string(p->context, &out->object_layer, config->name));
    return qf_set_string(p->context, &out->record_file_path, p->record);
}

static qf_status make_activation(preparation *p, const qf_layer_config *config, int index,
                                 Caffe__LayerParameter **out)
{
    const char *bottom = p->net->layer[index]->bottom[0];
    char *name = NULL;
    bool fixed_min;
    *out = NULL;
    QF_TRY(fixed_min_of(p, config, index, &fixed_min));
    QF_TRY(format_name(p->context, &name, "%s_activation_qat", config->name));
    qf_status status = qf_graph_new_layer(p->context, name, "ActivationQAT", bottom, name, out);
    if (status == QF_OK)
        status = qf_message_new(p->context, &caffe__retrain_data_quant_parameter__descriptor,
                                &(*out)->retrain_data_quant_param);
    if (status == QF_OK)
        status = set_activation(p, config, fixed_min, (*out)->retrain_data_quant_param);
    for (size_t i = 0; status == QF_OK && i < 2; i++)
        status = set_multipliers(p->context, *out, i, 1, 0);
    qf_free(name);
    return status;
}

/* Serve another layer by an ActivationQAT that is there; or insert a new one before `*index`. */
static qf_status insert_activation(preparation *p, const qf_layer_config *config, int *index,
                                   Caffe__LayerParameter **out)
{
    Caffe__LayerParameter *made;
    qf_status status = make_activation(p, config, *index, &made);
    if (status != QF_OK) {
        qf_message_free(made);
        return status;
    }
    *out = find_activation(p, *index, made->bottom[0], made->retrain_data_quant_param);
    if (!*out) {
        *out = made;
        status = qf_graph_insert(p->context, p->net, (*index)++, made);
        if (status != QF_OK)
            qf_message_free(made);
        return status;
    }
    qf_message_free(made);
    qf_buffer objects = {0};
    qf_buffer_print(&objects, "%s-%s", (*out)->retrain_data_quant_param->object_layer,
                    config->name);
    status = qf_set_string(p->context, &(*out)->retrain_data_quant_param->object_layer,
                           qf_buffer_text(&objects));
    qf_buffer_release(&objects);
    return status;
}

static qf_status set_weight_shape(const preparation *p, const Caffe__LayerParameter *layer,
                                  const qf_layer_config *config,
                                  Caffe__RetrainWeightQuantParameter *out)
{
    const Caffe__LayerParameter *weights = qf_find_layer(p->weights, layer->name);
    int dims[32], axes;
    QF_TRY(qf_blob_proto_shape(p->context, weights->blobs[0], dims, &axes, NULL));
    /* An old file keeps inner products as 1 x 1 x num_output x inputs. */
    int first = axes == 4 && qf_layer_is(layer, "InnerProduct") ? 2 : 0;
    out->has_cout = out->has_cin = true;
    out->cout = (uint32_t)dims[first];
    out->cin = (uint32_t)dims[first + 1];
    if (axes == 4 && first == 0) {
        out->has_h = out->has_w = true;
        out->h = (uint32_t)dims[2];
        out->w = (uint32_t)dims[3];
    }
    out->has_channel_wise = out->has_with_offset = true;
    out->channel_wise = config->channel_wise;
    return qf_set_string(p->context, &out->layer_type, layer->type);
}

/* The quantised weights are shared between WeightQAT and its layer by name; the float master keeps
 * the multipliers that the layer had. */
static qf_status share_weights(const preparation *p, Caffe__LayerParameter *layer,
                               Caffe__LayerParameter *weight_qat)
{
    Caffe__ParamSpec *mine, *shared, *master;
    char *name = NULL, *master_name = NULL;
    QF_TRY(spec_at(p->context, layer, 0, &mine));
    QF_TRY(spec_at(p->context, weight_qat, 0, &shared));
    QF_TRY(spec_at(p->context, weight_qat, 1, &master));
    float lr_mult = mine->lr_mult, decay_mult = mine->decay_mult;
    bool given = mine->name && *mine->name;
    QF_TRY(format_name(p->context, &name, given ? "%s" : "%s_weight",
                       given ? mine->name : layer->name));
    qf_status status = qf_set_string(p->context, &mine->name, name);
    if (status == QF_OK)
        status = qf_set_string(p->context, &shared->name, name);
    if (status == QF_OK && given) { /* layers that share weights share the master, too */
        status = format_name(p->context, &master_name, "%s_master", name);
        if (status == QF_OK)
            status = qf_set_string(p->context, &master->name, master_name);
    }
    /* The solver never steps the quantised blob; its multiplier only says that a gradient is
     * wanted. */
    if (status == QF_OK)
        status = set_multipliers(p->context, layer, 0, lr_mult != 0, 0);
    if (status == QF_OK)
        status = set_multipliers(p->context, weight_qat, 0, lr_mult != 0, 0);
    if (status == QF_OK)
        status = set_multipliers(p->context, weight_qat, 1, lr_mult, decay_mult);
    qf_free(name);
    qf_free(master_name);
    return status;
}

static qf_status insert_weight_qat(preparation *p, const qf_layer_config *config, int *index,
                                   const char *bottom)
{
    Caffe__LayerParameter *layer = p->net->layer[*index], *made = NULL;
    char *name = NULL;
    QF_TRY(format_name(p->context, &name, "%s_weight_qat", config->name));
    qf_status status = qf_graph_new_layer(p->context, name, "WeightQAT", bottom, name, &made);
    if (status == QF_OK)
        status = qf_message_new(p->context, &caffe__retrain_weight_quant_parameter__descriptor,
                                &made->retrain_weight_quant_param);
    if (status == QF_OK)
        status = set_weight_shape(p, layer, config, made->retrain_weight_quant_param);
    if (status == QF_OK)
        status = share_weights(p, layer, made);
    if (status == QF_OK)
        status = qf_set_string(p->context, &layer->bottom[0], name);
    if (status == QF_OK)
        status = qf_graph_insert(p->context, p->net, *index, made);
    if (status != QF_OK)
        qf_message_free(made);
    else
        (*index)++;
    qf_free(name);
    return status;
}

static qf_status set_search(const preparation *p, const qf_layer_config *config,
                            Caffe__LayerParameter *layer)
{
    Caffe__NetStateRule *rule;
    QF_TRY(
        qf_message_new(p->context, &caffe__search_nparameter__descriptor, &layer->search_n_param));
    Caffe__SearchNParameter *search = layer->search_n_param;
    search->has_batch_num = true;
    search->batch_num = (uint32_t)p->config->batch_num;
    QF_TRY(qf_append_string(p->context, &search->n_layer_name, &search->layer_name, config->name));
    QF_TRY(qf_append_string(p->context, &search->n_layer_type, &search->layer_type, config->type));
    QF_TRY(qf_set_string(p->context, &search->record_file_path, p->record));
    QF_TRY(qf_message_new(p->context, &caffe__net_state_rule__descriptor, &rule));
    rule->has_phase = true;
    rule->phase = CAFFE__PHASE__TEST;
    qf_status status =
        qf_append(p->context, &layer->n_include, &layer->include, &rule, sizeof rule);
    if (status != QF_OK)
        qf_message_free(rule);
    return status;
}

/* In place behind what will be folded: it sees the values that the deployed accumulators will have.
 */
static qf_status insert_search(preparation *p, const qf_layer_config *config, int index)
{
    qf_fold fold = qf_graph_fold(p->net, index);
    int last = fold.scale != QF_NONE        ? fold.scale
               : fold.batch_norm != QF_NONE ? fold.batch_norm
                                            : index;
    const char *blob = p->net->layer[last]->top[0];
    Caffe__LayerParameter *made = NULL;
    char *name = NULL;
    QF_TRY(format_name(p->context, &name, "%s_search_n", config->name));
    qf_status status = qf_graph_new_layer(p->context, name, "SearchN", blob, blob, &made);
    if (status == QF_OK)
        status = set_search(p, config, made);
    if (status == QF_OK)
        status = qf_graph_insert(p->context, p->net, last + 1, made);
    if (status != QF_OK)
        qf_message_free(made);
    qf_free(name);
    return status;
}

static qf_status insert_around(preparation *p, const qf_layer_config *config)
{
    int index = qf_graph_find(p->net, config->name);
    Caffe__LayerParameter *activation;
    QF_TRY(qf_graph_name_apart(p->context, p->net, index)); /* its bottom is going to be another */
    QF_TRY(insert_activation(p, config, &index, &activation));
    if (!config->support.has_weights)
        return qf_set_string(p->context, &p->net->layer[index]->bottom[0], activation->top[0]);
    QF_TRY(insert_weight_qat(p, config, &index, activation->top[0]));
    return insert_search(p, config, index);
}

/* ---- the weights of the inserted layers ---- */

static qf_status float_blob(qf_context *context, const float *values, size_t count,
                            const int64_t *dims, size_t axes, Caffe__BlobProto **out)
{
    QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, out));
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &(*out)->shape));
    for (size_t i = 0; i < axes; i++)
        QF_TRY(
            qf_append(context, &(*out)->shape->n_dim, &(*out)->shape->dim, &dims[i], sizeof *dims));
    for (size_t i = 0; i < count; i++)
        QF_TRY(qf_append(context, &(*out)->n_data, &(*out)->data, &values[i], sizeof *values));
    return QF_OK;
}

static qf_status activation_blobs(qf_context *context, Caffe__LayerParameter *entry)
{
    const Caffe__RetrainDataQuantParameter *p = entry->retrain_data_quant_param;
    const float clip[2] = {p->clip_max, p->fixed_min ? 0 : p->clip_min};
    for (int i = 0; i < 2; i++) {
        Caffe__BlobProto *blob = NULL;
        qf_status status = float_blob(context, &clip[i], 1, (int64_t[]){1}, 1, &blob);
        QF_TRY(qf_graph_give_blob(context, entry, blob, status));
    }
    return QF_OK;
}

/* Twice the weights of the layer that it serves: to be quantised, and the master. */
static qf_status weight_blobs(qf_context *context, const Caffe__LayerParameter *target,
                              Caffe__LayerParameter *entry)
{
    const Caffe__RetrainWeightQuantParameter *p = entry->retrain_weight_quant_param;
    const int64_t dims[] = {p->cout, p->cin, p->h, p->w};
    for (int i = 0; i < 2; i++) {
        Caffe__BlobProto *blob = NULL;
        qf_status status = qf_message_copy(context, target->blobs[0], &blob);
        if (status == QF_OK && !p->has_h) { /* 2-D, whatever the old file said */
            Caffe__BlobProto *plain = NULL;
            status = float_blob(context, blob->data, blob->n_data, dims, 2, &plain);
            qf_message_free(blob);
            blob = plain;
        }
        QF_TRY(qf_graph_give_blob(context, entry, blob, status));
    }
    return QF_OK;
}

/* The weights file in the order of the new net: all that was there, and the new layers. */
static qf_status make_weights(preparation *p, Caffe__NetParameter **out)
{
    QF_TRY(qf_message_new(p->context, &caffe__net_parameter__descriptor, out));
    if (p->net->name)
        QF_TRY(qf_set_string(p->context, &(*out)->name, p->net->name));
    const char *target = NULL;
    for (size_t i = p->net->n_layer; i-- > 0;) { /* a WeightQAT stands right before its layer */
        const Caffe__LayerParameter *layer = p->net->layer[i];
        const Caffe__LayerParameter *stored = qf_find_layer(p->weights, layer->name);
        Caffe__LayerParameter *entry;
        if (!stored && qf_toolkit_has_parameters(layer))
            continue; /* an entry without blobs would not fit; so it keeps what its filler gives */
        QF_TRY(qf_message_copy(p->context, layer, &entry));
        qf_status status = append_layer(p->context, *out, entry);
        if (status != QF_OK) {
            qf_message_free(entry);
            return status;
        }
        if (qf_layer_is(layer, "ActivationQAT")) {
            QF_TRY(activation_blobs(p->context, entry));
        } else if (qf_layer_is(layer, "WeightQAT")) {
            QF_TRY(weight_blobs(p->context, qf_find_layer(p->weights, target), entry));
        } else {
            target = layer->name;
            for (size_t b = 0; stored && b < stored->n_blobs; b++) {
                Caffe__BlobProto *blob = NULL;
                status = qf_message_copy(p->context, stored->blobs[b], &blob);
                QF_TRY(qf_graph_give_blob(p->context, entry, blob, status));
            }
        }
    }
    for (size_t i = 0; i < (*out)->n_layer / 2; i++) { /* back into running order */
        Caffe__LayerParameter *swapped = (*out)->layer[i];
        (*out)->layer[i] = (*out)->layer[(*out)->n_layer - 1 - i];
        (*out)->layer[(*out)->n_layer - 1 - i] = swapped;
    }
    return QF_OK;
}

/* ---- checks ---- */

/* Layers that share weights are quantised alike, or not at all (C.4). */
static qf_status check_shared(const preparation *p)
{
    for (size_t i = 0; i < p->config->count; i++)
        for (size_t k = 0; k < i; k++) {
            const qf_layer_config *a = &p->config->layers[k], *b = &p->config->layers[i];
            const Caffe__LayerParameter *first = qf_find_layer(p->net, a->name);
            const Caffe__LayerParameter *second = qf_find_layer(p->net, b->name);
            bool shared = first->n_param && second->n_param && first->param[0]->name &&
                          second->param[0]->name && *first->param[0]->name &&
                          strcmp(first->param[0]->name, second->param[0]->name) == 0;
            if (shared && (a->enabled != b->enabled || a->channel_wise != b->channel_wise))
                return qf_fail(p->context, QF_E_ARGUMENT,
                               "layers %s and %s share weights, so they must be configured alike",
                               a->name, b->name);
        }
    return QF_OK;
}

static qf_status check_weights(const preparation *p)
{
    for (size_t i = 0; i < p->config->count; i++) {
        const qf_layer_config *config = &p->config->layers[i];
        if (!config->enabled || !config->support.has_weights)
            continue;
        const Caffe__BlobProto *blob = qf_find_layer(p->weights, config->name)->blobs[0];
        for (size_t k = 0; k < blob->n_data; k++)
            if (blob->data[k] != blob->data[k])
                return qf_fail(
                    p->context, QF_E_VALUE,
                    "Exist NaN in input data, cannot do ARQ quantize. (weight %zu of layer %s)", k,
                    config->name);
        if (!blob->n_data)
            return qf_fail(p->context, QF_E_FORMAT, "the weights of layer %s are not float32",
                           config->name);
        QF_TRY(qf_warn_dead_channels(p->context, p->net, p->weights,
                                     qf_graph_find(p->net, config->name)));
    }
    return QF_OK;
}

static qf_status prepare(preparation *p)
{
    size_t enabled = 0;
    QF_TRY(check_shared(p));
    QF_TRY(check_weights(p));
    for (size_t i = 0; i < p->config->count; i++) {
        const qf_layer_config *config = &p->config->layers[i];
        if (!config->enabled)
            continue;
        enabled++;
        qf_amct_say(p->context, QF_DEBUG, MODULE, "Do layer: [%s] insert retrain layers success!",
                    config->name);
        QF_TRY(qf_within(p->context, insert_around(p, config), "layer %s", config->name));
    }
    qf_amct_say(p->context, QF_INFO, MODULE, "%zu of %zu layer%s that can be quantised %s", enabled,
                p->config->count, p->config->count == 1 ? "" : "s", enabled == 1 ? "is" : "are");
    return QF_OK;
}

static qf_status create_model(preparation *p, qf_config *config, const char *model_file,
                              const char *weights_file, const char *config_file,
                              const char *modified_model_file, const char *modified_weights_file,
                              qf_batch_norm batch_norm)
{
    qf_context *context = p->context;
    Caffe__NetParameter *modified = NULL;
    const char *inputs[] = {model_file, weights_file, config_file};
    const char *outputs[] = {modified_model_file, modified_weights_file, p->record};
    QF_TRY(qf_toolkit_check_outputs(context, outputs, 3, inputs, 3));
    QF_TRY(qf_toolkit_read(context, model_file, weights_file, &p->net, &p->weights));
    QF_TRY(qf_toolkit_check_weights(context, p->net, p->weights, weights_file));
    QF_TRY(qf_config_defaults(context, p->net, p->weights, config));
    QF_TRY(qf_config_read(context, p->net, config_file, config));
    QF_TRY(qf_graph_set_batch_norm(context, p->net, batch_norm));
    qf_amct_begin(context);
    QF_TRY(prepare(p));
    qf_status status = make_weights(p, &modified);
    const size_t mark = qf_outputs_begin(context);
    if (status == QF_OK)
        status = qf_wire_write(context, modified_weights_file, modified, 0640);
    if (status == QF_OK)
        status = qf_text_write(context, modified_model_file, p->net, 0640);
    if (status == QF_OK) /* last: it empties what an earlier net may still need */
        status = qf_file_write(context, p->record, "", 0, 0640);
    qf_message_free(modified);
    return qf_outputs_end(context, mark, status);
}

qf_status qf_prepare_quant_retrain_model(qf_context *context, const char *model_file,
                                         const char *weights_file, const char *config_file,
                                         const char *modified_model_file,
                                         const char *modified_weights_file,
                                         const char *scale_offset_record_file,
                                         qf_batch_norm batch_norm)
{
    qf_config config = {0};
    preparation p = {.context = context, .config = &config, .record = scale_offset_record_file};
    qf_amct_say(context, QF_INFO, MODULE, "Create the retrain model of %s with %s", model_file,
                config_file);
    qf_status status = create_model(&p, &config, model_file, weights_file, config_file,
                                    modified_model_file, modified_weights_file, batch_norm);
    if (status == QF_OK)
        qf_amct_say(context, QF_INFO, MODULE,
                    "The modified model is saved in %s, its weights in %s", modified_model_file,
                    modified_weights_file);
    qf_message_free(p.net);
    qf_message_free(p.weights);
    qf_config_release(&config);
    return qf_amct_outcome(context, MODULE, status);
}

qf_status qf_create_quant_retrain_model(qf_context *context, const char *model_file,
                                        const char *weights_file, const char *config_file,
                                        const char *modified_model_file,
                                        const char *modified_weights_file,
                                        const char *scale_offset_record_file)
{
    return qf_prepare_quant_retrain_model(context, model_file, weights_file, config_file,
                                          modified_model_file, modified_weights_file,
                                          scale_offset_record_file, QF_BATCH_NORM_AS_MODEL);
}
