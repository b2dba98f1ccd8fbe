/* Which layers can be quantised (AMCT specification, section D.1), and why others cannot. */
#ifndef QF_TOOLKIT_CONFIG_SUPPORT_H
#define QF_TOOLKIT_CONFIG_SUPPORT_H

#include "model/model.h"

typedef struct qf_support {
    bool supported;
    bool channel_wise;  /* may its weights have a scale for each channel? */
    bool has_weights;   /* AVE Pooling has none */
    const char *reason; /* why not; NULL if supported or of a type that never is */
    bool non_uniform;   /* may its weights be quantised non-uniformly? */
} qf_support;

/* `weights`: the layer's entry of the weights file, or NULL if there is none. */
qf_support qf_layer_support(const Caffe__LayerParameter *layer,
                            const Caffe__LayerParameter *weights);
/* A type of which at least some layers can be quantised. */
bool qf_type_supported(const char *type);
size_t qf_supported_types(void); /* how many there are */
/* May weights of this supported type have a scale for each channel? */
bool qf_type_channel_wise(const char *type);

#endif
