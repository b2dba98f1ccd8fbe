/* Blocking signals while kernels compute, in every thread of a team, and letting in what waits. */
#include "base/signals.h"

#include "base/clock.h"

#include <omp.h>
#include <signal.h>
#include <stdbool.h>

/* Of each thread, whoever it works for. */
static _Thread_local struct {
    bool blocked;
    sigset_t before; /* its mask, where it is blocked */
} own;

/* Of a thread that calls the library. */
static _Thread_local struct {
    int depth;
    int threads; /* for so many, itself included, signals are blocked; 0: nothing is held */
    double delivered;
} caller;

/* Of the signals that an instruction causes, a blocked one ends the process. */
static sigset_t asynchronous(void)
{
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
        sigdelset(&set, synchronous[i]);
    return set;
}

static void block_own(void)
{
    if (own.blocked)
        return;
    const sigset_t set = asynchronous();
    pthread_sigmask(SIG_BLOCK, &set, &own.before);
    own.blocked = true;
}

/* `callers`: what a thread that was made in the meantime would have inherited. */
static void unblock_own(const sigset_t *callers)
{
    pthread_sigmask(SIG_SETMASK, own.blocked ? &own.before : callers, NULL);
    own.blocked = false;
}

static void unblock_team(void)
{
    if (caller.threads == 0)
        return;
    const sigset_t callers = own.before;
#pragma omp parallel num_threads(caller.threads)
    unblock_own(&callers);
    caller.threads = 0;
}

/* The team of a parallel region starts with the caller still unblocked, so that new threads inherit
 * its mask. Inside a region there is only the thread itself: what it would start inherits. */
static void block_team(void)
{
    const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    if (threads <= caller.threads)
        return;
    unblock_team(); /* or those that come to it would inherit a mask that is not the user's */
#pragma omp parallel num_threads(threads)
    block_own();
    if (caller.threads == 0)
        caller.delivered = qf_seconds();
    caller.threads = threads;
}

void qf_signals_enter(void)
{
    caller.depth++;
}

void qf_signals_hold(void)
{
    caller.depth++;
    if (!own.blocked || caller.threads) /* else it works for a caller that did this */
        block_team();
}

void qf_signals_leave(void)
{
    if (--caller.depth == 0)
        unblock_team();
}

void qf_signals_deliver(void)
{
    const double pause = 1e-3, now = caller.threads ? qf_seconds() : 0;
    sigset_t blocked;
    if (now - caller.delivered < pause || !caller.threads)
        return;
    caller.delivered = now;
    pthread_sigmask(SIG_SETMASK, &own.before, &blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
}

int qf_signals_suspend(void)
{
    const int depth = caller.depth;
    unblock_team();
    caller.depth = 0;
    return depth;
}

void qf_signals_resume(int depth)
{
    caller.depth = depth;
}

int qf_signals_start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
    const sigset_t set = asynchronous();
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &set, &before);
    const int failed = pthread_create(thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}
