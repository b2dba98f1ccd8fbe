/* Convolution on oneDNN: its primitives. Activations are NHWC throughout; weights are brought into
 * the order that the primitive likes. A primitive is created when it is first needed. Running them:
 * convolution_forward.c, convolution_backward.c. */
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/cpu/convolve/integer_convolution.h"
#include "device/reference/reference.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <string.h>

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
        const int end = s->pad_end[i] > 0 ? s->pad_end[i] : 0; /* below 0 windows end before */
        bool regular = s->in[i] + s->pad[i] + end >= reach;
        c->pads_end[i] = regular ? end : reach - s->in[i] - s->pad[i];
    }
}

dnnl_format_tag_t qf_activation_tag(int axes)
{
    return axes == 3 ? dnnl_nwc : axes == 4 ? dnnl_nhwc : dnnl_ndhwc;
}

dnnl_format_tag_t qf_plain_weight_tag(int axes)
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
    qf_fused_convolution_destroy(c->fused);
    qf_pointwise_destroy(c->pointwise);
    qf_integer_convolution_destroy(c->integer);
    qf_depthwise_destroy(c->depthwise);
    qf_reference_convolve.destroy(c->plain);
    qf_free(c->scale);
    qf_free(c);
}

/* ---- creating a unit ---- */

typedef struct descriptions {
    dnnl_memory_desc_t x, y, w, w_plain, bias, scale;
} descriptions;

typedef enum direction { TO_Y, TO_X, TO_WEIGHTS } direction;

static const struct {
    direction direction;
    dnnl_data_type_t x, w, y;
    dnnl_data_type_t plain; /* of the weights as tensors hold them */
    bool bias, scale;       /* scale: of each channel, and a bias behind it */
    bool zero_point;
    bool scaled_weights; /* the way between plain and the primitive's weights multiplies */
} traits[UNITS] = {
    [FORWARD] = {TO_Y, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32, false, false, false, false},
    [FORWARD_BIAS] = {TO_Y, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32, true, false, false, false},
    [FORWARD_CODES] = {TO_Y, dnnl_u8, dnnl_s8, dnnl_f32, dnnl_s8, false, true, true, false},
    [FORWARD_CODES_BIAS] = {TO_Y, dnnl_u8, dnnl_s8, dnnl_f32, dnnl_s8, true, true, true, false},
    [FORWARD_EXACT] = {TO_Y, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_s8, false, true, false, false},
    [FORWARD_EXACT_BIAS] = {TO_Y, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_s8, true, true, false, false},
    [FORWARD_INTEGER] = {TO_Y, dnnl_u8, dnnl_s8, dnnl_s32, dnnl_s8, false, false, true, false},
    [FORWARD_INTEGER_BIAS] = {TO_Y, dnnl_u8, dnnl_s8, dnnl_s32, dnnl_s8, true, false, true, false},
    [BACKWARD_DATA] = {TO_X, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32, false, false, false, false},
    [BACKWARD_DATA_CODES] = {TO_X, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_s8, false, false, false,
                             true},
    [BACKWARD_DATA_BF16] = {TO_X, dnnl_f32, dnnl_bf16, dnnl_bf16, dnnl_s8, false, false, false,
                            false},
    [BACKWARD_WEIGHTS] = {TO_WEIGHTS, dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32, false, false, false,
                          false},
    [BACKWARD_WEIGHTS_BF16] = {TO_WEIGHTS, dnnl_bf16, dnnl_f32, dnnl_bf16, dnnl_f32, false, false,
                               false, true},
};

/* A bias of oneDNN's own; behind a scale it is an operation on the result. */
static bool has_bias(unit_kind kind)
{
    return traits[kind].bias && !traits[kind].scale;
}

static qf_status describe(qf_context *context, const qf_convolution *c, unit_kind kind,
                          descriptions *d)
{
    dnnl_format_tag_t tag = qf_activation_tag(c->axes);
    dnnl_dims_t scale_dims = {1, c->shape.out_channels, 1, 1, 1};
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->x, c->axes, c->x_dims, traits[kind].x, tag));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->y, c->axes, c->y_dims, traits[kind].y, tag));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&d->w, c->weight_axes, c->w_dims, traits[kind].w,
                                                  dnnl_format_tag_any));
    QF_DNNL(context,
            dnnl_memory_desc_init_by_tag(&d->w_plain, c->weight_axes, c->w_dims, traits[kind].plain,
                                         qf_plain_weight_tag(c->weight_axes)));
    QF_DNNL(context,
            dnnl_memory_desc_init_by_tag(&d->bias, 1, c->bias_dims,
                                         traits[kind].y == dnnl_s32 ? dnnl_s32 : dnnl_f32, dnnl_a));
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
    if (traits[kind].zero_point)
        status = dnnl_primitive_attr_set_zero_points(attributes, DNNL_ARG_SRC, 1, 0, &at_run_time);
    if (status != dnnl_success || !traits[kind].scale)
        return status;
    dnnl_post_ops_t operations;
    status = dnnl_post_ops_create(&operations);
    if (status != dnnl_success)
        return status;
    status = dnnl_post_ops_append_binary(operations, dnnl_binary_mul, &d->scale);
    if (status == dnnl_success && traits[kind].bias)
        status = dnnl_post_ops_append_binary(operations, dnnl_binary_add, &d->scale);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attributes, operations);
    dnnl_post_ops_destroy(operations);
    return status;
}

