/* The configuration of quantisation-aware training: which layers, how (AMCT specification, section
 * C). */
#ifndef QF_TOOLKIT_CONFIG_CONFIG_H
#define QF_TOOLKIT_CONFIG_CONFIG_H

#include "toolkit/config/support.h"

typedef enum qf_choice { QF_AUTOMATIC, QF_NO, QF_YES } qf_choice;

typedef struct qf_layer_config {
    char *name;
    const char *type; /* borrowed from the net */
    qf_support support;
    bool enabled, explicitly_enabled;
    bool has_clip;
    float clip_max, clip_min; /* only with has_clip; else measured on the first batch */
    qf_choice fixed_min;
    bool channel_wise;
} qf_layer_config;

typedef struct qf_config {
    int batch_num; /* of the search of shifts */
    bool has_batch_num;
    qf_layer_config *layers; /* every layer that can be quantised, in the order of the net */
    size_t count, capacity;
} qf_config;

/* Defaults for every layer of the net that can be quantised. "No supported layers" if there is
 * none. */
qf_status qf_config_defaults(qf_context *context, const Caffe__NetParameter *net,
                             const Caffe__NetParameter *weights, qf_config *out);
void qf_config_release(qf_config *config);
qf_layer_config *qf_config_find(const qf_config *config, const char *layer);

/* Apply a simplified configuration (.cfg) to the defaults. */
qf_status qf_config_apply_definition(qf_context *context, const Caffe__NetParameter *net,
                                     const char *path, qf_config *config);
/* JSON, as AMCT writes it. Reading goes on top of the defaults of the net. */
qf_status qf_config_write(qf_context *context, const qf_config *config, const char *path);
qf_status qf_config_read(qf_context *context, const Caffe__NetParameter *net, const char *path,
                         qf_config *config);

/* For messages: the layer is in the net, but cannot be quantised; or is not there at all. */
qf_status qf_config_unknown_layer(qf_context *context, const Caffe__NetParameter *net,
                                  const char *name);

#endif
