/*
 * The fusion "sweep": stages that normalise, scale, look at values, add another blob, rectify and
 * quantise, whichever of them stand in this order, run as one operation of the device, forward and
 * backward. A Split may lie in front of what quantises, which is then its first reader; and a Split
 * of the codes may follow.
 */
#include "base/memory.h"
#include "net/schedule/chain.h"
#include "net/schedule/plan.h"

#include <string.h>

/* The stages of the value, in the order that a sweep has them; each may be missing. */
static const qf_stage_kind order[] = {QF_STAGE_NORMALISE, QF_STAGE_SCALE, QF_STAGE_SEARCH,
                                      QF_STAGE_SUM, QF_STAGE_RECTIFY};
enum { MOST_STAGES = sizeof order / sizeof *order + 1 }; /* and what quantises */

/* Blobs that one Split makes of a value. */
typedef struct readers {
    qf_blob *blobs[QF_SWEEP_GRADIENTS];
    int count;
} readers;

typedef struct state {
    qf_stage stages[MOST_STAGES]; /* what the last forward pass did */
    int count;
    readers readers;         /* of the float value, but for the one that is quantised */
    readers code_readers;    /* of the codes */
    qf_layer *code_split;    /* that makes them; or NULL */
    qf_blob *x, *addend, *y; /* addend: a sum's other bottom, or NULL; y: the last float value */
    bool writes_y;           /* somebody reads the float value */
    qf_group *above;         /* the sweep that makes the addend, if it can be made again; or NULL */
    int height;              /* how many arrays y is made of, through the sweeps above */
    qf_tensor *kept;         /* x, where it was overwritten in place */
    qf_sweep sweep;          /* of the last forward pass */
    bool y_is_there;         /* the last forward pass wrote it */
} state;

/* NULL: there is no such stage. */
static const qf_stage *find(const state *s, qf_stage_kind kind)
{
    for (int i = 0; i < s->count; i++)
        if (s->stages[i].kind == kind)
            return &s->stages[i];
    return NULL;
}

static bool is_affine(const state *s)
{
    return find(s, QF_STAGE_NORMALISE) || find(s, QF_STAGE_SCALE);
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

/* Can a sweep have this stage behind those that it has? */
static bool joins(const state *s, const qf_chain *chain, const qf_stage *stage)
{
    switch (stage->kind) {
    case QF_STAGE_NORMALISE: /* the gradient is for this one alone */
        return stage->normalise.statistics.eps_inside;
    case QF_STAGE_RECTIFY: /* the sum in front of it is not written: only where it is hidden */
        return stage->rectify.slope >= 0 &&
               (!find(s, QF_STAGE_SUM) || stage->layer->top[0] == chain->value);
    default:
        return true;
    }
}

static void match_value(state *s, qf_chain *chain)
{
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        qf_stage stage;
        if (!qf_chain_next(chain, order[i], &stage) || !joins(s, chain, &stage))
            continue;
        if (stage.kind == QF_STAGE_SUM)
            s->addend = qf_chain_addend(chain, &stage);
        s->stages[s->count++] = stage;
        qf_chain_add(chain, &stage);
    }
}

/* The readers behind the Split at `index`; false: there is none, or it has too many. */
static bool take_split(const qf_net *net, int index, const qf_blob *value, readers *out)
{
    const qf_stage stage = qf_chain_take(net, index, value);
    if (stage.kind != QF_STAGE_SPLIT || stage.layer->top_count > QF_SWEEP_GRADIENTS)
        return false;
    out->count = stage.layer->top_count;
    memcpy(out->blobs, stage.layer->top, (size_t)out->count * sizeof *out->blobs);
    return true;
}

/* Does the layer at `index` quantise the value for this reader? */
static bool take_quantiser(const qf_net *net, state *s, int index, const qf_blob *value)
{
    const qf_stage stage = qf_chain_take(net, index, value);
    if (stage.kind != QF_STAGE_QUANTISE)
        return false;
    s->stages[s->count++] = stage;
    return true;
}

/* A Split, one of whose readers may be what quantises and comes next, and a Split of its codes.
 * Returns the layer behind. */
