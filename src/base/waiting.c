/* GNU OpenMP lets a thread spin 300 000 times before it sleeps: 3 ms, or 14 on a processor whose
 * pause takes 140 cycles. That is fastest alone. On a machine that others use, too, it takes the
 * time that the thread which it waits for needs, at every barrier: LeNet's step beside twelve busy
 * processes took five times as long as on one thread.
 *
 * Which of the two it is, the kernel tells: for how long the thread that computes had a processor,
 * and for how long it had to wait for one.
 *
 * The runtime reads how long to spin when it is loaded, before any library could change it. But
 * where it manages more threads than there are processors it spins 100 times only (its manual,
 * GOMP_SPINCOUNT). So one team more is kept than computes, as long as threads shall sleep. It
 * sleeps itself. Neither changes a result. */
#include "base/waiting.h"

#include "base/clock.h"
#include "base/signals.h"
#include "base/start_threads.h"

#include <omp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    pid_t process;  /* that started the thread: the child of a fork has none */
    int users;      /* begin less end */
    int size;       /* of the team to keep, beside the teams there are */
    uintptr_t turn; /* the thread that was started in another turn ends */
    bool started, wanted;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the team that is kept ---- */

/* The first parallel region of this size makes the threads; behind it, all but this one sleep. */
static void make_team(int size)
{
#pragma omp parallel num_threads(size)
    __asm__ volatile("");
}

static void *keep_team(void *turn)
{
    int made = 0;
    pthread_mutex_lock(&kept.lock);
    while (kept.turn == (uintptr_t)turn) {
        const int larger = kept.size > made ? kept.size : made, size = kept.wanted ? larger : 0;
        if (size == made) {
            pthread_cond_wait(&kept.changed, &kept.lock);
            continue;
        }
        made = size;
        pthread_mutex_unlock(&kept.lock);
        if (size == 0)
            omp_pause_resource(omp_pause_soft, omp_get_initial_device()); /* ends this team only */
        else if (qf_threads_possible(size))
            make_team(size);
        pthread_mutex_lock(&kept.lock);
    }
    pthread_mutex_unlock(&kept.lock);
    return NULL;
}

void qf_waiting_keep_team(bool wanted)
{
    pthread_mutex_lock(&kept.lock);
    if (kept.wanted != wanted && kept.size > 0) {
        kept.wanted = wanted;
        if (!kept.started || kept.process != getpid()) {
            kept.process = getpid();
            kept.started = qf_signals_start_thread(&kept.thread, keep_team, (void *)kept.turn) == 0;
        }
        pthread_cond_broadcast(&kept.changed);
    }
    pthread_mutex_unlock(&kept.lock);
}

void qf_waiting_begin(void)
{
    pthread_mutex_lock(&kept.lock);
    kept.users++;
    pthread_mutex_unlock(&kept.lock);
}

/* The runtime counts the first thread, and of each team all but the thread that made it. */
void qf_waiting_fit(int threads)
{
#ifdef __clang__ /* whose runtime counts in another way */
    return;
#endif
    const int processors = omp_get_num_procs(), size = processors - threads + 2;
    if (threads < 2 || threads > processors || getenv("OMP_WAIT_POLICY") ||
        getenv("GOMP_SPINCOUNT"))
        return;
    pthread_mutex_lock(&kept.lock);
    if (kept.size < size) {
        kept.size = size;
        pthread_cond_broadcast(&kept.changed);
    }
    pthread_mutex_unlock(&kept.lock);
}

void qf_waiting_end(void)
{
    pthread_mutex_lock(&kept.lock);
    const bool last = --kept.users == 0;
    const bool ours = last && kept.started && kept.process == getpid();
    const pthread_t thread = kept.thread;
    if (last) {
        kept.started = kept.wanted = false;
        kept.size = 0;
        kept.turn++;
        pthread_cond_broadcast(&kept.changed);
    }
    pthread_mutex_unlock(&kept.lock);
    if (ours)
        pthread_join(thread, NULL);
}

/* ---- whether it is needed ---- */

/* What the kernel's scheduler says of the calling thread since it began, in seconds. */
static bool read_times(double *ran, double *delayed)
{
    unsigned long long nanoseconds[2];
    FILE *file = fopen("/proc/thread-self/schedstat", "re");
    const bool read = file && fscanf(file, "%llu %llu", &nanoseconds[0], &nanoseconds[1]) == 2;
    if (file)
        fclose(file);
    if (read) {
        *ran = 1e-9 * (double)nanoseconds[0];
        *delayed = 1e-9 * (double)nanoseconds[1];
    }
    return read;
}

void qf_waiting_look(void)
{
    static _Thread_local struct {
        double time;         /* of the last look */
        double ran, delayed; /* until the last decision */
    } last;
    const double pause = 0.25, enough = 0.05, much = 0.25, now = qf_seconds();
    double ran, delayed;
    if (now - last.time < pause || omp_get_max_threads() < 2)
        return;
    last.time = now;
    if (!read_times(&ran, &delayed) || ran + delayed - last.ran - last.delayed < enough)
        return;
    const double lost = (delayed - last.delayed) / (ran + delayed - last.ran - last.delayed);
    qf_waiting_keep_team(lost > much);
    last.ran = ran;
    last.delayed = delayed;
}
