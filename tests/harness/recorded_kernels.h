/* Kernels that more than one recorded set has. */
#ifndef QF_TESTS_RECORDED_KERNELS_H
#define QF_TESTS_RECORDED_KERNELS_H

#include "harness/recorded.h"

qf_status recorded_ifmr(run *r);
qf_status recorded_hfmg(run *r);

#endif
