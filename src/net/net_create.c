/* Nets from files and from memory, for a phase, a level and stages. */
#include "model/until.h"
#include "net/net.h"

qf_status qf_net_param_set_state(qf_context *context, Caffe__NetParameter *param, qf_phase phase,
                                 int level, const char *const *stages, size_t stage_count)
{
    if (!param->state)
        QF_TRY(qf_message_new(context, &caffe__net_state__descriptor, &param->state));
    param->state->has_phase = param->state->has_level = true;
    param->state->phase = phase == QF_TRAIN ? CAFFE__PHASE__TRAIN : CAFFE__PHASE__TEST;
    param->state->level = level;
    for (size_t i = 0; i < stage_count; i++)
        QF_TRY(qf_append_string(context, &param->state->n_stage, &param->state->stage, stages[i]));
    return QF_OK;
}

/* Frees the message. */
static qf_status create_for(qf_context *context, const char *name, Caffe__NetParameter *param,
                            qf_phase phase, int level, const char *const *stages,
                            size_t stage_count, qf_net **out)
{
    qf_status status = qf_net_param_set_state(context, param, phase, level, stages, stage_count);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    qf_message_free(param);
    return qf_within(context, status, "%s", name);
}

qf_status qf_net_create(qf_context *context, const char *prototxt, qf_phase phase, int level,
                        const char *const *stages, size_t stage_count, qf_net **out)
{
    *out = NULL;
    Caffe__NetParameter *param;
    QF_TRY(qf_until_read(context, prototxt, &param));
    return create_for(context, prototxt, param, phase, level, stages, stage_count, out);
}

qf_status qf_net_create_from_memory(qf_context *context, const char *text, size_t size,
                                    qf_phase phase, int level, const char *const *stages,
                                    size_t stage_count, qf_net **out)
{
    static const char name[] = "net in memory";
    *out = NULL;
    Caffe__NetParameter *param;
    QF_TRY(qf_net_param_read_text(context, name, text, size, &param));
    return create_for(context, name, param, phase, level, stages, stage_count, out);
}
