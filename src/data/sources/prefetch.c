/* The thread that reads ahead, and the batches that wait. */
#include "data/sources/prefetch.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/signals.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

struct qf_prefetch {
    qf_context *context; /* of the thread: its errors */
    qf_data_source source;
    int batch_size, depth;
    qf_random random; /* of the thread */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool running, stopping;
    qf_batch *ring;       /* depth + 1: one of them is in the caller's hands */
    uint64_t made, taken; /* numbers of batches, growing */
    qf_status status;     /* of the thread; it stops at the first failure */

    qf_data_state state; /* after the last batch handed out */
    double waited;
};

static qf_data_state where(const qf_prefetch *p)
{
    qf_data_state state = {.random = p->random};
    p->source.type->where(p->source.state, &state);
    return state;
}

static qf_status make_batch(qf_prefetch *p, qf_batch *batch)
{
    for (int i = 0; i < p->batch_size; i++)
        QF_TRY(p->source.type->add(p->context, p->source.state, &p->random, i, batch));
    batch->after = where(p);
    return QF_OK;
}

static void *run(void *argument)
{
    qf_prefetch *p = argument;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping && p->status == QF_OK) {
        if (p->made - p->taken >= (uint64_t)p->depth) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        qf_batch *batch = &p->ring[p->made % ((uint64_t)p->depth + 1)];
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

static qf_status make_ring(qf_context *context, qf_prefetch *p)
{
    p->ring = qf_alloc((size_t)p->depth + 1, sizeof *p->ring);
    bool enough = p->ring;
    for (int i = 0; enough && i <= p->depth; i++) {
        p->ring[i].size = p->batch_size;
        p->ring[i].labels = qf_alloc((size_t)p->batch_size, sizeof(float));
        enough = p->ring[i].labels;
    }
    return enough ? QF_OK
                  : qf_fail(context, QF_E_MEMORY, "no memory for batches of %d", p->batch_size);
}

qf_status qf_prefetch_create(qf_context *context, qf_data_source *source, int batch_size, int depth,
                             const qf_random *random, qf_prefetch **out)
{
    *out = NULL;
    qf_prefetch *p = qf_alloc(1, sizeof *p);
    if (!p) {
        qf_data_source_close(source);
        return qf_fail(context, QF_E_MEMORY, "no memory for reading ahead");
    }
    p->source = *source;
    *source = (qf_data_source){0};
    p->batch_size = batch_size;
    p->depth = depth;
    p->random = *random;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->state = where(p);
    qf_status status = qf_context_create_for_thread(context, &p->context);
    if (status == QF_OK)
        status = make_ring(context, p);
    if (status == QF_OK)
        *out = p;
    else
        qf_prefetch_destroy(p);
    return status;
}

void qf_prefetch_destroy(qf_prefetch *p)
{
    if (!p)
        return;
    stop(p);
    for (int i = 0; p->ring && i <= p->depth; i++) {
        qf_free(p->ring[i].images);
        qf_free(p->ring[i].labels);
        qf_free(p->ring[i].boxes);
        qf_free(p->ring[i].maps);
    }
    qf_free(p->ring);
    qf_data_source_close(&p->source);
    qf_context_destroy(p->context);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    qf_free(p);
}

qf_status qf_prefetch_next(qf_context *context, qf_prefetch *p, const qf_batch **out)
{
    double asked = qf_seconds();
    if (!p->running) {
        if (qf_signals_start_thread(&p->thread, run, p) != 0)
            return qf_fail(
                context, QF_E_MEMORY,
                "cannot start a thread to read data (is there memory, and does ulimit -u allow one "
                "more?)");
        p->running = true;
    }
    pthread_mutex_lock(&p->lock);
    while (p->made == p->taken && p->status == QF_OK)
        pthread_cond_wait(&p->changed, &p->lock);
    bool ready = p->made > p->taken;
    if (ready) {
        *out = &p->ring[p->taken % ((uint64_t)p->depth + 1)];
        p->taken++;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    p->waited += qf_seconds() - asked;
    if (!ready)
        return qf_fail(context, p->status, "%s", qf_error_text(p->context));
    p->state = (*out)->after;
    return QF_OK;
}

qf_data_state qf_prefetch_state(const qf_prefetch *p)
{
    return p->state;
}

qf_status qf_prefetch_restore(qf_context *context, qf_prefetch *p, const qf_data_state *state)
{
    stop(p);
    QF_TRY(p->source.type->go(context, p->source.state, state));
    p->made = p->taken = 0;
    p->status = QF_OK;
    p->random = state->random;
    p->state = *state;
    return QF_OK;
}

qf_status qf_prefetch_count(qf_context *context, qf_prefetch *p, uint64_t *out)
{
    *out = 0;
    stop(p); /* the source is used by one thread at a time; the next batch starts it again */
    return p->source.type->count ? p->source.type->count(context, p->source.state, out) : QF_OK;
}

double qf_prefetch_waited(const qf_prefetch *p)
{
    return p->waited;
}
