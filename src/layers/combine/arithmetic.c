/*
 * Add, Sub, Mul and Div (synopsys-caffe): of two blobs, or of one and a learned factor (Mul). An
 * axis of length 1, or one that a blob lacks in front, is repeated to the other's length, as in
 * NumPy. Converters write squeeze-and-excitation so, which MXNet's calls BroadcastMul.
 */
#include "layers/layer.h"

typedef enum operation { ADD, SUB, MUL, DIV } operation;

/* One of the two. */
typedef struct operand {
    qf_blob *blob;
    bool whole;        /* it has the top's shape, else it is repeated */
    qf_tensor *spread; /* repeated; NULL: never needed */
} operand;

typedef struct state {
    operation operation;
    operand operand[2];
    int along; /* the operand that is a factor or summand along axes of the other, whole one; −1 */
    qf_axes axes;
    qf_tensor *reciprocal; /* Div: of the second */
    qf_tensor *gradient;   /* of an operand, repeated */
} state;

/* ---- shapes ---- */

static qf_status check_bottoms(qf_layer *layer)
{
    state *s = layer->state;
    const Caffe__MulParameter *p = QF_LAYER_PARAM(layer, mul_param, MUL_, Mul);
    if (layer->bottom_count == 2)
        return QF_OK;
    if (s->operation != MUL || p->n_mul_shape > QF_MAX_AXES)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "%s needs two bottoms; only Mul can have its second factor as a parameter, "
                       "of mul_param.mul_shape",
                       layer->type->name);
    Caffe__FillerParameter one = CAFFE__FILLER_PARAMETER__INIT;
    qf_shape shape = {.axes = (int)p->n_mul_shape};
    one.value = 1;
    for (size_t i = 0; i < p->n_mul_shape; i++)
        shape.dim[i] = (int)p->mul_shape[i];
    return qf_layer_add_param(layer, &shape, &one);
}

static qf_status setup_as(qf_layer *layer, operation what)
{
    state *s = layer->state;
    s->operation = what;
    QF_TRY(check_bottoms(layer));
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_tensor_create(layer->context, &s->operand[i].spread));
    QF_TRY(qf_tensor_create(layer->context, &s->gradient));
    return qf_tensor_create(layer->context, &s->reciprocal);
}

/* The length of axis `i` of the top in a blob that may have fewer. */
static int length_of(const qf_shape *shape, int axes, int i)
{
    const int own = i - (axes - shape->axes);
    return own < 0 ? 1 : shape->dim[own];
}

static qf_status broadcast(qf_layer *layer, const qf_shape *a, const qf_shape *b, qf_shape *top)
{
    char first[256], second[256];
    top->axes = a->axes > b->axes ? a->axes : b->axes;
    for (int i = 0; i < top->axes; i++) {
        const int m = length_of(a, top->axes, i), n = length_of(b, top->axes, i);
        if (m != n && m != 1 && n != 1)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "the shapes %s and %s do not fit: counted from the last, each axis must "
                           "have one length in both, or 1 in one of them",
                           qf_shape_text(a, first, sizeof first),
                           qf_shape_text(b, second, sizeof second));
        top->dim[i] = m == 1 ? n : m;
    }
    return QF_OK;
}

/* The axes of `top` that `shape` has, if they are neighbours and it has no others. */
static bool find_axes(const qf_shape *shape, const qf_shape *top, qf_axes *out)
{
    *out = (qf_axes){0, 0};
    for (int i = 0; i < top->axes; i++) {
        if (length_of(shape, top->axes, i) == 1)
            continue;
        if (out->count && out->first + out->count != i)
            return false;
        out->first = out->count ? out->first : i;
        out->count++;
    }
    return true;
}

