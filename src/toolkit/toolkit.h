/* What the steps of the flow share. */
#ifndef QF_TOOLKIT_TOOLKIT_H
#define QF_TOOLKIT_TOOLKIT_H

#include "base/amct_log.h"
#include "toolkit/config/config.h"
#include "toolkit/prepare/graph.h"

/* Model and weights, both upgraded; weights may be NULL. The caller frees both messages. The model
 * is cut (model/until.h); what trains is read whole. */
qf_status qf_toolkit_read(qf_context *context, const char *model_file, const char *weights_file,
                          Caffe__NetParameter **net, Caffe__NetParameter **weights);
qf_status qf_toolkit_read_whole(qf_context *context, const char *model_file,
                                const char *weights_file, Caffe__NetParameter **net,
                                Caffe__NetParameter **weights);
/* Names layers with parameters for which the file has nothing: in a warning, or, where it has
 * nothing for any of them, in an error. Infinite values are an error, too. */
qf_status qf_toolkit_check_weights(qf_context *context, const Caffe__NetParameter *net,
                                   const Caffe__NetParameter *weights, const char *file);
/* Only whether there is anything for the net, and without a warning. */
qf_status qf_toolkit_check_any_weights(qf_context *context, const Caffe__NetParameter *net,
                                       const Caffe__NetParameter *weights, const char *file);
bool qf_toolkit_has_parameters(const Caffe__LayerParameter *layer); /* of its own */
/* Could these files be written, and would none of them replace another or one of the inputs (NULL
 * where there is none)? Says which of them exist and will be overwritten, as AMCT does. */
qf_status qf_toolkit_check_outputs(qf_context *context, const char *const *files, int count,
                                   const char *const *inputs, int input_count);
/* Fails where the file is one of the inputs (NULL: none), which would be written over. */
qf_status qf_toolkit_check_inputs(qf_context *context, const char *file, const char *const *inputs,
                                  int count);
/* Layers by these names have one array of weights. */
bool qf_toolkit_share_weights(const Caffe__NetParameter *net, const char *a, const char *b);
/* Layers of `net` that share weights are quantised alike, or not at all. */
qf_status qf_toolkit_check_shared(qf_context *context, const Caffe__NetParameter *net,
                                  const qf_config *config);
/* What preparing will do to layer `index`; false: nothing to say of it. *row is zero before. */
bool qf_plan_describe(const Caffe__NetParameter *net, const Caffe__NetParameter *weights,
                      const qf_config *config, int index, qf_plan_row *row);
/* The net's blobs to one file, the net without them to the other; they are gone afterwards. */
qf_status qf_toolkit_write_net(qf_context *context, Caffe__NetParameter *net,
                               const char *model_file, const char *weights_file);
void qf_toolkit_say_saved(qf_context *context, const char *model_file, const char *weights_file);
/* AMCT's rule for names that begin with a prefix: "results/user_model" and "deploy" give
 * "results/user_model_deploy", "results/" gives "results/deploy". qf_free() it; NULL: no memory. */
char *qf_toolkit_name(const char *prefix, const char *tail);

#endif
