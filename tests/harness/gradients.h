/* Gradients compared so that a gradient of zeros can not pass, and derivatives by differences. */
#ifndef QF_TESTS_GRADIENTS_H
#define QF_TESTS_GRADIENTS_H

#include "harness/harness.h"

/* What the gradient of one blob has to be. An element may be off by
 *     of_largest · the largest |expected| + of_each · its own |expected| + absolute
 * and the largest must be ten times what it may itself be off by: a smaller one says nothing. */
typedef struct test_gradient {
    const char *name;
    size_t count;
    const double *expected; /* NaN and infinities: to be the same */
    const bool *unknown;    /* not to be compared; NULL: all are known */
    double of_largest, of_each;
    double absolute;  /* how well `expected` is known */
    const char *zero; /* why it is zero everywhere; NULL: it is not */
} test_gradient;

/* False: what is wrong is a line in `why`, of the gradient found or of the row that expects it. */
bool test_gradient_agrees(const test_gradient *gradient, const float *found, qf_buffer *why);
/* The same of what floats say; the other fields are those of `gradient`. */
bool test_gradient_agrees_with(const test_gradient *gradient, const float *expected,
                               const float *found, qf_buffer *why);

/* A function of one variable as a sum of terms, each rounded to float when it was computed. */
typedef void test_function(void *user, float at, double *terms);
typedef struct test_slope {
    double value;
    double resolution; /* by how much the terms' rounding can move it */
} test_slope;
/* Its derivative, by central differences of ±step and ±step / 2 from which the error's first term
 * is removed (Richardson). Nothing may be bent within a step. */
test_slope test_slope_of(test_function *function, void *user, size_t terms, float at, double step);

#endif
