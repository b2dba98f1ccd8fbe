/* Embed: each integer becomes a row of the weights. */
#include "layers/layer.h"

#include <string.h>

typedef struct state {
    int rows, columns; /* of the weights: possible integers, outputs of each */
} state;

static const Caffe__EmbedParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, embed_param, EMBED_, Embed);
}

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

static qf_status read_indices(const qf_layer *layer, const float **index)
{
    const int rows = ((state *)layer->state)->rows;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, index));
    for (size_t i = 0, count = qf_blob_count(layer->bottom[0]); i < count; i++)
        if (!((*index)[i] >= 0 && (*index)[i] < (float)rows))
            return qf_fail(layer->context, QF_E_VALUE,
                           "value %zu of '%s' is %g, but embed_param.input_dim is %d (0 to %d)", i,
                           layer->bottom[0]->name, (double)(*index)[i], rows, rows - 1);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t columns = (size_t)s->columns, count = qf_blob_count(layer->bottom[0]);
    const float *index, *weights, *bias = NULL;
    float *y;
    QF_TRY(read_indices(layer, &index));
    QF_TRY(qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &weights));
    if (param_of(layer)->bias_term)
        QF_TRY(qf_read(layer->context, layer->params[1].blob->data, QF_PLAIN, &bias));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    for (size_t i = 0; i < count; i++) {
        float *row = y + i * columns;
        memcpy(row, weights + (size_t)index[i] * columns, columns * sizeof *row);
        for (size_t k = 0; bias && k < columns; k++)
            row[k] += bias[k];
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const size_t columns = (size_t)((state *)layer->state)->columns;
    const size_t count = qf_blob_count(layer->bottom[0]);
    const float *index, *dy;
    float *sum;
    QF_TRY(read_indices(layer, &index));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    for (int p = 0; p < layer->param_count; p++) {
        if (!layer->params[p].propagate)
            continue;
        QF_TRY(qf_update(layer->context, layer->params[p].blob->diff, QF_PLAIN, &sum));
        for (size_t i = 0; i < count; i++) {
            float *row = p == 0 ? sum + (size_t)index[i] * columns : sum;
            for (size_t k = 0; k < columns; k++)
                row[k] += dy[i * columns + k];
        }
    }
    return QF_OK;
}

const qf_layer_type qf_embed_layer = {
    .name = "Embed",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .no_gradient_bottoms = 1u << 0,
    .setup = setup,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
