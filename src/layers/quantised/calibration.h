/* Layers of a calibration model, as seen by those who run it: IFMR, HFMG and SearchN look at so
 * many batches, write what they have found into the record, and look no more. */
#ifndef QF_LAYERS_QUANTISED_CALIBRATION_H
#define QF_LAYERS_QUANTISED_CALIBRATION_H

#include "layers/layer.h"

typedef struct qf_calibration_progress {
    int seen, wanted; /* batches; wanted 0: the layer is none of these */
} qf_calibration_progress;

qf_calibration_progress qf_calibration_of(const qf_layer *layer);

/* By type: how far one of them has come (find_range.c, search_n.c). */
extern const qf_layer_type qf_ifmr_layer, qf_hfmg_layer, qf_search_n_layer;
qf_calibration_progress qf_find_range_progress(const qf_layer *layer);
qf_calibration_progress qf_search_n_progress(const qf_layer *layer);

#endif
