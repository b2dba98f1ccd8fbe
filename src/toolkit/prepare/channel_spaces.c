/* A walk over a net that tells, channel by channel, who writes and who reads: sets that are joined
 * (union-find), and fixed where a layer reads them that would not pass a factor on. */
#include "toolkit/prepare/channel_spaces.h"

#include "base/memory.h"
#include "model/until.h"
#include "toolkit/prepare/graph.h"

#include <string.h>

enum { UNKNOWN = -1 };

/* What a blob's name stands for at this point of the walk. */
typedef struct named {
    const char *blob;
    int tensor; /* or UNKNOWN */
    bool flat;  /* each channel is several in a row: behind Flatten */
    bool normalised;
    bool read;
} named;

typedef struct walk {
    qf_context *context;
    const Caffe__NetParameter *net, *weights, *kept;
    qf_channel_spaces *spaces;
    named *names;
    size_t count, capacity;
} walk;

/* ---- sets ---- */

static size_t node_root(qf_channel_spaces *s, size_t node)
{
    while (s->joined[node] != node)
        node = s->joined[node] = s->joined[s->joined[node]];
    return node;
}

static size_t tensor_root(qf_channel_spaces *s, size_t tensor)
{
    while (s->tensor[tensor].root != tensor)
        tensor = s->tensor[tensor].root;
    return tensor;
}

static void join_nodes(qf_channel_spaces *s, size_t a, size_t b)
{
    a = node_root(s, a), b = node_root(s, b);
    s->joined[b] = a;
    s->fixed[a] = s->fixed[a] || s->fixed[b];
}

/* Channel `from` of one and channel 0 of the other, and so on over the smaller. */
static void join(qf_channel_spaces *s, int large, size_t from, int small)
{
    const qf_channel_tensor *a = &s->tensor[large], *b = &s->tensor[small];
    for (size_t c = 0; c < b->channels; c++)
        join_nodes(s, a->first + from + c, b->first + c);
    s->tensor[tensor_root(s, (size_t)small)].root = tensor_root(s, (size_t)large);
}

static void fix(walk *w, int tensor)
{
    qf_channel_spaces *s = w->spaces;
    for (size_t c = 0; tensor != UNKNOWN && c < s->tensor[tensor].channels; c++)
        s->fixed[node_root(s, s->tensor[tensor].first + c)] = true;
}

static qf_status new_tensor(walk *w, size_t channels, int *out)
{
    qf_channel_spaces *s = w->spaces;
    if (!qf_grow(&s->tensor, &s->tensor_capacity, s->tensors + 1, sizeof *s->tensor) ||
        !qf_grow(&s->joined, &s->node_capacity, s->nodes + channels, sizeof *s->joined) ||
        !qf_grow(&s->fixed, &s->fixed_capacity, s->nodes + channels, sizeof *s->fixed))
        return qf_fail(w->context, QF_E_MEMORY, "no memory for %zu channels", channels);
    *out = (int)s->tensors;
    s->tensor[s->tensors] = (qf_channel_tensor){s->nodes, channels, s->tensors};
    s->tensors++;
    for (size_t c = 0; c < channels; c++, s->nodes++) {
        s->joined[s->nodes] = s->nodes;
        s->fixed[s->nodes] = false;
    }
    return QF_OK;
}

static qf_status add_end(walk *w, const Caffe__LayerParameter *layer,
                         const qf_channel_weights *weights, bool reads, int tensor)
{
    qf_channel_spaces *s = w->spaces;
    if (!qf_grow(&s->end, &s->end_capacity, s->ends + 1, sizeof *s->end))
        return qf_fail(w->context, QF_E_MEMORY, "no memory for a list of layers");
    s->end[s->ends++] =
        (qf_channel_end){layer, *weights, reads, (size_t)tensor, s->tensor[tensor].first};
    return QF_OK;
}

/* ---- names ---- */

static named *find_name(walk *w, const char *blob)
{
    for (size_t i = w->count; i-- > 0;)
        if (strcmp(w->names[i].blob, blob) == 0)
            return &w->names[i];
    return NULL;
}

