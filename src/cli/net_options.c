/* Reading --level, --stage, --phase, --on-divergence and --ap-version. */
#include "cli/net_options.h"

#include <stdlib.h>
#include <string.h>

qf_divergence chosen_divergence(const arguments *arguments)
{
    const char *chosen = argument_text(arguments, "on-divergence");
    return same_word(chosen, "stop")     ? QF_DIVERGENCE_STOP
           : same_word(chosen, "warn")   ? QF_DIVERGENCE_WARN
           : same_word(chosen, "ignore") ? QF_DIVERGENCE_IGNORE
                                         : QF_DIVERGENCE_AUTO;
}

void choose_ap_version(session *session, const arguments *arguments)
{
    /* One of the choices, so that it cannot fail. */
    (void)qf_context_set_ap_version(session->context, argument_text(arguments, "ap-version"));
}

bool stages_split(const char *list, stages *out)
{
    *out = (stages){.text = strdup(list ? list : "")};
    char *rest = out->text, *name;
    while (rest && out->count < COUNT(out->names) && (name = strsep(&rest, ",")))
        out->names[out->count++] = name;
    return out->text != NULL;
}

void stages_release(stages *stages)
{
    free(stages->text);
}

qf_status open_net(session *session, const arguments *arguments, qf_phase phase, qf_net **out)
{
    stages stages;
    const char *weights = argument_text(arguments, "weights");
    *out = NULL;
    if (!stages_split(argument_text(arguments, "stage"), &stages))
        return QF_E_MEMORY;
    say(session, "Use CPU.");
    qf_status status =
        qf_net_create(session->context, argument_text(arguments, "model"), phase,
                      argument_integer(arguments, "level"), stages.names, stages.count, out);
    stages_release(&stages);
    if (status == QF_OK && weights)
        status = qf_net_load_weights_list(*out, weights);
    if (status != QF_OK) {
        qf_net_destroy(*out);
        *out = NULL;
    }
    return status;
}
