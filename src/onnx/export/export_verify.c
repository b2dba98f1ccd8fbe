/*
 * How far is what an exported QDQ file means from the model it was made of? A second net of the
 * same layers runs beside the model on the same batches, layer by layer: its weights and biases are
 * the file's integers times the file's scales, Quant is computed as ONNX defines QuantizeLinear and
 * DequantizeLinear, and DeQuant does nothing, as in the file, or shifts, where the file does. All
 * else is float, by this library.
 */
#include "onnx/export/export_verify.h"

#include "base/memory.h"
#include "onnx/export/net_for_export.h"
#include "onnx/export/quantised_values.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"

#include <math.h>
#include <string.h>

typedef struct comparison {
    qf_context *context;
    const Onnx__Graph *graph;
    qf_net *model, *meant;
    bool shifts; /* the file has them */
    qf_onnx_result *found;
} comparison;

/* ---- what is in the file ---- */

static const Onnx__Tensor *find(const comparison *c, const char *layer, const char *what)
{
    const size_t length = strlen(layer);
    for (size_t i = 0; i < c->graph->n_initializer; i++) {
        const char *name = c->graph->initializer[i]->name;
        if (strncmp(name, layer, length) == 0 && name[length] == '.' &&
            strcmp(name + length + 1, what) == 0)
            return c->graph->initializer[i];
    }
    return NULL;
}

static qf_status need(const comparison *c, const char *layer, const char *what,
                      const Onnx__Tensor **out)
{
    *out = find(c, layer, what);
    return *out ? QF_OK
                : qf_fail(c->context, QF_E_MISMATCH,
                          "the exported model has no %s of layer %s; do the model and its data "
                          "belong together?",
                          what, layer);
}

static double value_at(const Onnx__Tensor *tensor, size_t index)
{
    const uint8_t *bytes = tensor->raw_data.data;
    int32_t integer;
    float real;
    switch (tensor->data_type) {
    case ONNX__TENSOR__DATA_TYPE__INT8:
        return (int8_t)bytes[index];
    case ONNX__TENSOR__DATA_TYPE__UINT8:
        return bytes[index];
    case ONNX__TENSOR__DATA_TYPE__INT32:
        memcpy(&integer, bytes + index * sizeof integer, sizeof integer);
        return integer;
    default:
        memcpy(&real, bytes + index * sizeof real, sizeof real);
        return (double)real;
    }
}

/* DequantizeLinear of constants: scales go along axis 0, or along axis 1 of a Deconvolution. */
static qf_status dequantise(comparison *c, const qf_layer *layer, const char *what,
                            const char *scale_name, int axis, qf_blob *to)
{
    const Onnx__Tensor *codes, *scales;
    const qf_shape *shape = qf_blob_shape(to);
    float *values;
    QF_TRY(need(c, layer->name, what, &codes));
    QF_TRY(need(c, layer->name, scale_name, &scales));
    QF_TRY(qf_write(c->context, to->data, QF_PLAIN, &values));
    const size_t count = scales->n_dims ? (size_t)scales->dims[0] : 1;
    const size_t inner = qf_shape_count_range(shape, axis + 1, shape->axes);
    for (size_t i = 0; i < qf_shape_count(shape); i++)
        values[i] =
            (float)value_at(codes, i) * (float)value_at(scales, count == 1 ? 0 : i / inner % count);
    return QF_OK;
}

/* A deployed one gets the floats of a fake-quant model. */
static qf_status take_shift(comparison *c, const qf_layer *from, qf_layer *to)
{
    const size_t count = qf_blob_count(from->params[0].blob);
    float *deq, *shift;
    int *shifts = qf_alloc(count, sizeof *shifts);
    if (!shifts)
        return qf_fail(c->context, QF_E_MEMORY, "no memory for shifts");
    qf_status status = qf_write(c->context, to->params[0].blob->data, QF_PLAIN, &deq);
    if (status == QF_OK)
        status = qf_write(c->context, to->params[1].blob->data, QF_PLAIN, &shift);
    if (status == QF_OK)
        status = qf_dequant_factors(c->context, from, deq, shifts);
    for (size_t i = 0; i < count && status == QF_OK; i++)
        shift[i] = (float)shifts[i];
    qf_free(shifts);
    return status;
}

