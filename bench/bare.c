/* The bare kernels of a net: for each layer the oneDNN primitives that its arithmetic needs, with
 * weights and activations in whatever order oneDNN prefers, nothing in between. BatchNorm and the
 * Scale behind it count as one kernel; for inference they, ReLU and Dropout are folded away, and
 * Concat is. In int8 activations are u8 and weights s8. */
#include "bench.h"

#include <string.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success)                                                               \
            return qf_fail(k->context, QF_E_UNSUPPORTED, "oneDNN status %d in %s", (int)status_,   \
                           #call);                                                                 \
    } while (0)

static qf_status new_memory(bare_kernels *k, const dnnl_memory_desc_t *md, dnnl_memory_t *out)
{
    void *bytes;
    if (!qf_grow(&k->memory, &k->memory_capacity, k->memory_count + 1, sizeof *k->memory))
        return qf_fail(k->context, QF_E_MEMORY, "no memory");
    CHECK(dnnl_memory_create(out, md, k->engine, DNNL_MEMORY_ALLOCATE));
    k->memory[k->memory_count++] = *out;
    CHECK(dnnl_memory_get_data_handle(*out, &bytes));
    if (bytes)
        memset(bytes, 0, dnnl_memory_desc_get_size(md)); /* touched, and no subnormals */
    return QF_OK;
}

/* The primitive `made` with memory for each of the arguments; `roles` ends with 0. */
static qf_status add_made(bare_kernels *k, const char *layer, const_dnnl_primitive_desc_t made,
                          const int *roles)
{
    if (!qf_grow(&k->items, &k->capacity, k->count + 1, sizeof *k->items))
        return qf_fail(k->context, QF_E_MEMORY, "no memory");
    bare_kernel *kernel = &k->items[k->count];
    CHECK(dnnl_primitive_create(&kernel->primitive, made));
    *kernel = (bare_kernel){.layer = layer, .primitive = kernel->primitive, .best = 1e30};
    k->count++;
    for (; *roles; roles++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(made, dnnl_query_exec_arg_md, *roles);
        kernel->arguments[kernel->count].arg = *roles;
        QF_TRY(new_memory(k, md, &kernel->arguments[kernel->count++].memory));
    }
    return QF_OK;
}

/* The same for the description `op`, which is kept in *pd when the caller needs it as a hint for
 * backward. */
static qf_status add(bare_kernels *k, const char *layer, const_dnnl_op_desc_t op,
                     const_dnnl_primitive_desc_t hint, const int *roles, dnnl_primitive_desc_t *pd)
{
    dnnl_primitive_desc_t made;
    CHECK(dnnl_primitive_desc_create(&made, op, NULL, k->engine, hint));
    QF_TRY(add_made(k, layer, made, roles));
    if (pd)
        *pd = made;
    else
        dnnl_primitive_desc_destroy(made);
    return QF_OK;
}

/* Description of a blob; `tag` dnnl_format_tag_any leaves the order to oneDNN. */
static qf_status describe(bare_kernels *k, const qf_blob *blob, dnnl_format_tag_t tag,
                          dnnl_memory_desc_t *md)
{
    const qf_shape *shape = qf_blob_shape(blob);
    dnnl_dims_t dims;
    for (int i = 0; i < shape->axes; i++)
        dims[i] = shape->dim[i];
    CHECK(dnnl_memory_desc_init_by_tag(md, shape->axes, dims, k->type, tag));
    return QF_OK;
}

/* The order in which activations follow each other: channels last. */
static dnnl_format_tag_t order_of(const qf_blob *blob)
{
    static const dnnl_format_tag_t tags[] = {dnnl_a, dnnl_a, dnnl_ab, dnnl_acb, dnnl_nhwc};
    const int axes = qf_blob_shape(blob)->axes;
    return axes < 5 ? tags[axes] : dnnl_format_tag_any;
}

static dnnl_prop_kind_t forward_kind(const bare_kernels *k)
{
    return k->training ? dnnl_forward_training : dnnl_forward_inference;
}

static dnnl_data_type_t weight_type(const bare_kernels *k)
{
    return k->type == dnnl_f32 ? dnnl_f32 : dnnl_s8;
}

