/* How many threads can be started here, tried before OpenMP does. */
#include "base/start_threads.h"

#include "base/memory.h"
#include "base/signals.h"

#include <omp.h>
#include <pthread.h>

static void *wait_for_all(void *lock)
{
    pthread_mutex_lock(lock); /* until all were started */
    pthread_mutex_unlock(lock);
    return NULL;
}

static int try_to_start(int wanted)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *threads = qf_alloc((size_t)wanted, sizeof *threads);
    int started = 0;
    pthread_mutex_lock(&lock);
    while (threads && started < wanted &&
           qf_signals_start_thread(&threads[started], wait_for_all, &lock) == 0)
        started++;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    qf_free(threads);
    pthread_mutex_destroy(&lock);
    return started;
}

bool qf_threads_possible(int count)
{
    return count <= 0 || try_to_start(count) == count;
}

int qf_threads_start(int wanted)
{
    static _Thread_local int team = 1;
    if (wanted <= team || omp_in_parallel())
        return wanted;
    team += try_to_start(wanted - team);
#pragma omp parallel num_threads(team)
    __asm__ volatile("");
    return team;
}
