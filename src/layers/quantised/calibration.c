/* How far a layer of a calibration model has come, whichever it is. */
#include "layers/quantised/calibration.h"

qf_calibration_progress qf_calibration_of(const qf_layer *layer)
{
    if (layer->type == &qf_ifmr_layer || layer->type == &qf_hfmg_layer)
        return qf_find_range_progress(layer);
    if (layer->type == &qf_search_n_layer)
        return qf_search_n_progress(layer);
    return (qf_calibration_progress){0};
}
