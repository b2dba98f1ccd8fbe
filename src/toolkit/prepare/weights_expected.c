/* The question of net/weights_fit.c before a net is built: data layers need not find their sources.
 */
#include "toolkit/toolkit.h"

#include "base/finite.h"
#include "toolkit/prepare/phases.h"

#include <string.h>

enum { NAMES = 8 }; /* that are shown */

/* A Scale or Bias of two bottoms has no parameters of its own. */
bool qf_toolkit_has_parameters(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {
        "BatchNorm", "Bias",         "Convolution", "Deconvolution", "DepthwiseConvolution",
        "Embed",     "InnerProduct", "LSTM",        "Normalize",     "PReLU",
        "Parameter", "RNN",          "Scale"};
    const bool joins = qf_layer_is(layer, "Scale") || qf_layer_is(layer, "Bias");
    if (qf_layer_is(layer, "Normalize") && !layer->norm_param) /* of faces; SSD's names its scale */
        return false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (qf_layer_is(layer, types[i]))
            return !joins || layer->n_bottom == 1;
    return false;
}

/* A teacher's, which computes as in TEST where only TRAIN has it: a net that was calibrated and not
 * trained has no weights of it, and needs none. */
static bool only_teaches(const Caffe__LayerParameter *layer)
{
    return layer->has_phase && layer->phase == CAFFE__PHASE__TEST && !qf_phase_has(layer, QF_TEST);
}

static const char *shared_name(const Caffe__LayerParameter *layer)
{
    const char *name = layer->n_param ? layer->param[0]->name : NULL;
    return name && *name ? name : NULL;
}

/* Another layer that shares parameters with this one is in the file. */
static bool is_shared(const Caffe__NetParameter *net, const Caffe__NetParameter *weights,
                      const Caffe__LayerParameter *layer)
{
    const char *name = shared_name(layer);
    for (size_t i = 0; name && i < net->n_layer; i++) {
        const char *other = shared_name(net->layer[i]);
        if (other && strcmp(other, name) == 0 && qf_find_layer(weights, net->layer[i]->name))
            return true;
    }
    return false;
}

static qf_status check_finite(qf_context *context, const char *file,
                              const Caffe__LayerParameter *layer)
{
    for (size_t b = 0; b < layer->n_blobs; b++) {
        const Caffe__BlobProto *blob = layer->blobs[b];
        if (qf_all_finite(blob->data, blob->n_data))
            continue;
        char text[128];
        const qf_odd_values odd = qf_find_odd_values(blob->data, blob->n_data);
        qf_odd_values_text(&odd, blob->n_data, text, sizeof text);
        return odd.nan ? qf_fail(context, QF_E_VALUE, /* AMCT's words in front */
                                 "Exist NaN in input data, cannot do ARQ quantize. (weight %zu of "
                                 "layer %s) %s: layer %s, blob %zu: %s; training has diverged, or "
                                 "the file is damaged",
                                 odd.first, layer->name, file, layer->name, b, text)
                       : qf_fail(context, QF_E_VALUE,
                                 "%s: layer %s, blob %zu: %s; training has diverged, or the file "
                                 "is damaged",
                                 file, layer->name, b, text);
    }
    return QF_OK;
}

typedef struct fit {
    int all, given, lacking; /* layers with parameters */
    qf_buffer names;         /* of the first that lack theirs */
} fit;

static qf_status find_fit(qf_context *context, const Caffe__NetParameter *net,
                          const Caffe__NetParameter *weights, const char *file, fit *out)
{
    *out = (fit){0};
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        const Caffe__LayerParameter *stored = qf_find_layer(weights, layer->name);
        if (!qf_toolkit_has_parameters(layer) || only_teaches(layer))
            continue;
        out->all++;
        if (stored && !stored->n_blobs)
            return qf_fail(context, QF_E_SHAPE,
                           "%s: layer %s has parameter blobs, the weights file has 0 for it", file,
                           layer->name);
        out->given += stored != NULL;
        if (!stored && !is_shared(net, weights, layer) && out->lacking++ < NAMES)
            qf_buffer_print(&out->names, "%s%s", out->lacking > 1 ? ", " : "", layer->name);
    }
    if (out->lacking > NAMES)
        qf_buffer_print(&out->names, " and %d more", out->lacking - NAMES);
    if (out->names.failed)
        return qf_fail(context, QF_E_MEMORY, "no memory for the names of layers");
    return out->all && !out->given
               ? qf_fail(context, QF_E_MISMATCH,
                         "%s: nothing in it is for this net, whose layers with parameters are %s; "
                         "layers are matched by name: are these the weights of another net?",
                         file, qf_buffer_text(&out->names))
               : QF_OK;
}

qf_status qf_toolkit_check_any_weights(qf_context *context, const Caffe__NetParameter *net,
                                       const Caffe__NetParameter *weights, const char *file)
{
    fit found;
    qf_status status = find_fit(context, net, weights, file, &found);
    qf_buffer_release(&found.names);
    return status;
}

qf_status qf_toolkit_check_weights(qf_context *context, const Caffe__NetParameter *net,
                                   const Caffe__NetParameter *weights, const char *file)
{
    fit found;
    qf_status status = find_fit(context, net, weights, file, &found);
    for (size_t i = 0; i < net->n_layer && status == QF_OK; i++) {
        const Caffe__LayerParameter *stored = qf_find_layer(weights, net->layer[i]->name);
        if (stored && qf_toolkit_has_parameters(net->layer[i]))
            status = check_finite(context, file, stored);
    }
    if (status == QF_OK && found.lacking)
        qf_warning(context, "%s: %d of %d layers with parameters got nothing: %s", file,
                   found.lacking, found.all, qf_buffer_text(&found.names));
    qf_buffer_release(&found.names);
    return status;
}
