/*
 * The fusion "inference": Convolution, BatchNorm with running statistics, Scale, a sum with a blob
 * that is already there, and ReLU, whichever of them stand in this order, run as one operation.
 * What is affine goes into the convolution's weights, once for each version of the parameters. That
 * rounds differently, so nets in which somebody counts on exact codes are left alone.
 */
#include "base/memory.h"
#include "layers/convolution/convolution_base.h"
#include "layers/normalisation/batch_norm.h"
#include "layers/normalisation/scale.h"
#include "net/schedule/chain.h"

#include <string.h>

enum { FOLDED_PARAMS = 7 }; /* weights, bias; three of BatchNorm; two of Scale */

typedef struct state {
    qf_layer *convolution, *batch_norm, *scale, *eltwise; /* all but the first may be NULL */
    qf_rectifier relu;
    qf_blob *addend, *y;            /* addend: Eltwise's other bottom */
    qf_tensor *weights, *bias;      /* folded; owned */
    uint64_t folded[FOLDED_PARAMS]; /* versions of what they hold */
} state;

static bool is_float_net(const qf_net *net)
{
    static const char *const quantised[] = {"ActivationQAT", "WeightQAT", "SearchN",
                                            "Quant",         "DeQuant",   "AntiQuant"};
    for (int l = 0; l < net->layer_count; l++)
        for (size_t i = 0; i < sizeof quantised / sizeof *quantised; i++)
            if (strcmp(net->layers[l]->type->name, quantised[i]) == 0)
                return false;
    return true;
}

static void pass_on(qf_group *group, const qf_layer *layer, qf_blob **value, int *next)
{
    group->in_place &= layer->top[0] == *value;
    *value = layer->top[0];
    ++*next;
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    int next = group->first + 1;
    if (net->phase != QF_TEST)
        return 0;
    s->convolution = qf_chain_take_convolution(net, group->first);
    if (!s->convolution || !is_float_net(net))
        return 0;
    qf_blob *value = s->convolution->top[0];
    group->in_place = true;
    s->batch_norm = qf_chain_take(net, next, "BatchNorm", value);
    if (s->batch_norm && !qf_batch_norm_is_global(s->batch_norm))
        return 0;
    if (s->batch_norm)
        pass_on(group, s->batch_norm, &value, &next);
    s->scale = qf_chain_take(net, next, "Scale", value);
    if (s->scale && !qf_scale_is_per_channel(s->scale))
        s->scale = NULL;
    if (s->scale)
        pass_on(group, s->scale, &value, &next);
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
    return next - group->first;
}

static bool ready(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_shape *shape = qf_blob_shape(s->y);
    (void)net;
    return qf_shape_count(shape) > 0 && !qf_weights_are_deployed(s->convolution) &&
           (!s->addend || qf_shape_equal(shape, qf_blob_shape(s->addend)));
}

/* ---- folding ---- */

static bool has_bias(const qf_layer *convolution)
{
    return ((const qf_convolution_state *)convolution->state)->bias;
}

static void list_versions(const state *s, uint64_t *versions)
{
    const qf_layer *const layers[] = {s->convolution, s->batch_norm, s->scale};
    int count = 0;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (int k = 0; layers[i] && k < layers[i]->param_count; k++)
            versions[count++] = layers[i]->params[k].blob->data->version;
    while (count < FOLDED_PARAMS)
        versions[count++] = 0;
}

/* Of channel c: value = convolution · factor + summand. */
typedef struct affine {
    const float *bias, *mean, *inverse, *factor, *summand; /* each may be NULL */
} affine;

static qf_status read_affine(const state *s, affine *a)
{
    qf_context *context = s->convolution->context;
    *a = (affine){0};
    if (has_bias(s->convolution))
        QF_TRY(qf_read(context, s->convolution->params[1].blob->data, QF_PLAIN, &a->bias));
    if (s->batch_norm) {
        qf_batch_norm_factors factors;
        QF_TRY(qf_batch_norm_statistics(s->batch_norm, s->convolution->top[0]->data, &factors));
        QF_TRY(qf_read(context, factors.mean, QF_PLAIN, &a->mean));
        QF_TRY(qf_read(context, factors.inverse, QF_PLAIN, &a->inverse));
    }
    if (s->scale)
        QF_TRY(qf_read(context, s->scale->params[0].blob->data, QF_PLAIN, &a->factor));
    if (s->scale && s->scale->param_count > 1)
        QF_TRY(qf_read(context, s->scale->params[1].blob->data, QF_PLAIN, &a->summand));
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

static qf_status fold(state *s)
{
    qf_context *context = s->convolution->context;
    qf_tensor *original = s->convolution->params[0].blob->data;
    uint64_t versions[FOLDED_PARAMS];
    affine a;
    const float *w;
    float *folded, *bias;
    list_versions(s, versions);
    if (memcmp(versions, s->folded, sizeof versions) == 0)
        return QF_OK;
    const qf_shape shape = original->shape, channels = qf_shape_make(1, shape.dim);
    QF_TRY(read_affine(s, &a));
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
    if (addend != s->convolution->bottom[0]->data &&
        qf_net_plan_value_ends(net, s->addend, group->last))
        qf_tensor_drop(addend);
    return QF_OK;
}

static qf_status forward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_layer *convolution = s->convolution;
    const qf_convolution_state *c = convolution->state;
    qf_tensor *weights = convolution->params[0].blob->data, *y = s->y->data;
    qf_tensor *bias = has_bias(convolution) ? convolution->params[1].blob->data : NULL;
    const qf_epilogue epilogue = {.sum = s->addend,
                                  .relu = s->relu.layer,
                                  .relu_slope = s->relu.slope,
                                  .relu_limit = s->relu.limit};
    if (s->batch_norm || s->scale) {
        QF_TRY(fold(s));
        weights = s->weights;
        bias = s->bias;
    }
    if (s->addend)
        QF_TRY(begin_sum(net, group, s));
    QF_TRY(convolution->device->convolve->forward_fused(
        net->context, c->operation, convolution->bottom[0]->data, weights, bias, &epilogue, y));
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
