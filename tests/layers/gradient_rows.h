/* What test_gradients.c checks: a layer, its bottoms, and what is to be said about its gradients.
 */
#ifndef QF_TESTS_GRADIENT_ROWS_H
#define QF_TESTS_GRADIENT_ROWS_H

#include <stddef.h>

enum { GRADIENT_BOTTOMS_MAX = 5, GRADIENT_ZEROS_MAX = 4 };

/* OWN_RULE: what its parameters get is a rule of the layer, no derivative, and checked elsewhere. */
typedef enum gradient_options { IN_PLACE = 1, TEST_PHASE = 2, OWN_RULE = 4 } gradient_options;

/* A blob whose gradient is zero everywhere, and why: bottoms are "x0", "x1" …, parameters "p0" …
 * Any other must have a gradient that the check would miss. */
typedef struct gradient_zero {
    const char *blob, *why;
} gradient_zero;

/* A bottom is its dimensions and what it holds:
 *     "2 3"          values of both signs, whose gradient is checked
 *     "2 3 > 0.5"    the same, all greater than 0.5
 *     "2 3 fixed"    values that have no gradient
 *     "2 3 < 4"      integers below 4: labels, indices
 *     "2 3 cont"     continuation indicators of a recurrent layer
 *     "2 = 0 7.5"    these values, which have no gradient */
typedef struct gradient_row {
    const char *type, *bottoms[GRADIENT_BOTTOMS_MAX], *param;
    int tops; /* 0: 1 */
    gradient_options options;
    gradient_zero zero[GRADIENT_ZEROS_MAX];
    double tolerance; /* in parts of the blob's largest gradient; 0: the usual */
} gradient_row;

extern const gradient_row gradient_rows_caffe[], gradient_rows_forks[]; /* up to a NULL type */

#endif
