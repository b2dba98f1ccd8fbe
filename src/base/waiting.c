/* GNU OpenMP lets a thread spin 300 000 times before it sleeps: 3 ms, or 14 on a processor whose
 * pause takes 140 cycles. On a machine that others use, too, it so takes the time that the thread
 * which it waits for needs, at every barrier: LeNet's step beside twelve busy processes took five
 * times as long as on one thread. The runtime reads the settings for that when it is loaded, before
 * any library could change them. But where it manages more threads than there are processors it
 * spins 100 times only (its manual, GOMP_SPINCOUNT). So one team more is kept than computes. It
 * sleeps. */
#include "base/waiting.h"

#include "base/signals.h"
#include "base/start_threads.h"

#include <omp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    pid_t process;  /* that started the thread: the child of a fork has none */
    int users;      /* begin less end */
    int size;       /* threads of the team that is kept */
    uintptr_t turn; /* the thread that was started in another turn ends */
    bool started;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

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
        if (made < kept.size) {
            const int size = made = kept.size;
            pthread_mutex_unlock(&kept.lock);
            if (qf_threads_possible(size))
                make_team(size);
            pthread_mutex_lock(&kept.lock);
        } else {
            pthread_cond_wait(&kept.changed, &kept.lock);
        }
    }
    pthread_mutex_unlock(&kept.lock);
    return NULL;
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
    const int processors = omp_get_num_procs(), size = processors - threads + 2;
    if (threads < 2 || threads > processors || getenv("OMP_WAIT_POLICY") ||
        getenv("GOMP_SPINCOUNT"))
        return;
    pthread_mutex_lock(&kept.lock);
    if (kept.size < size)
        kept.size = size;
    if (!kept.started) {
        kept.process = getpid();
        kept.started = qf_signals_start_thread(&kept.thread, keep_team, (void *)kept.turn) == 0;
    }
    pthread_cond_broadcast(&kept.changed);
    pthread_mutex_unlock(&kept.lock);
}

void qf_waiting_end(void)
{
    pthread_mutex_lock(&kept.lock);
    const bool last = --kept.users == 0 && kept.started, ours = kept.process == getpid();
    const pthread_t thread = kept.thread;
    if (last) {
        kept.started = false;
        kept.size = 0;
        kept.turn++;
        pthread_cond_broadcast(&kept.changed);
    }
    pthread_mutex_unlock(&kept.lock);
    if (last && ours)
        pthread_join(thread, NULL);
}
