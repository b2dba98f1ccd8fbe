/* Non-uniform quantisation (AMCT specification of post-training quantisation, section 12.2): only a
 * few of the 256 codes remain in a layer's weights, so that they compress. Which ones is a
 * clustering in one dimension, solved exactly. */
#ifndef QF_QUANT_NUQ_H
#define QF_QUANT_NUQ_H

#include <stdint.h>

enum { QF_NUQ_CODES = 256, QF_NUQ_MOST_STEPS = 32 };

/* `counts` says how often each code from −128 on occurs; `becomes`, at the same index, which code
 * takes its place, so that at most `steps` remain and the sum of squared distances is the least
 * there is. Of two centres that are as good the lower one is taken. Where no more than `steps`
 * codes occur, all stay. */
void qf_nuq_cluster(const uint64_t counts[QF_NUQ_CODES], int steps, int8_t becomes[QF_NUQ_CODES]);

#endif