static qf_status add_convolution(bare_kernels *k, const qf_layer *layer)
{
    const Caffe__ConvolutionParameter *p = layer->param->convolution_param;
    const qf_shape *shape = qf_blob_shape(layer->params[0].blob);
    const dnnl_dim_t step = p->n_stride ? (dnnl_dim_t)p->stride[0] : 1,
                     border = p->n_pad ? (dnnl_dim_t)p->pad[0] : 0,
                     group = p->has_group ? (dnnl_dim_t)p->group : 1;
    const dnnl_dims_t strides = {step, step}, pads = {border, border},
                      grouped = {group, shape->dim[0] / group, shape->dim[1], shape->dim[2],
                                 shape->dim[3]},
                      plain = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
    dnnl_memory_desc_t x, w, y;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t forward;
    QF_TRY(describe(k, layer->bottom[0], dnnl_format_tag_any, &x));
    QF_TRY(describe(k, layer->top[0], dnnl_format_tag_any, &y));
    CHECK(dnnl_memory_desc_init_by_tag(&w, group > 1 ? 5 : 4, group > 1 ? grouped : plain,
                                       weight_type(k), dnnl_format_tag_any));
    CHECK(dnnl_convolution_forward_desc_init(&op, forward_kind(k), dnnl_convolution_direct, &x, &w,
                                             NULL, &y, strides, pads, pads));
    QF_TRY(add(k, layer->name, &op, NULL, (int[]){DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, 0},
               &forward));
    if (k->training) {
        CHECK(dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &x, &w,
                                                          NULL, &y, strides, pads, pads));
        QF_TRY(add(k, layer->name, &op, forward,
                   (int[]){DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS, 0}, NULL));
    }
    if (k->training && layer->propagate_down[0]) {
        CHECK(dnnl_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, &x, &w, &y,
                                                       strides, pads, pads));
        QF_TRY(add(k, layer->name, &op, forward,
                   (int[]){DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC, 0}, NULL));
    }
    dnnl_primitive_desc_destroy(forward);
    return QF_OK;
}

static qf_status add_inner_product(bare_kernels *k, const qf_layer *layer)
{
    const dnnl_dims_t in = {qf_blob_dimension(layer->bottom[0], 0),
                            qf_blob_dimension(layer->params[0].blob, 1)},
                      out = {in[0], qf_blob_dimension(layer->top[0], 1)}, weights = {out[1], in[1]};
    dnnl_memory_desc_t x, w, y;
    dnnl_inner_product_desc_t op;
    dnnl_primitive_desc_t forward;
    CHECK(dnnl_memory_desc_init_by_tag(&x, 2, in, k->type, dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&w, 2, weights, weight_type(k), dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&y, 2, out, k->type, dnnl_format_tag_any));
    CHECK(dnnl_inner_product_forward_desc_init(&op, forward_kind(k), &x, &w, NULL, &y));
    QF_TRY(add(k, layer->name, &op, NULL, (int[]){DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, 0},
               &forward));
    if (!k->training)
        goto done;
    CHECK(dnnl_inner_product_backward_weights_desc_init(&op, &x, &w, NULL, &y));
    QF_TRY(add(k, layer->name, &op, forward,
               (int[]){DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS, 0}, NULL));
    CHECK(dnnl_inner_product_backward_data_desc_init(&op, &x, &w, &y));
    QF_TRY(add(k, layer->name, &op, forward,
               (int[]){DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC, 0}, NULL));
done:
    dnnl_primitive_desc_destroy(forward);
    return QF_OK;
}

static qf_status add_batch_norm(bare_kernels *k, const qf_layer *layer)
{
    const unsigned flags = dnnl_use_scaleshift;
    dnnl_memory_desc_t x;
    dnnl_batch_normalization_desc_t op;
    dnnl_primitive_desc_t forward;
    QF_TRY(describe(k, layer->bottom[0], order_of(layer->bottom[0]), &x));
    CHECK(dnnl_batch_normalization_forward_desc_init(&op, dnnl_forward_training, &x, 1e-5f, flags));
    QF_TRY(add(k, layer->name, &op, NULL,
               (int[]){DNNL_ARG_SRC, DNNL_ARG_SCALE_SHIFT, DNNL_ARG_MEAN, DNNL_ARG_VARIANCE,
                       DNNL_ARG_DST, 0},
               &forward));
    CHECK(dnnl_batch_normalization_backward_desc_init(&op, dnnl_backward, &x, &x, 1e-5f, flags));
    QF_TRY(add(k, layer->name, &op, forward,
               (int[]){DNNL_ARG_SRC, DNNL_ARG_SCALE_SHIFT, DNNL_ARG_MEAN, DNNL_ARG_VARIANCE,
                       DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_SCALE_SHIFT, 0},
               NULL));
    dnnl_primitive_desc_destroy(forward);
    return QF_OK;
}

