/* Eltwise: product, sum with coefficients, or maximum of bottoms of one shape. */
#include "layers/layer.h"

#include "base/memory.h"

typedef struct state {
    int operation;
    float *coefficient;      /* SUM: of each bottom */
    qf_tensor *winner;       /* MAX: which bottom each value came from */
    qf_tensor *kept, *first; /* PROD in place: the first bottom as it was; what to read for it */
} state;

enum {
    PROD = CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__PROD,
    SUM = CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM,
    MAX = CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__MAX,
};

QF_LAYER_PARAM_OF(eltwise_param, ELTWISE_, Eltwise)

static qf_status setup(qf_layer *layer)
{
    const Caffe__EltwiseParameter *p = param_of(layer);
    state *s = layer->state;
    s->operation = (int)p->operation;
    if (p->n_coeff && p->n_coeff != (size_t)layer->bottom_count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "eltwise_param has %zu coeff for %d bottoms; give one for each or none",
                       p->n_coeff, layer->bottom_count);
    if (p->n_coeff && s->operation != SUM)
        return qf_fail(layer->context, QF_E_FORMAT, "eltwise_param.coeff only goes with SUM");
    if (s->operation == MAX && layer->bottom_count > 255)
        return qf_fail(layer->context, QF_E_UNSUPPORTED, "MAX takes at most 255 bottoms");
    s->coefficient = qf_alloc((size_t)layer->bottom_count, sizeof(float));
    if (!s->coefficient)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for coefficients");
    for (int i = 0; i < layer->bottom_count; i++)
        s->coefficient[i] = p->n_coeff ? p->coeff[i] : 1;
    return s->operation == MAX ? qf_tensor_create(layer->context, &s->winner) : QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    char first[256], other[256];
    for (int i = 1; i < layer->bottom_count; i++)
        if (!qf_shape_equal(qf_blob_shape(layer->bottom[0]), qf_blob_shape(layer->bottom[i])))
            return qf_fail(layer->context, QF_E_SHAPE,
                           "the bottoms must have one shape: '%s' has %s, '%s' has %s",
                           layer->bottom[0]->name,
                           qf_shape_text(qf_blob_shape(layer->bottom[0]), first, sizeof first),
                           layer->bottom[i]->name,
                           qf_shape_text(qf_blob_shape(layer->bottom[i]), other, sizeof other));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[0]);
}

static qf_tensor *bottom_of(const qf_layer *layer, int index)
{
    return index == 0 ? ((const state *)layer->state)->first : layer->bottom[index]->data;
}

/* Bottom `index` joins `before`, what those in front of it gave. */
static qf_status join(qf_layer *layer, qf_tensor *before, int index, qf_tensor *y)
{
    const state *s = layer->state;
    const qf_map_family *map = layer->device->map;
    qf_tensor *x = bottom_of(layer, index);
    if (s->operation == PROD)
        return map->multiply(layer->context, before, x, y);
    if (s->operation == MAX)
        return map->maximum(layer->context, before, x, index, y, s->winner);
    return map->weighted_sum(layer->context, index == 1 ? s->coefficient[0] : 1, before,
                             s->coefficient[index], x, y);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *y = layer->top[0]->data;
    s->first = layer->bottom[0]->data;
    if (s->operation == PROD)
        QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->first));
    if (s->operation == MAX)
        QF_TRY(qf_tensor_reshape(layer->context, s->winner, &s->first->shape));
    for (int b = 1; b < layer->bottom_count; b++)
        QF_TRY(join(layer, b == 1 ? s->first : y, b, y));
    return QF_OK;
}

/* dy times all other bottoms: right where a factor is zero, unlike y / x. */
static qf_status backward_product(qf_layer *layer, int index, qf_tensor *dx)
{
    const qf_map_family *map = layer->device->map;
    qf_tensor *dy = layer->top[0]->diff, *product = dy;
    if (!param_of(layer)->stable_prod_grad)
        return map->divide_backward(layer->context, layer->top[0]->data, bottom_of(layer, index),
                                    dy, dx);
    for (int b = 0; b < layer->bottom_count; b++) {
        if (b == index)
            continue;
        QF_TRY(map->multiply(layer->context, product, bottom_of(layer, b), dx));
        product = dx;
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_map_family *map = layer->device->map;
    qf_tensor *dy = layer->top[0]->diff;
    for (int b = layer->bottom_count; b-- > 0;) { /* in place, dy becomes the first's */
        qf_tensor *dx = layer->bottom[b]->diff;
        if (!layer->propagate_down[b])
            continue;
        QF_TRY(s->operation == PROD ? backward_product(layer, b, dx)
               : s->operation == MAX
                   ? map->select(layer->context, dy, s->winner, b, 1, dx)
                   : map->weighted_sum(layer->context, s->coefficient[b], dy, 0, NULL, dx));
    }
    return QF_OK;
}

/* Only a product's gradient depends on its factors; MAX remembers who won. */
static bool ignores_values(const qf_layer *layer)
{
    return ((const state *)layer->state)->operation != PROD;
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->coefficient);
    qf_tensor_release(((state *)layer->state)->winner);
    qf_tensor_release(((state *)layer->state)->kept);
}

/* Two different blobs are added and a third is written. */
static void stage(qf_layer *layer, qf_stage *out)
{
    const Caffe__EltwiseParameter *p = QF_LAYER_PARAM(layer, eltwise_param, ELTWISE_, Eltwise);
    for (size_t i = 0; i < p->n_coeff; i++)
        if (p->coeff[i] != 1)
            return;
    if (p->operation == CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM && layer->bottom_count == 2 &&
        layer->bottom[0] != layer->bottom[1] && layer->top[0] != layer->bottom[0] &&
        layer->top[0] != layer->bottom[1])
        out->kind = QF_STAGE_SUM;
}

const qf_layer_type qf_eltwise_layer = {
    .name = "Eltwise",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, -1),
    QF_TOPS(1, 1),
    .in_place = true,
    .ignores_values = ignores_values,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