/* What the layer reads there, noted as read. */
static named look(walk *w, const char *blob)
{
    named *found = find_name(w, blob);
    if (!found)
        return (named){.blob = blob, .tensor = UNKNOWN};
    found->read = true;
    return *found;
}

/* What nobody has read is an output of the net, whose values somebody wants as they were. */
static void fix_unread(walk *w, const named *name)
{
    if (!name->read)
        fix(w, name->tensor);
}

static qf_status write_blob(walk *w, const char *blob, named value)
{
    named *found = find_name(w, blob);
    value.blob = blob;
    value.read = false;
    if (found) {
        fix_unread(w, found);
        *found = value;
        return QF_OK;
    }
    if (!qf_grow(&w->names, &w->capacity, w->count + 1, sizeof *w->names))
        return qf_fail(w->context, QF_E_MEMORY, "no memory for the names of blobs");
    w->names[w->count++] = value;
    return QF_OK;
}

/* ---- layers ---- */

typedef qf_status handler(walk *w, const Caffe__LayerParameter *layer);

/* No factor goes through. */
static qf_status stop(walk *w, const Caffe__LayerParameter *layer)
{
    for (size_t b = 0; b < layer->n_bottom; b++)
        fix(w, look(w, layer->bottom[b]).tensor);
    for (size_t t = 0; t < layer->n_top; t++)
        QF_TRY(write_blob(w, layer->top[t], (named){.tensor = UNKNOWN}));
    return QF_OK;
}

/* f(s · x) = s · f(x) for s > 0, in each channel. */
static qf_status pass(walk *w, const Caffe__LayerParameter *layer)
{
    if (layer->n_bottom != 1)
        return stop(w, layer);
    named value = look(w, layer->bottom[0]);
    value.normalised = false;
    for (size_t t = 0; t < layer->n_top; t++)
        QF_TRY(write_blob(w, layer->top[t], value));
    return QF_OK;
}

static qf_status pass_relu(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__ReLUParameter *p = layer->relu_param;
    const bool bounded = p && (p->relu6 || p->maximum != 0 || p->minimum != 0);
    return bounded ? stop(w, layer) : pass(w, layer);
}

/* Drawn pixels, and places in a second top, are other than they were if a channel underflows. */
static qf_status pass_pooling(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__PoolingParameter *p = layer->pooling_param;
    const bool drawn = p && p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__STOCHASTIC;
    return drawn || layer->n_top != 1 ? stop(w, layer) : pass(w, layer);
}

static qf_status pass_flatten(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__FlattenParameter *p = layer->flatten_param;
    if (layer->n_bottom != 1 || layer->n_top != 1 || (p && (p->axis != 1 || p->end_axis != -1)))
        return stop(w, layer);
    named value = look(w, layer->bottom[0]);
    value.flat = true;
    value.normalised = false;
    return write_blob(w, layer->top[0], value);
}

/* Sums and maxima of the same channels: one factor for all. */
static qf_status pass_eltwise(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__EltwiseParameter *p = layer->eltwise_param;
    bool alike = layer->n_bottom && layer->n_top == 1 &&
                 !(p && p->operation == CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__PROD);
    const named *first = layer->n_bottom ? find_name(w, layer->bottom[0]) : NULL;
    for (size_t b = 0; alike && b < layer->n_bottom; b++) {
        const named *mine = find_name(w, layer->bottom[b]);
        alike =
            first && mine && first->tensor != UNKNOWN && mine->tensor != UNKNOWN &&
            mine->flat == first->flat &&
            w->spaces->tensor[mine->tensor].channels == w->spaces->tensor[first->tensor].channels;
    }
    if (!alike)
        return stop(w, layer);
    const named value = look(w, layer->bottom[0]);
    for (size_t b = 1; b < layer->n_bottom; b++)
        join(w->spaces, value.tensor, 0, look(w, layer->bottom[b]).tensor);
    return write_blob(w, layer->top[0], (named){.tensor = value.tensor, .flat = value.flat});
}

