/* Data, AnnotatedData: datums of an LMDB or a LevelDB, as stored or shuffled anew each epoch. */
#include "base/memory.h"
#include "data/boxes/annotated_transform.h"
#include "data/sources/item_order.h"
#include "data/stores/datum.h"
#include "data/stores/sample_store.h"

typedef struct state {
    const Caffe__DataParameter *param;
    const Caffe__AnnotatedDataParameter *annotated; /* NULL: datums without annotations */
    bool has_boxes;                                 /* annotations are boxes, not labels */
    qf_sample_store *store;
    qf_transform transform;
    qf_item_order order; /* count 0: as stored, read on; the store knows its place */
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_transform_release(&s->transform);
    qf_item_order_release(&s->order);
    qf_sample_store_close(s->store);
    qf_free(s);
}

static bool by_number(const state *s)
{
    return s->order.count != 0;
}

/* What is stored at the present position; the store moves on, the order does not. */
static qf_status next_sample(qf_context *context, state *s, qf_sample *out)
{
    return by_number(s) ? qf_sample_store_at(context, s->store, qf_item_order_item(&s->order), out)
                        : qf_sample_store_next(context, s->store, out);
}

static qf_status add_image(qf_context *context, state *s, const qf_sample *sample,
                           qf_random *random, int index, qf_batch *batch)
{
    qf_image image;
    QF_TRY(qf_datum_decode(context, sample->value, sample->value_size, s->transform.color, &image));
    qf_status status = qf_batch_add_image(context, batch, index, &s->transform, &image, random);
    qf_image_release(&image);
    return status;
}

static qf_status put_annotated(qf_context *context, state *s, qf_annotated *item, qf_random *random,
                               int index, qf_batch *batch)
{
    qf_placement place;
    if (s->has_boxes && !item->has_type && !s->annotated->has_anno_type)
        return qf_fail(context, QF_E_FORMAT,
                       "an image has no type of annotation, the first of the database has one");
    QF_TRY(qf_annotated_prepare(context, &s->transform, s->annotated, random, item));
    QF_TRY(
        qf_batch_write_image(context, batch, index, &s->transform, &item->image, random, &place));
    if (!s->has_boxes)
        return QF_OK;
    qf_annotated_crop(&s->transform, &place, item);
    return qf_batch_add_boxes(context, batch, index, item);
}

static qf_status add_annotated(qf_context *context, state *s, const qf_sample *sample,
                               qf_random *random, int index, qf_batch *batch)
{
    qf_annotated item;
    QF_TRY(
        qf_annotated_decode(context, sample->value, sample->value_size, s->transform.color, &item));
    qf_status status = put_annotated(context, s, &item, random, index, batch);
    qf_annotated_release(&item);
    return status;
}

static uint64_t next_item(const void *opaque)
{
    const state *s = opaque;
    return by_number(s) ? qf_item_order_item(&s->order) : qf_sample_store_position(s->store);
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    qf_sample sample;
    if (index == 0)
        qf_transform_begin_batch(&s->transform, random);
    const unsigned long long item = next_item(s);
    qf_status status = next_sample(context, s, &sample);
    if (status == QF_OK)
        status = s->annotated ? add_annotated(context, s, &sample, random, index, batch)
                              : add_image(context, s, &sample, random, index, batch);
    if (by_number(s))
        qf_item_order_advance(&s->order);
    return qf_within(context, status, "item %llu", item);
}

static void where(const void *opaque, qf_data_state *out)
{
    const state *s = opaque;
    if (by_number(s))
        qf_item_order_where(&s->order, out);
    else
        out->position = qf_sample_store_position(s->store);
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    state *s = opaque;
    return by_number(s) ? qf_item_order_go(context, &s->order, to, s->param->source)
                        : qf_sample_store_seek(context, s->store, to->position);
}

/* The same items in the same order, each found by its number. */
static qf_status scatter(qf_context *context, void *opaque)
{
    state *s = opaque;
    const uint64_t position = qf_sample_store_position(s->store);
    size_t items = 0;
    if (by_number(s))
        return QF_OK;
    QF_TRY(qf_sample_store_index(context, s->store, &items));
    QF_TRY(qf_item_order_start(context, items, false, NULL, &s->order));
    s->order.position = (size_t)(position % items);
    return QF_OK;
}

static qf_status count(qf_context *context, void *opaque, uint64_t *out)
{
    return qf_sample_store_count(context, ((state *)opaque)->store, out);
}

static qf_status skip(qf_context *context, void *opaque)
{
    state *s = opaque;
    qf_sample sample;
    if (!by_number(s))
        return qf_sample_store_next(context, s->store, &sample);
    qf_item_order_advance(&s->order);
    return QF_OK;
}

static const qf_data_source_type type = {add, where, go, destroy, count, next_item, skip, scatter};

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
    if (by_number(s))
        s->order.position = skip % items;
    return by_number(s) ? QF_OK : qf_sample_store_seek(context, s->store, skip);
}

/* The shape of the first item, and whether it has boxes. */
static qf_status look(qf_context *context, state *s, qf_data_source *out)
{
    qf_sample sample;
    qf_annotated first = {0};
    qf_status status = next_sample(context, s, &sample);
    if (status == QF_OK && s->annotated)
        status = qf_annotated_decode(context, sample.value, sample.value_size, s->transform.color,
                                     &first);
    else if (status == QF_OK)
        status = qf_datum_decode(context, sample.value, sample.value_size, s->transform.color,
                                 &first.image);
    QF_TRY(qf_within(context, status, "item 0"));
    if (s->annotated && s->annotated->has_anno_type)
        qf_warning(context, "type stored in AnnotatedDatum is shadowed.");
    s->has_boxes = s->annotated && (first.has_type || s->annotated->has_anno_type);
    out->has_boxes = s->has_boxes;
    status = qf_data_source_shape(context, &s->transform, &first.image, out);
    qf_annotated_release(&first);
    return status;
}

static qf_status open(qf_context *context, const Caffe__TransformationParameter *transform,
                      bool train, qf_random *random, state *s, qf_data_source *out)
{
    const Caffe__DataParameter *param = s->param;
    QF_TRY(qf_transform_setup(context, transform, train, &s->transform));
    if (s->annotated)
        QF_TRY(qf_annotated_check(context, transform, s->annotated));
    QF_TRY(qf_sample_store_open(context, param->source, &s->store));
    qf_info(context, "Opened %s %s", qf_store_format_name(qf_sample_store_format(s->store)),
            param->source);
    compare_backend(context, param, s->store);
    QF_TRY(look(context, s, out));
    return start_order(context, s, random);
}

qf_status qf_annotated_source_open(qf_context *context, const Caffe__DataParameter *param,
                                   const Caffe__AnnotatedDataParameter *annotated,
                                   const Caffe__TransformationParameter *transform, bool train,
                                   qf_random *random, qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    s->param = param;
    s->annotated = annotated;
    qf_data_source opened = {.type = &type, .state = s};
    const qf_status status = open(context, transform, train, random, s, &opened);
    return qf_data_source_opened(status, &opened, out);
}

qf_status qf_store_source_open(qf_context *context, const Caffe__DataParameter *param,
                               const Caffe__TransformationParameter *transform, bool train,
                               qf_random *random, qf_data_source *out)
{
    return qf_annotated_source_open(context, param, NULL, transform, train, random, out);
}