static int match_end(const qf_net *net, state *s, int index, qf_blob *value)
{
    bool quantises = false;
    if (take_split(net, index, value, &s->readers)) {
        index++;
        for (int t = 0; t < s->readers.count && !quantises; t++) {
            quantises = take_quantiser(net, s, index, s->readers.blobs[t]);
            if (quantises) /* the others */
                memmove(&s->readers.blobs[t], &s->readers.blobs[t + 1],
                        (size_t)(--s->readers.count - t) * sizeof *s->readers.blobs);
        }
    } else {
        quantises = take_quantiser(net, s, index, value);
        s->readers = (readers){.blobs = {value}, .count = !quantises};
    }
    if (!quantises)
        return index;
    qf_blob *codes = net->layers[index]->top[0];
    s->code_readers = (readers){.blobs = {codes}, .count = 1};
    if (!take_split(net, index + 1, codes, &s->code_readers))
        return index + 1;
    s->code_split = net->layers[index + 1];
    return index + 2;
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
    qf_chain chain = {net, group, group->first, NULL};
    group->in_place = true;
    match_value(s, &chain);
    if (!s->count)
        return 0;
    s->x = net->layers[group->first]->bottom[0];
    s->y = chain.value;
    const int next = match_end(net, s, chain.next, s->y);
    /* A Split alone behind one stage is nothing to gain. */
    if (s->count < 2)
        return 0;
    s->writes_y =
        !find(s, QF_STAGE_QUANTISE) || s->readers.count || (find(s, QF_STAGE_SUM) && !is_affine(s));
    s->above = find_above(net, s, group->first);
    s->height = 1 + (s->above ? ((const state *)s->above->state)->height : s->addend != NULL);
    return next - group->first;
}

/* ---- running ---- */

static bool ready(qf_net *net, qf_group *group)
{
    const state *s = group->state;
    const qf_shape *shape = qf_blob_shape(s->x);
    const qf_stage *quantise = find(s, QF_STAGE_QUANTISE);
    (void)net;
    return shape->axes >= 2 && qf_shape_count(shape) > 0 &&
           (!s->addend || qf_shape_equal(shape, qf_blob_shape(s->addend))) &&
           (!quantise || qf_layer_stage(quantise->layer).quantise.regular);
}

static void join(const qf_stage *stage, qf_sweep *sweep)
{
    switch (stage->kind) {
    case QF_STAGE_NORMALISE:
        sweep->mean = stage->normalise.statistics.mean;
        sweep->inverse = stage->normalise.statistics.inverse;
        break;
    case QF_STAGE_SCALE:
        sweep->factor = stage->scale.factor;
        sweep->summand = stage->scale.summand;
        break;
    case QF_STAGE_SEARCH:
        sweep->search = stage->search;
        break;
    case QF_STAGE_RECTIFY:
        sweep->relu = true;
        sweep->relu_slope = stage->rectify.slope;
        sweep->relu_limit = stage->rectify.limit;
        break;
    case QF_STAGE_QUANTISE:
        sweep->codes = stage->quantise.codes;
        break;
    default: /* a sum is told by its addend */
        break;
    }
}

/* What this pass is to do. */
static void join_stages(state *s, const qf_tensor *x)
{
    const qf_extent e = qf_tensor_extent(&x->shape);
    s->sweep = (qf_sweep){.rows = e.batch * e.inner, .channels = e.channels};
    for (int i = 0; i < s->count; i++) {
        s->stages[i] = qf_layer_stage(s->stages[i].layer);
        join(&s->stages[i], &s->sweep);
    }
}

static qf_status separate(qf_net *net, qf_group *group)
{
    state *s = group->state;
    if (hides_x(net, group))
        QF_TRY(qf_tensor_swap(net->context, s->kept, s->x->data));
    for (int l = group->first; l <= group->last; l++)
        QF_TRY(net->layers[l]->type->forward(net->layers[l]));
    return QF_OK;
}

static void release(qf_group *group)
{
    state *s = group->state;
    if (s->kept)
        qf_tensor_forget(s->kept);
}

/* x, with its blob free to be written: exchanging buffers costs nothing. */
static qf_status take_input(qf_net *net, const qf_group *group, qf_tensor **x)
{
    state *s = group->state;
    *x = s->x->data;
    if (!hides_x(net, group))
        return QF_OK;
    if (!s->kept)
        QF_TRY(qf_tensor_create(net->context, &s->kept));
    QF_TRY(qf_tensor_reshape(net->context, s->kept, &(*x)->shape));
    QF_TRY(qf_tensor_swap(net->context, s->kept, *x));
    *x = s->kept;
    return QF_OK;
}

/* What stands between the stages has no value now. */
static void drop_between(const qf_net *net, const qf_group *group, const qf_blob *codes)
{
    const state *s = group->state;
    for (int l = group->first; l <= group->last; l++) {
        qf_tensor *top = net->layers[l]->top[0]->data;
        if (!(s->y_is_there && top == s->y->data) && !(codes && top == codes->data))
            qf_tensor_drop(top);
    }
}

