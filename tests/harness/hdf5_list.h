/* Data for HDF5Data layers, in the working directory. */
#ifndef QF_TESTS_HDF5_LIST_H
#define QF_TESTS_HDF5_LIST_H

#include "harness/harness.h"

typedef struct test_top {
    const char *name; /* of a top; NULL ends the list */
    int dims[4], axes;
    const float *values;
} test_top;

/* NAME.h5, and NAME.txt, which lists it. */
void test_put_hdf5(const char *name, const test_top *arrays);

#endif
