/* Data: datums of an LMDB or a LevelDB. */
#include "data/data_source.h"

#include "base/memory.h"
#include "data/datum.h"
#include "data/sample_store.h"

typedef struct state {
    qf_sample_store *store;
    qf_transform transform;
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_transform_release(&s->transform);
    qf_sample_store_close(s->store);
    qf_free(s);
}

static qf_status next_image(qf_context *context, state *s, qf_image *out)
{
    qf_sample sample;
    QF_TRY(qf_sample_store_next(context, s->store, &sample));
    return qf_datum_decode(context, sample.value, sample.value_size, s->transform.color, out);
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    qf_image image;
    const unsigned long long position = qf_sample_store_position(s->store);
    qf_status status = next_image(context, s, &image);
    if (status == QF_OK) {
        status = qf_batch_add_image(context, batch, index, &s->transform, &image, random);
        qf_image_release(&image);
    }
    return qf_within(context, status, "item %llu", position);
}

static void where(const void *opaque, qf_data_state *out)
{
    out->position = qf_sample_store_position(((const state *)opaque)->store);
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    return qf_sample_store_seek(context, ((state *)opaque)->store, to->position);
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
    out->channels = image.channels;
    qf_status status =
        qf_transform_shape(context, &s->transform, &image, &out->height, &out->width);
    qf_image_release(&image);
    QF_TRY(status);
    return qf_sample_store_seek(context, s->store,
                                param->rand_skip ? qf_random_below(random, param->rand_skip) : 0);
}

qf_status qf_store_source_open(qf_context *context, const Caffe__DataParameter *param,
                               const Caffe__TransformationParameter *transform, bool train,
                               qf_random *random, qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    qf_data_source opened = {.type = &type, .state = s};
    qf_status status = open(context, param, transform, train, random, s, &opened);
    if (status == QF_OK)
        *out = opened;
    else
        destroy(s);
    return status;
}
