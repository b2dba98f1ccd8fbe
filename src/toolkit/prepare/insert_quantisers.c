/* The layers that preparing inserts: ActivationQAT and WeightQAT in front of every enabled layer,
 * SearchN behind it (specification, section E). */
#include "base/memory.h"
#include "toolkit/config/bits.h"
#include "toolkit/config/ranges.h"
#include "toolkit/prepare/prepare.h"

#include <string.h>

qf_status qf_prepare_name(qf_context *context, char **out, const char *layer, const char *suffix)
{
    qf_buffer text = {0};
    qf_buffer_print(&text, "%s%s%s", layer, suffix ? "_" : "", suffix ? suffix : "");
    *out = text.failed ? NULL : qf_strdup(text.data);
    qf_buffer_release(&text);
    return *out ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a name");
}

/* ---- parameter settings ---- */

static qf_status set_multipliers(qf_context *context, Caffe__LayerParameter *layer, size_t index,
                                 float lr_mult, float decay_mult)
{
    Caffe__ParamSpec *spec;
    QF_TRY(qf_param_spec_at(context, layer, index, &spec));
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

static qf_status fixed_min_of(const qf_preparation *p, const qf_layer_config *config, int index,
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
static Caffe__LayerParameter *find_activation(const qf_preparation *p, int index,
                                              const char *bottom,
                                              const Caffe__RetrainDataQuantParameter *wanted)
{
    for (int i = index - 1; i >= 0; i--) {
        Caffe__LayerParameter *layer = p->net->layer[i];
        if (qf_layer_is(layer, "ActivationQAT") && strcmp(layer->bottom[0], bottom) == 0) {
            const Caffe__RetrainDataQuantParameter *q = layer->retrain_data_quant_param;
            if (q->clip_max == wanted->clip_max && q->clip_min == wanted->clip_min &&
                q->ifmr_init == wanted->ifmr_init && q->fixed_min == wanted->fixed_min &&
                q->num_bits == wanted->num_bits && q->range_learning == wanted->range_learning)
                return layer;
        }
        if (qf_layer_writes(layer, bottom))
            break; /* before this it is another tensor */
    }
    return NULL;
}

/* AMCT's 8 is not written. */
static void set_bits(int said, protobuf_c_boolean *has, uint32_t *bits)
{
    *has = qf_bits(said) != 8;
    *bits = (uint32_t)qf_bits(said);
}

/* Nor is AMCT's way to learn. */
static void set_learning(Caffe__RangeLearning method, protobuf_c_boolean *has,
                         Caffe__RangeLearning *learning)
{
    *has = method != CAFFE__RANGE_LEARNING__AMCT;
    *learning = method;
}

static qf_status set_activation(const qf_preparation *p, const qf_layer_config *config,
                                bool fixed_min, Caffe__RetrainDataQuantParameter *out)
{
    out->has_clip_max = out->has_clip_min = out->has_ifmr_init = out->has_with_offset =
        out->has_fixed_min = true;
    out->ifmr_init = !config->has_clip;
    if (config->has_clip) {
        out->clip_max = config->clip_max;
        out->clip_min = config->clip_min;
    }
    out->fixed_min = fixed_min;
    set_bits(config->activation_bits, &out->has_num_bits, &out->num_bits);
    set_learning(config->ranges, &out->has_range_learning, &out->range_learning);
    QF_TRY(qf_set_string(p->context, &out->object_layer, config->name));
    return qf_set_string(p->context, &out->record_file_path, p->record);
}

static qf_status make_activation(qf_preparation *p, const qf_layer_config *config, int index,
                                 Caffe__LayerParameter **out)
{
    const char *bottom = p->net->layer[index]->bottom[0];
    char *name = NULL;
    bool fixed_min;
    *out = NULL;
    QF_TRY(fixed_min_of(p, config, index, &fixed_min));
    QF_TRY(qf_prepare_name(p->context, &name, config->name, "activation_qat"));
    qf_status status = qf_graph_new_layer(p->context, name, "ActivationQAT", bottom, name, out);
    if (status == QF_OK)
        status = qf_message_new(p->context, &caffe__retrain_data_quant_parameter__descriptor,
                                &(*out)->retrain_data_quant_param);
    if (status == QF_OK)
        status = set_activation(p, config, fixed_min, (*out)->retrain_data_quant_param);
    for (size_t i = 0; status == QF_OK && i < 2; i++)
        status = set_multipliers(p->context, *out, i,
                                 qf_ranges_rate(config->ranges, qf_bits(config->activation_bits)),
                                 qf_ranges_decay(config->ranges));
    qf_free(name);
    return status;
}

/* Serve another layer by an ActivationQAT that is there; or insert a new one before `*index`. */
static qf_status insert_activation(qf_preparation *p, const qf_layer_config *config, int *index,
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

static qf_status set_weight_shape(const qf_preparation *p, const Caffe__LayerParameter *layer,
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
    set_bits(config->weight_bits, &out->has_num_bits, &out->num_bits);
    set_learning(config->weight_ranges, &out->has_range_learning, &out->range_learning);
    return qf_set_string(p->context, &out->layer_type, layer->type);
}

/* The quantised weights are shared between WeightQAT and its layer by name; the float master keeps
 * the multipliers that the layer had. */
static qf_status share_weights(const qf_preparation *p, Caffe__LayerParameter *layer,
                               Caffe__LayerParameter *weight_qat)
{
    Caffe__ParamSpec *mine, *shared, *master;
    char *name = NULL, *master_name = NULL;
    QF_TRY(qf_param_spec_at(p->context, layer, 0, &mine));
    QF_TRY(qf_param_spec_at(p->context, weight_qat, 0, &shared));
    QF_TRY(qf_param_spec_at(p->context, weight_qat, 1, &master));
    float lr_mult = mine->lr_mult, decay_mult = mine->decay_mult;
    bool given = mine->name && *mine->name;
    QF_TRY(qf_prepare_name(p->context, &name, given ? mine->name : layer->name,
                           given ? NULL : "weight"));
    qf_status status = qf_set_string(p->context, &mine->name, name);
    if (status == QF_OK)
        status = qf_set_string(p->context, &shared->name, name);
    if (status == QF_OK && given) { /* layers that share weights share the master, too */
        status = qf_prepare_name(p->context, &master_name, name, "master");
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

/* Scales that learn go with the master: its name, its rate. */
static qf_status share_steps(const qf_preparation *p, Caffe__LayerParameter *weight_qat)
{
    Caffe__ParamSpec *master, *steps;
    char *name = NULL;
    QF_TRY(qf_param_spec_at(p->context, weight_qat, 2, &steps));
    master = weight_qat->param[1];
    qf_status status = set_multipliers(p->context, weight_qat, 2, master->lr_mult, 0);
    if (status == QF_OK && master->name && *master->name)
        status = qf_prepare_name(p->context, &name, master->name, "scale");
    if (status == QF_OK && name)
        status = qf_set_string(p->context, &steps->name, name);
    qf_free(name);
    return status;
}

static qf_status insert_weight_qat(qf_preparation *p, const qf_layer_config *config, int *index,
                                   const char *bottom)
{
    Caffe__LayerParameter *layer = p->net->layer[*index], *made = NULL;
    char *name = NULL;
    QF_TRY(qf_prepare_name(p->context, &name, config->name, "weight_qat"));
    qf_status status = qf_graph_new_layer(p->context, name, "WeightQAT", bottom, name, &made);
    if (status == QF_OK)
        status = qf_message_new(p->context, &caffe__retrain_weight_quant_parameter__descriptor,
                                &made->retrain_weight_quant_param);
    if (status == QF_OK)
        status = set_weight_shape(p, layer, config, made->retrain_weight_quant_param);
    if (status == QF_OK)
        status = share_weights(p, layer, made);
    if (status == QF_OK && config->weight_ranges != CAFFE__RANGE_LEARNING__AMCT)
        status = share_steps(p, made);
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

qf_status qf_prepare_new_search(qf_context *context, const qf_layer_config *config,
                                const char *suffix, const char *blob, int batch_num,
                                const char *record, Caffe__LayerParameter **out)
{
    char *name = NULL;
    *out = NULL;
    QF_TRY(qf_prepare_name(context, &name, config->name, suffix));
    qf_status status = qf_graph_new_layer(context, name, "SearchN", blob, blob, out);
    qf_free(name);
    QF_TRY(status);
    QF_TRY(qf_message_new(context, &caffe__search_nparameter__descriptor, &(*out)->search_n_param));
    Caffe__SearchNParameter *search = (*out)->search_n_param;
    search->has_batch_num = true;
    search->batch_num = (uint32_t)batch_num;
    QF_TRY(qf_append_string(context, &search->n_layer_name, &search->layer_name, config->name));
    QF_TRY(qf_append_string(context, &search->n_layer_type, &search->layer_type, config->type));
    return qf_set_string(context, &search->record_file_path, record);
}

static qf_status only_in_test(qf_context *context, Caffe__LayerParameter *layer)
{
    Caffe__NetStateRule *rule;
    QF_TRY(qf_message_new(context, &caffe__net_state_rule__descriptor, &rule));
    rule->has_phase = true;
    rule->phase = CAFFE__PHASE__TEST;
    qf_status status = qf_append(context, &layer->n_include, &layer->include, &rule, sizeof rule);
    if (status != QF_OK)
        qf_message_free(rule);
    return status;
}

/* In place behind what will be folded: it sees the values that the deployed accumulators will have.
 */
static qf_status insert_search(qf_preparation *p, const qf_layer_config *config, int index)
{
    qf_fold fold = qf_graph_fold(p->net, index);
    int last = fold.scale != QF_NONE        ? fold.scale
               : fold.batch_norm != QF_NONE ? fold.batch_norm
                                            : index;
    Caffe__LayerParameter *made;
    qf_status status =
        qf_prepare_new_search(p->context, config, "search_n", p->net->layer[last]->top[0],
                              p->config->batch_num, p->record, &made);
    if (status == QF_OK)
        status = only_in_test(p->context, made);
    if (status == QF_OK)
        status = qf_graph_insert(p->context, p->net, last + 1, made);
    if (status != QF_OK)
        qf_message_free(made);
    return status;
}

qf_status qf_prepare_insert(qf_preparation *p, const qf_layer_config *config)
{
    int index = qf_graph_find(p->net, config->name);
    Caffe__LayerParameter *activation;
    QF_TRY(qf_graph_name_apart(p->context, p->net, index)); /* its bottom is going to be another */
    QF_TRY(insert_activation(p, config, &index, &activation));
    if (!config->support.has_weights)
        return qf_set_string(p->context, &p->net->layer[index]->bottom[0], activation->top[0]);
    QF_TRY(insert_weight_qat(p, config, &index, activation->top[0]));
    /* Sums of 16-bit activations have no integer accumulator to be shifted. */
    return qf_bits(config->activation_bits) > 8 ? QF_OK : insert_search(p, config, index);
}
