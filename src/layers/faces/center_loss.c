/*
 * CenterLoss (Wen et al., 2016): half the squared distance of each item to the centre of its class,
 * the mean over the batch; with distance_type "L1" the distance itself. Centres (num_output ×
 * values an item) do not follow the gradient but equation 4: what a centre gets is Σ (centre −
 * item) over the items of its class, divided by one more than their number, whatever the loss
 * weighs.
 */
#include "layers/loss/loss.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

typedef struct state {
    int axis;
    size_t length; /* of a centre */
    bool absolute; /* L1 */
} state;

QF_LAYER_PARAM_OF(center_loss_param, CENTER_LOSS_, CenterLoss)

static qf_status setup(qf_layer *layer)
{
    const Caffe__CenterLossParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    if ((int)p->num_output < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "center_loss_param.num_output is %d, expected the number of classes",
                       (int)p->num_output);
    s->absolute = strcmp(p->distance_type, "L1") == 0;
    if (!s->absolute && strcmp(p->distance_type, "L2") != 0)
        return qf_fail(layer->context, QF_E_VALUE,
                       "center_loss_param.distance_type is '%s', expected 'L2' or 'L1'",
                       p->distance_type);
    s->length = qf_shape_count_range(bottom, s->axis, bottom->axes);
    const qf_shape centres = qf_shape_make(2, (int[]){(int)p->num_output, (int)s->length});
    return qf_layer_add_param(layer, &centres, p->center_filler);
}

static size_t items_of(const qf_layer *layer)
{
    return qf_shape_count_range(qf_blob_shape(layer->bottom[0]), 0,
                                ((const state *)layer->state)->axis);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape scalar = {0}, *bottom = qf_blob_shape(layer->bottom[0]);
    const size_t length = qf_shape_count_range(bottom, s->axis, bottom->axes);
    if (length != s->length)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the bottom has %zu values an item now, the centres have %zu", length,
                       s->length);
    if (qf_blob_count(layer->bottom[1]) != items_of(layer))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have one label for each of the %zu items, it has %zu",
                       layer->bottom[1]->name, items_of(layer), qf_blob_count(layer->bottom[1]));
    return qf_blob_reshape_to(layer->top[0], &scalar);
}

typedef struct operands {
    const float *x, *labels, *centres;
} operands;

static qf_status read_operands(qf_layer *layer, operands *out)
{
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &out->x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &out->labels));
    return qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &out->centres);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t items = items_of(layer), length = s->length;
    operands o;
    float *loss;
    double sum = 0;
    QF_TRY(read_operands(layer, &o));
    for (size_t item = 0; item < items; item++) {
        QF_TRY(qf_loss_check_label(layer, o.labels[item], item, param_of(layer)->num_output));
        const float *x = o.x + item * length, *centre = o.centres + (size_t)o.labels[item] * length;
        for (size_t i = 0; i < length; i++) {
            const double d = (double)x[i] - (double)centre[i];
            sum += s->absolute ? fabs(d) : d * d / 2;
        }
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = items ? (float)(sum / (double)items) : 0;
    return QF_OK;
}

static float slope_of(const state *s, float difference)
{
    return s->absolute ? (float)((difference > 0) - (difference < 0)) : difference;
}

static qf_status move_centres(qf_layer *layer, const operands *o)
{
    const state *s = layer->state;
    const size_t items = items_of(layer), length = s->length;
    size_t *counts = qf_alloc(param_of(layer)->num_output, sizeof *counts);
    float *gradient;
    if (!counts)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %u classes",
                       param_of(layer)->num_output);
    const qf_status status =
        qf_update(layer->context, layer->params[0].blob->diff, QF_PLAIN, &gradient);
    for (size_t item = 0; status == QF_OK && item < items; item++)
        counts[(size_t)o->labels[item]]++;
    for (size_t item = 0; status == QF_OK && item < items; item++) {
        const size_t label = (size_t)o->labels[item];
        const float share = 1 / (float)(counts[label] + 1);
        for (size_t i = 0; i < length; i++)
            gradient[label * length + i] -=
                share * slope_of(s, o->x[item * length + i] - o->centres[label * length + i]);
    }
    qf_free(counts);
    return status;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t items = items_of(layer), length = s->length;
    operands o;
    const float *weight;
    float *dx;
    QF_TRY(read_operands(layer, &o));
    if (layer->params[0].propagate)
        QF_TRY(move_centres(layer, &o));
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    const float scale = weight[0] / (float)(items ? items : 1);
    for (size_t i = 0; i < items * length; i++)
        dx[i] = scale *
                slope_of(s, o.x[i] - o.centres[(size_t)o.labels[i / length] * length + i % length]);
    return QF_OK;
}

const qf_layer_type qf_center_loss_layer = {
    .name = "CenterLoss",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