/* Backward primitives want to see a forward one of their number formats. */
static dnnl_status_t create_hint(const qf_convolution *c, const descriptions *d,
                                 dnnl_data_type_t type, dnnl_engine_t engine,
                                 dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t op;
    descriptions forward = *d;
    forward.x.data_type = forward.w.data_type = forward.y.data_type = type;
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &op, dnnl_forward_training, dnnl_convolution_direct, &forward.x, &forward.w, NULL,
        &forward.y, c->strides, c->dilates, c->pads, c->pads_end);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, NULL, engine, NULL)
                                  : status;
}

static dnnl_status_t create_description(const qf_convolution *c, unit_kind kind,
                                        const descriptions *d, dnnl_engine_t engine,
                                        dnnl_primitive_desc_t *out)
{
    dnnl_convolution_desc_t op;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t hint = NULL;
    const dnnl_alg_kind_t algorithm = dnnl_convolution_direct;
    dnnl_status_t status = dnnl_success;
    if (traits[kind].direction != TO_Y)
        status = create_hint(c, d, traits[kind].y, engine, &hint);
    if (status != dnnl_success)
        return status;
    if (traits[kind].direction == TO_X)
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &op, algorithm, &d->x, &d->w, &d->y, c->strides, c->dilates, c->pads, c->pads_end);
    else if (traits[kind].direction == TO_WEIGHTS)
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &op, algorithm, &d->x, &d->w, NULL, &d->y, c->strides, c->dilates, c->pads,
            c->pads_end);
    else
        status = dnnl_dilated_convolution_forward_desc_init(
            &op, traits[kind].zero_point ? dnnl_forward_inference : dnnl_forward_training,
            algorithm, &d->x, &d->w, has_bias(kind) ? &d->bias : NULL, &d->y, c->strides,
            c->dilates, c->pads, c->pads_end);
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

static qf_status create_memories(qf_context *context, const qf_onednn *onednn,
                                 const qf_convolution *c, unit *u, unit_kind kind,
                                 const descriptions *d, const_dnnl_primitive_desc_t description)
{
    dnnl_engine_t engine = onednn->engine;
    const bool into = traits[kind].direction != TO_WEIGHTS;
    const dnnl_memory_desc_t *wanted = dnnl_primitive_desc_query_md(
        description, into ? dnnl_query_weights_md : dnnl_query_diff_weights_md, 0);
    QF_DNNL(context, dnnl_memory_create(&u->x, &d->x, engine, DNNL_MEMORY_NONE));
    QF_DNNL(context, dnnl_memory_create(&u->y, &d->y, engine, DNNL_MEMORY_NONE));
    if (traits[kind].bias)
        QF_DNNL(context, dnnl_memory_create(&u->bias, has_bias(kind) ? &d->bias : &d->scale, engine,
                                            DNNL_MEMORY_NONE));
    if (traits[kind].scale)
        QF_DNNL(context, dnnl_memory_create(&u->scale, &d->scale, engine, DNNL_MEMORY_NONE));
    if (traits[kind].zero_point) {
        dnnl_memory_desc_t single;
        QF_DNNL(context,
                dnnl_memory_desc_init_by_tag(&single, 1, (dnnl_dims_t){1}, dnnl_s32, dnnl_a));
        QF_DNNL(context, dnnl_memory_create(&u->zero_point, &single, engine, DNNL_MEMORY_NONE));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->zero_point, &u->zero));
    }
    return qf_operand_create(context, &u->weights, &d->w_plain, wanted, into,
                             traits[kind].scaled_weights ? c->shape.out_channels : 0);
}

bool qf_convolution_is_large(const qf_convolution_shape *s)
{
    size_t in = (size_t)s->batch * (size_t)s->in_channels;
    size_t out = (size_t)s->batch * (size_t)s->out_channels;
    size_t patch = (size_t)(s->in_channels / s->groups);
    for (int i = 0; i < s->spatial_axes; i++) {
        in *= (size_t)s->in[i];
        out *= (size_t)s->out[i];
        patch *= (size_t)s->kernel[i];
    }
    return qf_products_repay_threads(out * patch, in + out + patch * (size_t)s->out_channels);
}

