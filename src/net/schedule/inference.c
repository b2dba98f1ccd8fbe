/*
 * The fusion "inference": Convolution, BatchNorm with running statistics, Scale, a sum with a blob
 * that is already there, and ReLU, whichever of them stand in this order, run as one operation.
 * What is affine goes into the convolution's weights, once for each version of the parameters. That
 * rounds differently, so nets in which somebody counts on exact codes are left alone; the teacher
 * in a training net is float and stands aside.
 */
#include "net/schedule/chain.h"

#include <string.h>

enum { FOLDED_PARAMS = 7 }; /* weights, bias; three of NORMALISE; two of SCALE */

typedef struct state {
    qf_stage product, normalise, scale, rectify; /* all but the first may be of kind NONE */
    qf_blob *addend, *y;                         /* addend: the sum's other bottom */
    qf_tensor *weights, *bias;                   /* folded; owned */
    uint64_t folded[FOLDED_PARAMS];              /* versions of what they hold */
} state;

static bool is_float_net(const qf_net *net)
{
    for (int l = 0; l < net->layer_count; l++)
        if (net->layers[l]->type->quantised)
            return false;
    return true;
}

/* In a training net, a layer that computes as in a test and that nothing is learned through: a
 * teacher's. */
static bool stands_aside(const qf_net *net, int index)
{
    return net->phase == QF_TRAIN && net->layers[index]->phase == QF_TEST &&
           !net->layer_need_backward[index];
}

/* The next stage, if it is of this kind. */
static void take(qf_chain *chain, qf_stage_kind kind, qf_stage *to)
{
    qf_stage stage;
    if (!qf_chain_next(chain, kind, &stage) ||
        (chain->net->phase == QF_TRAIN && !stands_aside(chain->net, chain->next)))
        return;
    qf_chain_add(chain, &stage);
    *to = stage;
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_chain chain = {net, group, group->first, NULL};
    qf_stage sum;
    group->in_place = true;
    take(&chain, QF_STAGE_CONVOLVE, &s->product);
    if (!s->product.kind || (net->phase == QF_TEST && !is_float_net(net)))
        return 0;
    take(&chain, QF_STAGE_NORMALISE, &s->normalise);
    if (s->normalise.kind && s->normalise.normalise.of_batch)
        return 0;
    take(&chain, QF_STAGE_SCALE, &s->scale);
    if (qf_chain_next(&chain, QF_STAGE_SUM, &sum) &&
        (net->phase == QF_TEST || stands_aside(net, chain.next))) {
        s->addend = qf_chain_addend(&chain, &sum);
        qf_chain_add(&chain, &sum);
    }
    take(&chain, QF_STAGE_RECTIFY, &s->rectify);
    s->y = chain.value;
    return chain.next - group->first;
}

/* What holds in this pass. */
static void ask_again(state *s)
{
    qf_stage *const stages[] = {&s->product, &s->normalise, &s->scale};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (stages[i]->kind)
            *stages[i] = qf_layer_stage(stages[i]->layer);
}

static bool ready(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_shape *shape = qf_blob_shape(s->y);
    (void)net;
    return qf_shape_count(shape) > 0 && !qf_layer_stage(s->product.layer).product.deployed &&
           (!s->addend || qf_shape_equal(shape, qf_blob_shape(s->addend)));
}

/* ---- folding ---- */

static void list_versions(const state *s, uint64_t *versions)
{
    const qf_stage *const stages[] = {&s->product, &s->normalise, &s->scale};
    int count = 0;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        for (int k = 0; stages[i]->kind && k < stages[i]->layer->param_count; k++)
            versions[count++] = stages[i]->layer->params[k].blob->data->version;
    while (count < FOLDED_PARAMS)
        versions[count++] = 0;
}

/* Of channel c: value = convolution · factor + summand. */
typedef struct affine {
    const float *bias, *mean, *inverse, *factor, *summand; /* each may be NULL */
} affine;

static qf_status read_channels(qf_context *context, qf_tensor *tensor, const float **out)
{
    return tensor ? qf_read(context, tensor, QF_PLAIN, out) : QF_OK;
}

