/* A handler would run on whichever thread the system picks, in the middle of anything. Here the
 * signals are blocked in all threads, and one that does nothing else waits for them. */
#include "cli/signal_thread.h"

#include "cli/command.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* The thread that waits can reach nothing but globals; these are the only ones of this program. */
static atomic_bool wanted; /* by the command: it asks what was seen */
static atomic_bool sigint_seen, sighup_seen;
static qf_action sigint_action, sighup_action;

static sigset_t taken(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    return set;
}

/* What would happen if nobody took signals: the program ends, unless it was started with the signal
 * ignored, as nohup does. But no unfinished file is left. */
static void let_through(int number)
{
    const sigset_t set = taken();
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return;
    qf_abandon_outputs();
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void note(int number)
{
    if (!wanted || number == SIGTERM) {
        let_through(number);
    } else if (number == SIGHUP) {
        sighup_seen = true;
    } else {
        if (sigint_seen && sigint_action == QF_STOP) {
            signal(number, SIG_DFL);
            let_through(number);
        }
        sigint_seen = true;
    }
}

static void *wait_for_signals(void *unused)
{
    const sigset_t set = taken();
    for (int number; sigwait(&set, &number) == 0;)
        note(number);
    return unused;
}

bool signals_start(void)
{
    const sigset_t set = taken();
    pthread_t thread;
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    const int failed = pthread_create(&thread, NULL, wait_for_signals, NULL);
    if (failed)
        fprintf(stderr,
                "qaffe: cannot start a thread: %s (is there memory, and does ulimit -u allow "
                "one more?)\n",
                strerror(failed));
    else
        pthread_detach(thread);
    return !failed;
}

static qf_action action_named(const char *effect)
{
    return same_word(effect, "stop")       ? QF_STOP
           : same_word(effect, "snapshot") ? QF_SNAPSHOT
                                           : QF_CONTINUE;
}

void signals_install(const char *sigint_effect, const char *sighup_effect)
{
    sigint_action = action_named(sigint_effect);
    sighup_action = action_named(sighup_effect);
    wanted = true;
}

qf_action signals_requested(void *user)
{
    (void)user;
    if (sigint_seen) {
        if (sigint_action != QF_STOP) /* a stop stays asked for: tests and training both poll */
            sigint_seen = false;
        if (sigint_action != QF_CONTINUE)
            return sigint_action;
    }
    if (sighup_seen) {
        if (sighup_action != QF_STOP)
            sighup_seen = false;
        return sighup_action;
    }
    return QF_CONTINUE;
}
