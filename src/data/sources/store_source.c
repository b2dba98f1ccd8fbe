/* Data: datums of an LMDB or a LevelDB, as stored or shuffled anew each epoch. */
#include "base/memory.h"
#include "data/sources/item_order.h"
#include "data/stores/datum.h"
#include "data/stores/sample_store.h"

typedef struct state {
    const Caffe__DataParameter *param;
    qf_sample_store *store;
    qf_transform transform;
    qf_item_order order; /* count 0: as stored, where the store knows its place */
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_transform_release(&s->transform);
    qf_item_order_release(&s->order);
    qf_sample_store_close(s->store);
    qf_free(s);
}

static bool is_shuffled(const state *s)
{
    return s->order.count != 0;
}

/* The image at the present position; the store moves on, the order does not. */
static qf_status next_image(qf_context *context, state *s, qf_image *out)
{
    qf_sample sample;
    if (is_shuffled(s))
        QF_TRY(qf_sample_store_at(context, s->store, qf_item_order_item(&s->order), &sample));
    else
        QF_TRY(qf_sample_store_next(context, s->store, &sample));
    return qf_datum_decode(context, sample.value, sample.value_size, s->transform.color, out);
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    qf_image image;
    const unsigned long long item =
        is_shuffled(s) ? qf_item_order_item(&s->order) : qf_sample_store_position(s->store);
    qf_status status = next_image(context, s, &image);
    if (status == QF_OK) {
        status = qf_batch_add_image(context, batch, index, &s->transform, &image, random);
        qf_image_release(&image);
    }
    if (is_shuffled(s))
        qf_item_order_advance(&s->order);
    return qf_within(context, status, "item %llu", item);
}

static void where(const void *opaque, qf_data_state *out)
{
    const state *s = opaque;
    if (is_shuffled(s))
        qf_item_order_where(&s->order, out);
    else
        out->position = qf_sample_store_position(s->store);
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    state *s = opaque;
    return is_shuffled(s) ? qf_item_order_go(context, &s->order, to, s->param->source)
                          : qf_sample_store_seek(context, s->store, to->position);
}

static qf_status count(qf_context *context, void *opaque, uint64_t *out)
{
    return qf_sample_store_count(context, ((state *)opaque)->store, out);
}

static const qf_data_source_type type = {add, where, go, destroy, count};

/* The one that is there is read, but Caffe would not. */
static void compare_backend(qf_context *context, const Caffe__DataParameter *param,
                            const qf_sample_store *store)
{
    const qf_store_format named =
        param->backend == CAFFE__DATA_PARAMETER__DB__LMDB ? QF_STORE_LMDB : QF_STORE_LEVELDB;
    const qf_store_format found = qf_sample_store_format(store);
    if (param->has_backend && named != found)
        qf_warning(context, "data_param.backend is %s, but %s is a database of the format %s",
                   named == QF_STORE_LMDB ? "LMDB" : "LEVELDB", param->source,
                   qf_store_format_name(found));
}

/* To the first item, or rand_skip beyond it. */
static qf_status start_order(qf_context *context, state *s, qf_random *random)
{
    size_t items = 0;
    if (s->param->shuffle) {
        QF_TRY(qf_sample_store_index(context, s->store, &items));
        QF_TRY(qf_item_order_start(context, items, true, random, &s->order));
    }
    const uint32_t skip = s->param->rand_skip ? qf_random_below(random, s->param->rand_skip) : 0;
    if (is_shuffled(s))
        s->order.position = skip % items;
    return is_shuffled(s) ? QF_OK : qf_sample_store_seek(context, s->store, skip);
}

static qf_status open(qf_context *context, const Caffe__DataParameter *param,
                      const Caffe__TransformationParameter *transform, bool train,
                      qf_random *random, state *s, qf_data_source *out)
{
    qf_image image;
    QF_TRY(qf_transform_setup(context, transform, train, &s->transform));
    QF_TRY(qf_sample_store_open(context, param->source, &s->store));
    qf_info(context, "Opened %s %s", qf_store_format_name(qf_sample_store_format(s->store)),
            param->source);
    compare_backend(context, param, s->store);
    QF_TRY(qf_within(context, next_image(context, s, &image), "item 0"));
    QF_TRY(qf_data_source_shape(context, &s->transform, &image, out));
    return start_order(context, s, random);
}

qf_status qf_store_source_open(qf_context *context, const Caffe__DataParameter *param,
                               const Caffe__TransformationParameter *transform, bool train,
                               qf_random *random, qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    s->param = param;
    qf_data_source opened = {.type = &type, .state = s};
    const qf_status status = open(context, param, transform, train, random, s, &opened);
    return qf_data_source_opened(status, &opened, out);
}
