/* Rules of layers that name a phase. */
#include "toolkit/prepare/phases.h"

static Caffe__Phase phase_of(qf_phase phase)
{
    return phase == QF_TRAIN ? CAFFE__PHASE__TRAIN : CAFFE__PHASE__TEST;
}

qf_status qf_phase_view(qf_context *context, const Caffe__NetParameter *net, qf_phase phase,
                        Caffe__NetParameter **out)
{
    Caffe__NetParameter *copy;
    *out = NULL;
    QF_TRY(qf_message_copy(context, net, &copy));
    qf_status status =
        copy->state ? QF_OK : qf_message_new(context, &caffe__net_state__descriptor, &copy->state);
    if (status == QF_OK) {
        copy->state->has_phase = true;
        copy->state->phase = phase_of(phase);
        status = qf_net_param_filter(context, copy, out);
    }
    qf_message_free(copy);
    return status;
}

static bool is_only_phase(const Caffe__NetStateRule *rule)
{
    return !rule->has_min_level && !rule->has_max_level && !rule->n_stage && !rule->n_not_stage;
}

bool qf_phase_has(const Caffe__LayerParameter *layer, qf_phase phase)
{
    bool has = layer->n_include == 0;
    for (size_t i = 0; i < layer->n_include; i++)
        has |= !layer->include[i]->has_phase || layer->include[i]->phase == phase_of(phase);
    for (size_t i = 0; i < layer->n_exclude; i++)
        has &= !(is_only_phase(layer->exclude[i]) && layer->exclude[i]->has_phase &&
                 layer->exclude[i]->phase == phase_of(phase));
    return has;
}

static qf_status append_rule(qf_context *context, size_t *count, Caffe__NetStateRule ***rules,
                             Caffe__Phase phase)
{
    Caffe__NetStateRule *rule;
    QF_TRY(qf_message_new(context, &caffe__net_state_rule__descriptor, &rule));
    rule->has_phase = true;
    rule->phase = phase;
    qf_status status = qf_append(context, count, rules, &rule, sizeof rule);
    if (status != QF_OK)
        qf_message_free(rule);
    return status;
}

qf_status qf_phase_restrict(qf_context *context, Caffe__LayerParameter *layer, qf_phase phase)
{
    const Caffe__Phase wanted = phase_of(phase);
    size_t kept = 0;
    if (layer->n_exclude) /* there is no include beside it */
        return append_rule(context, &layer->n_exclude, &layer->exclude,
                           phase_of(phase == QF_TRAIN ? QF_TEST : QF_TRAIN));
    if (!layer->n_include)
        return append_rule(context, &layer->n_include, &layer->include, wanted);
    for (size_t i = 0; i < layer->n_include; i++) {
        Caffe__NetStateRule *rule = layer->include[i];
        if (rule->has_phase && rule->phase != wanted) {
            qf_message_free(rule);
            continue;
        }
        rule->has_phase = true;
        rule->phase = wanted;
        layer->include[kept++] = rule;
    }
    layer->n_include = kept;
    return kept ? QF_OK : append_rule(context, &layer->n_include, &layer->include, wanted);
}
