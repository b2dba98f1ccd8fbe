/* Convolution on oneDNN. Activations are NHWC throughout; weights are brought into the order that
 * the primitive likes, once per version. A primitive is created when it is first needed. */
#include "backend/cpu/convolution.h"

#include "base/memory.h"

#include <string.h>

struct qf_convolution {
    qf_convolution_shape shape;
    dnnl_dims_t x_dims, y_dims, w_dims, bias_dims, strides, dilates, pads, pads_end;
    int axes, weight_axes;
    unit units[UNITS];
    float *scale; /* per output channel: of codes times of weights */
};

static void set_dimensions(qf_convolution *c)
{
    const qf_convolution_shape *s = &c->shape;
    int g = s->groups > 1;
    c->axes = s->spatial_axes + 2;
    c->weight_axes = c->axes + g;
    c->x_dims[0] = c->y_dims[0] = s->batch;
    c->x_dims[1] = s->in_channels;
    c->y_dims[1] = c->bias_dims[0] = s->out_channels;
    if (g)
        c->w_dims[0] = s->groups;
    c->w_dims[g] = s->out_channels / s->groups;
    c->w_dims[g + 1] = s->in_channels / s->groups;
    for (int i = 0; i < s->spatial_axes; i++) {
        c->x_dims[2 + i] = s->in[i];
        c->y_dims[2 + i] = s->out[i];
        c->w_dims[g + 2 + i] = s->kernel[i];
        c->strides[i] = s->stride[i];
        c->dilates[i] = s->dilation[i] - 1;
        c->pads[i] = s->pad[i];
        /* Caffe's division rounds towards zero, so a window may reach beyond the padding. */
        int extent = s->dilation[i] * (s->kernel[i] - 1) + 1;
        int reach = (s->out[i] - 1) * s->stride[i] + extent;
        bool regular = s->in[i] + 2 * s->pad[i] >= reach;
        c->pads_end[i] = regular ? s->pad[i] : reach - s->in[i] - s->pad[i];
    }
}

static dnnl_format_tag_t activation_tag(int axes)
{
    return axes == 3 ? dnnl_nwc : axes == 4 ? dnnl_nhwc : dnnl_ndhwc;
}

static dnnl_format_tag_t plain_weight_tag(int axes)
{
    static const dnnl_format_tag_t tags[] = {dnnl_abc, dnnl_abcd, dnnl_abcde, dnnl_abcdef};
    return tags[axes - 3];
}

qf_status qf_convolution_create(qf_context *context, const qf_convolution_shape *shape,
                                qf_convolution **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    (*out)->shape = *shape;
    set_dimensions(*out);
    (*out)->scale = qf_alloc((size_t)shape->out_channels, sizeof(float));
    if ((*out)->scale)
        return QF_OK;
    qf_free(*out);
    *out = NULL;
    return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
}

void qf_convolution_destroy(qf_convolution *c)
{
    if (!c)
        return;
    for (int i = 0; i < UNITS; i++) {
        unit *u = &c->units[i];
        if (u->primitive)
            dnnl_primitive_destroy(u->primitive);
        dnnl_memory_t memories[] = {u->x, u->y, u->bias, u->scale, u->zero_point};
        for (size_t k = 0; k < sizeof memories / sizeof *memories; k++)
            if (memories[k])
                dnnl_memory_destroy(memories[k]);
        qf_operand_destroy(&u->weights);
    }
    qf_free(c->scale);
    qf_free(c);
}

/* ---- creating a unit ---- */

typedef struct descriptions {
    dnnl_memory_desc_t x, y, w, w_plain, bias, scale;
} descriptions;

static const struct {
    dnnl_data_type_t x, w, y, bias;
} data_types[UNITS] = {
    [FORWARD] = {dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32},
    [FORWARD_BIAS] = {dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32},
    [FORWARD_CODES] = {dnnl_u8, dnnl_s8, dnnl_f32, dnnl_f32},
    [FORWARD_CODES_BIAS] = {dnnl_u8, dnnl_s8, dnnl_f32, dnnl_f32},
    [FORWARD_INTEGER] = {dnnl_u8, dnnl_s8, dnnl_s32, dnnl_s32},
    [FORWARD_INTEGER_BIAS] = {dnnl_u8, dnnl_s8, dnnl_s32, dnnl_s32},
    [BACKWARD_DATA] = {dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32},
    [BACKWARD_WEIGHTS] = {dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32},
};

static bool has_bias(unit_kind kind)
{
    return kind == FORWARD_BIAS || kind == FORWARD_INTEGER_BIAS;
}

static bool has_zero_point(unit_kind kind)
{
    return kind >= FORWARD_CODES && kind <= FORWARD_INTEGER_BIAS;
}

