/*
 * The fusion "sweep": BatchNorm, Scale, SearchN, a sum with another blob, ReLU(6) and
 * ActivationQAT, whichever of them stand in this order, run as one operation of the device, forward
 * and backward. A Split behind ReLU may lie between: its first reader may be the ActivationQAT; and
 * a Split of the codes may follow.
 */
#include "base/memory.h"
#include "layers/convolution/convolution_base.h"
#include "layers/normalisation/batch_norm.h"
#include "layers/normalisation/scale.h"
#include "layers/quantised/activation_qat.h"
#include "layers/quantised/search_n.h"
#include "net/schedule/chain.h"
#include "net/schedule/plan.h"

#include <string.h>

typedef struct state {
    qf_layer *batch_norm, *scale, *search, *eltwise, *split, *quantise; /* or NULL */
    qf_rectifier relu;
    qf_layer *code_split;    /* of the codes; or NULL */
    qf_blob *x, *addend, *y; /* addend: Eltwise's other bottom, or NULL; y: the last float value */
    bool writes_y;           /* somebody reads the float value */
    qf_group *above;         /* the sweep that makes the addend, if it can be made again; or NULL */
    int height;              /* how many arrays y is made of, through the sweeps above */
    qf_tensor *kept;         /* x, where it was overwritten in place */
    qf_sweep sweep;          /* of the last forward pass */
    bool batch_statistics;
    bool y_is_there; /* the last forward pass wrote it */
} state;

static bool is_affine(const state *s)
{
    return s->batch_norm || s->scale;
}

/* Is x overwritten in place? Then `kept` holds it after forward. */
static bool hides_x(const qf_net *net, const qf_group *group)
{
    return net->layers[group->first]->top[0] == ((const state *)group->state)->x;
}

static qf_tensor *input_of(const qf_net *net, const qf_group *group)
{
    const state *s = group->state;
    return hides_x(net, group) ? s->kept : s->x->data;
}

/* ---- matching ---- */

/* Does the last layer stand in place: does its blob hide what was there before? */
static void pass_on(qf_group *group, const qf_layer *layer, qf_blob **value)
{
    group->in_place &= !*value || layer->top[0] == *value;
    *value = layer->top[0];
}

static qf_layer *take_split(const qf_net *net, int index, const qf_blob *value)
{
    qf_layer *split = qf_chain_take(net, index, "Split", value);
    return split && split->top_count <= QF_SWEEP_GRADIENTS ? split : NULL;
}

/* A Split, one of whose readers may be the ActivationQAT that comes next, and a Split of its codes.
 */
static int match_end(const qf_net *net, state *s, int index, const qf_blob *value)
{
    s->split = take_split(net, index, value);
    if (s->split)
        index++;
    else
        s->quantise = qf_chain_take(net, index, "ActivationQAT", value);
    for (int t = 0; s->split && t < s->split->top_count && !s->quantise; t++)
        s->quantise = qf_chain_take(net, index, "ActivationQAT", s->split->top[t]);
    if (!s->quantise)
        return index;
    s->code_split = take_split(net, index + 1, s->quantise->top[0]);
    return index + 1 + (s->code_split != NULL);
}

/* Is the value that layer `from` left changed in place before layer `to`? */
static bool is_overwritten(const qf_net *net, const qf_tensor *value, int from, int to)
{
    for (int l = from + 1; l < to; l++)
        for (int t = 0; t < net->layers[l]->top_count && t < net->layers[l]->bottom_count; t++)
            if (net->layers[l]->top[t]->data == value &&
                net->layers[l]->top[t] == net->layers[l]->bottom[t])
                return true;
    return false;
}

/* The sweep that makes the addend from what it keeps anyway, and that does not stand on too many
 * others. */