static qf_status add_relu(bare_kernels *k, const qf_layer *layer)
{
    dnnl_memory_desc_t x;
    dnnl_eltwise_desc_t op;
    dnnl_primitive_desc_t forward;
    QF_TRY(describe(k, layer->bottom[0], order_of(layer->bottom[0]), &x));
    CHECK(dnnl_eltwise_forward_desc_init(&op, dnnl_forward_training, dnnl_eltwise_relu, &x, 0, 0));
    QF_TRY(add(k, layer->name, &op, NULL, (int[]){DNNL_ARG_SRC, DNNL_ARG_DST, 0}, &forward));
    CHECK(dnnl_eltwise_backward_desc_init(&op, dnnl_eltwise_relu, &x, &x, 0, 0));
    QF_TRY(add(k, layer->name, &op, forward,
               (int[]){DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, 0}, NULL));
    dnnl_primitive_desc_destroy(forward);
    return QF_OK;
}

/* A sum forward; backward the gradient goes to both inputs as it is. */
static qf_status add_sum(bare_kernels *k, const qf_layer *layer)
{
    dnnl_memory_desc_t x;
    dnnl_binary_desc_t op;
    QF_TRY(describe(k, layer->top[0], order_of(layer->top[0]), &x));
    CHECK(dnnl_binary_desc_init(&op, dnnl_binary_add, &x, &x, &x));
    return add(k, layer->name, &op, NULL, (int[]){DNNL_ARG_SRC_0, DNNL_ARG_SRC_1, DNNL_ARG_DST, 0},
               NULL);
}

static qf_status add_pooling(bare_kernels *k, const qf_layer *layer)
{
    const Caffe__PoolingParameter *p = layer->param->pooling_param;
    const bool max = p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__MAX;
    const qf_shape *in = qf_blob_shape(layer->bottom[0]), *out = qf_blob_shape(layer->top[0]);
    const dnnl_dim_t size = p->global_pooling ? in->dim[2] : (dnnl_dim_t)p->kernel_size,
                     step = p->global_pooling ? 1 : p->stride;
    const dnnl_dims_t strides = {step, step}, kernel = {size, size}, dilation = {0, 0},
                      before = {0, 0};
    const dnnl_dim_t reach = (out->dim[2] - 1) * step + size - in->dim[2];
    const dnnl_dims_t after = {reach, reach}; /* Caffe's sizes round up */
    dnnl_memory_desc_t x, y;
    dnnl_pooling_v2_desc_t op;
    dnnl_primitive_desc_t forward;
    const dnnl_alg_kind_t kind = max ? dnnl_pooling_max : dnnl_pooling_avg_exclude_padding;
    QF_TRY(describe(k, layer->bottom[0], order_of(layer->bottom[0]), &x));
    QF_TRY(describe(k, layer->top[0], order_of(layer->top[0]), &y));
    CHECK(dnnl_pooling_v2_forward_desc_init(&op, forward_kind(k), kind, &x, &y, strides, kernel,
                                            dilation, before, after));
    QF_TRY(add(k, layer->name, &op, NULL,
               (int[]){DNNL_ARG_SRC, DNNL_ARG_DST, max && k->training ? DNNL_ARG_WORKSPACE : 0, 0},
               &forward));
    if (!k->training)
        goto done;
    CHECK(dnnl_pooling_v2_backward_desc_init(&op, kind, &x, &y, strides, kernel, dilation, before,
                                             after));
    QF_TRY(add(k, layer->name, &op, forward,
               (int[]){DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, max ? DNNL_ARG_WORKSPACE : 0, 0},
               NULL));
done:
    dnnl_primitive_desc_destroy(forward);
    return QF_OK;
}

