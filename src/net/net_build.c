/*
 * From a NetParameter to layers connected by blobs (net_connect.c), by Caffe's rules: who learns,
 * whose gradient is needed, what comes out. The log lines are Caffe's.
 */
#include "net/net_build.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "net/python_types.h"
#include "net/schedule/plan.h"

#include <stdlib.h>
#include <string.h>

qf_status qf_net_builder_no_memory(const qf_net_builder *build)
{
    return qf_fail(build->net->context, QF_E_MEMORY, "no memory for the net");
}

/* ---- parameters ---- */

static const Caffe__ParamSpec *param_spec(const qf_layer *layer, int index)
{
    return (size_t)index < layer->param->n_param ? layer->param->param[index] : NULL;
}

static qf_status add_learnable(qf_net_builder *build, int layer_index, int index, const char *name)
{
    qf_net *net = build->net;
    const qf_layer_param *param = &net->layers[layer_index]->params[index];
    size_t count = (size_t)net->learnable_count + 1;
    if (!qf_grow(&net->learnables, &build->learnable_capacity, count, sizeof *net->learnables) ||
        (*name && !qf_names_set(&build->param_names, name, net->learnable_count)))
        return qf_net_builder_no_memory(build);
    net->learnables[net->learnable_count++] =
        (qf_learnable){param->blob, param->lr_mult, param->decay_mult, layer_index, index};
    return QF_OK;
}

static qf_status agree_multiplier(const qf_layer *layer, const qf_layer *owner, const char *field,
                                  const char *name, float mine, float *theirs, bool set_by_owner)
{
    if (set_by_owner && *theirs != mine)
        return qf_fail(
            layer->context, QF_E_MISMATCH,
            "the shared param '%s' has %s %g here and %g in layer %s; give both the same", name,
            field, mine, *theirs, owner->name);
    *theirs = mine;
    return QF_OK;
}

/* Parameter `index` of this layer is the one that learnable `shared` owns. */
static qf_status share_param(qf_net_builder *build, int layer_index, int index, int shared)
{
    qf_net *net = build->net;
    qf_layer *layer = net->layers[layer_index];
    qf_layer_param *param = &layer->params[index];
    qf_learnable *owner = &net->learnables[shared];
    const Caffe__ParamSpec *spec = param_spec(layer, index);
    qf_layer *owner_layer = net->layers[owner->layer];
    qf_layer_param *owner_param = &owner_layer->params[owner->index];
    const Caffe__ParamSpec *owner_spec = param_spec(owner_layer, owner->index);
    const qf_shape *mine = qf_blob_shape(param->blob), *theirs = qf_blob_shape(owner->blob);
    qf_info(net->context, "Sharing parameters '%s' owned by layer '%s', param index %d", spec->name,
            owner_layer->name, owner->index);
    bool permissive = spec->share_mode == CAFFE__PARAM_SPEC__DIM_CHECK_MODE__PERMISSIVE;
    if (permissive ? qf_shape_count(mine) != qf_shape_count(theirs)
                   : !qf_shape_equal(mine, theirs)) {
        char ours[256], owners[256];
        return qf_fail(net->context, QF_E_SHAPE,
                       "cannot share param '%s' owned by layer %s: shape %s there, %s here",
                       spec->name, owner_layer->name, qf_shape_text(theirs, owners, sizeof owners),
                       qf_shape_text(mine, ours, sizeof ours));
    }
    /* A multiplier may be set by any of the sharers, but not to two values. */
    if (spec->has_lr_mult) {
        QF_TRY(agree_multiplier(layer, owner_layer, "lr_mult", spec->name, param->lr_mult,
                                &owner->lr_mult, owner_spec->has_lr_mult));
        owner_param->lr_mult = owner->lr_mult;
    }
    if (spec->has_decay_mult) {
        QF_TRY(agree_multiplier(layer, owner_layer, "decay_mult", spec->name, param->decay_mult,
                                &owner->decay_mult, owner_spec->has_decay_mult));
        owner_param->decay_mult = owner->decay_mult;
    }
    if (!qf_shape_equal(mine, theirs)) {
        if (!qf_grow(&net->aliases, &build->alias_capacity, (size_t)net->alias_count + 1,
                     sizeof *net->aliases))
            return qf_net_builder_no_memory(build);
        net->aliases[net->alias_count++] =
            (qf_param_alias){layer_index, param->blob, owner->blob, 0};
        return QF_OK;
    }
    qf_blob_release(param->blob);
    param->blob = qf_blob_retain(owner->blob);
    return QF_OK;
}

