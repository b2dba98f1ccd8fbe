/* AdaRound of a calibrated net: its layers' weights get the codes with which the net puts out what
 * the float net does, rather than those that are nearest. */
#ifndef QF_TOOLKIT_RUN_LEARN_ROUNDING_H
#define QF_TOOLKIT_RUN_LEARN_ROUNDING_H

#include "toolkit/ptq/quant_graph.h"
#include "toolkit/run/flow.h"

/* Layer by layer from the front, each on what the layers before it put out with the codes that they
 * got, over as many batches of `data` as calibrated (64 at most). Scales stay. `weights` are the
 * float net's that the graph was made of. Its fake-quant model at the flow's save_path is written
 * on the way, with the nearest codes. */
qf_status qf_run_learn_rounding(qf_flow *flow, qf_quant_graph *graph, const char *model,
                                const char *weights, const qf_data_options *data, int iterations);

#endif
