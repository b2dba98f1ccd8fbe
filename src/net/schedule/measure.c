/*
 * The fusion "measure", of calibration models: a float convolution, SearchN that looks at its sums,
 * a sum with a blob that is already there, ReLU, and IFMR that counts what comes out, perhaps
 * behind a Split; whichever of them stand in this order. Values are looked at where they are made,
 * so that they go through memory once, as in the float net.
 */
#include "net/schedule/chain.h"

#include <string.h>

/* Behind the convolution, in this order; each may be missing. */
static const qf_stage_kind order[] = {QF_STAGE_SEARCH, QF_STAGE_SUM, QF_STAGE_RECTIFY};
enum { MOST_STAGES = 1 + sizeof order / sizeof *order + 1 }; /* and what counts */

typedef struct state {
    qf_stage stages[MOST_STAGES]; /* the first is the convolution */
    int count;
    qf_blob *addend, *y; /* addend: the sum's other bottom, or NULL */
    bool looks;          /* somebody does */
} state;

/* Else its convolutions may work on codes. */
static bool is_calibration_model(const qf_net *net)
{
    for (int l = 0; l < net->layer_count; l++)
        if (qf_layer_stage(net->layers[l]).kind == QF_STAGE_COUNT)
            return true;
    return false;
}

static void add(state *s, qf_chain *chain, const qf_stage *stage)
{
    if (stage->kind == QF_STAGE_SUM)
        s->addend = qf_chain_addend(chain, stage);
    s->looks |= stage->kind == QF_STAGE_SEARCH;
    s->stages[s->count++] = *stage;
    qf_chain_add(chain, stage);
}

/* IFMR is a reader of the value, or of one of the blobs that a Split makes of it. Returns the layer
 * behind. */
static int match_count(const qf_net *net, state *s, int index)
{
    const qf_stage split = qf_chain_take(net, index, s->y);
    const qf_layer *from = split.kind == QF_STAGE_SPLIT ? split.layer : NULL;
    const int next = from ? index + 1 : index;
    for (int t = 0; t < (from ? from->top_count : 1); t++) {
        const qf_stage count = qf_chain_take(net, next, from ? from->top[t] : s->y);
        if (count.kind != QF_STAGE_COUNT)
            continue;
        s->stages[s->count++] = count;
        s->looks = true;
        return next + 1;
    }
    return index;
}

/* A sum into the array of what it adds would be written too early. */
static bool can_sum(const state *s)
{
    return !s->addend || (s->addend != s->y && s->addend->data != s->y->data);
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_chain chain = {net, group, group->first, NULL};
    qf_stage stage;
    group->in_place = true;
    if (net->phase != QF_TEST || !qf_chain_next(&chain, QF_STAGE_CONVOLVE, &stage) ||
        stage.product.deployed || !is_calibration_model(net))
        return 0;
    add(s, &chain, &stage);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (qf_chain_next(&chain, order[i], &stage))
            add(s, &chain, &stage);
    s->y = chain.value;
    const int next = match_count(net, s, chain.next);
    return s->looks && can_sum(s) ? next - group->first : 0;
}

/* ---- running ---- */

static bool ready(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_shape *shape = qf_blob_shape(s->y);
    (void)net;
    return qf_shape_count(shape) > 0 && !qf_layer_stage(s->stages[0].layer).product.deployed &&
           (!s->addend || qf_shape_equal(shape, qf_blob_shape(s->addend)));
}

static void join(const qf_stage *stage, qf_sweep *sweep)
{
    switch (stage->kind) {
    case QF_STAGE_SEARCH:
        sweep->search = stage->search;
        break;
    case QF_STAGE_COUNT:
        sweep->count = stage->count;
        break;
    case QF_STAGE_RECTIFY:
        sweep->relu = true;
        sweep->relu_slope = stage->rectify.slope;
        sweep->relu_limit = stage->rectify.limit;
        break;
    default: /* a sum is told by its addend */
        break;
    }
}

/* What is added: y itself, which takes over the value of a blob that nobody needs any more. */
static qf_status take_addend(qf_net *net, const qf_group *group, const state *s, qf_tensor **out)
{
    *out = s->addend ? s->addend->data : NULL;
    if (!*out || *out == s->stages[0].layer->bottom[0]->data ||
        !qf_net_plan_value_ends(net, s->addend, group->last))
        return QF_OK;
    QF_TRY(qf_tensor_share(net->context, s->y->data, *out));
    qf_tensor_drop(*out);
    *out = s->y->data;
    return QF_OK;
}

static qf_status forward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    const qf_layer *first = net->layers[group->first];
    const qf_extent e = qf_tensor_extent(qf_blob_shape(s->y));
    qf_sweep sweep = {.rows = e.batch * e.inner, .channels = e.channels};
    qf_tensor *y = s->y->data, *addend;
    for (int i = 0; i < s->count; i++) {
        s->stages[i] = qf_layer_stage(s->stages[i].layer);
        join(&s->stages[i], &sweep);
    }
    const qf_stage *product = &s->stages[0];
    const qf_convolved convolved = {first->device->convolve, product->product.operation,
                                    first->bottom[0]->data, product->product.weights,
                                    product->product.bias};
    QF_TRY(take_addend(net, group, s, &addend));
    QF_TRY(first->device->sweep->forward_convolved(net->context, &convolved, &sweep, addend, y));
    for (int l = group->first; l <= group->last; l++)
        if (net->layers[l]->top_count && net->layers[l]->top[0]->data != y)
            qf_tensor_drop(net->layers[l]->top[0]->data);
    return QF_OK;
}

/* Each layer by itself makes what there would be, and nobody looks a second time. */
static qf_status separate(qf_net *net, qf_group *group)
{
    for (int l = group->first; l <= group->last; l++)
        QF_TRY(net->layers[l]->type->forward(net->layers[l]));
    return QF_OK;
}

const qf_fusion qf_measure_fusion = {
    .name = "measure",
    .state_size = sizeof(state),
    .training = true, /* backward separates it */
    .match = match,
    .ready = ready,
    .forward = forward,
    .separate = separate,
};