static qf_status add_params(qf_net_builder *build, int layer_index)
{
    qf_net *net = build->net;
    qf_layer *layer = net->layers[layer_index];
    if (layer->param->n_param > (size_t)layer->param_count)
        return qf_fail(
            net->context, QF_E_FORMAT,
            "too many param entries: %zu, but a layer of type %s with these settings has "
            "%d parameter blobs",
            layer->param->n_param, layer->type->name, layer->param_count);
    for (int i = 0; i < layer->param_count; i++) {
        qf_layer_param *param = &layer->params[i];
        const Caffe__ParamSpec *spec = param_spec(layer, i);
        if (spec && spec->has_lr_mult)
            param->lr_mult = spec->lr_mult;
        if (spec && spec->has_decay_mult)
            param->decay_mult = spec->decay_mult;
        param->propagate = param->lr_mult != 0;
        net->layer_need_backward[layer_index] |= param->propagate;
        const char *name = spec && spec->name ? spec->name : "";
        int shared = qf_names_get(&build->param_names, name);
        if (shared >= 0)
            QF_TRY(share_param(build, layer_index, i, shared));
        else
            QF_TRY(add_learnable(build, layer_index, i, name));
    }
    return QF_OK;
}

/* ---- one layer ---- */

static qf_status unknown_type(qf_context *context, const char *type)
{
    char near[256];
    return qf_fail(context, QF_E_UNSUPPORTED,
                   "unknown layer type '%s'; the nearest are %s. `qaffe layers` lists all", type,
                   qf_nearest_three(near, sizeof near, type, qf_layer_type_name));
}

static qf_status make_layer(qf_net_builder *build, const Caffe__LayerParameter *param,
                            qf_layer **out)
{
    qf_net *net = build->net;
    const qf_layer_type *type = qf_layer_type_find(param->type);
    if (!type)
        return unknown_type(net->context, param->type);
    qf_layer *layer = qf_alloc(1, sizeof *layer);
    if (!layer)
        return qf_net_builder_no_memory(build);
    *out = layer;
    layer->type = type;
    layer->context = net->context;
    layer->device = qf_device_of(net->context);
    layer->records = &net->records;
    layer->param = param;
    layer->name = param->name;
    layer->phase = !param->has_phase                     ? net->phase
                   : param->phase == CAFFE__PHASE__TRAIN ? QF_TRAIN
                                                         : QF_TEST;
    layer->bottom_count = (int)param->n_bottom;
    layer->top_count = (int)param->n_top;
    if (type->loss && layer->top_count == 0)
        layer->top_count = 1;
    layer->bottom = qf_alloc(param->n_bottom, sizeof *layer->bottom);
    layer->top = qf_alloc((size_t)layer->top_count, sizeof *layer->top);
    layer->propagate_down = qf_alloc(param->n_bottom, sizeof *layer->propagate_down);
    layer->loss_weight = qf_alloc((size_t)layer->top_count, sizeof *layer->loss_weight);
    layer->state = qf_alloc(type->state_size, 1);
    if (!layer->bottom || !layer->top || !layer->propagate_down || !layer->loss_weight ||
        !layer->state)
        return qf_net_builder_no_memory(build);
    return QF_OK;
}

static void log_tops(qf_net_builder *build, const qf_layer *layer)
{
    qf_context *context = build->net->context;
    char text[256];
    qf_info(context, "Setting up %s", layer->name);
    for (int i = 0; i < layer->top_count; i++) {
        qf_info(context, "Top shape: %s",
                qf_shape_text(qf_blob_shape(layer->top[i]), text, sizeof text));
        if (layer->loss_weight[i] != 0)
            qf_info(context, "    with loss weight %g", layer->loss_weight[i]);
        build->memory += qf_blob_count(layer->top[i]);
    }
    qf_info(context, "Memory required for data: %zu", build->memory * sizeof(float));
}

