/* A small net and digits for tests of layers of other than 8 bits; in the working directory, as
 * net.prototxt, net.caffemodel, train_lmdb and test_lmdb. */
#ifndef QF_TESTS_BITS_NET_H
#define QF_TESTS_BITS_NET_H

#include "harness/harness.h"

/* For cmocka_run_group_tests(), instead of test_start_in_folder(). */
int test_bits_start(void **state);
/* qf_free() it. */
char *test_bits_text(const char *name);
/* Of config.json: qat.prototxt, qat.caffemodel, record.txt. */
qf_status test_bits_prepare(void);
/* What the quantisers in front of a layer of qat.prototxt have. */
void test_assert_bits(const char *layer, int weights, int activations);

#endif
