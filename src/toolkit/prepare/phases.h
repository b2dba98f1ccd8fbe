/* In which phases a layer of a message is, and putting it into one alone. */
#ifndef QF_TOOLKIT_PREPARE_PHASES_H
#define QF_TOOLKIT_PREPARE_PHASES_H

#include "model/model.h"

/* The net as a solver sees it in this phase: a copy. */
qf_status qf_phase_view(qf_context *context, const Caffe__NetParameter *net, qf_phase phase,
                        Caffe__NetParameter **out);
/* Could the layer be in this phase, whatever its levels and stages say? */
bool qf_phase_has(const Caffe__LayerParameter *layer, qf_phase phase);
/* From now on in this phase only, where its other rules let it be. */
qf_status qf_phase_restrict(qf_context *context, Caffe__LayerParameter *layer, qf_phase phase);

#endif