static qf_status take_parameters(comparison *c, const qf_layer *from, qf_layer *to)
{
    const int axis = strcmp(from->type->name, "Deconvolution") == 0;
    if (strcmp(from->type->name, "DeQuant") == 0)
        return c->shifts ? take_shift(c, from, to) : QF_OK;
    for (int i = 0; i < from->param_count; i++)
        QF_TRY(!from->dequant ? qf_tensor_copy(c->context, to->params[i].blob->data,
                                               from->params[i].blob->data)
               : i == 0 ? dequantise(c, from, "weights", "weight_scale", axis, to->params[0].blob)
                        : dequantise(c, from, "bias", "bias_scale", 0, to->params[1].blob));
    return QF_OK;
}

/* ---- layers of a batch ---- */

/* QuantizeLinear: x / scale rounded half to even, plus the zero point, saturated to the type. */
static float code_of(float x, float scale, float zero, float lowest, float highest)
{
    const float code = rintf(x / scale) + zero;
    return code < lowest ? lowest : code > highest ? highest : code;
}

/* Codes of another scale, which symmetric ones may have, cannot be compared. */
static qf_status quantise_codes(comparison *c, const qf_layer *model, qf_layer *meant)
{
    const Onnx__Tensor *scale_tensor, *zero_tensor;
    QF_TRY(need(c, model->name, "scale", &scale_tensor));
    QF_TRY(need(c, model->name, "zero_point", &zero_tensor));
    const bool is_signed = zero_tensor->data_type == ONNX__TENSOR__DATA_TYPE__INT8;
    const float scale = (float)value_at(scale_tensor, 0), zero = (float)value_at(zero_tensor, 0);
    const qf_activation_code kept = qf_onnx_activation(model, is_signed);
    const float lowest = (float)kept.lowest, highest = (float)kept.highest;
    const qf_tensor *coded = model->top[0]->data;
    const size_t count = qf_blob_count(model->top[0]);
    const uint8_t *codes;
    const float *x;
    float *y;
    QF_TRY(qf_blob_reshape_like(meant->top[0], meant->bottom[0]));
    QF_TRY(qf_tensor_read(c->context, model->top[0]->data, QF_CODES, &codes));
    QF_TRY(qf_read(c->context, meant->bottom[0]->data, QF_NHWC, &x));
    QF_TRY(meant->top[0] == meant->bottom[0]
               ? qf_update(c->context, meant->top[0]->data, QF_NHWC, &y)
               : qf_write(c->context, meant->top[0]->data, QF_NHWC, &y));
    const bool comparable = scale == coded->code_scale;
    for (size_t i = 0; i < count; i++) {
        const float code =
            code_of(meant->top[0] == meant->bottom[0] ? y[i] : x[i], scale, zero, lowest, highest);
        y[i] = (code - zero) * scale;
        c->found->differing_codes +=
            comparable && code - zero != (float)(codes[i] - coded->code_zero);
    }
    c->found->codes += comparable ? count : 0;
    return QF_OK;
}

/* More bits than codes have: nothing of integers to be compared. */
static qf_status quantise(comparison *c, const qf_layer *model, qf_layer *meant)
{
    const qf_activation_code code = qf_onnx_activation(model, false);
    if (code.highest - code.lowest <= 255)
        return quantise_codes(c, model, meant);
    QF_TRY(qf_blob_reshape_like(meant->top[0], meant->bottom[0]));
    return model->device->quantise->activations(
        c->context, meant->bottom[0]->data,
        (qf_ulq){code.scale, code.lowest, code.highest - code.lowest}, meant->top[0]->data);
}

static qf_status pass_on(comparison *c, qf_layer *layer)
{
    if (layer->top[0]->data == layer->bottom[0]->data)
        return QF_OK;
    QF_TRY(qf_blob_reshape_like(layer->top[0], layer->bottom[0]));
    return qf_tensor_share(c->context, layer->top[0]->data, layer->bottom[0]->data);
}

static qf_status take_batch(comparison *c, const qf_layer *from, qf_layer *to)
{
    for (int t = 0; t < from->top_count; t++) {
        QF_TRY(qf_blob_reshape_like(to->top[t], from->top[t]));
        QF_TRY(qf_tensor_share(c->context, to->top[t]->data, from->top[t]->data));
    }
    return QF_OK;
}

