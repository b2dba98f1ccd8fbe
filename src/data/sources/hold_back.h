/* Items of training data that are left out, to measure on: which they are follows from their
 * numbers and a seed alone, so that all who read the same data agree. */
#ifndef QF_DATA_SOURCES_HOLD_BACK_H
#define QF_DATA_SOURCES_HOLD_BACK_H

#include "data/sources/data_source.h"

/* Does a reader of this share (hold_back_param) get item `index`? */
bool qf_hold_back_gives(const Caffe__HoldBackParameter *param, uint64_t index);
/* How many of items 0 … items − 1 it gets. */
uint64_t qf_hold_back_count(const Caffe__HoldBackParameter *param, uint64_t items);
/* Does the parameter make sense? */
qf_status qf_hold_back_check(qf_context *context, const Caffe__HoldBackParameter *param);

/* The source gives only these from now on; `param` is borrowed. One whose items have no numbers is
 * refused. It is closed where this fails. */
qf_status qf_hold_back_source(qf_context *context, const Caffe__HoldBackParameter *param,
                              qf_data_source *source);

#endif
