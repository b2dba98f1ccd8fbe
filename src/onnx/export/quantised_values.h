/* The integers of quantised layers as an ONNX file has them. */
#ifndef QF_ONNX_EXPORT_QUANTISED_VALUES_H
#define QF_ONNX_EXPORT_QUANTISED_VALUES_H

#include "onnx/export/layer_export.h"

/* value = scale · (code − zero), lowest ≤ code ≤ highest */
typedef struct qf_activation_code {
    float scale;
    int zero, lowest, highest;
} qf_activation_code;

/* Of a Quant layer. `is_signed`: symmetric int8, as TensorRT needs it; else AMCT's codes + 128. */
qf_activation_code qf_onnx_activation(const qf_layer *quant, bool is_signed);

/* Of a DeQuant layer, fake or deployed: the step of the accumulators, and the shift, of each
 * channel or of all. */
qf_status qf_dequant_factors(qf_context *context, const qf_layer *dequant, float *steps,
                             int *shifts);

typedef struct qf_quantised_values {
    int8_t *codes; /* of the weights, in their C order */
    float *scale;  /* of the weights: one for all, or one for each index of `axis` */
    size_t scales;
    int axis;
    size_t inner;  /* weights that have one scale and lie side by side */
    int32_t *bias; /* codes · bias_scale */
    float *bias_scale;
    size_t outputs; /* biases; 0: none */
} qf_quantised_values;

/* Of the layer under way, to which a DeQuant layer belongs. */
qf_status qf_quantised_values_find(qf_onnx_export *e, qf_quantised_values *out);
void qf_quantised_values_release(qf_quantised_values *values);

#endif
