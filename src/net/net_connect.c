/* Connecting one layer to the blobs of a net that is built: which blob a name means there, and what
 * is written in place, by Caffe's rules. The log lines are Caffe's. */
#include "base/memory.h"
#include "net/net_build.h"

#include <string.h>

static qf_status new_blob(qf_net_builder *build, const char *name, int *index)
{
    qf_net *net = build->net;
    size_t count = (size_t)net->blob_count + 1;
    if (!qf_grow(&net->blobs, &build->blob_capacity, count, sizeof *net->blobs) ||
        !qf_grow(&net->blob_loss_weight, &build->weight_capacity, count,
                 sizeof *net->blob_loss_weight) ||
        !qf_grow(&build->blobs, &build->state_capacity, count, sizeof *build->blobs))
        return qf_net_builder_no_memory(build);
    *index = net->blob_count;
    QF_TRY(qf_blob_create(net->context, name, &net->blobs[*index]));
    net->blobs[*index]->index = net->blob_count++;
    return QF_OK;
}

qf_status qf_layer_connect_bottoms(qf_net_builder *build, qf_layer *layer)
{
    qf_net *net = build->net;
    const Caffe__LayerParameter *param = layer->param;
    for (int i = 0; i < layer->bottom_count; i++) {
        int index = qf_names_get(&build->blob_names, param->bottom[i]);
        if (index < 0 || !build->blobs[index].available)
            return qf_fail(net->context, QF_E_FORMAT, "unknown bottom blob '%s' (bottom index %d)",
                           param->bottom[i], i);
        qf_info(net->context, "%s <- %s", layer->name, param->bottom[i]);
        build->blobs[index].available = false;
        layer->bottom[i] = net->blobs[index];
        layer->propagate_down[i] =
            param->n_propagate_down ? param->propagate_down[i] : build->blobs[index].need_backward;
    }
    return QF_OK;
}

/* Does the top have the name of the bottom of its index: is it written in place? */
static bool is_named_in_place(const qf_layer *layer, int i)
{
    return i < layer->bottom_count && strcmp(layer->param->bottom[i], layer->param->top[i]) == 0;
}

/* May the layer write over this bottom: does it know how, and has nobody else a use for the value?
 */
static bool may_overwrite(const qf_net_builder *build, const qf_layer *layer, const qf_blob *bottom)
{
    return layer->type->in_place && bottom->data->references == 1 &&
           !build->blobs[bottom->index].lasting;
}

/* Is this the value of one of the layer's bottoms, perhaps through a Split? */
static bool reads_value(const qf_layer *layer, const qf_blob *blob)
{
    for (int i = 0; i < layer->bottom_count; i++)
        if (layer->bottom[i]->data == blob->data)
            return true;
    return false;
}

/* A layer that writes over what it reads and cannot do so in place, or must not, gets a blob of its
 * own, which has the name from there on. */
static qf_status connect_top(qf_net_builder *build, const qf_layer *layer, int i, int *index)
{
    qf_net *net = build->net;
    const char *name = layer->param->top[i];
    const int before = qf_names_get(&build->blob_names, name);
    const bool in_place = is_named_in_place(layer, i);
    qf_info(net->context, "%s -> %s%s", layer->name, name, in_place ? " (in-place)" : "");
    *index = before;
    if (in_place && may_overwrite(build, layer, layer->bottom[i]))
        return QF_OK;
    if (before >= 0 && !in_place && !reads_value(layer, net->blobs[before]))
        return qf_fail(net->context, QF_E_FORMAT,
                       "top blob '%s' is produced by several layers; give each its own name", name);
    QF_TRY(new_blob(build, name, index));
    build->blobs[*index].lasting = layer->type->lasting_tops;
    return qf_names_set(&build->blob_names, name, *index) ? QF_OK : qf_net_builder_no_memory(build);
}

qf_status qf_layer_connect_tops(qf_net_builder *build, qf_layer *layer)
{
    qf_net *net = build->net;
    for (int i = 0; i < layer->top_count; i++) {
        int index;
        if ((size_t)i < layer->param->n_top) {
            QF_TRY(connect_top(build, layer, i, &index));
            build->blobs[index].available = true;
        } else { /* nobody can ask for it, so it is no output either */
            qf_info(net->context, "%s -> (automatic)", layer->name);
            QF_TRY(new_blob(build, "(automatic)", &index));
        }
        layer->top[i] = net->blobs[index];
    }
    return QF_OK;
}

static qf_status check_count(const qf_layer *layer, const char *what, int count, int least,
                             int most)
{
    if (count >= least && (most < 0 || count <= most))
        return QF_OK;
    if (least == most)
        return qf_fail(layer->context, QF_E_FORMAT, "a %s layer takes %d %s blob%s, but has %d",
                       layer->type->name, least, what, least == 1 ? "" : "s", count);
    if (most < 0)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "a %s layer takes at least %d %s blob%s, but has %d", layer->type->name,
                       least, what, least == 1 ? "" : "s", count);
    return qf_fail(layer->context, QF_E_FORMAT, "a %s layer takes %d to %d %s blobs, but has %d",
                   layer->type->name, least, most, what, count);
}

qf_status qf_layer_check_counts(const qf_layer *layer)
{
    const qf_layer_type *type = layer->type;
    const Caffe__LayerParameter *param = layer->param;
    QF_TRY(check_count(layer, "bottom", layer->bottom_count, type->min_bottoms, type->max_bottoms));
    QF_TRY(check_count(layer, "top", layer->top_count, type->min_tops, type->max_tops));
    if (type->equal_count && layer->bottom_count != layer->top_count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "a %s layer needs as many tops as bottoms, but has %d and %d", type->name,
                       layer->top_count, layer->bottom_count);
    if (param->n_propagate_down && param->n_propagate_down != (size_t)layer->bottom_count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "propagate_down must be given never or once for each of the %d bottoms, but "
                       "is given %zu times",
                       layer->bottom_count, param->n_propagate_down);
    if (param->n_loss_weight && param->n_loss_weight != param->n_top)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "loss_weight must be given never or once for each of the %zu tops, but is "
                       "given %zu times",
                       param->n_top, param->n_loss_weight);
    return QF_OK;
}
