/* Kernels of golden_amct.c that have a file of their own. */
#ifndef QF_TESTS_AMCT_KERNELS_H
#define QF_TESTS_AMCT_KERNELS_H

#include "harness/recorded.h"

qf_status amct_auto_calibration(run *r);

#endif