static bool has_scale(unit_kind kind)
{
    return kind == FORWARD_CODES || kind == FORWARD_CODES_BIAS;
}

static qf_status describe(qf_context *context, const qf_convolution *c, unit_kind kind,
                          descriptions *d)
{
    dnnl_format_tag_t tag = activation_tag(c->axes);
    dnnl_dims_t scale_dims = {1, c->shape.out_channels, 1, 1, 1};
    QF_DNNL(context,
            dnnl_memory_desc_init_by_tag(&d->x, c->axes, c->x_dims, data_types[kind].x, tag));
    QF_DNNL(context,
            dnnl_memory_desc_init_by_tag(&d->y, c->axes, c->y_dims, data_types[kind].y, tag));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->w, c->weight_axes, c->w_dims,
                                                  data_types[kind].w, dnnl_format_tag_any));
    QF_DNNL(context,
            dnnl_memory_desc_init_by_tag(&d->w_plain, c->weight_axes, c->w_dims, data_types[kind].w,
                                         plain_weight_tag(c->weight_axes)));
    QF_DNNL(context,
            dnnl_memory_desc_init_by_tag(&d->bias, 1, c->bias_dims, data_types[kind].bias, dnnl_a));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->scale, c->axes, scale_dims, dnnl_f32,
                                                  c->axes == 3   ? dnnl_abc
                                                  : c->axes == 4 ? dnnl_abcd
                                                                 : dnnl_abcde));
    return QF_OK;
}

/* Run-time zero point of the source; scale and bias per channel as operations on the result,
 * because their values change from step to step. */
static dnnl_status_t set_attributes(dnnl_primitive_attr_t attributes, unit_kind kind,
                                    const descriptions *d)
{
    const int32_t at_run_time = DNNL_RUNTIME_S32_VAL;
    dnnl_status_t status = dnnl_success;
    if (has_zero_point(kind))
        status = dnnl_primitive_attr_set_zero_points(attributes, DNNL_ARG_SRC, 1, 0, &at_run_time);
    if (status != dnnl_success || !has_scale(kind))
        return status;
    dnnl_post_ops_t operations;
    status = dnnl_post_ops_create(&operations);
    if (status != dnnl_success)
        return status;
    status = dnnl_post_ops_append_binary(operations, dnnl_binary_mul, &d->scale);
    if (status == dnnl_success && kind == FORWARD_CODES_BIAS)
        status = dnnl_post_ops_append_binary(operations, dnnl_binary_add, &d->scale);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attributes, operations);
    dnnl_post_ops_destroy(operations);
    return status;
}

static dnnl_status_t create_description(const qf_convolution *c, unit_kind kind,
                                        const descriptions *d, dnnl_engine_t engine,
                                        dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t op;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t hint = NULL;
    const dnnl_alg_kind_t algorithm = dnnl_convolution_direct;
    dnnl_status_t status;
    bool backward = kind == BACKWARD_DATA || kind == BACKWARD_WEIGHTS;
    if (backward) {
        status = create_description(c, FORWARD, d, engine, &hint);
        if (status != dnnl_success)
            return status;
    }
    if (kind == BACKWARD_DATA)
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &op, algorithm, &d->x, &d->w, &d->y, c->strides, c->dilates, c->pads, c->pads_end);
    else if (kind == BACKWARD_WEIGHTS)
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &op, algorithm, &d->x, &d->w, NULL, &d->y, c->strides, c->dilates, c->pads,
            c->pads_end);
    else
        status = dnnl_dilated_convolution_forward_desc_init(
            &op, has_zero_point(kind) ? dnnl_forward_inference : dnnl_forward_training, algorithm,
            &d->x, &d->w, has_bias(kind) ? &d->bias : NULL, &d->y, c->strides, c->dilates, c->pads,
            c->pads_end);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_create(&attributes);
    if (status == dnnl_success)
        status = set_attributes(attributes, kind, d);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(out, &op, attributes, engine, hint);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    return status;
}

