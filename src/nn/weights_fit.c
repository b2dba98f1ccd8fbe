/* Do the files that a net was given have its weights? Caffe copies by the names of layers and fills
 * the others: right when a layer is new, and otherwise the reason why a net knows nothing. */
#include "nn/net.h"

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

static qf_status check_given(qf_net *net, const char *files)
{
    qf_buffer names = {0};
    int all = 0, given = 0, lacking = 0;
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        all += layer->param_count > 0;
        given += layer->param_count > 0 && layer->weights_given;
        if (lacks_weights(net, layer) && lacking++ < NAMES)
            qf_buffer_print(&names, "%s%s", lacking > 1 ? ", " : "", layer->name);
    }
    if (lacking > NAMES)
        qf_buffer_print(&names, " and %d more", lacking - NAMES);
    qf_status status = QF_OK;
    if (names.failed)
        status = qf_fail(net->context, QF_E_MEMORY, "no memory for the names of layers");
    else if (all && !given)
        status = qf_fail(net->context, QF_E_MISMATCH,
                         "%s: nothing in it is for this net, whose layers with parameters are %s; "
                         "layers are matched by name: are these the weights of another net?",
                         files, qf_buffer_text(&names));
    else if (lacking)
        qf_warning(net->context,
                   "%s: %d of %d layers with parameters got nothing and keep what their fillers "
                   "gave them: %s",
                   files, lacking, all, qf_buffer_text(&names));
    qf_buffer_release(&names);
    return status;
}

qf_status qf_net_check_weights(qf_net *net, const char *files)
{
    QF_TRY(check_given(net, files));
    return qf_net_check_weights_finite(net, files);
}