static qf_status forward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    const bool hidden = hides_x(net, group);
    qf_tensor *x;
    QF_TRY(take_input(net, group, &x));
    join_stages(s, x);
    const qf_stage *quantise = find(s, QF_STAGE_QUANTISE);
    qf_blob *codes = quantise ? quantise->layer->top[0] : NULL;
    /* The first range is measured on the float value, by the layer itself. */
    const bool alone = quantise && !(quantise->quantise.known && quantise->quantise.regular);
    const bool writes_y = s->writes_y || net->keep_blobs || alone;
    QF_TRY(net->layers[group->first]->device->sweep->forward(
        net->context, &s->sweep, x, s->addend ? s->addend->data : NULL,
        writes_y ? s->y->data : NULL, codes && !alone ? codes->data : NULL));
    s->sweep.search = NULL; /* backward computes values again */
    s->y_is_there = s->writes_y || net->keep_blobs;
    if (alone) {
        QF_TRY(quantise->layer->type->forward(quantise->layer));
        s->stages[s->count - 1] = qf_layer_stage(quantise->layer); /* with the range of now */
    }
    drop_between(net, group, codes);
    if (quantise && !quantise->quantise.regular) {
        group->ran = false; /* an absurd range: backward goes layer by layer */
        return separate(net, group);
    }
    if (net->phase == QF_TEST && !net->keep_blobs)
        release(group); /* there will be no backward pass */
    else if (hidden && s->y_is_there && !is_affine(s) && !net->keep_blobs)
        qf_tensor_drop(x); /* for backward y is enough */
    return QF_OK;
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
    return s->sweep.relu || find(s, QF_STAGE_QUANTISE);
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
    if (has_y(s) && (find(s, QF_STAGE_SUM) || !is_affine(s)))
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

/* The gradients of all readers, and of the parameters of the stages. */
static void list_gradients(const state *s, qf_sweep_gradients *g)
{
    const qf_stage *scale = find(s, QF_STAGE_SCALE), *quantise = find(s, QF_STAGE_QUANTISE),
                   *normalise = find(s, QF_STAGE_NORMALISE);
    for (int i = 0; i < s->readers.count; i++)
        g->dy[g->count++] = s->readers.blobs[i]->diff;
    for (int i = 0; i < s->code_readers.count; i++)
        g->codes[g->code_count++] = s->code_readers.blobs[i]->diff;
    g->batch_statistics = normalise && normalise->normalise.of_batch;
    if (scale) {
        g->factor = scale->scale.d_factor;
        g->summand = scale->scale.d_summand;
    }
    if (quantise) {
        g->terms = quantise->quantise.terms;
        memcpy(g->clip, quantise->quantise.d_clip, sizeof g->clip);
    }
}

/* The weights, if x comes from a convolution that takes its gradient in bf16; else NULL. */
static const qf_tensor *weights_for_bf16(const qf_net *net, const qf_group *group)
{
    const state *s = group->state;
    if (group->first == 0)
        return NULL;
    qf_layer *above = net->layers[group->first - 1];
    const qf_stage stage = qf_layer_stage(above);
    if (stage.kind != QF_STAGE_CONVOLVE || above->top[0] != s->x || stage.product.bias)
        return NULL;
    const qf_tensor *w = stage.product.weights;
    const bool takes = above->device->convolve->takes_bf16(net->context, stage.product.operation,
                                                           above->bottom[0]->data, w);
    return takes && (size_t)w->weight_scale_count == s->sweep.channels ? w : NULL;
}

static qf_status backward(qf_net *net, qf_group *group)
{
    state *s = group->state;
    qf_layer *first = net->layers[group->first];
    if (!has_gradient(net, group))
        return QF_OK;
    const bool affine = is_affine(s);
    const qf_stage *sum = find(s, QF_STAGE_SUM);
    const int side = sum && sum->layer->bottom[0] == s->addend ? 1 : 0;
    const bool wants_dx = first->propagate_down[sum && first == sum->layer ? side : 0];
    const bool wants_addend = sum && sum->layer->propagate_down[1 - side];
    qf_sweep_gradients g = {0};
    list_values(net, group, &g);
    list_gradients(s, &g);
    if (s->code_split && net->keep_blobs) /* somebody may look at the sum of the gradients */
        QF_TRY(s->code_split->type->backward(s->code_split));
    /* A sum hands the gradient on as it is: both sides share it, and it is written once. */
    g.d = sum ? s->y->diff : NULL;
    g.dx = wants_dx && (affine || !sum) ? s->x->diff : NULL;
    g.dx_weights = g.dx ? weights_for_bf16(net, group) : NULL;
    QF_TRY(first->device->sweep->backward(net->context, &s->sweep, &g));
    if (wants_addend)
        QF_TRY(qf_tensor_share(net->context, s->addend->diff, s->y->diff));
    if (wants_dx && sum && !affine)
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
