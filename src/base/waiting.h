/* How long OpenMP's threads spin while they wait for each other. */
#ifndef QF_BASE_WAITING_H
#define QF_BASE_WAITING_H

/* From now on until as many calls of qf_waiting_end(), threads of a team of `threads` sleep soon
 * when they wait. Nothing happens where the environment says how to wait (OMP_WAIT_POLICY,
 * GOMP_SPINCOUNT), or where threads cannot be had: then they spin, which is slow beside other work
 * but not wrong. */
void qf_waiting_begin(void);
void qf_waiting_fit(int threads);
void qf_waiting_end(void);

#endif