static qf_status pass_concat(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__ConcatParameter *p = layer->concat_param;
    size_t channels = 0, from = 0;
    bool known = layer->n_top == 1 && !(p && (p->axis != 1 || p->concat_dim != 1));
    for (size_t b = 0; known && b < layer->n_bottom; b++) {
        const named *mine = find_name(w, layer->bottom[b]);
        known = mine && mine->tensor != UNKNOWN && !mine->flat;
        channels += known ? w->spaces->tensor[mine->tensor].channels : 0;
    }
    if (!known)
        return stop(w, layer);
    int whole;
    QF_TRY(new_tensor(w, channels, &whole));
    for (size_t b = 0; b < layer->n_bottom; b++) {
        const int part = look(w, layer->bottom[b]).tensor;
        join(w->spaces, whole, from, part);
        from += w->spaces->tensor[part].channels;
    }
    return write_blob(w, layer->top[0], (named){.tensor = whole});
}

static qf_status pass_slice(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__SliceParameter *p = layer->slice_param;
    const named *from = layer->n_bottom == 1 ? find_name(w, layer->bottom[0]) : NULL;
    const bool known = from && from->tensor != UNKNOWN && !from->flat && layer->n_top &&
                       !(p && (p->axis != 1 || p->slice_dim != 1));
    const size_t channels = known ? w->spaces->tensor[from->tensor].channels : 0;
    const bool points = p && p->n_slice_point;
    if (!known || (points ? p->n_slice_point + 1 != layer->n_top : channels % layer->n_top != 0))
        return stop(w, layer);
    const int whole = look(w, layer->bottom[0]).tensor;
    for (size_t t = 0, begin = 0; t < layer->n_top; t++) {
        size_t end = points ? (t + 1 < layer->n_top ? p->slice_point[t] : channels)
                            : channels / layer->n_top * (t + 1);
        int part;
        if (end > channels || end < begin)
            return stop(w, layer);
        QF_TRY(new_tensor(w, end - begin, &part));
        join(w->spaces, whole, begin, part);
        QF_TRY(write_blob(w, layer->top[t], (named){.tensor = part}));
        begin = end;
    }
    return QF_OK;
}

/* Statistics of a batch take any factor away, so its own Scale begins anew. */
static qf_status take_batch_norm(walk *w, const Caffe__LayerParameter *layer)
{
    if (layer->n_bottom != 1 || layer->n_top != 1)
        return stop(w, layer);
    fix(w, look(w, layer->bottom[0]).tensor);
    return write_blob(w, layer->top[0], (named){.tensor = UNKNOWN, .normalised = true});
}

/* Does another layer use these weights, too? */
static bool is_shared(const walk *w, const Caffe__LayerParameter *layer)
{
    for (size_t p = 0; p < layer->n_param; p++) {
        const char *name = layer->param[p]->name;
        for (size_t i = 0; name && *name && i < w->net->n_layer; i++) {
            const Caffe__LayerParameter *other = w->net->layer[i];
            for (size_t k = 0; other != layer && k < other->n_param; k++)
                if (other->param[k]->name && strcmp(other->param[k]->name, name) == 0)
                    return true;
        }
    }
    return false;
}

static qf_status write_channels(walk *w, const Caffe__LayerParameter *layer,
                                const qf_channel_weights *weights)
{
    int made;
    QF_TRY(new_tensor(w, qf_channel_outputs(weights), &made));
    QF_TRY(add_end(w, layer, weights, false, made));
    return write_blob(w, layer->top[0], (named){.tensor = made});
}

static qf_status take_scale(walk *w, const Caffe__LayerParameter *layer)
{
    qf_channel_weights weights;
    const named *from = layer->n_bottom == 1 ? find_name(w, layer->bottom[0]) : NULL;
    if (!from || !from->normalised || is_shared(w, layer) ||
        !qf_channel_scale_of(layer, qf_find_layer(w->weights, layer->name), &weights))
        return stop(w, layer);
    look(w, layer->bottom[0]);
    return write_channels(w, layer, &weights);
}