static qf_group *find_above(const qf_net *net, const state *s, int first)
{
    for (int g = net->plan->group_count; s->addend && g-- > 0;) {
        qf_group *group = &net->plan->groups[g];
        const state *other = group->state;
        if (group->fusion == &qf_sweep_fusion && other->y->data == s->addend->data)
            return is_affine(other) && other->height < QF_SWEEP_CHAIN &&
                           !is_overwritten(net, other->y->data, group->last, first)
                       ? group
                       : NULL;
    }
    return NULL;
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    int next = group->first;
    qf_blob *value = NULL;
    group->in_place = true;
    s->batch_norm = qf_chain_take(net, next, "BatchNorm", NULL);
    if (s->batch_norm && !qf_batch_norm_has_eps_inside(s->batch_norm))
        return 0;
    if (s->batch_norm) {
        pass_on(group, s->batch_norm, &value);
        next++;
    }
    s->scale = qf_chain_take(net, next, "Scale", value);
    if (s->scale && qf_scale_is_per_channel(s->scale)) {
        pass_on(group, s->scale, &value);
        next++;
    } else {
        s->scale = NULL;
    }
    s->search = qf_chain_take(net, next, "SearchN", value);
    if (s->search && qf_search_n_is_in_place(s->search)) {
        pass_on(group, s->search, &value);
        next++;
    } else {
        s->search = NULL;
    }
    s->eltwise = qf_chain_take(net, next, "Eltwise", value);
    if (s->eltwise && qf_chain_is_plain_sum(s->eltwise)) {
        s->addend = s->eltwise->bottom[s->eltwise->bottom[0] == value || !value ? 1 : 0];
        value = s->eltwise->top[0]; /* what it reads stays visible unless it was in place before */
        group->in_place &= !s->batch_norm && !s->scale && !s->search;
        next++;
    } else {
        s->eltwise = NULL;
    }
    s->relu = qf_chain_take_rectifier(net, next, value);
    qf_layer *relu = s->relu.layer;
    /* The sum in front of ReLU is not written: only where ReLU hides it. */
    if (relu && s->relu.slope >= 0 && (!s->eltwise || relu->top[0] == value)) {
        if (value)
            pass_on(group, relu, &value);
        value = relu->top[0];
        next++;
    } else {
        s->relu.layer = NULL;
    }
    if (next == group->first)
        return 0;
    s->x = net->layers[group->first]->bottom[0];
    s->y = value;
    int stages = next - group->first;
    next = match_end(net, s, next, value);
    /* A Split alone behind one stage is nothing to gain. */
    if (stages + (s->quantise != NULL) < 2)
        return 0;
    s->writes_y = !s->quantise || s->split || (s->eltwise && !is_affine(s));
    s->above = find_above(net, s, group->first);
    s->height = 1 + (s->above ? ((const state *)s->above->state)->height : s->addend != NULL);
    return next - group->first;
}

/* ---- running ---- */

static bool ready(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_shape *shape = qf_blob_shape(s->x);
    (void)net;
    return shape->axes >= 2 && qf_shape_count(shape) > 0 &&
           (!s->addend || qf_shape_equal(shape, qf_blob_shape(s->addend))) &&
           (!s->quantise || qf_activation_qat_is_regular(s->quantise));
}

static qf_status prepare(state *s, qf_tensor *x)
{
    const qf_extent e = qf_tensor_extent(&x->shape);
    qf_sweep *sweep = &s->sweep;
    *sweep = (qf_sweep){.rows = e.batch * e.inner, .channels = e.channels};
    if (s->batch_norm) {
        qf_batch_norm_factors factors;
        QF_TRY(qf_batch_norm_statistics(s->batch_norm, x, &factors));
        sweep->mean = factors.mean;
        sweep->inverse = factors.inverse;
        s->batch_statistics = !factors.global;
    }
    if (s->scale) {
        sweep->factor = s->scale->params[0].blob->data;
        sweep->summand = s->scale->param_count > 1 ? s->scale->params[1].blob->data : NULL;
    }
    if (s->relu.layer) {
        sweep->relu = true;
        sweep->relu_slope = s->relu.slope;
        sweep->relu_limit = s->relu.limit;
    }
    return QF_OK;
}

static qf_status separate(qf_net *net, qf_group *group)
{
    state *s = group->state;
    if (hides_x(net, group))
        QF_TRY(qf_tensor_swap(net->context, s->kept, s->x->data));
    if (s->batch_norm)
        qf_batch_norm_repeat(s->batch_norm);
    for (int l = group->first; l <= group->last; l++)
        if (net->layers[l] != s->search) /* has seen this batch, and changes nothing */
            QF_TRY(net->layers[l]->type->forward(net->layers[l]));
    return QF_OK;
}

