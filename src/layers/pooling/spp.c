/* SPP (He et al., 2014): pooling to 1 x 1, 2 x 2, 4 x 4, … bins, whatever the size of the image;
 * all bins of an image one after the other, or with one level a blob of four axes. */
#include "layers/pooling/pooling.h"

#include <string.h>

enum { LEVELS_MAX = 16 }; /* 32768 x 32768 bins */

typedef struct level {
    qf_pooling_shape shape;
    qf_pooling *operation;
    qf_tensor *data, *diff; /* its output */
} level;

typedef struct state {
    int count;
    level levels[LEVELS_MAX];
} state;

QF_LAYER_PARAM_OF(spp_param, SPP, SPP)

static qf_status setup(qf_layer *layer)
{
    const Caffe__SPPParameter *p = param_of(layer);
    state *s = layer->state;
    if (p->pyramid_height < 1 || p->pyramid_height > LEVELS_MAX)
        return qf_fail(layer->context, QF_E_VALUE,
                       "spp_param.pyramid_height is %u, expected 1 to %d", p->pyramid_height,
                       LEVELS_MAX);
    if (p->pool == CAFFE__SPPPARAMETER__POOL_METHOD__STOCHASTIC)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "SPP pads its windows, which STOCHASTIC pooling cannot; use MAX or AVE");
    s->count = (int)p->pyramid_height;
    for (int i = 0; i < s->count; i++) {
        QF_TRY(qf_tensor_create(layer->context, &s->levels[i].data));
        QF_TRY(qf_tensor_create(layer->context, &s->levels[i].diff));
    }
    return QF_OK;
}

/* Windows of one size without gaps that cover the image, centred by padding. */
static qf_status shape_level(qf_layer *layer, int index)
{
    level *l = &((state *)layer->state)->levels[index];
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const int bins = 1 << index;
    l->shape = (qf_pooling_shape){.average = param_of(layer)->pool ==
                                             CAFFE__SPPPARAMETER__POOL_METHOD__AVE,
                                  .batch = bottom->dim[0],
                                  .channels = bottom->dim[1]};
    for (int i = 0; i < 2; i++) {
        const int in = bottom->dim[2 + i], kernel = (in - 1) / bins + 1;
        l->shape.in[i] = in;
        l->shape.kernel[i] = l->shape.stride[i] = kernel;
        l->shape.pad[i] = l->shape.pad_end[i] = (kernel * bins - in + 1) / 2;
        if (l->shape.pad[i] >= kernel)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "spp_param.pyramid_height %d makes %d bins of %d pixels; that leaves "
                           "some empty",
                           ((state *)layer->state)->count, bins, in);
    }
    for (int i = 0; i < 2; i++)
        l->shape.out[i] = qf_pooling_output_size(&l->shape, i, false);
    const qf_shape shape =
        qf_shape_make(4, (int[]){bottom->dim[0], bottom->dim[1], l->shape.out[0], l->shape.out[1]});
    QF_TRY(qf_tensor_reshape(layer->context, l->data, &shape));
    QF_TRY(qf_tensor_reshape(layer->context, l->diff, &shape));
    layer->device->pool->destroy(l->operation);
    l->operation = NULL;
    return layer->device->pool->create(layer->context, &l->shape, &l->operation);
}

/* Values of an image at this level. */
static size_t level_size(const level *l)
{
    return qf_shape_count_range(&l->data->shape, 1, 4);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    size_t values = 0;
    if (bottom->axes != 4 || bottom->dim[2] < 1 || bottom->dim[3] < 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "SPP needs a bottom of 4 axes (num, channels, height, width) with pixels");
    for (int i = 0; i < s->count; i++) {
        QF_TRY(shape_level(layer, i));
        values += level_size(&s->levels[i]);
    }
    if (s->count == 1)
        return qf_blob_reshape_to(layer->top[0], &s->levels[0].data->shape);
    if (values > INT32_MAX)
        return qf_fail(layer->context, QF_E_SHAPE, "%zu bins are too many", values);
    const qf_shape top = qf_shape_make(2, (int[]){bottom->dim[0], (int)values});
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* Level by level between the top's array and the levels' own. */
static qf_status exchange(qf_layer *layer, bool forward)
{
    state *s = layer->state;
    const int images = qf_blob_shape(layer->bottom[0])->dim[0];
    const size_t row = images ? qf_blob_count(layer->top[0]) / (size_t)images : 0;
    qf_tensor *whole = forward ? layer->top[0]->data : layer->top[0]->diff;
    const float *from;
    float *to;
    size_t offset = 0;
    if (forward)
        QF_TRY(qf_write(layer->context, whole, QF_PLAIN, &to));
    else
        QF_TRY(qf_read(layer->context, whole, QF_PLAIN, &from));
    for (int i = 0; i < s->count; i++) {
        level *l = &s->levels[i];
        const size_t size = level_size(l);
        if (forward)
            QF_TRY(qf_read(layer->context, l->data, QF_PLAIN, &from));
        else
            QF_TRY(qf_write(layer->context, l->diff, QF_PLAIN, &to));
        for (size_t image = 0; image < (size_t)images; image++) {
            const size_t outer = image * row + offset, inner = image * size;
            memcpy(to + (forward ? outer : inner), from + (forward ? inner : outer),
                   size * sizeof *to);
        }
        offset += size;
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    for (int i = 0; i < s->count; i++)
        QF_TRY(layer->device->pool->forward(layer->context, s->levels[i].operation,
                                            layer->bottom[0]->data, s->levels[i].data, NULL,
                                            layer->propagate_down[0]));
    return exchange(layer, true);
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const size_t n = qf_blob_count(layer->bottom[0]);
    qf_tensor *dx = layer->bottom[0]->diff, *part;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(exchange(layer, false));
    QF_TRY(layer->device->pool->backward(layer->context, s->levels[0].operation, s->levels[0].diff,
                                         dx));
    if (s->count == 1)
        return QF_OK;
    QF_TRY(qf_tensor_create(layer->context, &part));
    qf_status status = qf_tensor_reshape(layer->context, part, &dx->shape);
    for (int i = 1; i < s->count && status == QF_OK; i++) {
        const float *from;
        float *sum;
        status = layer->device->pool->backward(layer->context, s->levels[i].operation,
                                               s->levels[i].diff, part);
        if (status == QF_OK)
            status = qf_read(layer->context, part, QF_NHWC, &from);
        if (status == QF_OK)
            status = qf_update(layer->context, dx, QF_NHWC, &sum);
        for (size_t k = 0; status == QF_OK && k < n; k++)
            sum[k] += from[k];
    }
    qf_tensor_release(part);
    return status;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    for (int i = 0; i < LEVELS_MAX; i++) {
        layer->device->pool->destroy(s->levels[i].operation);
        qf_tensor_release(s->levels[i].data);
        qf_tensor_release(s->levels[i].diff);
    }
}

const qf_layer_type qf_spp_layer = {
    .name = "SPP",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .setup = setup,
    QF_IGNORES_VALUES,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
