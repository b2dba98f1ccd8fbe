/*
 * The fusion "pass": BatchNorm, Scale, SearchN, a sum with another blob, ReLU and ActivationQAT,
 * whichever of them stand in this order, run as one operation of the backend, forward and backward.
 * A Split behind ReLU may lie between: its first reader may be the ActivationQAT.
 */
#include "base/memory.h"
#include "nn/chain.h"
#include "nn/layers/activation_qat.h"
#include "nn/layers/batch_norm.h"
#include "nn/layers/convolution_base.h"
#include "nn/layers/scale.h"
#include "nn/layers/search_n.h"
#include "nn/plan.h"

#include <string.h>

typedef struct state {
    qf_layer *batch_norm, *scale, *search, *eltwise, *relu, *split, *quantise; /* or NULL */
    qf_blob *x, *addend, *y; /* addend: Eltwise's other bottom, or NULL; y: the last float value */
    bool writes_y;           /* somebody reads the float value */
    qf_tensor *kept;         /* x, where it was overwritten in place */
    qf_pass pass;            /* of the last forward pass */
    bool batch_statistics;
    bool y_is_there; /* the last forward pass wrote it */
} state;

/* ---- matching ---- */

/* Does the last layer stand in place: does its blob hide what was there before? */
static void pass_on(qf_group *group, const qf_layer *layer, qf_blob **value)
{
    group->in_place &= !*value || layer->top[0] == *value;
    *value = layer->top[0];
}

/* A Split, one of whose readers may be the ActivationQAT that comes next. */
static int match_end(const qf_net *net, state *s, int index, const qf_blob *value)
{
    qf_layer *split = qf_chain_take(net, index, "Split", value);
    if (split && split->top_count > QF_PASS_GRADIENTS)
        return index;
    if (!split) {
        s->quantise = qf_chain_take(net, index, "ActivationQAT", value);
        return index + (s->quantise != NULL);
    }
    s->split = split;
    for (int t = 0; t < split->top_count && !s->quantise; t++)
        s->quantise = qf_chain_take(net, index + 1, "ActivationQAT", split->top[t]);
    return index + 1 + (s->quantise != NULL);
}

static int match(qf_net *net, qf_group *group)
{
    state *s = group->state;
    int next = group->first;
    qf_blob *value = NULL;
    group->in_place = true;
    s->batch_norm = qf_chain_take(net, next, "BatchNorm", NULL);
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
    s->relu = qf_chain_take(net, next, "ReLU", value);
    /* The sum in front of ReLU is not written: only where ReLU hides it. */
    if (s->relu && qf_chain_relu_slope(s->relu) >= 0 && (!s->eltwise || s->relu->top[0] == value)) {
        if (value)
            pass_on(group, s->relu, &value);
        value = s->relu->top[0];
        next++;
    } else {
        s->relu = NULL;
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
    s->writes_y = s->eltwise || !s->quantise || s->split;
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
    qf_pass *pass = &s->pass;
    *pass = (qf_pass){.rows = e.batch * e.inner, .channels = e.channels};
    if (s->batch_norm) {
        qf_batch_norm_factors factors;
        QF_TRY(qf_batch_norm_statistics(s->batch_norm, x, &factors));
        pass->mean = factors.mean;
        pass->inverse = factors.inverse;
        s->batch_statistics = !factors.global;
    }
    if (s->scale) {
        qf_context *context = s->scale->context;
        QF_TRY(qf_read(context, s->scale->params[0].blob->data, QF_PLAIN, &pass->factor));
        if (s->scale->param_count > 1)
            QF_TRY(qf_read(context, s->scale->params[1].blob->data, QF_PLAIN, &pass->summand));
    }
    if (s->relu) {
        pass->relu = true;
        pass->relu_slope = qf_chain_relu_slope(s->relu);
    }
    return QF_OK;
}

static qf_status separate(qf_net *net, qf_group *group)
{
    state *s = group->state;
    if (net->layers[group->first]->top[0] == s->x)
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
    const bool hidden = net->layers[group->first]->top[0] == s->x;
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
        QF_TRY(qf_activation_qat_begin(s->quantise, &s->pass.codes));
    if (s->search)
        QF_TRY(qf_search_n_begin(s->search, &s->pass.search));
    qf_status status = net->layers[group->first]->operations->pass_forward(
        context, &s->pass, x, s->addend ? s->addend->data : NULL, writes_y ? s->y->data : NULL,
        codes);
    qf_shift_search *search = s->pass.search;
    s->pass.search = NULL; /* backward computes values again */
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
            !(s->quantise && net->layers[l] == s->quantise))
            qf_tensor_drop(top);
    }
    if (measures && !qf_activation_qat_is_regular(s->quantise)) {
        group->ran = false; /* an absurd range: backward goes layer by layer */
        return separate(net, group);
    }
    if (net->phase == QF_TEST && !net->keep_blobs)
        release(group); /* there will be no backward pass */
    return codes ? qf_activation_qat_end(s->quantise) : QF_OK;
}

