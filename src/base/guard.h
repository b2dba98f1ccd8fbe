/* C++ libraries behind C interfaces (oneDNN, LevelDB) throw where memory runs out, and C cannot
 * catch. guard.cc calls them for us; exceptions end there. */
#ifndef QF_BASE_GUARD_H
#define QF_BASE_GUARD_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The C library loads the unwinder when an exception first passes one of its functions, and aborts
 * where there is no memory for it. Loads it now; false: there is no memory. */
bool qf_guard_prepare(void);

/* Calls function(data). False: an exception came out of it, and what it was doing is undone or
 * abandoned. The function holds nothing of its own that unwinding would have to release. */
bool qf_guard(void (*function)(void *data), void *data);

#ifdef __cplusplus
}
#endif
#endif
