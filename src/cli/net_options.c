#include "cli/net_options.h"

#include <stdlib.h>
#include <string.h>

qf_status open_net(session *session, const arguments *arguments, qf_phase phase, qf_net **out)
{
    enum { MOST = 64 };
    const char *stages[MOST], *listed = argument_text(arguments, "stage");
    size_t count = 0;
    char *copy = strdup(listed ? listed : ""), *rest = copy;
    if (!copy)
        return QF_E_MEMORY;
    for (char *name; (name = strsep(&rest, ",")) && count < MOST;)
        if (*name)
            stages[count++] = name;
    qf_status status = qf_net_create(session->context, argument_text(arguments, "model"), phase,
                                     argument_integer(arguments, "level"), stages, count, out);
    free(copy);
    const char *weights = argument_text(arguments, "weights");
    if (status == QF_OK && weights)
        status = qf_net_load_weights(*out, weights);
    if (status != QF_OK) {
        qf_net_destroy(*out);
        *out = NULL;
    }
    return status;
}
