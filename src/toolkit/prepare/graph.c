/* Finding, inserting, removing and renaming among the layers of a net's message. */
#include "toolkit/prepare/graph.h"

#include <string.h>

bool qf_layer_is(const Caffe__LayerParameter *layer, const char *type)
{
    return layer->type && strcmp(layer->type, type) == 0;
}

bool qf_layer_writes(const Caffe__LayerParameter *layer, const char *blob)
{
    for (size_t t = 0; t < layer->n_top; t++)
        if (strcmp(layer->top[t], blob) == 0)
            return true;
    return false;
}

bool qf_layer_reads(const Caffe__LayerParameter *layer, const char *blob)
{
    for (size_t b = 0; b < layer->n_bottom; b++)
        if (strcmp(layer->bottom[b], blob) == 0)
            return true;
    return false;
}

int qf_graph_producer(const Caffe__NetParameter *net, const char *blob, int before)
{
    for (int i = before - 1; i >= 0; i--)
        if (qf_layer_writes(net->layer[i], blob))
            return i;
    return QF_NONE;
}

int qf_graph_readers(const Caffe__NetParameter *net, int index, const char *blob, int *readers,
                     int size)
{
    int count = 0;
    for (int i = index + 1; i < (int)net->n_layer; i++) {
        if (qf_layer_reads(net->layer[i], blob)) {
            if (count < size)
                readers[count] = i;
            count++;
        }
        if (qf_layer_writes(net->layer[i], blob))
            break;
    }
    return count;
}

int qf_graph_find(const Caffe__NetParameter *net, const char *name)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (net->layer[i]->name && strcmp(net->layer[i]->name, name) == 0)
            return (int)i;
    return QF_NONE;
}

qf_status qf_graph_insert(qf_context *context, Caffe__NetParameter *net, int at,
                          Caffe__LayerParameter *layer)
{
    QF_TRY(qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer));
    memmove(net->layer + at + 1, net->layer + at,
            (net->n_layer - 1 - (size_t)at) * sizeof *net->layer);
    net->layer[at] = layer;
    return QF_OK;
}

void qf_graph_remove(Caffe__NetParameter *net, int index)
{
    qf_message_free(net->layer[index]);
    net->n_layer--;
    memmove(net->layer + index, net->layer + index + 1,
            (net->n_layer - (size_t)index) * sizeof *net->layer);
}

static qf_status fill(qf_context *context, Caffe__LayerParameter *layer, const char *name,
                      const char *type, const char *bottom, const char *top)
{
    QF_TRY(qf_set_string(context, &layer->name, name));
    QF_TRY(qf_set_string(context, &layer->type, type));
    if (bottom)
        QF_TRY(qf_append_string(context, &layer->n_bottom, &layer->bottom, bottom));
    return top ? qf_append_string(context, &layer->n_top, &layer->top, top) : QF_OK;
}

qf_status qf_graph_new_layer(qf_context *context, const char *name, const char *type,
                             const char *bottom, const char *top, Caffe__LayerParameter **out)
{
    QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, out));
    qf_status status = fill(context, *out, name, type, bottom, top);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

void qf_graph_drop_rules(Caffe__LayerParameter *layer)
{
    for (size_t i = 0; i < layer->n_include; i++)
        qf_message_free(layer->include[i]);
    for (size_t i = 0; i < layer->n_exclude; i++)
        qf_message_free(layer->exclude[i]);
    layer->n_include = layer->n_exclude = 0;
}

static qf_status rename_in(qf_context *context, size_t count, char **names, const char *from,
                           const char *to)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], from) == 0)
            QF_TRY(qf_set_string(context, &names[i], to));
    return QF_OK;
}

static bool comes_from_source(const Caffe__NetParameter *net, const char *blob, int before)
{
    for (int i = 0; i < before; i++)
        if (net->layer[i]->n_bottom == 0 && qf_layer_writes(net->layer[i], blob))
            return true;
    return false;
}

/* From the tops of layer `first` on to the bottoms of layer `last`. */
static qf_status rename_between(qf_context *context, Caffe__NetParameter *net, int first, int last,
                                const char *from, const char *to)
{
    for (int i = first; i <= last && i < (int)net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (i > first)
            QF_TRY(rename_in(context, layer->n_bottom, layer->bottom, from, to));
        if (i < last)
            QF_TRY(rename_in(context, layer->n_top, layer->top, from, to));
    }
    return QF_OK;
}

qf_status qf_graph_name_apart(qf_context *context, Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    if (layer->n_bottom == 0 || layer->n_top == 0 || strcmp(layer->bottom[0], layer->top[0]) != 0)
        return QF_OK;
    const bool rename_top = comes_from_source(net, layer->top[0], index);
    qf_buffer from = {0}, to = {0};
    qf_buffer_print(&from, "%s", layer->top[0]);
    qf_buffer_print(&to, rename_top ? "%s_top" : "%s_bottom", layer->name);
    qf_status status = qf_buffer_whole(context, &from);
    if (status == QF_OK)
        status = qf_buffer_whole(context, &to);
    if (status == QF_OK)
        status = rename_between(context, net, rename_top ? index : 0,
                                rename_top ? (int)net->n_layer : index, qf_buffer_text(&from),
                                qf_buffer_text(&to));
    qf_buffer_release(&from);
    qf_buffer_release(&to);
    return status;
}