static qf_status create_memories(qf_context *context, const qf_onednn *onednn, unit *u,
                                 unit_kind kind, const descriptions *d,
                                 const_dnnl_primitive_desc_t description)
{
    dnnl_engine_t engine = onednn->engine;
    const dnnl_query_t weights_of[] = {[BACKWARD_WEIGHTS] = dnnl_query_diff_weights_md};
    const dnnl_memory_desc_t *wanted = dnnl_primitive_desc_query_md(
        description, kind == BACKWARD_WEIGHTS ? weights_of[kind] : dnnl_query_weights_md, 0);
    QF_DNNL(context, dnnl_memory_create(&u->x, &d->x, engine, DNNL_MEMORY_NONE));
    QF_DNNL(context, dnnl_memory_create(&u->y, &d->y, engine, DNNL_MEMORY_NONE));
    if (has_bias(kind))
        QF_DNNL(context, dnnl_memory_create(&u->bias, &d->bias, engine, DNNL_MEMORY_NONE));
    if (kind == FORWARD_CODES_BIAS)
        QF_DNNL(context, dnnl_memory_create(&u->bias, &d->scale, engine, DNNL_MEMORY_NONE));
    if (has_scale(kind))
        QF_DNNL(context, dnnl_memory_create(&u->scale, &d->scale, engine, DNNL_MEMORY_NONE));
    if (has_zero_point(kind)) {
        dnnl_memory_desc_t single;
        QF_DNNL(context,
                dnnl_memory_desc_init_by_tag(&single, 1, (dnnl_dims_t){1}, dnnl_s32, dnnl_a));
        QF_DNNL(context, dnnl_memory_create(&u->zero_point, &single, engine, DNNL_MEMORY_NONE));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->zero_point, &u->zero));
    }
    return qf_operand_create(context, &u->weights, &d->w_plain, wanted, kind != BACKWARD_WEIGHTS);
}

/* *out is NULL if oneDNN has no such primitive (then u->impossible is set). */
static qf_status get_unit(qf_context *context, qf_convolution *c, unit_kind kind, unit **out)
{
    unit *u = &c->units[kind];
    *out = u;
    if (u->primitive)
        return QF_OK;
    qf_onednn *onednn;
    descriptions d;
    *out = NULL;
    if (u->impossible)
        return QF_OK;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_TRY(describe(context, c, kind, &d));
    dnnl_primitive_desc_t description;
    dnnl_status_t status = create_description(c, kind, &d, onednn->engine, &description);
    if (status == dnnl_unimplemented) {
        u->impossible = true;
        return QF_OK;
    }
    if (status != dnnl_success)
        return qf_onednn_fail(context, status, "convolution");
    qf_status result = create_memories(context, onednn, u, kind, &d, description);
    if (result == QF_OK) {
        status = dnnl_primitive_create(&u->primitive, description);
        if (status != dnnl_success)
            result = qf_onednn_fail(context, status, "convolution");
    }
    dnnl_primitive_desc_destroy(description);
    *out = result == QF_OK ? u : NULL;
    return result;
}

static qf_status need_unit(qf_context *context, qf_convolution *c, unit_kind kind, unit **out)
{
    QF_TRY(get_unit(context, c, kind, out));
    return *out ? QF_OK
                : qf_fail(context, QF_E_UNSUPPORTED,
                          "oneDNN cannot compute a convolution of this shape");
}

/* ---- running ---- */

static qf_status execute(qf_context *context, unit *u, unit_kind kind, const void *x, const void *y)
{
    qf_onednn *onednn;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_DNNL(context, dnnl_memory_set_data_handle(u->x, (void *)x));
    QF_DNNL(context, dnnl_memory_set_data_handle(u->y, (void *)y));
    dnnl_exec_arg_t arguments[7];
    int count = 0;
    bool data = kind == BACKWARD_DATA, weights = kind == BACKWARD_WEIGHTS;
    arguments[count++] = (dnnl_exec_arg_t){data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, u->x};
    arguments[count++] =
        (dnnl_exec_arg_t){data || weights ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, u->y};
    arguments[count++] =
        (dnnl_exec_arg_t){weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, u->weights.memory};
    if (has_bias(kind))
        arguments[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, u->bias};
    if (has_scale(kind))
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, u->scale};
    if (kind == FORWARD_CODES_BIAS)
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1, u->bias};
    if (has_zero_point(kind))
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, u->zero_point};
    QF_DNNL(context, dnnl_primitive_execute(u->primitive, onednn->stream, count, arguments));
    QF_DNNL(context, dnnl_stream_wait(onednn->stream));
    return QF_OK;
}

static bool is_depthwise(const qf_convolution *c)
{
    return c->shape.groups > 1 && c->shape.groups == c->shape.in_channels;
}

static qf_status forward_codes(qf_context *context, qf_convolution *c, unit *u, unit_kind kind,
                               qf_tensor *x, qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    const float *bias_values;
    float *result;
    for (int i = 0; i < c->shape.out_channels; i++)
        c->scale[i] = x->code_scale * w->weight_scale[w->weight_scale_count > 1 ? i : 0];
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, w->version));
    QF_DNNL(context, dnnl_memory_set_data_handle(u->scale, c->scale));
    if (bias) {
        QF_TRY(qf_read(context, bias, QF_PLAIN, &bias_values));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias, (void *)bias_values));
    }
    u->zero = x->code_zero;
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    return execute(context, u, kind, codes, result);
}