static qf_status take_weights(walk *w, const Caffe__LayerParameter *layer)
{
    const Caffe__LayerParameter *stored = qf_find_layer(w->weights, layer->name);
    const bool product = qf_layer_is(layer, "InnerProduct");
    const named *from = layer->n_bottom == 1 ? find_name(w, layer->bottom[0]) : NULL;
    const bool known = from && from->tensor != UNKNOWN && (!from->flat || product);
    const size_t channels = known ? w->spaces->tensor[from->tensor].channels : 0;
    qf_channel_weights weights;
    if (is_shared(w, layer) || !qf_channel_weights_of(layer, stored, channels, &weights))
        return stop(w, layer);
    const int tensor = look(w, layer->bottom[0]).tensor;
    if (known)
        QF_TRY(add_end(w, layer, &weights, true, tensor));
    else
        fix(w, tensor);
    return write_channels(w, layer, &weights);
}

static const struct {
    const char *type;
    handler *handle;
} handlers[] = {
    {"Convolution", take_weights},
    {"Deconvolution", take_weights},
    {"DepthwiseConvolution", take_weights},
    {"InnerProduct", take_weights},
    {"BatchNorm", take_batch_norm},
    {"Scale", take_scale},
    {"ReLU", pass_relu},
    {"PReLU", pass},
    {"AbsVal", pass},
    {"Dropout", pass},
    {"Split", pass},
    {"Interp", pass},
    {"ResizeNearestNeighbor", pass},
    {"ResizeBilinear", pass},
    {"Pooling", pass_pooling},
    {"Flatten", pass_flatten},
    {"Eltwise", pass_eltwise},
    {"Concat", pass_concat},
    {"Slice", pass_slice},
};

/* In every phase, not left to the user's code, and no loss. */
static bool is_plain(const walk *w, const Caffe__LayerParameter *layer)
{
    return !layer->n_include && !layer->n_exclude && !layer->n_loss_weight &&
           qf_find_layer(w->kept, layer->name);
}

static handler *handler_of(const walk *w, const Caffe__LayerParameter *layer)
{
    for (size_t i = 0; is_plain(w, layer) && i < sizeof handlers / sizeof *handlers; i++)
        if (qf_layer_is(layer, handlers[i].type))
            return handlers[i].handle;
    return stop;
}

static qf_status walk_net(walk *w)
{
    for (size_t i = 0; i < w->net->n_layer; i++) {
        const Caffe__LayerParameter *layer = w->net->layer[i];
        QF_TRY(handler_of(w, layer)(w, layer));
    }
    for (size_t i = 0; i < w->count; i++)
        fix_unread(w, &w->names[i]);
    for (size_t t = 0; t < w->spaces->tensors; t++)
        w->spaces->tensor[t].root = tensor_root(w->spaces, t);
    for (size_t n = 0; n < w->spaces->nodes; n++)
        w->spaces->joined[n] = node_root(w->spaces, n);
    return QF_OK;
}

qf_status qf_channel_spaces_find(qf_context *context, const Caffe__NetParameter *net,
                                 const Caffe__NetParameter *weights, qf_channel_spaces *out)
{
    Caffe__NetParameter *kept = NULL;
    *out = (qf_channel_spaces){0};
    walk w = {.context = context, .net = net, .weights = weights, .spaces = out};
    qf_status status = qf_message_copy(context, net, &kept);
    if (status == QF_OK)
        status = qf_until_cut(context, kept);
    w.kept = kept;
    if (status == QF_OK)
        status = walk_net(&w);
    qf_message_free(kept);
    qf_free(w.names);
    return status;
}

void qf_channel_spaces_release(qf_channel_spaces *spaces)
{
    qf_free(spaces->tensor);
    qf_free(spaces->joined);
    qf_free(spaces->fixed);
    qf_free(spaces->end);
    *spaces = (qf_channel_spaces){0};
}
