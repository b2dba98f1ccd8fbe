/* How ranges learn, as configurations and options name it: AMCT's way, LSQ, LSQ+, PACT, TQT
 * (docs/numerics.md, "Ranges that learn"). */
#ifndef QF_TOOLKIT_CONFIG_RANGES_H
#define QF_TOOLKIT_CONFIG_RANGES_H

#include "toolkit/config/config.h"

/* "amct", "lsq", "lsq+", "pact", "tqt"; fails naming them. */
qf_status qf_ranges_parse(qf_context *context, const char *name, Caffe__RangeLearning *out);
const char *qf_ranges_name(Caffe__RangeLearning method);
/* What weights do where activations learn so: LSQ+ is LSQ there, PACT is AMCT's. */
Caffe__RangeLearning qf_ranges_of_weights(Caffe__RangeLearning method);

/* "algo" of config.json, of activations and of weights; NULL: there is none of weights. */
const char *qf_ranges_data_algorithm(Caffe__RangeLearning method);
const char *qf_ranges_weight_algorithm(Caffe__RangeLearning method);
/* And back; false: no such name. */
bool qf_ranges_find_data(const char *algorithm, Caffe__RangeLearning *out);
bool qf_ranges_find_weights(const char *algorithm, Caffe__RangeLearning *out);

/* The multipliers that prepare writes for the parameters of a clip range, of so many bits. */
float qf_ranges_rate(Caffe__RangeLearning method, int bits);
float qf_ranges_decay(Caffe__RangeLearning method);

/* Every enabled layer whose ranges would learn AMCT's way learns that of this name; "auto": LSQ's,
 * where weights or activations have fewer than 8 bits. Fails for a name that is none. */
qf_status qf_ranges_apply(qf_context *context, const char *name, qf_config *config);

#endif
