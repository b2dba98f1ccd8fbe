/* QDQ: what Quant, DeQuant and the layers between them become. Codes are those of the model, also
 * of a fake-quant one, whose weights lie on their grid. */
#include "base/memory.h"
#include "layers/quantised/quant_layers.h"
#include "model/quant_codes.h"
#include "onnx/export/export_layers.h"
#include "onnx/export/quantised_values.h"
#include "quant/quant.h"

#include <math.h>
#include <string.h>

qf_activation_code qf_onnx_activation(const qf_layer *quant, bool is_signed)
{
    const Caffe__QuantParameter *p = quant->param->quant_param;
    const qf_quant_codes_of codes = qf_quant_codes_read(p);
    const int offset = codes.offset_d;
    qf_activation_code code = {.scale = 1 / p->scale,
                               .zero = offset + 128,
                               .lowest = codes.low + 128,
                               .highest = codes.high + 128};
    if (codes.bits != 8 && (is_signed || codes.bits > 8)) /* int8 has room for these steps */
        return (qf_activation_code){
            .scale = code.scale, .lowest = codes.low - offset, .highest = codes.high - offset};
    if (!is_signed)
        return code;
    /* Symmetric: a range that is not becomes as wide as its longer side. */
    const float below = code.scale * (float)(128 + offset) / 128,
                above = code.scale * (float)(127 - offset) / 127;
    if (offset != 0)
        code.scale = above > below ? above : below;
    return (qf_activation_code){.scale = code.scale, .lowest = -128, .highest = 127};
}

/* ---- activations ---- */

static const char *zero_point(qf_onnx_export *e, int zero)
{
    const int8_t value = (int8_t)zero; /* the byte is the same of both types */
    return qf_constant(e->maker, "zero_point",
                       e->signed_activations ? ONNX__TENSOR__DATA_TYPE__INT8
                                             : ONNX__TENSOR__DATA_TYPE__UINT8,
                       &value, 1, NULL, 0);
}

/* Steps that no type of QuantizeLinear before operator set 21 holds. */
static const char *in_steps(qf_onnx_export *e, const qf_activation_code *code)
{
    qf_graph_maker *m = e->maker;
    const char *scale = qf_floats(m, "scale", &code->scale, NULL, 0);
    const char *steps = qf_unary(m, "Round", qf_binary(m, "Div", qf_onnx_bottom(e, 0), scale));
    const char *kept = qf_node(
        m, "Clip",
        QF_INPUTS(steps, qf_scalar(m, (float)code->lowest), qf_scalar(m, (float)code->highest)),
        QF_NO_ATTRIBUTES);
    return qf_binary(m, "Mul", kept, scale);
}

/* Fewer codes than the type has: what is beyond them is clipped before. */
static const char *clipped(qf_onnx_export *e, const qf_activation_code *code)
{
    qf_graph_maker *m = e->maker;
    return qf_node(m, "Clip",
                   QF_INPUTS(qf_onnx_bottom(e, 0),
                             qf_scalar(m, code->scale * (float)(code->lowest - code->zero)),
                             qf_scalar(m, code->scale * (float)(code->highest - code->zero))),
                   QF_NO_ATTRIBUTES);
}

void qf_onnx_quant(qf_onnx_export *e)
{
    const qf_activation_code code = qf_onnx_activation(e->layer, e->signed_activations);
    const int levels = code.highest - code.lowest;
    if (levels > 255) {
        qf_onnx_set_top(e, 0, in_steps(e, &code));
        return;
    }
    const char *input = levels < 255 ? clipped(e, &code) : qf_onnx_bottom(e, 0);
    const char *scale = qf_floats(e->maker, "scale", &code.scale, NULL, 0),
               *zero = zero_point(e, code.zero);
    const char *codes =
        qf_node(e->maker, "QuantizeLinear", QF_INPUTS(input, scale, zero), QF_NO_ATTRIBUTES);
    qf_onnx_set_top(
        e, 0,
        qf_node(e->maker, "DequantizeLinear", QF_INPUTS(codes, scale, zero), QF_NO_ATTRIBUTES));
}

