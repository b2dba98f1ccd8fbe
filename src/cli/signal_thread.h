/* Ctrl-C and hang-up, as Caffe treats them: a wish that the solver learns of between iterations.
 * SIGTERM ends the program at once, as Ctrl-C does where nobody asks; without unfinished files. */
#ifndef QF_CLI_SIGNAL_THREAD_H
#define QF_CLI_SIGNAL_THREAD_H

#include "qaffe/qaffe.h"

/* To be called before any other thread starts: from now on these signals are taken by a thread of
 * their own. They end the program until a command says otherwise. False: it said why not. */
bool signals_start(void);
/* Effects are "stop", "snapshot" or "none". A second SIGINT where the first one asked to stop ends
 * the program at once. */
void signals_install(const char *sigint_effect, const char *sighup_effect);
/* What was asked for since the last call: a qf_action_function (the argument is not used). */
qf_action signals_requested(void *user);

#endif
