/* MemoryData: images and labels from arrays of the caller's (qf_net_set_memory_data), batch by
 * batch and round and round. */
#include "base/memory.h"
#include "data/sources/data_source.h"
#include "layers/own_data.h"

#include <string.h>

typedef struct state {
    float *images, *labels; /* copies; NULL: none were given yet */
    size_t count, position;
} state;

static const Caffe__MemoryDataParameter *parameter(const qf_layer *layer)
{
    return layer->param->memory_data_param;
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__MemoryDataParameter *p = parameter(layer);
    if (!p || !p->batch_size || !p->channels || !p->height || !p->width)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "memory_data_param needs batch_size, channels, height and width");
    const qf_shape images = qf_shape_make(
        4, (int[]){(int)p->batch_size, (int)p->channels, (int)p->height, (int)p->width});
    const qf_shape labels = qf_shape_make(1, images.dim);
    QF_TRY(qf_blob_reshape_to(layer->top[0], &images));
    return qf_blob_reshape_to(layer->top[1], &labels);
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const size_t batch = parameter(layer)->batch_size;
    const size_t size = qf_blob_count(layer->top[0]) / batch;
    float *images, *labels;
    if (!s->images)
        return qf_fail(layer->context, QF_E_ARGUMENT,
                       "MemoryData has no data yet; call set_input_arrays() first");
    /* As in Caffe the label has four axes from the first pass on. */
    const qf_shape shape = qf_shape_make(4, (int[]){(int)batch, 1, 1, 1});
    QF_TRY(qf_blob_reshape_to(layer->top[1], &shape));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &images));
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &labels));
    memcpy(images, s->images + s->position * size, batch * size * sizeof *images);
    memcpy(labels, s->labels + s->position, batch * sizeof *labels);
    s->position = (s->position + batch) % s->count;
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->images);
    qf_free(s->labels);
}

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    *out = (qf_data_state){.position = ((const state *)layer->state)->position};
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    state *s = layer->state;
    if (to->position >= s->count && to->position > 0)
        return qf_fail(layer->context, QF_E_MISMATCH,
                       "there are %zu items, but the run stood at item %llu", s->count,
                       (unsigned long long)to->position);
    s->position = (size_t)to->position;
    return QF_OK;
}

/* The batch divides what was given: nothing is ever cut. */
static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    *items = ((const state *)layer->state)->count;
    *batch = (int)parameter(layer)->batch_size;
    return QF_OK;
}

const qf_layer_type qf_memory_data_layer = {
    .name = "MemoryData",
    .state_size = sizeof(state),
    QF_BOTTOMS(0, 0),
    QF_TOPS(2, 2),
    .no_backward = true,
    .source = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
    .data_state = data_state,
    .data_restore = data_restore,
    .data_round = data_round,
};

qf_status qf_memory_data_set(qf_layer *layer, const float *images, const float *labels,
                             size_t count)
{
    state *s = layer->state;
    const size_t batch = parameter(layer)->batch_size;
    const size_t size = qf_blob_count(layer->top[0]) / batch;
    if (count == 0 || count % batch)
        return qf_fail(layer->context, QF_E_ARGUMENT,
                       "layer %s: the number of items, %zu, must be a multiple of batch_size %zu",
                       layer->name, count, batch);
    float *copies[] = {qf_alloc_raw(count * size, sizeof(float)),
                       qf_alloc_raw(count, sizeof(float))};
    if (!copies[0] || !copies[1]) {
        qf_free(copies[0]);
        qf_free(copies[1]);
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu items", count);
    }
    memcpy(copies[0], images, count * size * sizeof *images);
    memcpy(copies[1], labels, count * sizeof *labels);
    destroy(layer);
    *s = (state){copies[0], copies[1], count, 0};
    return QF_OK;
}
