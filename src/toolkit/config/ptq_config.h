/* The configuration of calibration without retraining (AMCT specification of post-training
 * quantisation, sections 2 to 4): what is in qf_config, with defaults, checks and files of its own.
 * Sentences are AMCT's, word by word. */
#ifndef QF_TOOLKIT_CONFIG_PTQ_CONFIG_H
#define QF_TOOLKIT_CONFIG_PTQ_CONFIG_H

#include "toolkit/config/config.h"
#include "toolkit/config/ptq_settings.h"

/* Every layer that can be quantised, enabled, with defaults. */
qf_status qf_ptq_defaults(qf_context *context, const Caffe__NetParameter *net,
                          const Caffe__NetParameter *weights, qf_config *out);
/* Instead of a .cfg. */
qf_status qf_ptq_apply_options(qf_context *context, const Caffe__NetParameter *net,
                               const qf_quant_options *options, qf_config *config);
/* A simplified configuration (.cfg, AMCTConfig in text format) onto the defaults. */
qf_status qf_ptq_apply_definition(qf_context *context, const Caffe__NetParameter *net,
                                  const char *path, qf_config *config);

/* Non-uniform quantisation of the layers that the mapping file of a nuq_config marks. */
qf_status qf_ptq_apply_mapping(qf_context *context, const Caffe__NetParameter *net,
                               const char *path, qf_config *config);

/* Parts of both; names are pointers to strings, const or not. */
qf_status qf_ptq_skip(qf_context *context, const Caffe__NetParameter *net, const void *names,
                      size_t count, qf_config *config);
qf_status qf_ptq_check_type(qf_context *context, const char *type);
/* Fails with the sentence where no layer is enabled. */
qf_status qf_ptq_need_layers(qf_context *context, const qf_config *config, const char *sentence);

/* Do the values make sense? In the net's order; the first that does not is named. */
qf_status qf_ptq_check(qf_context *context, const Caffe__NetParameter *net,
                       const qf_config *config);
qf_status qf_ptq_check_layer(qf_context *context, const qf_layer_config *layer);

/* JSON, as AMCT writes it: layers in the order of their names. Reading goes on top of the defaults:
 * what the file does not name stays float. */
qf_status qf_ptq_write(qf_context *context, const qf_config *config, const char *path);
qf_status qf_ptq_read(qf_context *context, const Caffe__NetParameter *net, const char *path,
                      qf_config *config);

/* Both; a file that quantises nothing is an error. */
qf_status qf_ptq_load(qf_context *context, const Caffe__NetParameter *net,
                      const Caffe__NetParameter *weights, const char *path, qf_config *config);

#endif
