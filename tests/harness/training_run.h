/* A net of phase TRAIN with a context of its own, run step by step beside another that should give
 * the same gradients. */
#ifndef QF_TESTS_TRAINING_RUN_H
#define QF_TESTS_TRAINING_RUN_H

#include "harness/harness.h"
#include "net/net.h"

typedef struct test_run {
    qf_context *context;
    qf_net *net;
    float loss;
} test_run;

/* `fusion`: layers may run as one; `keep`: all blobs can be read. Weights that WeightQAT quantises
 * get values of both signs, other in each layer. */
void test_run_open(test_run *r, const char *text, bool fusion, bool keep);
void test_run_close(test_run *r);
/* Forward, with the loss, and backward. */
void test_run_step(test_run *r);
/* The parameters' gradients as harness/gradients.h judges them, those of `a` expected; blobs of one
 * value, ends of clip ranges, within a tolerance of their own. */
void test_run_same_gradients(test_run *a, test_run *b, double tolerance, double of_ranges);

#endif