/* Sums and products go along axes without a copy: squeeze-and-excitation does. */
static int find_along(state *s, const qf_shape *top)
{
    for (int i = 0; i < 2; i++)
        if ((s->operation == ADD || s->operation == MUL) && !s->operand[i].whole &&
            s->operand[1 - i].whole && find_axes(qf_blob_shape(s->operand[i].blob), top, &s->axes))
            return i;
    return -1;
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    qf_shape top = {0};
    s->operand[0].blob = layer->bottom[0];
    s->operand[1].blob = layer->bottom_count > 1 ? layer->bottom[1] : layer->params[0].blob;
    QF_TRY(broadcast(layer, qf_blob_shape(s->operand[0].blob), qf_blob_shape(s->operand[1].blob),
                     &top));
    for (int i = 0; i < 2; i++) {
        s->operand[i].whole = qf_shape_equal(qf_blob_shape(s->operand[i].blob), &top);
        QF_TRY(qf_tensor_reshape(layer->context, s->operand[i].spread, &top));
    }
    s->along = find_along(s, &top);
    QF_TRY(qf_tensor_reshape(layer->context, s->gradient, &top));
    QF_TRY(qf_tensor_reshape(layer->context, s->reciprocal, &top));
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* ---- repeating ---- */

/* From the blob to where its values stand in the top. */
static qf_move spread_of(const qf_shape *shape, const qf_shape *top)
{
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    for (int i = 0; i < top->axes; i++) {
        const int own = i - (top->axes - shape->axes);
        const bool repeated = length_of(shape, top->axes, i) == 1;
        qf_move_along(&move, (size_t)top->dim[i],
                      repeated ? 0 : (ptrdiff_t)qf_shape_count_range(shape, own + 1, shape->axes),
                      (ptrdiff_t)qf_shape_count_range(top, i + 1, top->axes));
    }
    return move;
}

/* The operand in the top's shape. */
static qf_tensor *value_of(const qf_layer *layer, int index)
{
    const operand *o = &((const state *)layer->state)->operand[index];
    return o->whole ? o->blob->data : o->spread;
}

static qf_status spread(qf_layer *layer, int index)
{
    const operand *o = &((const state *)layer->state)->operand[index];
    if (o->whole)
        return QF_OK;
    const qf_move move = spread_of(qf_blob_shape(o->blob), qf_blob_shape(layer->top[0]));
    return layer->device->move->copy(layer->context, &move, o->blob->data, o->spread);
}

static qf_status forward_along(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor *x = s->operand[1 - s->along].blob->data, *small = s->operand[s->along].blob->data;
    return layer->device->map->scale(layer->context, s->axes, x, s->operation == MUL ? small : NULL,
                                     s->operation == MUL ? NULL : small, layer->top[0]->data);
}

static qf_status forward(qf_layer *layer)
{
    static const qf_function reciprocal = {QF_FUNCTION_power, 0, 1, -1};
    const state *s = layer->state;
    const qf_map_family *map = layer->device->map;
    qf_tensor *y = layer->top[0]->data;
    if (s->along >= 0)
        return forward_along(layer);
    QF_TRY(spread(layer, 0));
    QF_TRY(spread(layer, 1));
    qf_tensor *a = value_of(layer, 0), *b = value_of(layer, 1);
    if (s->operation == ADD || s->operation == SUB)
        return map->weighted_sum(layer->context, 1, a, s->operation == ADD ? 1 : -1, b, y);
    if (s->operation == MUL)
        return map->multiply(layer->context, a, b, y);
    QF_TRY(map->apply(layer->context, reciprocal, b, s->reciprocal));
    return map->multiply(layer->context, a, s->reciprocal, y);
}

/* ---- gradients ---- */

/* Of an operand in the top's shape. */
static qf_status whole_gradient(qf_layer *layer, int index, qf_tensor *out)
{
    const state *s = layer->state;
    const qf_map_family *map = layer->device->map;
    qf_tensor *dy = layer->top[0]->diff;
    if (s->operation == ADD || s->operation == SUB)
        return map->weighted_sum(layer->context, s->operation == SUB && index ? -1 : 1, dy, 0, NULL,
                                 out);
    if (s->along >= 0)
        return map->scale(layer->context, s->axes, dy, s->operand[s->along].blob->data, NULL, out);
    if (s->operation == MUL)
        return map->multiply(layer->context, dy, value_of(layer, 1 - index), out);
    QF_TRY(map->multiply(layer->context, dy, s->reciprocal, out));
    if (index == 0)
        return QF_OK;
    QF_TRY(map->multiply(layer->context, out, layer->top[0]->data, out));
    return map->weighted_sum(layer->context, -1, out, 0, NULL, out);
}

/* Added to what `to` holds, summed over what was repeated. */
static qf_status add_gradient(qf_layer *layer, int index, qf_tensor *to)
{
    const state *s = layer->state;
    const operand *o = &s->operand[index];
    if (index == s->along)
        return layer->device->map->sums(
            layer->context, s->axes, layer->top[0]->diff,
            s->operation == MUL ? s->operand[1 - index].blob->data : NULL, false, to);
    const qf_move there = spread_of(qf_blob_shape(o->blob), qf_blob_shape(layer->top[0]));
    const qf_move back = qf_move_back(&there, QF_MOVE_ADD);
    QF_TRY(whole_gradient(layer, index, s->gradient));
    return layer->device->move->copy(layer->context, &back, s->gradient, to);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    for (int i = 0; i < layer->bottom_count; i++) {
        qf_tensor *dx = layer->bottom[i]->diff;
        if (!layer->propagate_down[i])
            continue;
        if (s->operand[i].whole) {
            QF_TRY(whole_gradient(layer, i, dx));
            continue;
        }
        qf_tensor_set_zero(dx);
        QF_TRY(add_gradient(layer, i, dx));
    }
    qf_tensor *factor = layer->param_count ? qf_layer_param_gradient(layer, 0) : NULL;
    return factor ? add_gradient(layer, 1, factor) : QF_OK;
}

static bool ignores_values(const qf_layer *layer)
{
    const operation what = ((const state *)layer->state)->operation;
    return what == ADD || what == SUB;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    for (int i = 0; i < 2; i++)
        qf_tensor_release(s->operand[i].spread);
    qf_tensor_release(s->reciprocal);
    qf_tensor_release(s->gradient);
}

/* ---- types ---- */

#define LAYER(stem, type_name, what)                                                               \
    static qf_status stem##_setup(qf_layer *layer)                                                 \
    {                                                                                              \
        return setup_as(layer, what);                                                              \
    }                                                                                              \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_BOTTOMS(1, 2),                                                                          \
        QF_TOPS(1, 1),                                                                             \
        .ignores_values = ignores_values,                                                          \
        .setup = stem##_setup,                                                                     \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .destroy = destroy,                                                                        \
    };

LAYER(add, "Add", ADD)
LAYER(sub, "Sub", SUB)
LAYER(mul, "Mul", MUL)
LAYER(div, "Div", DIV)
