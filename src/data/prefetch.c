#include "data/prefetch.h"

#include "base/memory.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

struct qf_prefetch {
    qf_context *context; /* of the thread: its errors */
    qf_sample_store *store;
    qf_transform transform;
    int batch_size, depth;
    qf_random random; /* of the thread */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool running, stopping;
    qf_batch *ring;   /* depth + 1: one of them is in the caller's hands */
    int made, taken;  /* numbers of batches, growing */
    qf_status status; /* of the thread; it stops at the first failure */

    qf_data_state state; /* after the last batch handed out */
    double waited;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static qf_status add_image(qf_prefetch *p, qf_batch *batch, int index, const qf_image *image)
{
    int height, width;
    QF_TRY(qf_transform_shape(p->context, &p->transform, image, &height, &width));
    if (index == 0) {
        batch->channels = image->channels;
        batch->height = height;
        batch->width = width;
    } else if (image->channels != batch->channels || height != batch->height ||
               width != batch->width) {
        return qf_fail(
            p->context, QF_E_SHAPE,
            "an image is of %d x %d x %d, others of the batch of %d x %d x %d (channels x "
            "height x width); use crop_size, resize them, or batch_size 1",
            image->channels, height, width, batch->channels, batch->height, batch->width);
    }
    size_t size = (size_t)height * (size_t)width * (size_t)image->channels;
    if (!qf_grow(&batch->images, &batch->image_capacity, size * (size_t)p->batch_size,
                 sizeof(float)))
        return qf_fail(p->context, QF_E_MEMORY, "no memory for a batch of %d images",
                       p->batch_size);
    qf_transform_apply(&p->transform, image, &p->random, batch->images + (size_t)index * size);
    batch->labels[index] = (float)image->label;
    return QF_OK;
}

static qf_status make_batch(qf_prefetch *p, qf_batch *batch)
{
    for (int i = 0; i < p->batch_size; i++) {
        qf_sample sample;
        qf_image image;
        uint64_t position = qf_sample_store_position(p->store);
        qf_status status = qf_sample_store_next(p->context, p->store, &sample);
        if (status == QF_OK)
            status = qf_datum_decode(p->context, sample.value, sample.value_size,
                                     p->transform.color, &image);
        if (status == QF_OK) {
            status = add_image(p, batch, i, &image);
            qf_image_release(&image);
        }
        QF_TRY(qf_within(p->context, status, "item %llu", (unsigned long long)position));
    }
    batch->count = p->batch_size;
    batch->after = (qf_data_state){qf_sample_store_position(p->store), p->random};
    return QF_OK;
}

static void *run(void *argument)
{
    qf_prefetch *p = argument;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping && p->status == QF_OK) {
        if (p->made - p->taken >= p->depth) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        qf_batch *batch = &p->ring[p->made % (p->depth + 1)];
        pthread_mutex_unlock(&p->lock);
        qf_status status = make_batch(p, batch);
        pthread_mutex_lock(&p->lock);
        p->status = status;
        p->made += status == QF_OK;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void stop(qf_prefetch *p)
{
    if (!p->running)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    p->running = p->stopping = false;
}

/* The first image tells the shape of the blobs before a batch is made. */
static qf_status peek(qf_prefetch *p, int *channels, int *height, int *width)
{
    qf_sample sample;
    qf_image image;
    QF_TRY(qf_sample_store_next(p->context, p->store, &sample));
    QF_TRY(qf_within(
        p->context,
        qf_datum_decode(p->context, sample.value, sample.value_size, p->transform.color, &image),
        "item 0"));
    qf_status status = qf_transform_shape(p->context, &p->transform, &image, height, width);
    *channels = image.channels;
    qf_image_release(&image);
    QF_TRY(status);
    return qf_sample_store_seek(p->context, p->store, 0);
}

static qf_status start(qf_prefetch *p, const qf_prefetch_options *options)
{
    QF_TRY(qf_transform_setup(p->context, options->transform, options->train, &p->transform));
    QF_TRY(qf_sample_store_open(p->context, options->source, &p->store));
    p->ring = qf_alloc((size_t)p->depth + 1, sizeof *p->ring);
    if (!p->ring)
        return qf_fail(p->context, QF_E_MEMORY, "no memory for batches");
    for (int i = 0; i <= p->depth; i++) {
        p->ring[i].labels = qf_alloc((size_t)p->batch_size, sizeof(float));
        if (!p->ring[i].labels)
            return qf_fail(p->context, QF_E_MEMORY, "no memory for labels");
    }
    return QF_OK;
}

qf_status qf_prefetch_create(qf_context *context, const qf_prefetch_options *options, int *channels,
                             int *height, int *width, qf_prefetch **out)
{
    *out = NULL;
    qf_prefetch *p = qf_alloc(1, sizeof *p);
    if (!p)
        return qf_fail(context, QF_E_MEMORY, "no memory for reading ahead");
    p->batch_size = options->batch_size;
    p->depth = options->depth > 0 ? options->depth : 1;
    p->random = options->random;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    qf_status status = qf_context_create(&p->context);
    if (status == QF_OK) {
        qf_limits_inherit(p->context, context);
        status = start(p, options);
    }
    if (status == QF_OK)
        status = peek(p, channels, height, width);
    if (status == QF_OK)
        status = qf_sample_store_seek(p->context, p->store, options->skip);
    if (status != QF_OK) {
        if (p->context)
            qf_fail(context, status, "%s", qf_error_text(p->context));
        qf_prefetch_destroy(p);
        return status;
    }
    p->state = (qf_data_state){qf_sample_store_position(p->store), p->random};
    *out = p;
    return QF_OK;
}

void qf_prefetch_destroy(qf_prefetch *p)
{
    if (!p)
        return;
    stop(p);
    for (int i = 0; p->ring && i <= p->depth; i++) {
        qf_free(p->ring[i].images);
        qf_free(p->ring[i].labels);
    }
    qf_free(p->ring);
    qf_transform_release(&p->transform);
    qf_sample_store_close(p->store);
    qf_context_destroy(p->context);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    qf_free(p);
}

qf_status qf_prefetch_next(qf_context *context, qf_prefetch *p, const qf_batch **out)
{
    double asked = seconds();
    if (!p->running) {
        if (pthread_create(&p->thread, NULL, run, p) != 0)
            return qf_fail(context, QF_E_MEMORY, "cannot start a thread to read data");
        p->running = true;
    }
    pthread_mutex_lock(&p->lock);
    while (p->made == p->taken && p->status == QF_OK)
        pthread_cond_wait(&p->changed, &p->lock);
    bool ready = p->made > p->taken;
    if (ready) {
        *out = &p->ring[p->taken % (p->depth + 1)];
        p->taken++;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    p->waited += seconds() - asked;
    if (!ready)
        return qf_fail(context, p->status, "%s", qf_error_text(p->context));
    p->state = (*out)->after;
    return QF_OK;
}

qf_data_state qf_prefetch_state(const qf_prefetch *p)
{
    return p->state;
}

void qf_prefetch_restore(qf_prefetch *p, const qf_data_state *state)
{
    stop(p);
    p->made = p->taken = 0;
    p->random = state->random;
    p->state = *state;
    p->status = qf_sample_store_seek(p->context, p->store, state->position);
}

double qf_prefetch_waited(const qf_prefetch *p)
{
    return p->waited;
}
