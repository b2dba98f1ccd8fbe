/* Weights on a grid, and their codes. */
#include "layers/quantised/weight_codes.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

qf_weight_layout qf_weight_layout_of(const qf_shape *weights, bool deconvolution, bool channel_wise)
{
    size_t count = qf_shape_count(weights);
    if (!channel_wise || weights->axes == 0)
        return (qf_weight_layout){1, 1, count};
    if (deconvolution && weights->axes > 1)
        return (qf_weight_layout){(size_t)weights->dim[0], (size_t)weights->dim[1],
                                  qf_shape_count_range(weights, 2, weights->axes)};
    return (qf_weight_layout){1, (size_t)weights->dim[0],
                              qf_shape_count_range(weights, 1, weights->axes)};
}

/* Codes of weights on the grid `scale`; false if a weight is off the grid. */
static bool find_codes(const float *w, qf_weight_layout layout, const float *scale, int8_t *codes)
{
    const float tolerance = 1e-3f; /* of a step; rounding of q · scale leaves 1e-5 */
    for (size_t o = 0; o < layout.outer; o++)
        for (size_t c = 0; c < layout.channels; c++)
            for (size_t i = 0; i < layout.inner; i++) {
                size_t at = (o * layout.channels + c) * layout.inner + i;
                float quotient = w[at] / scale[c], code = rintf(quotient);
                if (!(fabsf(quotient - code) <= tolerance) || code < -128 || code > 127)
                    return false;
                codes[at] = (int8_t)code;
            }
    return true;
}

qf_status qf_attach_weight_codes(qf_layer *layer, const qf_layer *dequant, float scale_d)
{
    qf_context *context = layer->context;
    qf_tensor *weights = layer->params[0].blob->data, *deq = dequant->params[0].blob->data;
    bool deconvolution = strcmp(layer->type->name, "Deconvolution") == 0;
    size_t count = qf_shape_count(&deq->shape);
    qf_weight_layout layout = qf_weight_layout_of(&weights->shape, deconvolution, count > 1);
    const float *deq_scale, *w;
    int8_t *codes;
    if (layout.channels != count)
        return QF_OK;
    QF_TRY(qf_read(context, deq, QF_PLAIN, &deq_scale));
    QF_TRY(qf_read(context, weights, QF_PLAIN, &w));
    float *scale = qf_alloc(count, sizeof *scale);
    int8_t *found = qf_alloc_raw(qf_shape_count(&weights->shape), 1);
    qf_status status =
        scale && found ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for codes");
    for (size_t c = 0; status == QF_OK && c < count; c++)
        scale[c] = deq_scale[c] / scale_d;
    if (status == QF_OK && find_codes(w, layout, scale, found)) {
        status = qf_tensor_attach(context, weights, QF_WEIGHT_CODES, &codes);
        if (status == QF_OK) {
            memcpy(codes, found, qf_shape_count(&weights->shape));
            status = qf_tensor_set_weight_scale(context, weights, scale, (int)count,
                                                deconvolution && count > 1 ? 1 : 0);
        }
    }
    qf_free(scale);
    qf_free(found);
    return status;
}
