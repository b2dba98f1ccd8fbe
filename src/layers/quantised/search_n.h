/* What a sweep (net/schedule/sweep.c) needs of SearchN, to show it the values while they are in the
 * cache. */
#ifndef QF_LAYERS_QUANTISED_SEARCH_N_H
#define QF_LAYERS_QUANTISED_SEARCH_N_H

#include "layers/layer.h"

/* How many batches of one TEST phase the search takes to its end. */
int qf_search_n_batches(const qf_layer *layer);
/* Is its top its bottom, so that the values just go on? */
bool qf_search_n_is_in_place(const qf_layer *layer);
/* Begin one batch. *search is NULL if the layer has seen all it wants to; else every value goes
 * there once, and then the end is called, which owns it. */
qf_status qf_search_n_begin(qf_layer *layer, qf_shift_search **search);
qf_status qf_search_n_end(qf_layer *layer, qf_shift_search *search);

#endif
