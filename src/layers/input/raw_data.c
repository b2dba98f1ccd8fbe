/* RawData: batches that lie in files as they lie in memory, a folder of .bin files for each top.
 * What feeds a net with Input layers from files for AMCT's command. */
#include "base/memory.h"
#include "data/sources/data_source.h"
#include "data/sources/raw_files.h"
#include "layers/input/proto_shape.h"

typedef struct feed {
    const qf_raw_type *type;
    qf_raw_files files;
} feed;

typedef struct state {
    feed *feeds;        /* of each top */
    size_t count, next; /* batches: as many as in the folder with the fewest */
} state;

static const Caffe__RawDataParameter *parameter(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, raw_data_param, RAW_DATA_, RawData);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    for (int t = 0; s->feeds && t < layer->top_count; t++)
        qf_raw_files_release(&s->feeds[t].files);
    qf_free(s->feeds);
}

static qf_status check(const qf_layer *layer)
{
    const Caffe__RawDataParameter *p = parameter(layer);
    const size_t tops = (size_t)layer->top_count;
    if (p->n_source != tops)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "raw_data_param has %zu source for %zu tops; give a folder for each",
                       p->n_source, tops);
    if ((p->n_shape != 1 && p->n_shape != tops) || (p->n_data_type > 1 && p->n_data_type != tops))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "raw_data_param has %zu shape and %zu data_type for %zu tops; give one for "
                       "all or one for each",
                       p->n_shape, p->n_data_type, tops);
    return QF_OK;
}

static qf_status open_top(qf_layer *layer, int top)
{
    const Caffe__RawDataParameter *p = parameter(layer);
    state *s = layer->state;
    feed *feed = &s->feeds[top];
    qf_shape shape;
    QF_TRY(qf_shape_from_proto(layer, p->shape[p->n_shape == 1 ? 0 : top], &shape));
    QF_TRY(qf_blob_reshape_to(layer->top[top], &shape));
    QF_TRY(qf_raw_type_find(layer->context,
                            p->n_data_type ? p->data_type[p->n_data_type == 1 ? 0 : top] : NULL,
                            &feed->type));
    QF_TRY(qf_raw_files_find(layer->context, p->source[top], &feed->files));
    s->count = top == 0 || feed->files.count < s->count ? feed->files.count : s->count;
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(check(layer));
    s->feeds = qf_alloc((size_t)layer->top_count, sizeof *s->feeds);
    if (!s->feeds)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a source of data");
    for (int t = 0; t < layer->top_count; t++)
        QF_TRY(open_top(layer, t));
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer; /* the shapes are the prototxt's */
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    for (int t = 0; t < layer->top_count; t++) {
        float *values;
        QF_TRY(qf_write(layer->context, layer->top[t]->data, QF_PLAIN, &values));
        QF_TRY(qf_raw_file_read(layer->context, s->feeds[t].files.path[s->next], s->feeds[t].type,
                                qf_blob_count(layer->top[t]), values));
    }
    s->next = (s->next + 1) % s->count;
    return QF_OK;
}

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    *out = (qf_data_state){.position = ((const state *)layer->state)->next};
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    state *s = layer->state;
    if (to->position >= s->count)
        return qf_fail(layer->context, QF_E_MISMATCH,
                       "there are %zu batches, but the run stood at batch %llu", s->count,
                       (unsigned long long)to->position);
    s->next = (size_t)to->position;
    return QF_OK;
}

/* A file is never cut: it counts as one item. */
static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    *items = ((const state *)layer->state)->count;
    *batch = 1;
    return QF_OK;
}

const qf_layer_type qf_raw_data_layer = {
    .name = "RawData",
    .state_size = sizeof(state),
    QF_BOTTOMS(0, 0),
    QF_TOPS(1, -1),
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
