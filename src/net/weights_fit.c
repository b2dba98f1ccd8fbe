/* Do the files that a net was given have its weights? Caffe copies by the names of layers and fills
 * the others: right when a layer is new, and otherwise the reason why a net knows nothing. */
#include "net/net.h"

#include <string.h>

enum { NAMES = 8 }; /* that are shown */

/* Fake quantisation starts from the weights of the layer behind it and from the first batch. */
static bool starts_by_itself(const qf_layer *layer)
{
    return strcmp(layer->type->name, "WeightQAT") == 0 ||
           strcmp(layer->type->name, "ActivationQAT") == 0;
}

/* The blob whose values these are. */
static const qf_blob *owner_of(const qf_net *net, const qf_blob *blob)
{
    for (int i = 0; i < net->alias_count; i++)
        if (net->aliases[i].mine == blob)
            return net->aliases[i].owner;
    return blob;
}

/* Has a layer that got its parameters this one among them? */
static bool is_given(const qf_net *net, const qf_blob *blob)
{
    for (int l = 0; l < net->layer_count; l++)
        for (int i = 0; net->layers[l]->weights_given && i < net->layers[l]->param_count; i++)
            if (owner_of(net, net->layers[l]->params[i].blob) == blob)
                return true;
    return false;
}

static bool lacks_weights(const qf_net *net, const qf_layer *layer)
{
    if (layer->weights_given || starts_by_itself(layer))
        return false;
    for (int i = 0; i < layer->param_count; i++)
        if (!is_given(net, owner_of(net, layer->params[i].blob)))
            return true;
    return false;
}

typedef struct fit {
    int all, given, lacking; /* layers with parameters; those that got none at all */
    qf_buffer names;         /* of the first that got none */
} fit;

static qf_status find_fit(const qf_net *net, const char *files, fit *out)
{
    *out = (fit){0};
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        out->all += layer->param_count > 0;
        out->given += layer->param_count > 0 && layer->weights_given;
        if (lacks_weights(net, layer) && out->lacking++ < NAMES)
            qf_buffer_print(&out->names, "%s%s", out->lacking > 1 ? ", " : "", layer->name);
    }
    if (out->lacking > NAMES)
        qf_buffer_print(&out->names, " and %d more", out->lacking - NAMES);
    if (out->names.failed)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for the names of layers");
    return out->all && !out->given
               ? qf_fail(net->context, QF_E_MISMATCH,
                         "%s: nothing in it is for this net, whose layers with parameters are %s; "
                         "layers are matched by name: are these the weights of another net?",
                         files, qf_buffer_text(&out->names))
               : QF_OK;
}

/* Layers that got nothing: a warning, or, where all have to be there, an error. */
static qf_status check_given(qf_net *net, const char *files, bool required)
{
    fit found;
    qf_status status = find_fit(net, files, &found);
    if (status == QF_OK && found.lacking && required)
        status = qf_fail(net->context, QF_E_MISMATCH,
                         "%s: %d of %d layers with parameters got nothing from it: %s; a net to "
                         "quantise is trained as a whole before: are these its weights? Layers are "
                         "matched by name",
                         files, found.lacking, found.all, qf_buffer_text(&found.names));
    else if (status == QF_OK && found.lacking)
        qf_warning(net->context,
                   "%s: %d of %d layers with parameters got nothing and keep what their fillers "
                   "gave them: %s",
                   files, found.lacking, found.all, qf_buffer_text(&found.names));
    qf_buffer_release(&found.names);
    return status;
}

qf_status qf_net_require_weights(qf_net *net, const char *files)
{
    return check_given(net, files, true);
}

qf_status qf_net_check_weights(qf_net *net, const char *files)
{
    QF_TRY(check_given(net, files, false));
    return qf_net_check_weights_finite(net, files);
}
