/* The training data of a model, for nets of phase TEST. */
#ifndef QF_TOOLKIT_RUN_TRAINING_SOURCE_H
#define QF_TOOLKIT_RUN_TRAINING_SOURCE_H

#include "model/model.h"

/* The layer of this phase that makes the same blob as `layer`; QF_NONE: there is none. */
int qf_source_counterpart(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer,
                          qf_phase phase);
/* Does the layer read items that are counted, from a place that another layer can be given? */
bool qf_source_is_counted(const Caffe__LayerParameter *layer);
/* Would `to` have to be another kind of layer to read what `from` does? */
bool qf_source_differs(const Caffe__LayerParameter *from, const Caffe__LayerParameter *to);
/* `to` reads what `from` does: in the order that it is stored in, in batches and of a size as `to`
 * had them, all items. */
qf_status qf_source_take(qf_context *context, const Caffe__LayerParameter *from,
                         Caffe__LayerParameter *to);

/* What stands in `net`, layers of the TEST phase of `model`, reads what `model` is trained on, as
 * TEST transforms it: all of it, also what is held back from training. QF_E_UNSUPPORTED: it cannot.
 */
qf_status qf_source_train(qf_context *context, const Caffe__NetParameter *model,
                          Caffe__NetParameter *net);
/* Takes away what stands behind the last layer that measures or quantises: losses, for which labels
 * of the training data may mean nothing, and what writes lists of detections. */
void qf_source_drop_judges(Caffe__NetParameter *net);

#endif
