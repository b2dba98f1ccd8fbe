/*
 * MatMul (synopsys-caffe, HiSilicon) and BatchMatMul (Ascend): products of the matrices that the
 * last two axes hold, one for each index of the axes before; either factor may be transposed.
 * MatMul's second factor may be one matrix for all, or learned (blob_shape, with one bottom).
 */
#include "layers/layer.h"

#include <limits.h>

/* A matrix inside an array: element (i, j) at i · row + j · column; matrix b at b · batch. */
typedef struct matrix {
    size_t row, column, batch;
} matrix;

typedef struct state {
    bool transpose[2];
    size_t batch, rows, inner, columns;
    matrix a, b, c;
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

static matrix matrix_of(const qf_shape *shape, bool transpose)
{
    const size_t rows = (size_t)shape->dim[shape->axes - 2];
    const size_t columns = (size_t)shape->dim[shape->axes - 1];
    return transpose ? (matrix){1, columns, rows * columns} : (matrix){columns, 1, rows * columns};
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *b = qf_blob_shape(second_of(layer));
    char first[256], second[256];
    const bool one_for_all = b->axes == 2 && a->axes > 2;
    bool fits = a->axes >= 2 && b->axes >= 2 && (a->axes == b->axes || one_for_all);
    for (int i = 0; fits && !one_for_all && i < a->axes - 2; i++)
        fits = a->dim[i] == b->dim[i];
    if (fits) {
        s->batch = qf_shape_count_range(a, 0, a->axes - 2);
        s->rows = (size_t)a->dim[a->axes - (s->transpose[0] ? 1 : 2)];
        s->inner = (size_t)a->dim[a->axes - (s->transpose[0] ? 2 : 1)];
        s->columns = (size_t)b->dim[b->axes - (s->transpose[1] ? 2 : 1)];
        fits = s->inner == (size_t)b->dim[b->axes - (s->transpose[1] ? 1 : 2)];
    }
    if (!fits)
        return qf_fail(
            layer->context, QF_E_SHAPE, "matrices of shapes %s%s and %s%s cannot be multiplied",
            qf_shape_text(a, first, sizeof first), s->transpose[0] ? " transposed" : "",
            qf_shape_text(b, second, sizeof second), s->transpose[1] ? " transposed" : "");
    qf_shape top = *a;
    top.dim[top.axes - 2] = (int)s->rows;
    top.dim[top.axes - 1] = (int)s->columns;
    s->a = matrix_of(a, s->transpose[0]);
    s->b = matrix_of(b, s->transpose[1]);
    if (one_for_all)
        s->b.batch = 0;
    s->c = matrix_of(&top, false);
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* z += x · y, where x is rows × inner and y is inner × columns. */
static void multiply_add(const float *x, matrix mx, const float *y, matrix my, float *z, matrix mz,
                         size_t rows, size_t inner, size_t columns)
{
#pragma omp parallel for schedule(static) if (rows * inner * columns > 1 << 16)
    for (size_t i = 0; i < rows; i++) {
        if (my.column == 1 && mz.column == 1) { /* rows of y, scaled and summed */
            for (size_t k = 0; k < inner; k++) {
                const float factor = x[i * mx.row + k * mx.column];
                const float *from = y + k * my.row;
                float *to = z + i * mz.row;
#pragma omp simd
                for (size_t j = 0; j < columns; j++)
                    to[j] += factor * from[j];
            }
            continue;
        }
        for (size_t j = 0; j < columns; j++) {
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (size_t k = 0; k < inner; k++)
                sum += x[i * mx.row + k * mx.column] * y[k * my.row + j * my.column];
            z[i * mz.row + j * mz.column] += sum;
        }
    }
}

static matrix transposed(matrix m)
{
    return (matrix){m.column, m.row, m.batch};
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *a, *b;
    float *c;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &a));
    QF_TRY(qf_read(layer->context, second_of(layer)->data, QF_PLAIN, &b));
    qf_tensor_set_zero(layer->top[0]->data);
    QF_TRY(qf_update(layer->context, layer->top[0]->data, QF_PLAIN, &c));
    for (size_t i = 0; i < s->batch; i++)
        multiply_add(a + i * s->a.batch, s->a, b + i * s->b.batch, s->b, c + i * s->c.batch, s->c,
                     s->rows, s->inner, s->columns);
    return QF_OK;
}

/* da = dc · bᵀ, db = aᵀ · dc. */
static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *a, *b, *dc;
    float *da, *db;
    const bool learned = layer->bottom_count == 1;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &a));
    QF_TRY(qf_read(layer->context, second_of(layer)->data, QF_PLAIN, &b));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dc));
    if (layer->propagate_down[0]) {
        qf_tensor_set_zero(layer->bottom[0]->diff);
        QF_TRY(qf_update(layer->context, layer->bottom[0]->diff, QF_PLAIN, &da));
        for (size_t i = 0; i < s->batch; i++)
            multiply_add(dc + i * s->c.batch, s->c, b + i * s->b.batch, transposed(s->b),
                         da + i * s->a.batch, s->a, s->rows, s->columns, s->inner);
    }
    if (!(learned ? layer->params[0].propagate : layer->propagate_down[1]))
        return QF_OK;
    if (!learned)
        qf_tensor_set_zero(layer->bottom[1]->diff);
    QF_TRY(qf_update(layer->context, second_of(layer)->diff, QF_PLAIN, &db));
    for (size_t i = 0; i < s->batch; i++)
        multiply_add(a + i * s->a.batch, transposed(s->a), dc + i * s->c.batch, s->c,
                     db + i * s->b.batch, s->b, s->inner, s->rows, s->columns);
    return QF_OK;
}

#define LAYER(stem, type_name, fewest)                                                             \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        .min_bottoms = fewest,                                                                     \
        .max_bottoms = 2,                                                                          \
        .min_tops = 1,                                                                             \
        .max_tops = 1,                                                                             \
        .ignores_tops = true,                                                                      \
        .setup = stem##_setup,                                                                     \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
    };

LAYER(mat_mul, "MatMul", 1)
LAYER(batch_mat_mul, "BatchMatMul", 2)