/* ---- weights ---- */

static const qf_layer *quant_of(const qf_onnx_export *e)
{
    const qf_layer *quant = qf_net_producer(e->net, e->layer->bottom[0], e->layer);
    return quant && strcmp(quant->type->name, "Quant") == 0 ? quant : NULL;
}

static qf_status make_room(qf_onnx_export *e, qf_quantised_values *v)
{
    const qf_layer *layer = e->layer;
    v->scales = qf_blob_count(layer->dequant->params[0].blob);
    v->outputs = layer->param_count > 1 ? qf_blob_count(layer->params[1].blob) : 0;
    v->scale = qf_alloc(v->scales, sizeof *v->scale);
    v->codes = qf_alloc(qf_blob_count(layer->params[0].blob), 1);
    v->bias = qf_alloc(v->outputs, sizeof *v->bias);
    v->bias_scale = qf_alloc(v->scales, sizeof *v->bias_scale);
    return v->scale && v->codes && v->bias && v->bias_scale
               ? QF_OK
               : qf_fail(e->context, QF_E_MEMORY, "no memory for codes");
}

qf_status qf_dequant_factors(qf_context *context, const qf_layer *dequant, float *steps,
                             int *shifts)
{
    const size_t count = qf_blob_count(dequant->params[0].blob);
    const uint64_t *words;
    const float *deq, *shift;
    int offset;
    if (qf_dequant_is_deployed(dequant)) {
        QF_TRY(qf_tensor_read(context, dequant->params[0].blob->data, QF_WORDS, &words));
        for (size_t c = 0; c < count; c++)
            qf_unpack_dequant(words[c], &steps[c], &shifts[c], &offset);
    } else {
        QF_TRY(qf_read(context, dequant->params[0].blob->data, QF_PLAIN, &deq));
        QF_TRY(qf_read(context, dequant->params[1].blob->data, QF_PLAIN, &shift));
        for (size_t c = 0; c < count; c++) {
            steps[c] = deq[c];
            shifts[c] = (int)shift[c];
        }
    }
    for (size_t c = 0; c < count; c++)
        if (!(steps[c] > 0))
            return qf_fail(context, QF_E_VALUE,
                           "layer %s: deq_scale %zu is %g, expected a positive number; are these "
                           "the weights of a quantised model?",
                           dequant->name, c, (double)steps[c]);
    return QF_OK;
}

static qf_status find_weight_codes(qf_onnx_export *e, qf_quantised_values *v)
{
    qf_tensor *weights = e->layer->params[0].blob->data;
    const size_t count = qf_shape_count(&weights->shape);
    const int8_t *codes;
    const float *w;
    if (qf_layer_is_deployed(e->layer)) {
        QF_TRY(qf_tensor_read(e->context, weights, QF_WEIGHT_CODES, &codes));
        memcpy(v->codes, codes, count);
        return QF_OK;
    }
    QF_TRY(qf_read(e->context, weights, QF_PLAIN, &w));
    for (size_t i = 0; i < count; i++) {
        const float code = rintf(w[i] / v->scale[i / v->inner % v->scales]);
        v->codes[i] = (int8_t)fmaxf(-128, fminf(127, code));
    }
    return QF_OK;
}

/* On the grid of the accumulators; another one where the activation's scale has changed. */
static qf_status find_bias_codes(qf_onnx_export *e, const float *steps, qf_quantised_values *v)
{
    const bool deployed = qf_layer_is_deployed(e->layer);
    const int32_t *codes = NULL;
    const float *b = NULL;
    if (!v->outputs)
        return QF_OK;
    if (deployed)
        QF_TRY(qf_tensor_read(e->context, e->layer->params[1].blob->data, QF_INTEGERS, &codes));
    else
        QF_TRY(qf_read(e->context, e->layer->params[1].blob->data, QF_PLAIN, &b));
    for (size_t c = 0; c < v->outputs; c++) {
        const size_t s = v->scales == 1 ? 0 : c;
        const double bias = deployed ? (double)codes[c] * (double)steps[s] : (double)b[c];
        const double code = rint(bias / (double)v->bias_scale[s]);
        if (fabs(code) > INT32_MAX)
            return qf_fail(e->context, QF_E_VALUE, "layer %s: no int32 holds the code of bias %zu",
                           e->layer->name, c);
        v->bias[c] = (int32_t)code;
    }
    return QF_OK;
}

