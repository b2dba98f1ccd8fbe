/* Kernels that more than one recorded set has, or that fill a file. */
#ifndef QF_TESTS_RECORDED_KERNELS_H
#define QF_TESTS_RECORDED_KERNELS_H

#include "harness/recorded.h"

qf_status recorded_ifmr(run *r);
qf_status recorded_hfmg(run *r);
qf_status recorded_decompose_mode(run *r);
qf_status recorded_decompose_rank(run *r);
qf_status recorded_decompose_evbmf(run *r);
qf_status recorded_decompose_weights(run *r);

#endif
