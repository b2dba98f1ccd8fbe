/* Empirical bias correction: quantised weights and inputs shift the mean of each channel; the
 * shift is measured and taken from the bias. */
#ifndef QF_TOOLKIT_RUN_BIAS_CORRECTION_H
#define QF_TOOLKIT_RUN_BIAS_CORRECTION_H

#include "toolkit/ptq/quant_graph.h"
#include "toolkit/run/flow.h"

/* Corrects the biases of a calibrated graph, layer by layer from the front, each over `batches`
 * batches of `data`. `weights` are the float net's that the graph was made of. Its models at the
 * flow's save_path are written on the way, without the correction. */
qf_status qf_run_correct_biases(qf_flow *flow, qf_quant_graph *graph, const char *model,
                                const char *weights, const qf_data_options *data, int batches);

#endif
