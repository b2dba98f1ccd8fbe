/* Keeping values that an in-place layer overwrites and backward reads. */
#include "net/schedule/overwritten.h"

#include "base/memory.h"
#include "net/schedule/plan.h"

static bool is_in_place(const qf_layer *layer, const qf_blob *blob)
{
    for (int t = 0; t < layer->top_count && t < layer->bottom_count; t++)
        if (layer->top[t] == blob && layer->bottom[t] == blob)
            return true;
    return false;
}

static bool may_read_tops(const qf_layer *layer)
{
    const qf_layer_type *type = layer->type;
    return type->backward && !type->ignores_tops &&
           !(type->ignores_values && type->ignores_values(layer));
}

/* Is what the writer's backward pass reads of the value still in it behind this layer? */
static bool spares(const qf_layer *layer, const qf_layer *writer)
{
    return writer->type->reads_signs && layer->type->keeps_signs && layer->type->keeps_signs(layer);
}

static qf_status add(qf_net_plan *plan, size_t *capacity, const qf_overwritten *found)
{
    if (!qf_grow(&plan->overwritten, capacity, (size_t)plan->overwritten_count + 1,
                 sizeof *plan->overwritten))
        return QF_E_MEMORY;
    plan->overwritten[plan->overwritten_count++] = *found;
    return QF_OK;
}

/* The layers in place behind a writer, up to the first that spoils its value. */
static qf_status find_layers(qf_net_plan *plan, size_t *capacity, const qf_net *net, int writer,
                             qf_blob *blob)
{
    bool spared = true;
    for (int l = writer + 1; l < net->layer_count && spared; l++) {
        if (!is_in_place(net->layers[l], blob))
            continue;
        spared = spares(net->layers[l], net->layers[writer]);
        const qf_overwritten found = {.writer = writer, .layer = l, .blob = blob, .spared = spared};
        QF_TRY(add(plan, capacity, &found));
    }
    return QF_OK;
}

qf_status qf_overwritten_find(qf_net *net)
{
    size_t capacity = 0;
    for (int w = 0; w < net->layer_count; w++) {
        const qf_layer *writer = net->layers[w];
        for (int t = 0; t < writer->top_count && may_read_tops(writer); t++)
            if (find_layers(net->plan, &capacity, net, w, writer->top[t]) != QF_OK)
                return qf_fail(net->context, QF_E_MEMORY, "no memory for a plan");
    }
    return QF_OK;
}

void qf_overwritten_destroy(qf_net *net)
{
    for (int i = 0; i < net->plan->overwritten_count; i++)
        qf_tensor_release(net->plan->overwritten[i].kept);
    qf_free(net->plan->overwritten);
}

static qf_status keep(qf_net *net, qf_overwritten *o)
{
    if (!o->kept)
        QF_TRY(qf_tensor_create(net->context, &o->kept));
    QF_TRY(qf_tensor_share(net->context, o->kept, o->blob->data));
    o->is_kept = true;
    return QF_OK;
}

/* Was it kept before, from a layer in place that came earlier? */
static bool is_kept_already(const qf_net_plan *plan, int index)
{
    const qf_overwritten *o = &plan->overwritten[index];
    for (int i = index; i-- > 0 && plan->overwritten[i].writer == o->writer;)
        if (plan->overwritten[i].is_kept && plan->overwritten[i].blob == o->blob)
            return true;
    return false;
}

/* Layers that run as one may leave their blob without a value: none is spared then. */
static bool is_lost(const qf_overwritten *o, int first, int last)
{
    return o->layer >= first && o->layer <= last && (!o->spared || first < last);
}

qf_status qf_overwritten_keep(qf_net *net, int first, int last)
{
    const bool backward_may_follow = net->phase == QF_TRAIN || net->keep_blobs;
    for (int i = 0; i < net->plan->overwritten_count; i++) {
        qf_overwritten *o = &net->plan->overwritten[i];
        if (o->writer >= first && o->writer <= last)
            o->is_kept = false; /* of an earlier pass */
        else if (is_lost(o, first, last) && backward_may_follow && !is_kept_already(net->plan, i) &&
                 qf_net_plan_backward_reads(net, o->writer, o->blob->data))
            QF_TRY(
                qf_within(net->context, keep(net, o), "the value of %s before it", o->blob->name));
    }
    return QF_OK;
}

qf_status qf_overwritten_exchange(qf_net *net, int first, int last)
{
    for (int i = 0; i < net->plan->overwritten_count; i++) {
        qf_overwritten *o = &net->plan->overwritten[i];
        if (o->is_kept && o->writer >= first && o->writer <= last)
            QF_TRY(qf_tensor_swap(net->context, o->kept, o->blob->data));
    }
    return QF_OK;
}

void qf_overwritten_release(qf_net *net, int first, int last)
{
    for (int i = 0; i < net->plan->overwritten_count; i++) {
        qf_overwritten *o = &net->plan->overwritten[i];
        if (!o->is_kept || o->writer < first || o->writer > last)
            continue;
        qf_tensor_forget(o->kept);
        o->is_kept = false;
    }
}

bool qf_overwritten_is_kept(const qf_net *net, int first, int last, const qf_tensor *value)
{
    for (int i = 0; i < net->plan->overwritten_count; i++) {
        const qf_overwritten *o = &net->plan->overwritten[i];
        if (o->is_kept && o->writer >= first && o->writer <= last && o->blob->data == value)
            return true;
    }
    return false;
}
