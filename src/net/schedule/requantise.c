/*
 * The fusion "requantise", of deploy models: an integer layer, DeQuant, a sum with a float blob,
 * ReLU or ReLU6 and the next layer's Quant, whichever of them stand in this order, run as one
 * operation with the results of its parts. Where MAX Pooling and Concat stand between the value and
 * the Quant of all that is made of it, the value is quantised at once and they hand codes on:
 * rounding to codes is monotone, so it may come before taking a maximum.
 */
#include "net/schedule/chain.h"

typedef struct state {
    qf_stage product, dequantise, rectify; /* the last, and these, may be of kind NONE: */
    qf_stage split;
    qf_stage encode;     /* the next layer's; reads the value */
    qf_layer *distant;   /* the only encoder that reads what becomes of the value; or NULL */
    qf_blob *addend, *y; /* addend: a sum's other bottom, or NULL; y: the last float value */
} state;

/* Each blob has one reader behind the layer that wrote it last: Splits see to that. */
static qf_layer *find_distant_encoder(const qf_net *net, int after, const qf_blob *value)
{
    for (int l = after; l < net->layer_count; l++) {
        qf_layer *layer = net->layers[l];
        if (!qf_chain_reads(layer, value))
            continue;
        const qf_stage_kind kind = qf_layer_stage(layer).kind;
        if (kind == QF_STAGE_ENCODE)
            return layer;
        if (kind != QF_STAGE_SELECT)
            return NULL;
        value = layer->top[0];
    }
    return NULL;
}

/* The encoder that comes next, or one of whose readers is behind a Split. */
static int match_end(const qf_net *net, state *s, int next)
{
    qf_stage stage = qf_chain_take(net, next, s->y);
    if (stage.kind == QF_STAGE_ENCODE) {
        s->encode = stage;
        return next + 1;
    }
    if (stage.kind != QF_STAGE_SPLIT) {
        s->distant = find_distant_encoder(net, next, s->y);
        return next;
    }
    s->split = stage;
    next++;
    for (int t = 0; t < s->split.layer->top_count && !s->encode.kind; t++) {
        stage = qf_chain_take(net, next, s->split.layer->top[t]);
        if (stage.kind == QF_STAGE_ENCODE)
            s->encode = stage;
    }
    return next + (s->encode.kind != QF_STAGE_NONE);
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_chain chain = {net, group, group->first, NULL};
    qf_stage stage;
    group->in_place = true;
    if (net->phase != QF_TEST || (!qf_chain_next(&chain, QF_STAGE_CONVOLVE, &s->product) &&
                                  !qf_chain_next(&chain, QF_STAGE_PRODUCT, &s->product)))
        return 0;
    qf_chain_add(&chain, &s->product);
    if (!qf_chain_next(&chain, QF_STAGE_DEQUANTISE, &s->dequantise))
        return 0;
    qf_chain_add(&chain, &s->dequantise);
    if (qf_chain_next(&chain, QF_STAGE_SUM, &stage)) {
        s->addend = qf_chain_addend(&chain, &stage);
        qf_chain_add(&chain, &stage);
    }
    if (qf_chain_next(&chain, QF_STAGE_RECTIFY, &stage)) {
        s->rectify = stage;
        qf_chain_add(&chain, &stage);
    }
    s->y = chain.value;
    return match_end(net, s, chain.next) - group->first;
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
    return qf_layer_stage(s->dequantise.layer).dequantise.deployed &&
           qf_layer_stage(s->product.layer).product.deployed &&
           qf_tensor_has(s->product.layer->bottom[0]->data, QF_CODES) &&
           qf_shape_count(shape) > 0 &&
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
    qf_layer *layer = s->product.layer;
    const qf_stage product = qf_layer_stage(layer);
    if (product.kind == QF_STAGE_PRODUCT) {
        QF_TRY(layer->type->forward(layer));
        return layer->device->sweep->requantise(net->context, r, layer->top[0]->data, addend, y,
                                                codes);
    }
    return layer->device->convolve->forward_requantised(
        net->context, product.product.operation, layer->bottom[0]->data, product.product.weights,
        product.product.bias, r, addend, y, codes);
}

static qf_status forward(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    qf_layer *encoder = s->encode.kind ? s->encode.layer : net->keep_blobs ? NULL : s->distant;
    qf_tensor *value = s->y->data, *addend, *codes = NULL;
    qf_requantisation r = qf_layer_stage(s->dequantise.layer).dequantise.factors;
    r.relu = s->rectify.kind;
    r.relu_slope = s->rectify.rectify.slope;
    r.relu_limit = s->rectify.rectify.limit;
    if (encoder) {
        const qf_stage encode = qf_layer_stage(encoder);
        r.scale = encode.encode.scale;
        r.offset_d = encode.encode.offset_d;
        codes = s->encode.kind ? encoder->top[0]->data : value;
    }
    qf_tensor *y = net->keep_blobs || s->split.kind || !encoder ? value : NULL;
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
