/* Data: images and labels from an LMDB. */
#include "nn/layers/data_layer.h"

#include <string.h>

typedef struct state {
    qf_prefetch *prefetch;
    double items;
} state;

static qf_status check(const qf_layer *layer, const Caffe__DataParameter *p)
{
    if (p->batch_size < 1 || p->batch_size > 1 << 20)
        return qf_fail(layer->context, QF_E_VALUE,
                       "data_param.batch_size is %u, expected 1 or more", p->batch_size);
    return QF_OK;
}

static qf_status set_shapes(qf_layer *layer, int count, int channels, int height, int width)
{
    const qf_shape images = qf_shape_make(4, (int[]){count, channels, height, width});
    const qf_shape labels = qf_shape_make(1, &count);
    QF_TRY(qf_blob_reshape_to(layer->top[0], &images));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], &labels) : QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__DataParameter *p = QF_LAYER_PARAM(layer, data_param, DATA_, Data);
    state *s = layer->state;
    int channels, height, width;
    QF_TRY(check(layer, p));
    qf_prefetch_options options = {
        .source = p->source,
        .batch_size = (int)p->batch_size,
        .depth = p->prefetch > 0 && p->prefetch < 1 << 10 ? (int)p->prefetch : 4,
        .train = layer->phase == QF_TRAIN,
        .transform = layer->param->transform_param,
        .random = qf_random_fork(&layer->context->random),
    };
    if (p->rand_skip)
        options.skip = qf_random_below(&options.random, p->rand_skip);
    QF_TRY(qf_prefetch_create(layer->context, &options, &channels, &height, &width, &s->prefetch));
    return set_shapes(layer, options.batch_size, channels, height, width);
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer; /* forward knows the shape of its batch */
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_batch *batch;
    float *images, *labels;
    QF_TRY(qf_prefetch_next(layer->context, s->prefetch, &batch));
    QF_TRY(set_shapes(layer, batch->count, batch->channels, batch->height, batch->width));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &images));
    memcpy(images, batch->images, qf_blob_count(layer->top[0]) * sizeof *images);
    s->items += batch->count;
    if (layer->top_count < 2)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &labels));
    memcpy(labels, batch->labels, (size_t)batch->count * sizeof *labels);
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_prefetch_destroy(((state *)layer->state)->prefetch);
}

void qf_data_layer_statistics(const qf_layer *layer, double *wait_seconds, double *items)
{
    const state *s = layer->state;
    *wait_seconds = qf_prefetch_waited(s->prefetch);
    *items = s->items;
}

qf_data_state qf_data_layer_state(const qf_layer *layer)
{
    return qf_prefetch_state(((const state *)layer->state)->prefetch);
}

void qf_data_layer_restore(qf_layer *layer, const qf_data_state *to)
{
    qf_prefetch_restore(((state *)layer->state)->prefetch, to);
}

const qf_layer_type qf_data_layer = {
    .name = "Data",
    .state_size = sizeof(state),
    .min_bottoms = 0,
    .max_bottoms = 0,
    .min_tops = 1,
    .max_tops = 2,
    .no_backward = true,
    .source = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