static qf_status run_layer(comparison *c, int index)
{
    const qf_layer *model = c->model->layers[index];
    qf_layer *meant = c->meant->layers[index];
    const char *type = model->type->name;
    QF_TRY(qf_net_forward_range(c->model, index, index, NULL));
    if (qf_layer_is_source(model))
        return take_batch(c, model, meant);
    if (strcmp(type, "Quant") == 0)
        return quantise(c, model, meant);
    if ((strcmp(type, "DeQuant") == 0 && !c->shifts) || strcmp(type, "AntiQuant") == 0)
        return pass_on(c, meant);
    return qf_net_forward_range(c->meant, index, index, NULL);
}

/* ---- answers ---- */

static size_t largest(const float *x, size_t count, size_t step)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        best = x[i * step] > x[best * step] ? i : best;
    return best;
}

static qf_status compare_answers(comparison *c, qf_blob *model, qf_blob *meant)
{
    const qf_shape *shape = qf_blob_shape(model);
    const float *a, *b;
    if (shape->axes < 2 || shape->dim[1] < 2 || !qf_shape_equal(shape, qf_blob_shape(meant)))
        return QF_OK;
    QF_TRY(qf_read(c->context, model->data, QF_PLAIN, &a));
    QF_TRY(qf_read(c->context, meant->data, QF_PLAIN, &b));
    const size_t channels = (size_t)shape->dim[1];
    const size_t inner = qf_shape_count_range(shape, 2, shape->axes);
    const size_t items = qf_shape_count(shape) / channels;
    for (size_t i = 0; i < items; i++) {
        const size_t first = i / inner * channels * inner + i % inner;
        c->found->differing_answers +=
            largest(a + first, channels, inner) != largest(b + first, channels, inner);
    }
    c->found->answers += items;
    return QF_OK;
}

/* Of each output of the file: a blob's, or what a loss takes for its answers. */
static qf_status compare_outputs(comparison *c)
{
    bool compared = false;
    for (size_t o = 0; o < c->graph->n_output; o++) {
        const int blob = qf_net_blob_index(c->model, c->graph->output[o]->name);
        if (blob < 0)
            continue;
        compared = true;
        QF_TRY(compare_answers(c, c->model->blobs[blob], c->meant->blobs[blob]));
    }
    for (int l = 0; l < c->model->layer_count && !compared; l++) {
        const qf_layer *layer = c->model->layers[l];
        if (layer->type->loss && layer->bottom_count)
            QF_TRY(compare_answers(c, layer->bottom[0], c->meant->layers[l]->bottom[0]));
    }
    return QF_OK;
}

/* ---- all of it ---- */

static qf_status open_nets(comparison *c, const char *model_file, const char *weights_file,
                           const qf_onnx_options *options)
{
    qf_data_options data;
    Caffe__NetParameter *param;
    QF_TRY(qf_data_options_take(c->context, options->data, &data));
    QF_TRY(qf_fed_net_open(c->context, &data, model_file, weights_file, &c->model));
    QF_TRY(qf_message_copy(c->context, c->model->param, &param));
    qf_status status = qf_net_without_sources(c->context, param, c->model, &c->meant);
    qf_message_free(param);
    for (int l = 0; l < c->model->layer_count && status == QF_OK; l++)
        status = take_parameters(c, c->model->layers[l], c->meant->layers[l]);
    return status;
}

static qf_status compare(comparison *c, int batches, const qf_onnx_verify_run *run)
{
    for (int batch = 0; batch < batches; batch++) {
        for (int l = 0; l < c->model->layer_count; l++)
            QF_TRY(run_layer(c, l));
        QF_TRY(compare_outputs(c));
        c->found->batches = batch + 1;
        if (run->progress)
            run->progress(run->user, &(qf_progress){.testing = true,
                                                    .iteration = batch + 1,
                                                    .total = batches,
                                                    .what = "comparing with the ONNX model"});
        if (run->action && run->action(run->user) == QF_STOP)
            return qf_fail(c->context, QF_E_STOPPED, "stopped after %d of %d batches", batch + 1,
                           batches);
    }
    return QF_OK;
}

qf_status qf_onnx_verify(qf_context *context, const char *model_file, const char *weights_file,
                         const Onnx__Graph *graph, const qf_onnx_options *options,
                         qf_onnx_verify_run *run)
{
    comparison c = {
        .context = context, .graph = graph, .shifts = options->keep_shift, .found = run->result};
    qf_status status = open_nets(&c, model_file, weights_file, options);
    if (status == QF_OK)
        status = compare(&c, options->verify_batches, run);
    qf_net_destroy(c.model);
    qf_net_destroy(c.meant);
    return status;
}