/* Parts into one array; backward the parts are taken out again, which is a copy of the same size.
 */
static qf_status add_concat(bare_kernels *k, const qf_layer *layer)
{
    enum { PARTS = 4 };
    dnnl_memory_desc_t part[PARTS], whole;
    if (layer->bottom_count > PARTS)
        return qf_fail(k->context, QF_E_UNSUPPORTED, "Concat of more than %d", PARTS);
    for (int i = 0; i < layer->bottom_count; i++)
        QF_TRY(describe(k, layer->bottom[i], order_of(layer->bottom[i]), &part[i]));
    QF_TRY(describe(k, layer->top[0], order_of(layer->top[0]), &whole));
    for (int pass = 0; pass < (k->training ? 2 : 1); pass++) {
        dnnl_primitive_desc_t made;
        CHECK(dnnl_concat_primitive_desc_create(&made, &whole, layer->bottom_count, 1, part, NULL,
                                                k->engine));
        int roles[PARTS + 2] = {DNNL_ARG_DST};
        for (int i = 0; i < layer->bottom_count; i++)
            roles[i + 1] = DNNL_ARG_MULTIPLE_SRC + i;
        QF_TRY(add_made(k, layer->name, made, roles));
        dnnl_primitive_desc_destroy(made);
    }
    return QF_OK;
}

static const struct {
    const char *type;
    qf_status (*add)(bare_kernels *k, const qf_layer *layer);
    bool training_only;
} adders[] = {
    {"Convolution", add_convolution, false},
    {"InnerProduct", add_inner_product, false},
    {"BatchNorm", add_batch_norm, true},
    {"ReLU", add_relu, true},
    {"Dropout", add_sum, true}, /* a product with a mask: reads and writes as much as a sum */
    {"Eltwise", add_sum, false},
    {"Pooling", add_pooling, false},
    {"Concat", add_concat, false},
};

qf_status bare_create(const qf_net *net, bare_kind kind, bare_kernels *out)
{
    bare_kernels *k = out;
    *out = (bare_kernels){.context = net->context,
                          .type = kind == BARE_INT8_INFERENCE ? dnnl_u8 : dnnl_f32,
                          .training = kind == BARE_TRAINING};
    CHECK(dnnl_engine_create(&k->engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&k->stream, k->engine, dnnl_stream_default_flags));
    for (int l = 0; l < net->layer_count; l++)
        for (size_t i = 0; i < sizeof adders / sizeof *adders; i++)
            if (strcmp(net->layers[l]->type->name, adders[i].type) == 0 &&
                (k->training || !adders[i].training_only))
                QF_TRY(qf_within(net->context, adders[i].add(k, net->layers[l]),
                                 "bare kernel of %s", net->layers[l]->name));
    return QF_OK;
}

qf_status bare_run(bare_kernels *k)
{
    for (size_t i = 0; i < k->count; i++) {
        bare_kernel *kernel = &k->items[i];
        const double start = seconds_now();
        CHECK(
            dnnl_primitive_execute(kernel->primitive, k->stream, kernel->count, kernel->arguments));
        CHECK(dnnl_stream_wait(k->stream));
        const double taken = seconds_now() - start;
        kernel->best = taken < kernel->best ? taken : kernel->best;
    }
    return QF_OK;
}

double bare_sum(const bare_kernels *k, const char *layer)
{
    double sum = 0;
    for (size_t i = 0; i < k->count; i++)
        if (!layer || strcmp(k->items[i].layer, layer) == 0)
            sum += k->items[i].best;
    return sum;
}

void bare_destroy(bare_kernels *k)
{
    for (size_t i = 0; i < k->count; i++)
        dnnl_primitive_destroy(k->items[i].primitive);
    for (size_t i = 0; i < k->memory_count; i++)
        dnnl_memory_destroy(k->memory[i]);
    if (k->stream)
        dnnl_stream_destroy(k->stream);
    if (k->engine)
        dnnl_engine_destroy(k->engine);
    qf_free(k->items);
    qf_free(k->memory);
    *k = (bare_kernels){0};
}