qf_status qf_quantised_values_find(qf_onnx_export *e, qf_quantised_values *v)
{
    const qf_layer *quant = quant_of(e);
    const qf_shape *shape = qf_blob_shape(e->layer->params[0].blob);
    *v = (qf_quantised_values){0};
    if (!quant)
        return qf_fail(e->context, QF_E_MISMATCH,
                       "layer %s has a DeQuant layer, but no Quant layer in front of it",
                       e->layer->name);
    QF_TRY(make_room(e, v));
    const float before = qf_onnx_activation(quant, false).scale;
    const float now = qf_onnx_activation(quant, e->signed_activations).scale;
    v->axis = v->scales > 1 && strcmp(e->layer->type->name, "Deconvolution") == 0;
    v->inner = v->scales > 1 ? qf_shape_count_range(shape, v->axis + 1, shape->axes) : 1;
    if (v->scales > 1 && (size_t)shape->dim[v->axis] != v->scales)
        return qf_fail(e->context, QF_E_UNSUPPORTED,
                       "layer %s of type %s cannot be exported to ONNX: it has %zu scales of "
                       "weights, which DequantizeLinear cannot tell along one axis",
                       e->layer->name, e->layer->type->name, v->scales);
    float *steps = qf_alloc(v->scales, sizeof *steps);
    int *shifts = qf_alloc(v->scales, sizeof *shifts);
    qf_status status = steps && shifts
                           ? qf_dequant_factors(e->context, e->layer->dequant, steps, shifts)
                           : qf_fail(e->context, QF_E_MEMORY, "no memory for factors");
    for (size_t c = 0; c < v->scales && status == QF_OK; c++) {
        v->scale[c] = steps[c] / before;
        v->bias_scale[c] = now == before ? steps[c] : now * v->scale[c];
    }
    if (status == QF_OK)
        status = find_weight_codes(e, v);
    if (status == QF_OK)
        status = find_bias_codes(e, steps, v);
    qf_free(steps);
    qf_free(shifts);
    return status;
}

void qf_quantised_values_release(qf_quantised_values *v)
{
    qf_free(v->scale);
    qf_free(v->codes);
    qf_free(v->bias);
    qf_free(v->bias_scale);
}

/* Integers, their scales and zeros, and the node that makes floats of them. */
static const char *dequantised(qf_onnx_export *e, const char *const names[3],
                               Onnx__Tensor__DataType type, const void *codes, size_t bytes,
                               const int64_t *dims, int axes, const float *scale, size_t scales,
                               int axis)
{
    const int64_t along = (int64_t)scales;
    const int scale_axes = scales > 1;
    const size_t width = type == ONNX__TENSOR__DATA_TYPE__INT32 ? 4 : 1;
    char *zeros = qf_alloc(scales, width);
    if (!zeros) {
        e->maker->status = qf_fail(e->context, QF_E_MEMORY, "no memory for zero points");
        return "";
    }
    const char *inputs[] = {
        qf_constant(e->maker, names[0], type, codes, bytes, dims, axes),
        qf_floats(e->maker, names[1], scale, &along, scale_axes),
        qf_constant(e->maker, names[2], type, zeros, scales * width, &along, scale_axes),
    };
    qf_free(zeros);
    return qf_node(e->maker, "DequantizeLinear", inputs, 3, QF_ATTRIBUTES(QF_INT("axis", axis)));
}

