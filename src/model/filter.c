/* Which layers a net has in a phase, at a level, with stages: Caffe's rules. */
#include "model/model.h"

#include <string.h>

static bool has_stage(const Caffe__NetState *state, const char *stage)
{
    for (size_t i = 0; i < state->n_stage; i++)
        if (strcmp(state->stage[i], stage) == 0)
            return true;
    return false;
}

static bool meets(qf_context *context, const Caffe__NetState *state,
                  const Caffe__NetStateRule *rule, const char *layer)
{
    if (rule->has_phase && rule->phase != state->phase) {
        qf_info(
            context,
            "The NetState phase (%d) differed from the phase (%d) specified by a rule in layer %s",
            (int)state->phase, (int)rule->phase, layer);
        return false;
    }
    if (rule->has_min_level && state->level < rule->min_level) {
        qf_info(
            context,
            "The NetState level (%d) is above the min_level (%d) specified by a rule in layer %s",
            state->level, rule->min_level, layer);
        return false;
    }
    if (rule->has_max_level && state->level > rule->max_level) {
        qf_info(
            context,
            "The NetState level (%d) is above the max_level (%d) specified by a rule in layer %s",
            state->level, rule->max_level, layer);
        return false;
    }
    for (size_t i = 0; i < rule->n_stage; i++)
        if (!has_stage(state, rule->stage[i])) {
            qf_info(context,
                    "The NetState did not contain stage '%s' specified by a rule in layer %s",
                    rule->stage[i], layer);
            return false;
        }
    for (size_t i = 0; i < rule->n_not_stage; i++)
        if (has_stage(state, rule->not_stage[i])) {
            qf_info(context,
                    "The NetState contained a not_stage '%s' specified by a rule in layer %s",
                    rule->not_stage[i], layer);
            return false;
        }
    return true;
}

static bool is_included(qf_context *context, const Caffe__NetState *state,
                        const Caffe__LayerParameter *layer)
{
    const char *name = layer->name ? layer->name : "";
    bool included = layer->n_include == 0;
    for (size_t i = 0; included && i < layer->n_exclude; i++)
        included = !meets(context, state, layer->exclude[i], name);
    for (size_t i = 0; !included && i < layer->n_include; i++)
        included = meets(context, state, layer->include[i], name);
    return included;
}

qf_status qf_net_param_filter(qf_context *context, const Caffe__NetParameter *net,
                              Caffe__NetParameter **out)
{
    static const Caffe__NetState default_state = CAFFE__NET_STATE__INIT;
    const Caffe__NetState *state = net->state ? net->state : &default_state;
    QF_TRY(qf_message_copy(context, net, out));
    size_t kept = 0;
    for (size_t i = 0; i < (*out)->n_layer; i++) {
        Caffe__LayerParameter *layer = (*out)->layer[i];
        if (layer->n_include && layer->n_exclude) {
            qf_status status =
                qf_fail(context, QF_E_FORMAT,
                        "layer '%s' has include and exclude rules; give one kind or the other",
                        layer->name ? layer->name : "");
            for (; i < (*out)->n_layer; i++) /* close the gap, so that all can be freed */
                (*out)->layer[kept++] = (*out)->layer[i];
            (*out)->n_layer = kept;
            qf_message_free(*out);
            *out = NULL;
            return status;
        }
        if (is_included(context, state, layer))
            (*out)->layer[kept++] = layer;
        else
            qf_message_free(layer);
    }
    (*out)->n_layer = kept;
    return qf_net_param_fill_names(context, *out);
}
