/*
 * The fusion "requantise", of deploy models: an integer layer, DeQuant, a sum with a float blob,
 * ReLU or ReLU6 and the next layer's Quant, whichever of them stand in this order, run as one
 * operation with the results of its parts. Where MAX Pooling and Concat stand between the value and
 * the Quant of all that is made of it, the value is quantised at once and they hand codes on:
 * rounding to codes is monotone, so it may come before taking a maximum.
 */
#include "layers/convolution/convolution_base.h"
#include "layers/quantised/quant_layers.h"
#include "net/schedule/chain.h"

#include <string.h>

typedef struct state {
    qf_layer *integer; /* makes the sums */
    bool convolution;  /* `integer` is one that the device requantises piece by piece */
    qf_layer *dequant, *eltwise, *split; /* the last two may be NULL */
    qf_rectifier relu;
    qf_layer *quant;     /* the next layer's; reads the value; may be NULL */
    qf_layer *distant;   /* the only one that reads what becomes of the value; or NULL */
    qf_blob *addend, *y; /* addend: Eltwise's other bottom; y: the last float value */
} state;

static void pass_on(qf_group *group, const qf_layer *layer, qf_blob **value, int *next)
{
    group->in_place &= layer->top[0] == *value;
    *value = layer->top[0];
    ++*next;
}

static bool hands_codes_on(const qf_layer *layer)
{
    if (strcmp(layer->type->name, "Concat") == 0)
        return true;
    return strcmp(layer->type->name, "Pooling") == 0 && layer->top_count == 1 &&
           QF_LAYER_PARAM(layer, pooling_param, POOLING_, Pooling)->pool ==
               CAFFE__POOLING_PARAMETER__POOL_METHOD__MAX;
}

static bool reads(const qf_layer *layer, const qf_blob *blob)
{
    for (int b = 0; b < layer->bottom_count; b++)
        if (layer->bottom[b] == blob)
            return true;
    return false;
}

/* Each blob has one reader behind the layer that wrote it last: Splits see to that. */
static qf_layer *find_distant_quant(const qf_net *net, int after, const qf_blob *value)
{
    for (int l = after; l < net->layer_count; l++) {
        qf_layer *layer = net->layers[l];
        if (!reads(layer, value))
            continue;
        if (strcmp(layer->type->name, "Quant") == 0)
            return layer;
        if (!hands_codes_on(layer))
            return NULL;
        value = layer->top[0];
    }
    return NULL;
}

static qf_layer *take_integer(const qf_net *net, int index, bool *convolution)
{
    qf_layer *layer = qf_chain_take_convolution(net, index);
    *convolution = layer;
    if (!layer)
        layer = qf_chain_take(net, index, "InnerProduct", NULL);
    if (!layer)
        layer = qf_chain_take(net, index, "Deconvolution", NULL);
    return layer && layer->bottom_count == 1 ? layer : NULL;
}

static int match_quant(const qf_net *net, state *s, int next)
{
    s->split = qf_chain_take(net, next, "Split", s->y);
    if (!s->split) {
        s->quant = qf_chain_take(net, next, "Quant", s->y);
        if (!s->quant)
            s->distant = find_distant_quant(net, next, s->y);
        return next + (s->quant != NULL);
    }
    next++;
    for (int t = 0; t < s->split->top_count && !s->quant; t++)
        s->quant = qf_chain_take(net, next, "Quant", s->split->top[t]);
    return next + (s->quant != NULL);
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    int next = group->first + 1;
    if (net->phase != QF_TEST)
        return 0;
    s->integer = take_integer(net, group->first, &s->convolution);
    s->dequant = s->integer ? qf_chain_take(net, next, "DeQuant", s->integer->top[0]) : NULL;
    if (!s->dequant)
        return 0;
    qf_blob *value = s->integer->top[0];
    group->in_place = true;
    pass_on(group, s->dequant, &value, &next);
    s->eltwise = qf_chain_take(net, next, "Eltwise", value);
    if (s->eltwise && !qf_chain_is_plain_sum(s->eltwise))
        s->eltwise = NULL;
    if (s->eltwise) {
        s->addend = s->eltwise->bottom[s->eltwise->bottom[0] == value ? 1 : 0];
        pass_on(group, s->eltwise, &value, &next);
    }
    s->relu = qf_chain_take_rectifier(net, next, value);
    if (s->relu.layer)
        pass_on(group, s->relu.layer, &value, &next);
    s->y = value;
    return match_quant(net, s, next) - group->first;
}

/* A fake-quant model has the same layers, but floats in them. Layers that AMCT's log wants to show
 * run by themselves the first time. */
static bool ready(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_shape *shape = qf_blob_shape(s->y);
    for (int l = group->first; l <= group->last; l++)
        if (net->context->log_layer_data && net->layers[l]->type->logs_data &&
            !net->layers[l]->data_logged)
            return false;
    return qf_dequant_is_deployed(s->dequant) && qf_weights_are_deployed(s->integer) &&
           qf_tensor_has(s->integer->bottom[0]->data, QF_CODES) && qf_shape_count(shape) > 0 &&
           (!s->addend || qf_shape_equal(shape, qf_blob_shape(s->addend)));
}

/* Where the value may overwrite the addend, it takes its array. */
static qf_status place_addend(qf_net *net, const qf_group *group, qf_tensor *y, qf_tensor **addend)
{
    const state *s = group->state;
    *addend = s->addend ? s->addend->data : NULL;
    if (!*addend || !y || (*addend)->views || !qf_net_plan_value_ends(net, s->addend, group->last))
        return QF_OK;
    QF_TRY(qf_tensor_share(net->context, y, *addend));
    qf_tensor_drop(*addend);
    *addend = y;
    return QF_OK;
}

static qf_status run(qf_net *net, const state *s, const qf_requantisation *r, qf_tensor *addend,
                     qf_tensor *y, qf_tensor *codes)
{
    qf_layer *layer = s->integer;
    if (!s->convolution) {
        QF_TRY(layer->type->forward(layer));
        return layer->device->sweep->requantise(net->context, r, layer->top[0]->data, addend, y,
                                                codes);
    }
    const qf_convolution_state *c = layer->state;
    return layer->device->convolve->forward_requantised(
        net->context, c->operation, layer->bottom[0]->data, layer->params[0].blob->data,
        c->bias ? layer->params[1].blob->data : NULL, r, addend, y, codes);
}

static qf_status forward(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_layer *quant = s->quant ? s->quant : net->keep_blobs ? NULL : s->distant;
    qf_tensor *value = s->y->data, *addend, *codes = NULL;
    qf_requantisation r;
    QF_TRY(qf_dequant_factors(s->dequant, &r));
    r.relu = s->relu.layer;
    r.relu_slope = s->relu.slope;
    r.relu_limit = s->relu.limit;
    if (quant) {
        qf_quant_factors(quant, &r.scale, &r.offset_d);
        codes = s->quant ? s->quant->top[0]->data : value;
    }
    qf_tensor *y = net->keep_blobs || s->split || !quant ? value : NULL;
    QF_TRY(place_addend(net, group, y, &addend));
    QF_TRY(run(net, s, &r, addend, y, codes));
    for (int l = group->first; l <= group->last; l++) {
        qf_tensor *top = net->layers[l]->top[0]->data;
        if (top != y && top != codes)
            qf_tensor_drop(top);
    }
    return QF_OK;
}

const qf_fusion qf_requantise_fusion = {
    .name = "requantise",
    .state_size = sizeof(state),
    .match = match,
    .ready = ready,
    .forward = forward,
};