static void put_quantised(qf_onnx_export *e, const qf_quantised_values *v, const char **weights,
                          const char **bias)
{
    static const char *const of_weights[] = {"weights", "weight_scale", "weight_zero_point"};
    static const char *const of_bias[] = {"bias", "bias_scale", "bias_zero_point"};
    const qf_shape *shape = qf_blob_shape(e->layer->params[0].blob);
    const int64_t outputs = (int64_t)v->outputs;
    int64_t dims[QF_MAX_AXES];
    for (int i = 0; i < shape->axes; i++)
        dims[i] = shape->dim[i];
    *weights = dequantised(e, of_weights, ONNX__TENSOR__DATA_TYPE__INT8, v->codes,
                           qf_shape_count(shape), dims, shape->axes, v->scale, v->scales, v->axis);
    if (v->outputs)
        *bias = dequantised(e, of_bias, ONNX__TENSOR__DATA_TYPE__INT32, v->bias,
                            v->outputs * sizeof *v->bias, &outputs, 1, v->bias_scale, v->scales, 0);
}

void qf_onnx_weights(qf_onnx_export *e, const char **weights, const char **bias)
{
    *weights = "";
    *bias = NULL;
    if (e->maker->status != QF_OK)
        return;
    if (!e->layer->dequant) {
        *weights = qf_onnx_param_value(e, 0, "weights");
        *bias = e->layer->param_count > 1 ? qf_onnx_param_value(e, 1, "bias") : NULL;
        return;
    }
    qf_quantised_values values;
    e->maker->status = qf_quantised_values_find(e, &values);
    if (e->maker->status == QF_OK)
        put_quantised(e, &values, weights, bias);
    qf_quantised_values_release(&values);
}

/* ---- the shift ---- */

/* Of each channel, for values with channels on axis 1. */
static const char *by_channel(qf_onnx_export *e, const char *what, const float *values,
                              size_t count)
{
    const int axes = qf_onnx_bottom_shape(e, 0)->axes;
    int64_t dims[QF_MAX_AXES];
    for (int i = 1; i < axes - 1; i++)
        dims[i] = 1;
    dims[0] = (int64_t)count;
    return qf_floats(e->maker, what, values, dims, count > 1 ? axes - 1 : 0);
}

/* clip16(acc / 2^N rounded half away from zero) · 2^N, as AMCT's hardware does it. */
static const char *shifted(qf_onnx_export *e, const float *steps, const int *shifts, size_t count,
                           float *scratch)
{
    qf_graph_maker *m = e->maker;
    const char *step = by_channel(e, "step", steps, count);
    for (size_t c = 0; c < count; c++)
        scratch[c] = ldexpf(1, -shifts[c]);
    const char *share = by_channel(e, "share", scratch, count);
    for (size_t c = 0; c < count; c++)
        scratch[c] = ldexpf(steps[c], shifts[c]);
    const char *wide_step = by_channel(e, "wide_step", scratch, count);
    const char *sums =
        qf_unary(m, "Round", qf_binary(m, "Div", qf_onnx_bottom(e, 0), step)); /* integers */
    const char *parts = qf_binary(m, "Mul", sums, share);
    const char *sizes = qf_unary(m, "Floor", qf_onnx_plus(e, qf_unary(m, "Abs", parts), 0.5f));
    const char *rounded = qf_binary(m, "Mul", qf_unary(m, "Sign", parts), sizes);
    const char *clipped = qf_node(
        m, "Clip", QF_INPUTS(rounded, qf_scalar(m, -32768), qf_scalar(m, 32767)), QF_NO_ATTRIBUTES);
    return qf_binary(m, "Mul", clipped, wide_step);
}

void qf_onnx_de_quant(qf_onnx_export *e)
{
    const size_t count = qf_blob_count(e->layer->params[0].blob);
    if (!e->keep_shift) {
        qf_onnx_same(e);
        return;
    }
    float *steps = qf_alloc(2 * count, sizeof *steps);
    int *shifts = qf_alloc(count, sizeof *shifts);
    bool any = false;
    e->maker->status = steps && shifts ? qf_dequant_factors(e->context, e->layer, steps, shifts)
                                       : qf_fail(e->context, QF_E_MEMORY, "no memory for factors");
    for (size_t c = 0; c < count && e->maker->status == QF_OK; c++)
        any |= shifts[c] > 0;
    if (any)
        qf_onnx_set_top(e, 0, shifted(e, steps, shifts, count, steps + count));
    else
        qf_onnx_same(e);
    qf_free(steps);
    qf_free(shifts);
}