static qf_status add_layer(qf_net_builder *build, const Caffe__LayerParameter *param)
{
    qf_net *net = build->net;
    int index = net->layer_count;
    qf_info(net->context, "Creating layer %s", param->name);
    qf_info(net->context, "Creating Layer %s", param->name);
    qf_status status = make_layer(build, param, &net->layers[index]);
    if (net->layers[index])
        net->layer_count++; /* from here on the net frees it */
    QF_TRY(status);
    qf_layer *layer = net->layers[index];
    QF_TRY(qf_layer_check_counts(layer));
    if (param->hold_back_param && !layer->type->holds_back)
        return qf_fail(net->context, QF_E_UNSUPPORTED,
                       "layers of type %s cannot leave out items: remove hold_back_param",
                       layer->type->name);
    QF_TRY(qf_layer_connect_bottoms(build, layer));
    QF_TRY(qf_layer_connect_tops(build, layer));
    for (int i = 0; i < layer->top_count; i++)
        layer->loss_weight[i] = (size_t)i < param->n_loss_weight ? param->loss_weight[i]
                                : layer->type->loss && i == 0 && !param->n_loss_weight ? 1.0f
                                                                                       : 0.0f;
    if (layer->type->setup)
        QF_TRY(layer->type->setup(layer));
    QF_TRY(layer->type->reshape(layer));
    for (int i = 0; i < layer->top_count; i++)
        net->blob_loss_weight[layer->top[i]->index] = layer->loss_weight[i];
    log_tops(build, layer);
    bool below = false;
    for (int i = 0; i < layer->bottom_count; i++)
        below |= layer->propagate_down[i];
    net->layer_need_backward[index] = below;
    QF_TRY(add_params(build, index));
    for (int i = 0; i < layer->top_count && net->layer_need_backward[index]; i++)
        build->blobs[layer->top[i]->index].need_backward = true;
    return QF_OK;
}

/* ---- who needs a gradient ---- */

/* Walk backwards from the losses: layers that contribute to none need no backward pass, and neither
 * do layers all of whose consumers refuse to propagate. */
static qf_status trim_backward(qf_net_builder *build)
{
    qf_net *net = build->net;
    bool *under_loss = qf_alloc((size_t)net->blob_count, sizeof *under_loss);
    bool *skipped = qf_alloc((size_t)net->blob_count, sizeof *skipped);
    if (!under_loss || !skipped) {
        qf_free(under_loss);
        qf_free(skipped);
        return qf_net_builder_no_memory(build);
    }
    for (int l = net->layer_count; l-- > 0;) {
        qf_layer *layer = net->layers[l];
        bool contributes = false, all_skipped = true;
        for (int i = 0; i < layer->top_count; i++) {
            int blob = layer->top[i]->index;
            contributes |= layer->loss_weight[i] != 0 || under_loss[blob];
            all_skipped &= skipped[blob];
        }
        if (layer->top_count == 0)
            all_skipped = true;
        if (all_skipped || !contributes)
            net->layer_need_backward[l] = false;
        for (int i = 0; i < layer->bottom_count; i++) {
            int blob = layer->bottom[i]->index;
            if (all_skipped || !contributes)
                layer->propagate_down[i] = false;
            under_loss[blob] |= contributes;
            skipped[blob] |= !layer->propagate_down[i];
        }
        qf_info(net->context,
                net->layer_need_backward[l] ? "%s needs backward computation."
                                            : "%s does not need backward computation.",
                layer->name);
    }
    qf_free(under_loss);
    qf_free(skipped);
    return QF_OK;
}

static void force_backward(qf_net_builder *build)
{
    qf_net *net = build->net;
    for (int l = 0; l < net->layer_count; l++) {
        qf_layer *layer = net->layers[l];
        if (layer->phase != net->phase && !net->layer_need_backward[l])
            continue; /* a teacher's, in a training net */
        net->layer_need_backward[l] = !layer->type->no_backward;
        for (int i = 0; i < layer->bottom_count && !layer->type->no_backward; i++)
            if (i >= 32 || !(layer->type->no_gradient_bottoms >> i & 1))
                layer->propagate_down[i] = true;
        for (int i = 0; i < layer->param_count; i++)
            layer->params[i].propagate = true;
    }
}

