/* The steps of preparing a net: its layers (insert_quantisers.c), and their weights
 * (prepared_weights.c). */
#ifndef QF_TOOLKIT_PREPARE_PREPARE_H
#define QF_TOOLKIT_PREPARE_PREPARE_H

#include "toolkit/prepare/teacher.h"
#include "toolkit/toolkit.h"

typedef struct qf_preparation {
    qf_context *context;
    Caffe__NetParameter *net, *weights;
    const qf_config *config;
    const char *record;
    qf_teacher teacher;
} qf_preparation;

/* A caller's options, or NULL. */
qf_status qf_retrain_options_take(qf_context *context, const qf_retrain_options *given,
                                  qf_retrain_options *out);
/* What is to be done to a net: its configuration, and in it what `options` add, which may also
 * change the net's BatchNorm layers. `config` is to be released also after a failure. */
qf_status qf_retrain_config(qf_context *context, Caffe__NetParameter *net,
                            const Caffe__NetParameter *weights, const char *model_file,
                            const char *config_file, const qf_retrain_options *options,
                            qf_config *config);
/* The checks of all layers, and what is inserted for those that are enabled. */
qf_status qf_prepare_layers(qf_preparation *p);
/* ActivationQAT and WeightQAT in front of the layer that `config` is of, SearchN behind it. */
qf_status qf_prepare_insert(qf_preparation *p, const qf_layer_config *config);
/* SearchN in place on `blob`, named "<layer>_<suffix>"; what *out has is to be freed also after a
 * failure. */
qf_status qf_prepare_new_search(qf_context *context, const qf_layer_config *config,
                                const char *suffix, const char *blob, int batch_num,
                                const char *record, Caffe__LayerParameter **out);
/* "<layer>_<suffix>", to be freed with qf_free(); `suffix` NULL: the name alone. */
qf_status qf_prepare_name(qf_context *context, char **out, const char *layer, const char *suffix);
/* The weights file in the order of the new net: all that was there, and the new layers. What *out
 * has is to be freed also after a failure. */
qf_status qf_prepare_weights(qf_preparation *p, Caffe__NetParameter **out);

#endif