static qf_status read_affine(qf_context *context, const state *s, affine *a)
{
    *a = (affine){0};
    QF_TRY(read_channels(context, s->product.product.bias, &a->bias));
    if (s->normalise.kind) {
        const qf_statistics *statistics = &s->normalise.normalise.statistics;
        QF_TRY(read_channels(context, statistics->mean, &a->mean));
        QF_TRY(read_channels(context, statistics->inverse, &a->inverse));
    }
    if (s->scale.kind) {
        QF_TRY(read_channels(context, s->scale.scale.factor, &a->factor));
        QF_TRY(read_channels(context, s->scale.scale.summand, &a->summand));
    }
    return QF_OK;
}

static void fold_channel(const affine *a, size_t c, double *factor, double *summand)
{
    *factor = (a->inverse ? (double)a->inverse[c] : 1) * (a->factor ? (double)a->factor[c] : 1);
    *summand = ((a->bias ? (double)a->bias[c] : 0) - (a->mean ? (double)a->mean[c] : 0)) * *factor +
               (a->summand ? (double)a->summand[c] : 0);
}

static qf_status like(qf_context *context, qf_tensor **tensor, const qf_shape *shape)
{
    if (!*tensor)
        QF_TRY(qf_tensor_create(context, tensor));
    return qf_tensor_reshape(context, *tensor, shape);
}

static qf_status fold(qf_context *context, state *s)
{
    qf_tensor *original = s->product.product.weights;
    uint64_t versions[FOLDED_PARAMS];
    affine a;
    const float *w;
    float *folded, *bias;
    list_versions(s, versions);
    if (memcmp(versions, s->folded, sizeof versions) == 0)
        return QF_OK;
    const qf_shape shape = original->shape, channels = qf_shape_make(1, shape.dim);
    QF_TRY(read_affine(context, s, &a));
    QF_TRY(like(context, &s->weights, &shape));
    QF_TRY(like(context, &s->bias, &channels));
    QF_TRY(qf_read(context, original, QF_PLAIN, &w));
    QF_TRY(qf_write(context, s->weights, QF_PLAIN, &folded));
    QF_TRY(qf_write(context, s->bias, QF_PLAIN, &bias));
    const size_t count = (size_t)shape.dim[0], inner = qf_shape_count(&shape) / count;
    for (size_t c = 0; c < count; c++) {
        double factor, summand;
        fold_channel(&a, c, &factor, &summand);
        bias[c] = (float)summand;
        for (size_t i = c * inner; i < (c + 1) * inner; i++)
            folded[i] = (float)((double)w[i] * factor);
    }
    memcpy(s->folded, versions, sizeof versions);
    return QF_OK;
}

/* ---- running ---- */

/* y holds the addend's value afterwards: its very array, if nobody needs it any more. */
static qf_status begin_sum(qf_net *net, const qf_group *group, const state *s)
{
    qf_tensor *addend = s->addend->data;
    QF_TRY(qf_tensor_share(net->context, s->y->data, addend));
    if (addend != s->product.layer->bottom[0]->data &&
        qf_net_plan_value_ends(net, s->addend, group->last))
        qf_tensor_drop(addend);
    return QF_OK;
}

static qf_status forward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    const qf_layer *first = net->layers[group->first];
    ask_again(s);
    qf_tensor *weights = s->product.product.weights, *bias = s->product.product.bias;
    qf_tensor *y = s->y->data;
    const qf_epilogue epilogue = {.sum = s->addend,
                                  .relu = s->rectify.kind,
                                  .relu_slope = s->rectify.rectify.slope,
                                  .relu_limit = s->rectify.rectify.limit};
    if (s->normalise.kind || s->scale.kind) {
        QF_TRY(fold(net->context, s));
        weights = s->weights;
        bias = s->bias;
    }
    if (s->addend)
        QF_TRY(begin_sum(net, group, s));
    QF_TRY(first->device->convolve->forward_fused(net->context, s->product.product.operation,
                                                  first->bottom[0]->data, weights, bias, &epilogue,
                                                  y));
    for (int l = group->first; l <= group->last; l++)
        if (net->layers[l]->top[0]->data != y)
            qf_tensor_drop(net->layers[l]->top[0]->data);
    return QF_OK;
}

static void destroy(qf_group *group)
{
    state *s = group->state;
    qf_tensor_release(s->weights);
    qf_tensor_release(s->bias);
}

const qf_fusion qf_inference_fusion = {
    .name = "inference",
    .state_size = sizeof(state),
    .match = match,
    .ready = ready,
    .forward = forward,
    .destroy = destroy,
};
