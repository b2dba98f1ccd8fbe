/*
 * MatMul (synopsys-caffe, HiSilicon) and BatchMatMul (Ascend): products of the matrices that the
 * last two axes hold, one for each index of the axes before; either factor may be transposed.
 * MatMul's second factor may be one matrix for all, or learned (blob_shape, with one bottom).
 */
#include "layers/layer.h"

#include <limits.h>

typedef struct state {
    bool transpose[2];
    qf_batched_product product;
} state;

static qf_blob *second_of(const qf_layer *layer)
{
    return layer->bottom_count > 1 ? layer->bottom[1] : layer->params[0].blob;
}

static qf_status mat_mul_setup(qf_layer *layer)
{
    const Caffe__MatMulParameter *p = QF_LAYER_PARAM(layer, matmul_param, MAT_MUL_, MatMul);
    state *s = layer->state;
    s->transpose[0] = p->transpose_a;
    s->transpose[1] = p->transpose_b;
    if (layer->bottom_count > 1)
        return QF_OK;
    if (p->n_blob_shape < 2 || p->n_blob_shape > QF_MAX_AXES)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "MatMul needs two bottoms, or blob_shape in matmul_param for a factor that "
                       "is learned");
    qf_shape shape = {.axes = (int)p->n_blob_shape};
    for (int i = 0; i < shape.axes; i++) {
        if (p->blob_shape[i] > INT_MAX)
            return qf_fail(layer->context, QF_E_VALUE, "matmul_param: blob_shape %u is too large",
                           p->blob_shape[i]);
        shape.dim[i] = (int)p->blob_shape[i];
    }
    return qf_layer_add_param(layer, &shape, NULL);
}

static qf_status batch_mat_mul_setup(qf_layer *layer)
{
    const Caffe__BatchMatMulParameter *p =
        QF_LAYER_PARAM(layer, batch_matmul_param, BATCH_MAT_MUL_, BatchMatMul);
    state *s = layer->state;
    s->transpose[0] = p->adj_x1;
    s->transpose[1] = p->adj_x2;
    return QF_OK;
}

static qf_matrices matrices_of(const qf_shape *shape, bool transpose)
{
    const size_t rows = (size_t)shape->dim[shape->axes - 2];
    const size_t columns = (size_t)shape->dim[shape->axes - 1];
    return transpose ? (qf_matrices){1, columns, rows * columns}
                     : (qf_matrices){columns, 1, rows * columns};
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    qf_batched_product *p = &((state *)layer->state)->product;
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *b = qf_blob_shape(second_of(layer));
    char first[256], second[256];
    const bool one_for_all = b->axes == 2 && a->axes > 2;
    bool fits = a->axes >= 2 && b->axes >= 2 && (a->axes == b->axes || one_for_all);
    for (int i = 0; fits && !one_for_all && i < a->axes - 2; i++)
        fits = a->dim[i] == b->dim[i];
    if (fits) {
        p->batch = qf_shape_count_range(a, 0, a->axes - 2);
        p->rows = (size_t)a->dim[a->axes - (s->transpose[0] ? 1 : 2)];
        p->inner = (size_t)a->dim[a->axes - (s->transpose[0] ? 2 : 1)];
        p->columns = (size_t)b->dim[b->axes - (s->transpose[1] ? 2 : 1)];
        fits = p->inner == (size_t)b->dim[b->axes - (s->transpose[1] ? 1 : 2)];
    }
    if (!fits)
        return qf_fail(
            layer->context, QF_E_SHAPE, "matrices of shapes %s%s and %s%s cannot be multiplied",
            qf_shape_text(a, first, sizeof first), s->transpose[0] ? " transposed" : "",
            qf_shape_text(b, second, sizeof second), s->transpose[1] ? " transposed" : "");
    qf_shape top = *a;
    top.dim[top.axes - 2] = (int)p->rows;
    top.dim[top.axes - 1] = (int)p->columns;
    p->a = matrices_of(a, s->transpose[0]);
    p->b = matrices_of(b, s->transpose[1]);
    if (one_for_all)
        p->b.batch = 0;
    p->c = matrices_of(&top, false);
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_matrices transposed(qf_matrices m)
{
    return (qf_matrices){m.column, m.row, m.batch};
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor_set_zero(layer->top[0]->data);
    return layer->device->multiply->batched(layer->context, &s->product, layer->bottom[0]->data,
                                            second_of(layer)->data, layer->top[0]->data);
}

/* da = dc · bᵀ, db = aᵀ · dc. */
static qf_status backward(qf_layer *layer)
{
    const qf_batched_product *p = &((const state *)layer->state)->product;
    const qf_batched_product first = {p->batch, p->rows,          p->columns, p->inner,
                                      p->c,     transposed(p->b), p->a};
    const qf_batched_product second = {p->batch,         p->inner, p->rows, p->columns,
                                       transposed(p->a), p->c,     p->b};
    const bool learned = layer->bottom_count == 1;
    qf_tensor *dc = layer->top[0]->diff;
    if (layer->propagate_down[0]) {
        qf_tensor_set_zero(layer->bottom[0]->diff);
        QF_TRY(layer->device->multiply->batched(layer->context, &first, dc, second_of(layer)->data,
                                                layer->bottom[0]->diff));
    }
    if (!(learned ? layer->params[0].propagate : layer->propagate_down[1]))
        return QF_OK;
    if (!learned)
        qf_tensor_set_zero(layer->bottom[1]->diff);
    return layer->device->multiply->batched(layer->context, &second, layer->bottom[0]->data, dc,
                                            second_of(layer)->diff);
}

#define LAYER(stem, type_name, fewest)                                                             \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_BOTTOMS(fewest, 2),                                                                     \
        QF_TOPS(1, 1),                                                                             \
        .ignores_tops = true,                                                                      \
        .setup = stem##_setup,                                                                     \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
    };

LAYER(mat_mul, "MatMul", 1)
LAYER(batch_mat_mul, "BatchMatMul", 2)
