/* A small net with every pattern of folding, shared weights, AVE pooling and layers that are
 * skipped, for tests of calibration; in the working directory, as files of these names:
 * net.prototxt, net.caffemodel, config.json; test_ptq_prepare() makes cal.prototxt, cal.caffemodel,
 * record.txt. */
#ifndef QF_TESTS_PTQ_NET_H
#define QF_TESTS_PTQ_NET_H

#include "harness/harness.h"
#include "model/record.h"

/* For cmocka_run_group_tests(), instead of test_start_in_folder(). */
int test_ptq_start(void **state);

qf_status test_ptq_init(const char *config, const char *record, qf_quant_graph **graph);
void test_ptq_prepare(const char *config);
/* What the model puts out for the first batch is the float net's, but for this part of it; and not
 * the very same. */
void test_ptq_is_close(const char *model, const char *weights, double limit);

/* A model, or, where it is NULL, a file of weights. */
Caffe__NetParameter *test_ptq_net(const char *model, const char *weights);
const Caffe__LayerParameter *test_ptq_layer(const Caffe__NetParameter *net, const char *name);
bool test_ptq_has(const Caffe__NetParameter *net, const char *name);
/* The calibration model without what calibrates. */
void test_ptq_without_measuring(const char *from, const char *to);
/* What calibration would leave in `path`, if its ranges were just those of the first batch. */
void test_ptq_fill_record(const char *path, bool shifts);
/* Fake-quant and deploy models agree in every integer. */
void test_ptq_verify(const char *prefix);

#endif