/* The readers' gradients: the Split's tops but for the one that is quantised, or y's own. */
static void list_gradients(const state *s, qf_pass_gradients *g)
{
    if (s->split) {
        for (int t = 0; t < s->split->top_count; t++)
            if (!s->quantise || s->split->top[t] != s->quantise->bottom[0])
                g->dy[g->count++] = s->split->top[t]->diff;
    } else if (!s->quantise) {
        g->dy[g->count++] = s->y->diff;
    }
    if (s->quantise) {
        g->codes = s->quantise->top[0]->diff;
        g->terms = qf_activation_qat_terms(s->quantise);
    }
}

static qf_status param_gradient(qf_layer *layer, int index, float **out)
{
    if (!layer || layer->param_count <= index || !layer->params[index].propagate)
        return QF_OK;
    return qf_update(layer->context, layer->params[index].blob->diff, QF_PLAIN, out);
}

/* The weights' scales, if x comes from a convolution that takes its gradient in bf16; else NULL. */
static const float *scale_for_bf16(const qf_net *net, const qf_group *group)
{
    const state *s = group->state;
    const qf_layer *above =
        group->first > 0 ? qf_net_plan_layer(net, group->first - 1, "Convolution") : NULL;
    return above && above->top[0] == s->x ? qf_convolution_bf16_scale(above) : NULL;
}

static qf_status backward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_layer *first = net->layers[group->first];
    if (!net->layer_need_backward[group->last] && !net->layer_need_backward[group->first])
        return QF_OK;
    const bool hidden = first->top[0] == s->x, affine = s->batch_norm || s->scale;
    const int side = s->eltwise && s->eltwise->bottom[0] == s->addend ? 1 : 0;
    const bool wants_dx = first->propagate_down[first == s->eltwise ? side : 0];
    const bool wants_addend = s->eltwise && s->eltwise->propagate_down[1 - side];
    qf_pass_gradients g = {.x = hidden ? s->kept : s->x->data,
                           .y = s->y_is_there && (s->eltwise || !affine) ? s->y->data : NULL,
                           .batch_statistics = s->batch_statistics};
    list_gradients(s, &g);
    /* A sum hands the gradient on as it is: both sides share it, and it is written once. */
    g.d = s->eltwise ? s->y->diff : NULL;
    g.dx = wants_dx && (affine || !s->eltwise) ? s->x->diff : NULL;
    g.dx_scale = g.dx ? scale_for_bf16(net, group) : NULL;
    QF_TRY(param_gradient(s->scale, 0, &g.factor));
    QF_TRY(param_gradient(s->scale, 1, &g.summand));
    QF_TRY(first->operations->pass_backward(net->context, &s->pass, &g));
    if (wants_addend)
        QF_TRY(qf_tensor_share(net->context, s->addend->diff, s->y->diff));
    if (wants_dx && s->eltwise && !affine)
        QF_TRY(qf_tensor_share(net->context, s->x->diff, s->y->diff));
    return s->quantise ? qf_activation_qat_add_gradient(s->quantise, g.d_clip) : QF_OK;
}

static void destroy(qf_group *group)
{
    qf_tensor_release(((state *)group->state)->kept);
}

const qf_fusion qf_pass_fusion = {
    .name = "pass",
    .state_size = sizeof(state),
    .training = true,
    .match = match,
    .ready = ready,
    .forward = forward,
    .backward = backward,
    .separate = separate,
    .release = release,
    .destroy = destroy,
};
