#include "cli/signals.h"

#include "cli/command.h"

#include <signal.h>

/* A signal handler can reach nothing but globals; these are the only ones of this program. */
static volatile sig_atomic_t sigint_seen, sighup_seen;
static qf_action sigint_action, sighup_action;

static void on_sigint(int number)
{
    if (sigint_seen && sigint_action == QF_STOP) {
        signal(number, SIG_DFL);
        raise(number);
    }
    sigint_seen = 1;
}

static void on_sighup(int number)
{
    (void)number;
    sighup_seen = 1;
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
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_sigint;
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = on_sighup;
    sigaction(SIGHUP, &action, NULL);
}

qf_action signals_requested(void *user)
{
    (void)user;
    if (sigint_seen) {
        if (sigint_action != QF_STOP) /* a stop stays asked for: tests and training both poll */
            sigint_seen = 0;
        if (sigint_action != QF_CONTINUE)
            return sigint_action;
    }
    if (sighup_seen) {
        if (sighup_action != QF_STOP)
            sighup_seen = 0;
        return sighup_action;
    }
    return QF_CONTINUE;
}
