/* Signals that wait while kernels compute. Some kernels use the stack pointer as a pointer into the
 * heap (device/cpu/onednn.h): the handler of a signal that arrives then writes over what lies
 * there. So every signal but those that an instruction causes is blocked meanwhile, in the thread
 * that computes and in OpenMP's threads that work for it, and delivered afterwards. */
#ifndef QF_BASE_SIGNALS_H
#define QF_BASE_SIGNALS_H

#include <pthread.h>

/* From here to its qf_signals_leave(), what qf_signals_hold() blocks stays blocked, so that a pass
 * stops all threads once and not for each kernel. Costs nothing where nothing is held. Pairs nest,
 * as with qf_signals_hold(). */
void qf_signals_enter(void);
/* The same, and block the signals, if they are not blocked yet. */
void qf_signals_hold(void);
void qf_signals_leave(void);

/* Between two layers: let in what has been waiting, once a millisecond at most. */
void qf_signals_deliver(void);

/* Code of the user's runs between these as if nothing were held. */
int qf_signals_suspend(void);
void qf_signals_resume(int depth);

/* pthread_create() for a thread that receives none of these signals: they are for threads of the
 * host. */
int qf_signals_start_thread(pthread_t *thread, void *(*function)(void *), void *argument);

#endif
