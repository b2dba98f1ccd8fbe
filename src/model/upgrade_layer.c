/* What upgrades that make two layers of one have in common. */
#include "model/upgrade.h"

#include <string.h>

const char *qf_upgrade_name(const Caffe__LayerParameter *layer)
{
    return layer->name ? layer->name : "";
}

bool qf_upgrade_is(const Caffe__LayerParameter *layer, const char *type)
{
    return layer->type && strcmp(layer->type, type) == 0;
}

static qf_status set_name(qf_context *context, const Caffe__LayerParameter *from,
                          const char *ending, Caffe__LayerParameter *to)
{
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s%s", qf_upgrade_name(from), ending);
    qf_status status = qf_buffer_whole(context, &name);
    if (status == QF_OK)
        status = qf_set_string(context, &to->name, name.data);
    qf_buffer_release(&name);
    return status;
}

qf_status qf_upgrade_twin(qf_context *context, Caffe__LayerParameter *layer, const char *ending,
                          const char *type, Caffe__LayerParameter **out)
{
    const size_t blobs = layer->n_blobs, specs = layer->n_param;
    const unsigned kept = layer->base.n_unknown_fields;
    layer->n_blobs = layer->n_param = 0;
    layer->base.n_unknown_fields = 0;
    const qf_status copied = qf_message_copy(context, layer, out);
    layer->n_blobs = blobs;
    layer->n_param = specs;
    layer->base.n_unknown_fields = kept;
    QF_TRY(copied);
    QF_TRY(set_name(context, layer, ending, *out));
    return qf_set_string(context, &(*out)->type, type);
}
