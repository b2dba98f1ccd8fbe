/* Cross-layer equalisation: channels that one layer writes loudly and the next reads softly share
 * a range with all others, so that quantisation leaves the soft ones few codes. Moving a factor
 * from one layer's weights to the other's changes nothing else. */
#ifndef QF_TOOLKIT_PREPARE_EQUALISE_H
#define QF_TOOLKIT_PREPARE_EQUALISE_H

#include "model/model.h"

/* Rescales `weights`, which are those of `net`, as `choice` says: off only looks, auto does nothing
 * where no spread is above 2^QF_EQUALISE_SPREAD. What *out has is to be destroyed also after a
 * failure. */
#define QF_EQUALISE_SPREAD 5.0
qf_status qf_equalise_net(qf_context *context, const Caffe__NetParameter *net,
                          Caffe__NetParameter *weights, qf_equalise choice, qf_equalisation **out);
bool qf_equalisation_changed(const qf_equalisation *found);
/* Says which channels were rescaled, and, where none were, which might be. */
void qf_equalisation_say(qf_context *context, const qf_equalisation *found);
/* Adds what there is to say of the layers that read such channels to their rows of a plan. */
void qf_equalisation_plan(const qf_equalisation *found, qf_plan *plan);

/* What a flow calls its equalised weights, behind its prefix. */
#define QF_EQUALISED_WEIGHTS "equalised.caffemodel"
/* A step of a flow: weights are written where some were rescaled, else what an earlier run left
 * there goes. */
qf_status qf_equalise_for_run(qf_context *context, const char *model_file, const char *weights_file,
                              qf_equalise choice, const char *equalised_weights_file,
                              bool *equalised);
/* The same without a word, of steps that have no say in it: off leaves what was read alone, which
 * may be this very file, and every other choice refuses it. */
qf_status qf_equalise_leave(qf_context *context, const char *model_file, const char *weights_file,
                            qf_equalise choice, const char *equalised_weights_file,
                            bool *equalised);
/* What PREFIX_record.txt was measured with, beside it; records of other names have nothing there.
 */
qf_status qf_equalise_leave_beside(qf_context *context, const char *model_file,
                                   const char *weights_file, qf_equalise choice,
                                   const char *record);
/* The float weights of the models at `prefix`: those, or what a flow left there. */
qf_status qf_equalised_at(qf_context *context, const char *prefix, const char *weights_file,
                          char **out);
/* Ranges of a record belong to the weights that were calibrated: auto does what was done there. */
qf_equalise qf_equalise_as_record(qf_equalise choice, const char *record);

#endif