/* Outputs come in the order of their names, as Caffe's do. */
static void sort_outputs(qf_net *net)
{
    for (int i = 1; i < net->output_count; i++)
        for (int k = i; k > 0 && strcmp(net->blobs[net->outputs[k - 1]]->name,
                                        net->blobs[net->outputs[k]]->name) > 0;
             k--) {
            int later = net->outputs[k];
            net->outputs[k] = net->outputs[k - 1];
            net->outputs[k - 1] = later;
        }
}

static const qf_layer *producer_of(const qf_net *net, const qf_blob *blob)
{
    for (int l = 0; l < net->layer_count; l++)
        for (int t = 0; t < net->layers[l]->top_count; t++)
            if (net->layers[l]->top[t] == blob)
                return net->layers[l];
    return NULL;
}

/* A name stands for one blob only, and users give inputs by name. */
static qf_status check_output(const qf_net *net, int output)
{
    const qf_blob *blob = net->blobs[output];
    if (qf_net_blob_index(net, blob->name) == output)
        return QF_OK;
    const qf_layer *layer = producer_of(net, blob);
    return qf_fail(net->context, QF_E_FORMAT,
                   "layer %s of type %s cannot work in place, so its top '%s', an output of the "
                   "net, would be another blob than the input of this name; give the top its own",
                   layer->name, layer->type->name, blob->name);
}

/* Blobs that nobody reads are outputs; tops of Input layers are inputs. */
static qf_status list_ends(qf_net_builder *build)
{
    qf_net *net = build->net;
    net->inputs = qf_alloc((size_t)net->blob_count, sizeof *net->inputs);
    net->outputs = qf_alloc((size_t)net->blob_count, sizeof *net->outputs);
    if (!net->inputs || !net->outputs)
        return qf_net_builder_no_memory(build);
    for (int l = 0; l < net->layer_count; l++)
        if (strcmp(net->layers[l]->type->name, "Input") == 0)
            for (int i = 0; i < net->layers[l]->top_count; i++)
                net->inputs[net->input_count++] = net->layers[l]->top[i]->index;
    for (int i = 0; i < net->blob_count; i++)
        if (build->blobs[i].available)
            net->outputs[net->output_count++] = i;
    sort_outputs(net);
    for (int i = 0; i < net->output_count; i++)
        QF_TRY(check_output(net, net->outputs[i]));
    for (int i = 0; i < net->output_count; i++)
        qf_info(net->context, "This network produces output %s", net->blobs[net->outputs[i]]->name);
    return QF_OK;
}

/* ---- the whole net ---- */

qf_status qf_net_share_weights(qf_net *net, const qf_net *other)
{
    for (int l = 0; l < net->layer_count; l++) {
        qf_layer *mine = net->layers[l], *theirs = qf_net_find_layer(other, mine->name);
        if (!theirs)
            continue;
        if (mine->param_count != theirs->param_count)
            return qf_fail(net->context, QF_E_SHAPE,
                           "layer %s has %d parameter blobs here and %d in the training net",
                           mine->name, mine->param_count, theirs->param_count);
        for (int i = 0; i < mine->param_count; i++) {
            qf_blob *own = mine->params[i].blob, *shared = theirs->params[i].blob;
            if (!qf_shape_equal(qf_blob_shape(own), qf_blob_shape(shared))) {
                char a[256], b[256];
                return qf_fail(net->context, QF_E_SHAPE,
                               "layer %s: blob %d has shape %s here and %s in the training net",
                               mine->name, i, qf_shape_text(qf_blob_shape(own), a, sizeof a),
                               qf_shape_text(qf_blob_shape(shared), b, sizeof b));
            }
            for (int p = 0; p < net->learnable_count; p++)
                if (net->learnables[p].blob == own)
                    net->learnables[p].blob = shared;
            for (int a = 0; a < net->alias_count; a++)
                if (net->aliases[a].owner == own)
                    net->aliases[a].owner = shared;
            mine->params[i].blob = qf_blob_retain(shared);
            qf_blob_release(own);
        }
    }
    return QF_OK;
}