/* The only reader of a layer's only top, if it is of this type and takes nothing else; QF_NONE. */
static int sole_reader(const Caffe__NetParameter *net, int index, const char *type)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    int reader;
    if (layer->n_top != 1 || qf_graph_readers(net, index, layer->top[0], &reader, 1) != 1)
        return QF_NONE;
    const Caffe__LayerParameter *next = net->layer[reader];
    bool plain = qf_layer_is(next, type) && next->n_bottom == 1 && next->n_top == 1;
    return plain && !next->n_include && !next->n_exclude ? reader : QF_NONE;
}

/* Batch statistics at inference cannot be folded. */
static bool has_fixed_statistics(const Caffe__LayerParameter *norm)
{
    const Caffe__BatchNormParameter *p = norm->batch_norm_param;
    return !p || !p->has_use_global_stats || p->use_global_stats;
}

static bool scales_channels(const Caffe__LayerParameter *scale)
{
    const Caffe__ScaleParameter *p = scale->scale_param;
    return !p || ((p->axis == 1 || p->axis == -3) && p->num_axes == 1);
}

static const qf_fold nothing = {QF_NONE, QF_NONE};

static qf_fold fold_behind(const Caffe__NetParameter *net, int index)
{
    qf_fold fold = nothing;
    int norm = sole_reader(net, index, "BatchNorm");
    if (norm == QF_NONE || !has_fixed_statistics(net->layer[norm]))
        return fold;
    fold.batch_norm = norm;
    int scale = sole_reader(net, norm, "Scale");
    if (scale != QF_NONE && scales_channels(net->layer[scale]))
        fold.scale = scale;
    return fold;
}

qf_fold qf_graph_fold(const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    return qf_layer_is(layer, "Convolution") || qf_layer_is(layer, "Deconvolution")
               ? fold_behind(net, index)
               : nothing;
}

qf_fold qf_graph_fold_product(const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    const Caffe__InnerProductParameter *p = layer->inner_product_param;
    return qf_layer_is(layer, "InnerProduct") && p && !p->transpose && p->axis == 1
               ? fold_behind(net, index)
               : nothing;
}

static bool is_padded(const Caffe__ConvolutionParameter *p)
{
    bool padded = p->pad_h || p->pad_w;
    for (size_t i = 0; i < p->n_pad; i++)
        padded = padded || p->pad[i];
    return padded;
}

bool qf_graph_stays(const Caffe__NetParameter *net, const char *blob, int from, int to)
{
    for (int i = from + 1; i < to; i++)
        if (qf_layer_writes(net->layer[i], blob))
            return false;
    return true;
}

qf_fold qf_graph_fold_front(const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    if (!qf_layer_is(layer, "Convolution") || layer->n_bottom != 1 || !layer->convolution_param ||
        is_padded(layer->convolution_param))
        return nothing;
    const int scale = qf_graph_producer(net, layer->bottom[0], index);
    if (scale == QF_NONE || !qf_layer_is(net->layer[scale], "Scale") ||
        sole_reader(net, scale, "Convolution") != index || net->layer[scale]->n_bottom != 1 ||
        !scales_channels(net->layer[scale]))
        return nothing;
    const int norm = qf_graph_producer(net, net->layer[scale]->bottom[0], scale);
    if (norm == QF_NONE || !qf_layer_is(net->layer[norm], "BatchNorm") ||
        sole_reader(net, norm, "Scale") != scale || !has_fixed_statistics(net->layer[norm]))
        return nothing;
    /* In place they are the writers; what they are folded into reads what was there before. */
    const char *blob = net->layer[norm]->bottom[0];
    return qf_graph_stays(net, blob, scale, index) && qf_graph_stays(net, blob, norm, scale)
               ? (qf_fold){norm, scale}
               : nothing;
}

qf_status qf_graph_give_blob(qf_context *context, Caffe__LayerParameter *layer,
                             Caffe__BlobProto *blob, qf_status made)
{
    if (made == QF_OK)
        made = qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob);
    if (made != QF_OK)
        qf_message_free(blob);
    return made;
}

qf_status qf_graph_set_batch_norm(qf_context *context, Caffe__NetParameter *net,
                                  qf_batch_norm choice)
{
    for (size_t i = 0; i < net->n_layer && choice != QF_BATCH_NORM_AS_MODEL; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_layer_is(layer, "BatchNorm"))
            continue;
        if (!layer->batch_norm_param)
            QF_TRY(qf_message_new(context, &caffe__batch_norm_parameter__descriptor,
                                  &layer->batch_norm_param));
        /* Absent, the field means: batch statistics in TRAIN, kept ones in TEST. */
        layer->batch_norm_param->has_use_global_stats = choice == QF_BATCH_NORM_FROZEN;
        layer->batch_norm_param->use_global_stats = choice == QF_BATCH_NORM_FROZEN;
    }
    return QF_OK;
}