static void release(qf_group *group)
{
    state *s = group->state;
    if (s->kept)
        qf_tensor_forget(s->kept);
}

static qf_status forward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_context *context = net->context;
    qf_tensor *x = s->x->data;
    const bool hidden = hides_x(net, group);
    /* The first range is measured on the float value, by the layer itself. */
    const bool measures = s->quantise && !qf_activation_qat_has_range(s->quantise);
    const bool writes_y = s->writes_y || net->keep_blobs || measures;
    qf_tensor *codes = s->quantise && !measures ? s->quantise->top[0]->data : NULL;
    if (hidden) { /* exchanging buffers costs nothing */
        if (!s->kept)
            QF_TRY(qf_tensor_create(context, &s->kept));
        QF_TRY(qf_tensor_reshape(context, s->kept, &x->shape));
        QF_TRY(qf_tensor_swap(context, s->kept, x));
        x = s->kept;
    }
    QF_TRY(prepare(s, x));
    if (codes)
        QF_TRY(qf_activation_qat_begin(s->quantise, &s->sweep.codes));
    if (s->search)
        QF_TRY(qf_search_n_begin(s->search, &s->sweep.search));
    qf_status status = net->layers[group->first]->device->sweep->forward(
        context, &s->sweep, x, s->addend ? s->addend->data : NULL, writes_y ? s->y->data : NULL,
        codes);
    qf_shift_search *search = s->sweep.search;
    s->sweep.search = NULL; /* backward computes values again */
    if (status != QF_OK)
        qf_shift_search_destroy(search);
    QF_TRY(status);
    if (search)
        QF_TRY(qf_search_n_end(s->search, search));
    if (measures)
        QF_TRY(s->quantise->type->forward(s->quantise));
    s->y_is_there = s->writes_y || net->keep_blobs;
    for (int l = group->first; l <= group->last; l++) {
        qf_tensor *top = net->layers[l]->top[0]->data;
        if (!(s->y_is_there && top == s->y->data) &&
            !(s->quantise && top == s->quantise->top[0]->data))
            qf_tensor_drop(top);
    }
    if (measures && !qf_activation_qat_is_regular(s->quantise)) {
        group->ran = false; /* an absurd range: backward goes layer by layer */
        return separate(net, group);
    }
    if (net->phase == QF_TEST && !net->keep_blobs)
        release(group); /* there will be no backward pass */
    else if (hidden && s->y_is_there && !is_affine(s) && !net->keep_blobs)
        qf_tensor_drop(x); /* for backward y is enough */
    return codes ? qf_activation_qat_end(s->quantise) : QF_OK;
}

/* The sweep from whose input the addend can be made again now. */
static const qf_group *above_of(const state *s)
{
    return s->above && s->above->ran ? s->above : NULL;
}

static bool has_gradient(const qf_net *net, const qf_group *group)
{
    return net->layer_need_backward[group->last] || net->layer_need_backward[group->first];
}

static bool has_y(const state *s)
{
    return s->y_is_there && !s->y->data->dropped;
}

/* Does backward look at y, to see what ReLU or the clip range let through? */
static bool has_masks(const state *s)
{
    return s->relu.layer || s->quantise;
}

/* The gradients of BatchNorm and Scale read x, the masks of ReLU and of the clip range y, which is
 * made again from x and the addend where BatchNorm or Scale keep x anyway. */
static bool reads(const qf_net *net, const qf_group *group, const qf_tensor *value)
{
    const state *s = group->state;
    const bool is_x = value == input_of(net, group);
    if (!has_gradient(net, group))
        return false;
    if (is_affine(s))
        return is_x || (has_masks(s) && s->addend && value == s->addend->data && !above_of(s));
    return has_masks(s) && (s->y_is_there ? value == s->y->data : is_x);
}