static void log_param(qf_context *context, const Caffe__NetParameter *param)
{
    if (!context->log_sink || context->log_lowest > QF_INFO)
        return;
    qf_buffer text = {0};
    qf_text_print(param, &text);
    qf_info(context, "Initializing net from parameters: \n%s", qf_buffer_text(&text));
    qf_buffer_release(&text);
}

/* Blobs and parameters of the layers so far. */
static qf_status check_size(qf_net_builder *build)
{
    const qf_net *net = build->net;
    const qf_layer *layer = net->layers[net->layer_count - 1];
    for (int i = 0; i < layer->param_count; i++)
        build->parameters += qf_blob_count(layer->params[i].blob);
    return qf_check_limit(net->context, QF_LIMIT_NET_BYTES,
                          (build->memory + build->parameters) * sizeof(float),
                          "layer %s: the net up to here has", layer->name);
}

static qf_status connect_layers(qf_net *net)
{
    const qf_neighbours around = {net, qf_net_find_layer, qf_net_producer, qf_net_layer_at};
    for (int l = 0; l < net->layer_count; l++) {
        qf_layer *layer = net->layers[l];
        if (layer->type->connect)
            QF_TRY(qf_within(net->context, layer->type->connect(layer, &around), "layer %s",
                             layer->name));
    }
    return QF_OK;
}

static qf_status build_layers(qf_net_builder *build)
{
    qf_net *net = build->net;
    size_t count = net->param->n_layer;
    QF_TRY(qf_check_limit(net->context, QF_LIMIT_NET_LAYERS, count, "the net has"));
    net->layers = qf_alloc(count, sizeof *net->layers);
    net->layer_need_backward = qf_alloc(count, sizeof *net->layer_need_backward);
    net->seen = qf_alloc(count, sizeof *net->seen);
    if (!net->layers || !net->layer_need_backward || !net->seen)
        return qf_net_builder_no_memory(build);
    for (size_t l = 0; l < count; l++) {
        const Caffe__LayerParameter *param = net->param->layer[l];
        QF_TRY(qf_within(net->context, add_layer(build, param), "layer %s", param->name));
        QF_TRY(check_size(build));
    }
    QF_TRY(connect_layers(net));
    QF_TRY(trim_backward(build));
    if (net->param->force_backward)
        force_backward(build);
    return list_ends(build);
}

static qf_status build_net(qf_context *context, const Caffe__NetParameter *param, qf_net *share,
                           qf_net **out)
{
    qf_net *net = qf_alloc(1, sizeof *net);
    if (!net)
        return qf_fail(context, QF_E_MEMORY, "no memory for a net");
    qf_net_builder build = {.net = net};
    qf_context_start_threads(context); /* before threads that read data may take their place */
    net->context = context;
    context->nets++;
    net->phase = param->state && param->state->phase == CAFFE__PHASE__TRAIN ? QF_TRAIN : QF_TEST;
    net->shares_with = share;
    net->keep_blobs = true;
    net->debug_info = param->debug_info;
    qf_status status = qf_net_param_filter(context, param, &net->param);
    if (status != QF_OK)
        goto done;
    log_param(context, net->param);
    status = qf_python_types_replace(context, net->param, net->phase == QF_TRAIN);
    if (status == QF_OK)
        status = qf_insert_splits(context, net->param);
    if (status == QF_OK)
        status = build_layers(&build);
    if (status == QF_OK && share)
        status = qf_net_share_weights(net, share);
    if (status == QF_OK)
        status = qf_net_plan_create(net);
    if (status != QF_OK)
        goto done;
    qf_info(context, "Network initialization done.");
    *out = net;
    net = NULL;
done:
    qf_free(build.blobs);
    qf_names_release(&build.blob_names);
    qf_names_release(&build.param_names);
    qf_net_destroy(net);
    return status;
}

qf_status qf_net_create_from_param(qf_context *context, const Caffe__NetParameter *param,
                                   qf_net *share, qf_net **out)
{
    *out = NULL;
    const int threads = qf_context_enter(context); /* kernels are made for so many */
    const qf_status status = build_net(context, param, share, out);
    qf_context_leave(threads);
    return status;
}
