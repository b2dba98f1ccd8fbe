/* Recorded cases: folders with a case.json, and comparison within the tolerances it gives. */
#ifndef QF_TESTS_CASES_H
#define QF_TESTS_CASES_H

#include "harness/harness.h"
#include "tensor/blob.h"

#include <jansson.h>

typedef struct test_case {
    const char *folder, *name; /* "layers/ReLU", "plain" */
    char *path;                /* absolute; it is the working directory while the case runs */
    json_t *json;
    qf_context *context;
    qf_buffer failures; /* lines; none: passed */
    const char *skip;   /* why it cannot run in this build; NULL: it did */
    void *user;
} test_case;

/* Runs every case below golden/<folder>, `depth` levels down, and reports; fails the running test
 * if a case failed or none passed. QAFFE_CASE=<part of a name> picks some. */
void test_walk(const char *golden, const char *folder, int depth, void (*run)(test_case *test));

const char *json_text(const json_t *object, const char *key); /* NULL: absent */
double json_number(const json_t *object, const char *key);    /* 0: absent */

/* NaN agrees with NaN, an infinity with the same; else |found - expected| <= atol + rtol
 * |expected|.
 */
bool test_agrees(double found, double expected, double rtol, double atol);

/* Compares with the .npy of entry's "file", "rtol" and "atol"; a difference becomes a line. */
void test_compare_values(test_case *test, const char *what, const char *name, const float *found,
                         const qf_shape *shape, const json_t *entry);
void test_compare_blob(test_case *test, const char *what, qf_blob *blob, const json_t *entry);
/* The blob's gradient, as harness/gradients.h judges it. `zero`: why it is zero everywhere; NULL:
 * it is not. */
void test_compare_gradient(test_case *test, const char *name, qf_blob *blob, const json_t *entry,
                           const char *zero);

#define test_failure(test, ...) qf_buffer_print(&(test)->failures, __VA_ARGS__)

#endif
