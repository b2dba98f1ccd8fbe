/* Weights that are no numbers: Caffe loads them without a word, and nothing that is computed with
 * them is right. */
#include "base/finite.h"
#include "net/net.h"

#include <string.h>

/* Is it that of an earlier layer, too, where it was spoken of? */
static bool is_shared(const qf_net *net, int layer, const qf_blob *blob)
{
    for (int l = 0; l < layer; l++)
        for (int i = 0; net->layers[l]->weights_given && i < net->layers[l]->param_count; i++)
            if (net->layers[l]->params[i].blob == blob)
                return true;
    return false;
}

static qf_status look_at(qf_net *net, const qf_blob *blob, qf_odd_values *out)
{
    const float *values;
    *out = (qf_odd_values){0};
    if (!qf_tensor_has(blob->data, QF_PLAIN)) /* codes */
        return QF_OK;
    QF_TRY(qf_read(net->context, blob->data, QF_PLAIN, &values));
    if (!qf_all_finite(values, qf_blob_count(blob)))
        *out = qf_find_odd_values(values, qf_blob_count(blob));
    return QF_OK;
}

qf_status qf_net_check_weights_finite(qf_net *net, const char *files)
{
    enum { NAMED = 5 };
    int blobs = 0;
    qf_odd_values odd, all = {0};
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        for (int i = 0; layer->weights_given && i < layer->param_count; i++) {
            const qf_blob *blob = layer->params[i].blob;
            char text[128];
            QF_TRY(look_at(net, blob, &odd));
            if (qf_is_finite(&odd) || is_shared(net, l, blob))
                continue;
            all.nan += odd.nan;
            all.infinite += odd.infinite;
            if (blobs++ < NAMED)
                qf_warning(net->context, "%s: layer %s, blob %d: %s", files, layer->name, i,
                           qf_odd_values_text(&odd, qf_blob_count(blob), text, sizeof text));
        }
    }
    if (blobs)
        qf_warning(net->context,
                   "%s: %d blob%s with %zu NaN and %zu infinite values: did the training diverge, "
                   "or is the file damaged? (qaffe inspect --check shows all)",
                   files, blobs, blobs == 1 ? "" : "s", all.nan, all.infinite);
    return QF_OK;
}
