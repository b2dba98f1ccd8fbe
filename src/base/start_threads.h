/* OpenMP's library ends the process where it cannot start a thread; so whether it could is tried
 * before. */
#ifndef QF_BASE_START_THREADS_H
#define QF_BASE_START_THREADS_H

#include <stdbool.h>

/* Whether so many threads can be started beside those there are: they are, and end again. */
bool qf_threads_possible(int count);

/* Start OpenMP's threads for teams of `wanted` that the calling thread makes, if they were not
 * started before. The size of the team that can be had, at least 1. */
int qf_threads_start(int wanted);

#endif