/* In three axes oneDNN's convolution by matrix products gives channels the scales of others (seen
 * in 2.6.3, on processors without AVX). */
static bool misplaces_scales(const qf_convolution *c, const_dnnl_primitive_desc_t description)
{
    const char *name = "";
    return c->shape.spatial_axes == 3 &&
           dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &name) ==
               dnnl_success &&
           strstr(name, "gemm");
}

/* Channels for themselves: its kernel for AVX2-VNNI gives other sums for some kernels and numbers
 * of channels (seen in 2.6.3). */
bool qf_convolution_has_int8(const qf_convolution_shape *s)
{
    const bool depthwise = s->groups > 1 && s->groups == s->in_channels;
    return depthwise ? qf_onednn_has_avx512_vnni() : qf_onednn_has_exact_int8();
}

static qf_status create_unit(qf_context *context, qf_convolution *c, unit_kind kind)
{
    unit *u = &c->units[kind];
    qf_onednn *onednn;
    descriptions d;
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
    u->impossible = traits[kind].scale && misplaces_scales(c, description);
    qf_status result = QF_OK;
    if (!u->impossible)
        result = create_memories(context, onednn, c, u, kind, &d, description);
    if (result == QF_OK && !u->impossible) {
        status = dnnl_primitive_create(&u->primitive, description);
        if (status != dnnl_success)
            result = qf_onednn_fail(context, status, "convolution");
    }
    dnnl_primitive_desc_destroy(description);
    return result;
}

/* The number of threads becomes a part of the primitive. */
qf_status qf_convolution_unit(qf_context *context, qf_convolution *c, unit_kind kind, unit **out)
{
    unit *u = &c->units[kind];
    qf_status status = QF_OK;
    if (!u->primitive && !u->impossible) {
        u->shared = qf_convolution_is_large(&c->shape);
        const int threads = qf_threads_limit(u->shared);
        status = create_unit(context, c, kind);
        qf_threads_restore(threads);
    }
    *out = status == QF_OK && u->primitive ? u : NULL;
    return status;
}

qf_status qf_convolution_need_unit(qf_context *context, qf_convolution *c, unit_kind kind,
                                   unit **out)
{
    QF_TRY(qf_convolution_unit(context, c, kind, out));
    return *out ? QF_OK
                : qf_fail(context, QF_E_UNSUPPORTED,
                          "oneDNN cannot compute a convolution of this shape");
}

qf_status qf_convolution_accepts_unit(qf_context *context, const convolve_call *call,
                                      unit_kind kind, const char **no)
{
    unit *u;
    QF_TRY(qf_convolution_unit(context, call->c, kind, &u));
    if (!u)
        *no = "oneDNN has none for this shape";
    return QF_OK;
}

qf_status qf_convolution_give_bias(qf_context *context, dnnl_memory_t of_unit, qf_tensor *bias,
                                   qf_form form)
{
    const void *values;
    if (!bias)
        return QF_OK;
    QF_TRY(qf_tensor_read(context, bias, form, &values));
    QF_DNNL(context, dnnl_memory_set_data_handle(of_unit, (void *)values));
    return QF_OK;
}

qf_status qf_convolution_execute(qf_context *context, unit *u, unit_kind kind, const void *x,
                                 const void *y)
{
    qf_onednn *onednn;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_DNNL(context, dnnl_memory_set_data_handle(u->x, (void *)x));
    QF_DNNL(context, dnnl_memory_set_data_handle(u->y, (void *)y));
    dnnl_exec_arg_t arguments[7];
    int count = 0;
    bool data = traits[kind].direction == TO_X, weights = traits[kind].direction == TO_WEIGHTS;
    arguments[count++] = (dnnl_exec_arg_t){data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, u->x};
    arguments[count++] =
        (dnnl_exec_arg_t){data || weights ? DNNL_ARG_DIFF_DST : DNNL_ARG_DST, u->y};
    arguments[count++] =
        (dnnl_exec_arg_t){weights ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, u->weights.memory};
    if (has_bias(kind))
        arguments[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, u->bias};
    if (traits[kind].scale)
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, u->scale};
    if (traits[kind].scale && traits[kind].bias)
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1, u->bias};
    if (traits[kind].zero_point)
        arguments[count++] =
            (dnnl_exec_arg_t){DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, u->zero_point};
    QF_DNNL(context, qf_onednn_execute(u->primitive, u->shared, onednn->stream, count, arguments));
    return QF_OK;
}
