/* The configuration of quantisation: which layers, how. That of training (AMCT specification,
 * section C) and that of calibration without it (ptq_config.h) list the same layers. */
#ifndef QF_TOOLKIT_CONFIG_CONFIG_H
#define QF_TOOLKIT_CONFIG_CONFIG_H

#include "toolkit/config/support.h"

typedef enum qf_choice { QF_AUTOMATIC, QF_NO, QF_YES } qf_choice;

typedef enum qf_range_method { QF_IFMR, QF_HFMG } qf_range_method;

typedef enum qf_weight_method { QF_ARQ, QF_NUQ } qf_weight_method;

/* How the range of a layer's input is measured without training. */
typedef struct qf_calibration {
    qf_range_method method;
    double max_percentile, min_percentile; /* IFMR */
    double search_range[2], search_step;   /* IFMR */
    int bins;                              /* HFMG */
    qf_choice asymmetric;                  /* automatic: as activation_offset says */
} qf_calibration;

typedef struct qf_layer_config {
    char *name;
    const char *type; /* borrowed from the net */
    qf_support support;
    bool enabled, explicitly_enabled;
    bool channel_wise;
    int weight_bits, activation_bits; /* 0: not said, 8 (toolkit/config/bits.h) */
    /* training: */
    bool has_clip;
    bool calibrated_clip;     /* of a record, not of the configuration */
    float clip_max, clip_min; /* only with has_clip; else measured on the first batch */
    qf_choice fixed_min;
    Caffe__RangeLearning ranges, weight_ranges; /* toolkit/config/ranges.h */
    /* calibration: */
    qf_calibration calibration;
    qf_weight_method weight_method;
    int nuq_steps, nuq_iterations; /* NUQ: codes that remain, times that scales are fitted */
} qf_layer_config;

typedef struct qf_config {
    int batch_num; /* of the search of shifts, and of calibration */
    bool has_batch_num;
    bool calibrates; /* else it is that of training */
    /* calibration: */
    bool activation_offset, joint_quant, do_fusion;
    char **skip_fusion; /* layers into which nothing is folded */
    size_t skip_fusion_count;
    qf_layer_config *layers; /* every layer that can be quantised, in the order of the net */
    size_t count, capacity;
} qf_config;

/* Defaults for every layer of the net that can be quantised. "No supported layers" if there is
 * none. */
qf_status qf_config_defaults(qf_context *context, const Caffe__NetParameter *net,
                             const Caffe__NetParameter *weights, qf_config *out);
/* The same, but none is no error. */
qf_status qf_config_list_layers(qf_context *context, const Caffe__NetParameter *net,
                                const Caffe__NetParameter *weights, qf_config *out);
void qf_config_release(qf_config *config);
qf_layer_config *qf_config_find(const qf_config *config, const char *layer);

/* Nothing is to be folded into this layer. */
qf_status qf_config_skip_fusion(qf_context *context, qf_config *config, const char *layer);
bool qf_config_skips_fusion(const qf_config *config, const char *layer);
/* May the range of this layer's input be asymmetric? */
bool qf_config_with_offset(const qf_config *config, const qf_calibration *calibration);

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
