/* Layers whose weights keep a few of the 256 codes (AMCT specification of post-training
 * quantisation, section 12). */
#ifndef QF_TOOLKIT_PTQ_NON_UNIFORM_H
#define QF_TOOLKIT_PTQ_NON_UNIFORM_H

#include "quant/quant.h"

/* At most `steps` different codes remain, those nearest to what there were. */
void qf_nuq_restrict(int8_t *codes, size_t count, int steps);

/* The codes of weights that ARQ has quantised, and its scales: the codes are restricted to `steps`
 * of them, and up to `iterations` times scales are fitted to them and codes found anew, as long as
 * the weights come nearer to what they were. The codes are then those of the weights by the scales,
 * restricted. */
qf_status qf_nuq_quantise(qf_context *context, const float *w, qf_weight_layout layout, int steps,
                          int iterations, float *scale, int8_t *codes);

#endif
