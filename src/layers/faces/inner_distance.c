/*
 * InnerDistance (NormFace): from each item to each class' vector the squared distance, or, with
 * distance_type "L1", the sum of absolute differences. The vectors are weights (with `normalize`
 * their directions) or a second bottom. With update_center_only, a vector gets its gradient from
 * items of its own class only, which the last bottom says.
 */
#include "layers/convolution/unit_rows.h"
#include "layers/loss/loss.h"

#include <math.h>
#include <string.h>

typedef struct state {
    int axis;
    size_t length, classes;
    bool absolute, normalize, own_only;
    bool given; /* the vectors are bottom 1 */
    qf_unit_rows rows;
} state;

static const float least_square = 1e-6f; /* as InnerProduct's with `normalize` */

QF_LAYER_PARAM_OF(inner_distance_param, INNER_DISTANCE_, InnerDistance)

static qf_status check_params(qf_layer *layer)
{
    const Caffe__InnerDistanceParameter *p = param_of(layer);
    state *s = layer->state;
    s->absolute = strcmp(p->distance_type, "L1") == 0;
    s->own_only = p->update_center_only;
    s->given = layer->bottom_count - s->own_only > 1;
    s->normalize = p->normalize && !s->given;
    if (!s->absolute && strcmp(p->distance_type, "L2") != 0)
        return qf_fail(layer->context, QF_E_VALUE,
                       "inner_distance_param.distance_type is '%s', expected 'L2' or 'L1'",
                       p->distance_type);
    if (p->transpose)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "inner_distance_param: transposed vectors are not computed, in the fork "
                       "neither; leave out transpose");
    if (layer->bottom_count - s->own_only < 1 || layer->bottom_count - s->own_only > 2)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "an InnerDistance layer takes items, vectors if they are no weights, and "
                       "labels with update_center_only; this one has %d bottoms",
                       layer->bottom_count);
    if (!s->given && (int)p->num_output < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "inner_distance_param.num_output is %d, expected the number of classes",
                       (int)p->num_output);
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__InnerDistanceParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(check_params(layer));
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    s->length = qf_shape_count_range(bottom, s->axis, bottom->axes);
    if (s->given)
        return QF_OK;
    const qf_shape weights = qf_shape_make(2, (int[]){(int)p->num_output, (int)s->length});
    QF_TRY(qf_layer_add_param(layer, &weights, p->weight_filler));
    return s->normalize ? qf_unit_rows_create(layer, least_square, &s->rows) : QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_unit_rows_release(&((state *)layer->state)->rows);
}

static size_t items_of(const qf_layer *layer)
{
    return qf_shape_count_range(qf_blob_shape(layer->bottom[0]), 0,
                                ((const state *)layer->state)->axis);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_blob *vectors = s->given ? layer->bottom[1] : layer->params[0].blob;
    const size_t length = qf_shape_count_range(bottom, s->axis, bottom->axes);
    char text[256];
    qf_shape top = *bottom;
    s->classes = qf_blob_shape(vectors)->axes ? (size_t)qf_blob_shape(vectors)->dim[0] : 1;
    if (qf_blob_count(vectors) != s->classes * length)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the bottom has %zu values an item, but the vectors are of shape %s", length,
                       qf_shape_text(qf_blob_shape(vectors), text, sizeof text));
    s->length = length;
    if (s->own_only && qf_blob_count(layer->bottom[layer->bottom_count - 1]) != items_of(layer))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have one label for each of the %zu items, it has %zu",
                       layer->bottom[layer->bottom_count - 1]->name, items_of(layer),
                       qf_blob_count(layer->bottom[layer->bottom_count - 1]));
    top.axes = s->axis + 1;
    top.dim[s->axis] = (int)s->classes;
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status prepare(qf_layer *layer)
{
    const state *s = layer->state;
    return s->normalize ? qf_unit_rows_settle(layer, &s->rows) : QF_OK;
}

static qf_tensor *vectors_of(const qf_layer *layer)
{
    const state *s = layer->state;
    return s->given       ? layer->bottom[1]->data
           : s->normalize ? s->rows.unit
                          : layer->params[0].blob->data;
}

static float distance(bool absolute, const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float d = a[i] - b[i];
        sum += (double)(absolute ? fabsf(d) : d * d);
    }
    return (float)sum;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *x, *w;
    float *y;
    if (s->normalize)
        QF_TRY(qf_unit_rows_update(layer, &s->rows));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, vectors_of(layer), QF_PLAIN, &w));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    for (size_t item = 0; item < items_of(layer); item++)
        for (size_t c = 0; c < s->classes; c++)
            *y++ = distance(s->absolute, x + item * s->length, w + c * s->length, s->length);
    return QF_OK;
}

/* gradient += factor · d distance / d a. */
static void add_slope(bool absolute, float factor, const float *a, const float *b, size_t n,
                      float *gradient)
{
    for (size_t i = 0; i < n; i++) {
        const float d = a[i] - b[i];
        gradient[i] += factor * (absolute ? (float)((d > 0) - (d < 0)) : 2 * d);
    }
}

static qf_status backward_items(qf_layer *layer, const float *x, const float *w, const float *dy)
{
    const state *s = layer->state;
    float *dx;
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    memset(dx, 0, qf_blob_count(layer->bottom[0]) * sizeof *dx);
    for (size_t item = 0; item < items_of(layer); item++)
        for (size_t c = 0; c < s->classes; c++)
            add_slope(s->absolute, dy[item * s->classes + c], x + item * s->length,
                      w + c * s->length, s->length, dx + item * s->length);
    return QF_OK;
}

static qf_status backward_vectors(qf_layer *layer, const float *x, const float *w, const float *dy,
                                  qf_tensor *gradient)
{
    const state *s = layer->state;
    const float *labels = NULL;
    float *dw;
    if (s->own_only)
        QF_TRY(qf_read(layer->context, layer->bottom[layer->bottom_count - 1]->data, QF_PLAIN,
                       &labels));
    QF_TRY(qf_update(layer->context, gradient, QF_PLAIN, &dw));
    for (size_t item = 0; item < items_of(layer); item++)
        for (size_t c = 0; c < s->classes; c++)
            if (!labels || (float)c == floorf(labels[item]))
                add_slope(s->absolute, dy[item * s->classes + c], w + c * s->length,
                          x + item * s->length, s->length, dw + c * s->length);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *x, *w, *dy;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, vectors_of(layer), QF_PLAIN, &w));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    if (layer->propagate_down[0])
        QF_TRY(backward_items(layer, x, w, dy));
    if (s->given) {
        if (!layer->propagate_down[1])
            return QF_OK;
        qf_tensor_set_zero(layer->bottom[1]->diff);
        return backward_vectors(layer, x, w, dy, layer->bottom[1]->diff);
    }
    if (!layer->params[0].propagate)
        return QF_OK;
    if (!s->normalize)
        return backward_vectors(layer, x, w, dy, layer->params[0].blob->diff);
    qf_tensor_set_zero(s->rows.gradient);
    QF_TRY(backward_vectors(layer, x, w, dy, s->rows.gradient));
    return qf_unit_rows_pass_gradient(layer, &s->rows);
}

const qf_layer_type qf_inner_distance_layer = {
    .name = "InnerDistance",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 3),
    QF_TOPS(1, 1),
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
