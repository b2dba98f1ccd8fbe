/* How long OpenMP's threads spin while they wait for each other: milliseconds where the processors
 * are free, hardly at all where others want them, too. */
#ifndef QF_BASE_WAITING_H
#define QF_BASE_WAITING_H

#include <stdbool.h>

/* From now on until as many calls of qf_waiting_end(), looks decide. Nothing happens where the
 * environment says how to wait (OMP_WAIT_POLICY, GOMP_SPINCOUNT), or where threads cannot be had:
 * then they spin, which is slow beside other work but not wrong. */
void qf_waiting_begin(void);
/* Teams have so many threads. */
void qf_waiting_fit(int threads);
void qf_waiting_end(void);

/* Between two layers, by the thread that computes: decide anew, if the last time is long ago. */
void qf_waiting_look(void);

/* Have threads sleep soon, or spin: what a look decides; also for tests. */
void qf_waiting_keep_team(bool wanted);

#endif