/* What backward reads: x, and y, if it is still there, or what it was made of. */
static void list_values(const qf_net *net, const qf_group *group, qf_sweep_gradients *g)
{
    const state *s = group->state;
    if (has_y(s) && (s->eltwise || !is_affine(s)))
        g->y = s->y->data;
    if (is_affine(s) || !g->y)
        g->x = input_of(net, group);
    if (g->y || !has_masks(s))
        return;
    for (const qf_group *above = above_of(s); above && !has_y(above->state); above = above_of(s)) {
        s = above->state;
        g->above[g->above_count].sweep = &s->sweep;
        g->above[g->above_count++].x = input_of(net, above);
    }
    g->addend = s->addend ? s->addend->data : NULL;
}

/* The readers' gradients: the Split's tops but for the one that is quantised, or y's own. */
static void list_gradients(const state *s, qf_sweep_gradients *g)
{
    if (s->split) {
        for (int t = 0; t < s->split->top_count; t++)
            if (!s->quantise || s->split->top[t] != s->quantise->bottom[0])
                g->dy[g->count++] = s->split->top[t]->diff;
    } else if (!s->quantise) {
        g->dy[g->count++] = s->y->diff;
    }
    if (!s->quantise)
        return;
    g->terms = qf_activation_qat_terms(s->quantise);
    for (int t = 0; s->code_split && t < s->code_split->top_count; t++)
        g->codes[g->code_count++] = s->code_split->top[t]->diff;
    if (!s->code_split)
        g->codes[g->code_count++] = s->quantise->top[0]->diff;
}

static qf_tensor *param_gradient(const qf_layer *layer, int index)
{
    if (!layer || layer->param_count <= index || !layer->params[index].propagate)
        return NULL;
    return layer->params[index].blob->diff;
}

/* The weights, if x comes from a convolution that takes its gradient in bf16; else NULL. */
static const qf_tensor *weights_for_bf16(const qf_net *net, const qf_group *group)
{
    const state *s = group->state;
    const qf_layer *above =
        group->first > 0 ? qf_net_plan_layer(net, group->first - 1, "Convolution") : NULL;
    return above && above->top[0] == s->x ? qf_convolution_bf16_weights(above) : NULL;
}

static qf_status backward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_layer *first = net->layers[group->first];
    if (!has_gradient(net, group))
        return QF_OK;
    const bool affine = is_affine(s);
    const int side = s->eltwise && s->eltwise->bottom[0] == s->addend ? 1 : 0;
    const bool wants_dx = first->propagate_down[first == s->eltwise ? side : 0];
    const bool wants_addend = s->eltwise && s->eltwise->propagate_down[1 - side];
    qf_sweep_gradients g = {.batch_statistics = s->batch_statistics};
    list_values(net, group, &g);
    list_gradients(s, &g);
    if (s->code_split && net->keep_blobs) /* somebody may look at the sum of the gradients */
        QF_TRY(s->code_split->type->backward(s->code_split));
    /* A sum hands the gradient on as it is: both sides share it, and it is written once. */
    g.d = s->eltwise ? s->y->diff : NULL;
    g.dx = wants_dx && (affine || !s->eltwise) ? s->x->diff : NULL;
    g.dx_weights = g.dx ? weights_for_bf16(net, group) : NULL;
    g.factor = param_gradient(s->scale, 0);
    g.summand = param_gradient(s->scale, 1);
    for (int i = 0; i < 2; i++)
        g.clip[i] = param_gradient(s->quantise, i);
    QF_TRY(first->device->sweep->backward(net->context, &s->sweep, &g));
    if (wants_addend)
        QF_TRY(qf_tensor_share(net->context, s->addend->diff, s->y->diff));
    if (wants_dx && s->eltwise && !affine)
        QF_TRY(qf_tensor_share(net->context, s->x->diff, s->y->diff));
    return QF_OK;
}

static void destroy(qf_group *group)
{
    qf_tensor_release(((state *)group->state)->kept);
}

const qf_fusion qf_sweep_fusion = {
    .name = "sweep",
    .state_size = sizeof(state),
    .training = true,
    .match = match,
    .ready = ready,
    .forward = forward,
    .backward = backward,
    .separate = separate,
    .reads = reads,
    .release = release,
    .destroy = destroy,
};
