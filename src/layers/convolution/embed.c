/* Embed: each integer becomes a row of the weights. */
#include "layers/layer.h"

typedef struct state {
    int rows, columns; /* of the weights: possible integers, outputs of each */
} state;

QF_LAYER_PARAM_OF(embed_param, EMBED_, Embed)

static qf_status setup(qf_layer *layer)
{
    const Caffe__EmbedParameter *p = param_of(layer);
    state *s = layer->state;
    *s = (state){(int)p->input_dim, (int)p->num_output};
    if (s->rows < 1 || s->columns < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "embed_param needs num_output and input_dim of 1 or more, found %d and %d",
                       s->columns, s->rows);
    const qf_shape weights = qf_shape_make(2, (int[]){s->rows, s->columns});
    const qf_shape bias = qf_shape_make(1, &s->columns);
    QF_TRY(qf_layer_add_param(layer, &weights, p->weight_filler));
    return p->bias_term ? qf_layer_add_param(layer, &bias, p->bias_filler) : QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    if (top.axes == QF_MAX_AXES)
        return qf_fail(layer->context, QF_E_SHAPE, "'%s' has %d axes, there is no room for another",
                       layer->bottom[0]->name, top.axes);
    top.dim[top.axes++] = ((state *)layer->state)->columns;
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status check_indices(const qf_layer *layer)
{
    const int rows = ((state *)layer->state)->rows;
    const float *index;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &index));
    for (size_t i = 0, count = qf_blob_count(layer->bottom[0]); i < count; i++)
        if (!(index[i] >= 0 && index[i] < (float)rows))
            return qf_fail(layer->context, QF_E_VALUE,
                           "value %zu of '%s' is %g, but embed_param.input_dim is %d (0 to %d)", i,
                           layer->bottom[0]->name, (double)index[i], rows, rows - 1);
    return QF_OK;
}

static qf_picking picking_of(const qf_layer *layer)
{
    const state *s = layer->state;
    return (qf_picking){QF_PLAIN, 1, (size_t)s->rows, qf_blob_count(layer->bottom[0]),
                        (size_t)s->columns};
}

/* The bias to each row of the top. */
static qf_move move_of_bias(const qf_layer *layer)
{
    const size_t columns = (size_t)((const state *)layer->state)->columns;
    qf_move move = qf_move_begin(QF_MOVE_ADD, QF_PLAIN);
    qf_move_along(&move, qf_blob_count(layer->bottom[0]), 0, (ptrdiff_t)columns);
    qf_move_along(&move, columns, 1, 1);
    return move;
}

static qf_status forward(qf_layer *layer)
{
    const qf_picking picking = picking_of(layer);
    const qf_move bias = move_of_bias(layer);
    qf_tensor *y = layer->top[0]->data;
    QF_TRY(check_indices(layer));
    QF_TRY(layer->device->move->gather(layer->context, &picking, layer->params[0].blob->data,
                                       layer->bottom[0]->data, y));
    return layer->param_count > 1
               ? layer->device->move->copy(layer->context, &bias, layer->params[1].blob->data, y)
               : QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const qf_picking picking = picking_of(layer);
    const qf_move there = move_of_bias(layer), back = qf_move_back(&there, QF_MOVE_ADD);
    const qf_move_family *move = layer->device->move;
    qf_tensor *dy = layer->top[0]->diff;
    QF_TRY(check_indices(layer));
    if (layer->params[0].propagate)
        QF_TRY(move->scatter(layer->context, &picking, dy, layer->bottom[0]->data, true,
                             layer->params[0].blob->diff));
    if (layer->param_count > 1 && layer->params[1].propagate)
        QF_TRY(move->copy(layer->context, &back, dy, layer->params[1].blob->diff));
    return QF_OK;
}

const qf_layer_type qf_embed_layer = {
    .name = "Embed",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .no_gradient_bottoms = 1u << 0,
    .setup = setup,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
