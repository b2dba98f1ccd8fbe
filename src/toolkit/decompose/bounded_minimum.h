/* The least value of a function between two places. */
#ifndef QF_TOOLKIT_DECOMPOSE_BOUNDED_MINIMUM_H
#define QF_TOOLKIT_DECOMPOSE_BOUNDED_MINIMUM_H

#include <stdbool.h>

/* False: it has no value there, and the search ends without one. */
typedef bool (*qf_bounded_function)(const void *user, double x, double *value);

/* Brent's method, with the constants of the usual "fminbound": an absolute tolerance of 1e-5, so
 * that small places are found coarsely. False, and *at unchanged, where the function has no value
 * or the bounds are no interval. */
bool qf_bounded_minimum(qf_bounded_function function, const void *user, double lower, double upper,
                        double *at);

#endif
