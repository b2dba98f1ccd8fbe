/* SearchN, as seen by those who plan how many batches a net is tested with. */
#ifndef QF_LAYERS_QUANTISED_SEARCH_N_H
#define QF_LAYERS_QUANTISED_SEARCH_N_H

#include "layers/layer.h"

/* How many batches of one TEST phase the search takes to its end. */
int qf_search_n_batches(const qf_layer *layer);
#endif