qf_status qf_convolution_forward(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y)
{
    unit *u;
    bool codes = qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) &&
                 w->weight_scale && (w->weight_scale_count == 1 || w->weight_scale_axis == 0) &&
                 qf_onednn_has_exact_int8();
    /* Depthwise convolutions are faster in float (docs/performance.md). */
    if (codes && !is_depthwise(c) && context->compute != QF_COMPUTE_FLOAT) {
        unit_kind kind = bias ? FORWARD_CODES_BIAS : FORWARD_CODES;
        QF_TRY(get_unit(context, c, kind, &u));
        if (u)
            return forward_codes(context, c, u, kind, x, w, bias, y);
    }
    const float *source, *weights, *bias_values;
    float *result;
    unit_kind kind = bias ? FORWARD_BIAS : FORWARD;
    QF_TRY(need_unit(context, c, kind, &u));
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, w->version));
    if (bias) {
        QF_TRY(qf_read(context, bias, QF_PLAIN, &bias_values));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias, (void *)bias_values));
    }
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    return execute(context, u, kind, source, result);
}

qf_status qf_convolution_forward_integer(qf_context *context, qf_convolution *c, qf_tensor *x,
                                         qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    const int32_t *bias_values = NULL;
    int32_t *result;
    unit *u = NULL;
    unit_kind kind = bias ? FORWARD_INTEGER_BIAS : FORWARD_INTEGER;
    if (qf_onednn_has_exact_int8() && !is_depthwise(c))
        QF_TRY(get_unit(context, c, kind, &u));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    if (bias)
        QF_TRY(qf_tensor_read(context, bias, QF_INTEGERS, &bias_values));
    QF_TRY(qf_tensor_write(context, y, QF_INTEGERS, &result));
    if (!u) {
        qf_convolution_integer_reference(&c->shape, codes, x->code_zero, weights, bias_values,
                                         result);
        return QF_OK;
    }
    QF_TRY(qf_operand_load(context, &u->weights, weights, w->version));
    if (bias)
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias, (void *)bias_values));
    u->zero = x->code_zero;
    return execute(context, u, kind, codes, result);
}

qf_status qf_deconvolution_forward_integer(qf_context *context, qf_convolution *c, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    const int32_t *bias_values = NULL;
    int32_t *result;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    if (bias)
        QF_TRY(qf_tensor_read(context, bias, QF_INTEGERS, &bias_values));
    QF_TRY(qf_tensor_write(context, y, QF_INTEGERS, &result));
    qf_deconvolution_integer_reference(&c->shape, codes, x->code_zero, weights, bias_values,
                                       result);
    return QF_OK;
}

qf_status qf_convolution_backward_data(qf_context *context, qf_convolution *c, qf_tensor *dy,
                                       qf_tensor *w, qf_tensor *dx)
{
    unit *u;
    const float *gradient, *weights;
    float *result;
    QF_TRY(need_unit(context, c, BACKWARD_DATA, &u));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, w->version));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    return execute(context, u, BACKWARD_DATA, result, gradient);
}

qf_status qf_convolution_backward_weights(qf_context *context, qf_convolution *c, qf_tensor *x,
                                          qf_tensor *dy, qf_tensor *dw)
{
    unit *u;
    const float *source, *gradient;
    float *result, *sum;
    QF_TRY(need_unit(context, c, BACKWARD_WEIGHTS, &u));
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    if (qf_tensor_is_zero(dw)) {
        QF_TRY(qf_write(context, dw, QF_PLAIN, &result));
        QF_TRY(qf_operand_prepare(context, &u->weights, result));
        QF_TRY(execute(context, u, BACKWARD_WEIGHTS, source, gradient));
        return qf_operand_store(context, &u->weights, result);
    }
    size_t count = qf_shape_count(&dw->shape);
    result = qf_alloc_raw(count, sizeof *result);
    if (!result)
        return qf_fail(context, QF_E_MEMORY, "no memory for a gradient");
    qf_status status = qf_operand_prepare(context, &u->weights, result);
    if (status == QF_OK)
        status = execute(context, u, BACKWARD_WEIGHTS, source, gradient);
    if (status == QF_OK)
        status = qf_operand_store(context, &u->weights, result);
    if (status == QF_OK)
        status = qf_update(context, dw, QF_PLAIN, &sum);
    if (status == QF_OK)
        for (size_t i = 0; i < count; i++)
            sum[i] += result[i];
    qf_free(result);
    return status;
}
