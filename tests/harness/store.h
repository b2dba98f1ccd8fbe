/* Databases of small images for tests of what reads them. */
#ifndef QF_TESTS_STORE_H
#define QF_TESTS_STORE_H

#include "data/stores/sample_store.h"
#include "harness/harness.h"

/* `count` images of 1 × 3 × 4 pixels, all of which are the image's number, with that and 100 as the
 * label and eight digits as the key. */
void test_write_store(const char *path, qf_store_format format, int count);

#endif
