/* Convolutions and products, pooling, and what changes the size of images. */
#include "layers/convolution/convolution_base.h"
#include "layers/pooling/pooling.h"
#include "onnx/export/export_layers.h"

#include "base/memory.h"

/* ---- convolutions ---- */

typedef struct geometry {
    int64_t kernel[QF_MAX_SPATIAL], stride[QF_MAX_SPATIAL], dilation[QF_MAX_SPATIAL];
    int64_t pads[2 * QF_MAX_SPATIAL], more[QF_MAX_SPATIAL];
} geometry;

static geometry geometry_of(const qf_convolution_state *s)
{
    geometry g = {0};
    for (int i = 0; i < s->spatial_axes; i++) {
        g.kernel[i] = s->kernel[i];
        g.stride[i] = s->stride[i];
        g.dilation[i] = s->dilation[i];
        g.pads[i] = s->pad[i];
        g.pads[s->spatial_axes + i] = s->pad_end[i] < 0 ? 0 : s->pad_end[i];
        g.more[i] = s->pad_end[i] < 0 ? -s->pad_end[i] : 0; /* of a Deconvolution */
    }
    return g;
}

/* Caffe rounds towards zero: a kernel beyond the padded image still gives one output. */
static bool reaches_beyond(const qf_convolution_state *s)
{
    for (int i = 0; i < s->shape.spatial_axes && !s->transposed; i++)
        if (s->shape.in[i] + s->shape.pad[i] + s->shape.pad_end[i] <
            s->shape.dilation[i] * (s->shape.kernel[i] - 1) + 1)
            return true;
    return false;
}

void qf_onnx_convolution(qf_onnx_export *e)
{
    const qf_convolution_state *s = e->layer->state;
    const geometry g = geometry_of(s);
    const size_t axes = (size_t)s->spatial_axes;
    const char *weights, *bias;
    if (s->axis != 1 || axes == 0 || reaches_beyond(s)) {
        qf_onnx_refuse(e, s->axis != 1 || axes == 0
                              ? "its axis must be 1, with axes of space behind it"
                              : "its kernel is larger than the padded image");
        return;
    }
    qf_onnx_weights(e, &weights, &bias);
    const qf_node_attribute attributes[] = {
        QF_INTS("kernel_shape", g.kernel, axes),
        QF_INTS("strides", g.stride, axes),
        QF_INTS("pads", g.pads, 2 * axes),
        QF_INTS("dilations", g.dilation, axes),
        QF_INT("group", s->groups),
        QF_INTS("output_padding", g.more, axes),
    };
    const size_t used = s->transposed ? 6 : 5;
    for (int i = 0; i < e->layer->top_count; i++)
        qf_onnx_set_top(e, i,
                        qf_node(e->maker, s->transposed ? "ConvTranspose" : "Conv",
                                (const char *const[]){qf_onnx_bottom(e, i), weights, bias},
                                bias ? 3 : 2, attributes, used));
}

/* ---- products ---- */

/* Rows of all values from the axis on, times the matrix; the rows' axes come back behind it. */
void qf_onnx_inner_product(qf_onnx_export *e)
{
    const Caffe__InnerProductParameter *p =
        QF_LAYER_PARAM(e->layer, inner_product_param, INNER_PRODUCT_, InnerProduct);
    const qf_shape *shape = qf_onnx_bottom_shape(e, 0);
    const int axis = qf_shape_axis(shape, p->axis);
    const char *x = qf_onnx_bottom(e, 0), *weights, *bias;
    if (p->normalize) {
        qf_onnx_refuse(e, "normalize is for training; write the normalised weights into the file");
        return;
    }
    if (axis != 1 || shape->axes != 2)
        x = qf_node(e->maker, "Flatten", QF_INPUTS(x), QF_ATTRIBUTES(QF_INT("axis", axis)));
    qf_onnx_weights(e, &weights, &bias);
    const char *y = qf_node(e->maker, "Gemm", (const char *const[]){x, weights, bias}, bias ? 3 : 2,
                            QF_ATTRIBUTES(QF_INT("transB", !p->transpose)));
    qf_onnx_set_top(e, 0, axis == 1 ? y : qf_onnx_reshape_to_top(e, y, 0));
}

static const char *transposed(qf_onnx_export *e, const char *x, int axes, bool transpose)
{
    int64_t order[QF_MAX_AXES];
    for (int i = 0; i < axes; i++)
        order[i] = i < axes - 2 ? i : 2 * axes - 3 - i;
    return transpose ? qf_node(e->maker, "Transpose", QF_INPUTS(x),
                               QF_ATTRIBUTES(QF_INTS("perm", order, (size_t)axes)))
                     : x;
}

static void multiply(qf_onnx_export *e, bool transpose_a, bool transpose_b)
{
    const bool learned = e->layer->bottom_count == 1;
    const qf_shape *b =
        learned ? qf_blob_shape(e->layer->params[0].blob) : qf_onnx_bottom_shape(e, 1);
    const char *first =
        transposed(e, qf_onnx_bottom(e, 0), qf_onnx_bottom_shape(e, 0)->axes, transpose_a);
    const char *second =
        transposed(e, learned ? qf_onnx_param_value(e, 0, "factor") : qf_onnx_bottom(e, 1), b->axes,
                   transpose_b);
    qf_onnx_set_top(e, 0, qf_binary(e->maker, "MatMul", first, second));
}

void qf_onnx_mat_mul(qf_onnx_export *e)
{
    const Caffe__MatMulParameter *p = QF_LAYER_PARAM(e->layer, matmul_param, MAT_MUL_, MatMul);
    multiply(e, p->transpose_a, p->transpose_b);
}

void qf_onnx_batch_mat_mul(qf_onnx_export *e)
{
    const Caffe__BatchMatMulParameter *p =
        QF_LAYER_PARAM(e->layer, batch_matmul_param, BATCH_MAT_MUL_, BatchMatMul);
    multiply(e, p->adj_x1, p->adj_x2);
}

/* Each integer picks a row of the weights. */
void qf_onnx_embed(qf_onnx_export *e)
{
    const char *index = qf_node(e->maker, "Cast", QF_INPUTS(qf_onnx_bottom(e, 0)),
                                QF_ATTRIBUTES(QF_INT("to", ONNX__TENSOR__DATA_TYPE__INT64)));
    const char *rows = qf_binary(e->maker, "Gather", qf_onnx_param_value(e, 0, "weights"), index);
    if (e->layer->param_count > 1)
        rows = qf_binary(e->maker, "Add", rows, qf_onnx_param_value(e, 1, "bias"));
    qf_onnx_set_top(e, 0, rows);
}

/* ---- pooling ---- */

/* What windows need behind the image: with rounding up, the last one may begin in the padding's
 * last pixels and reach beyond them. Negative: pixels that no window sees. */
static int needed_behind(const qf_pooling_shape *s, int axis)
{
    return (s->out[axis] - 1) * s->stride[axis] + s->kernel[axis] - s->in[axis] - s->pad[axis];
}

/* How many pixels Caffe divides by, along an axis: a window ends where the padding ends. */
static int counted(const qf_pooling_shape *s, int axis, int index)
{
    const int start = index * s->stride[axis] - s->pad[axis];
    const int most = s->in[axis] + s->pad_end[axis] - start;
    return s->kernel[axis] < most ? s->kernel[axis] : most;
}

/* The node divides by whole windows; a factor for each output makes up for those cut off. */
static const char *correct(qf_onnx_export *e, const qf_pooling_shape *s, const char *mean)
{
    const size_t height = (size_t)s->out[0], width = (size_t)s->out[1];
    const float whole = (float)s->kernel[0] * (float)s->kernel[1];
    float *factor = qf_alloc(height * width, sizeof *factor);
    bool needed = false;
    if (!factor) {
        e->maker->status = qf_fail(e->context, QF_E_MEMORY, "no memory for factors of pooling");
        return "";
    }
    for (size_t h = 0; h < height; h++)
        for (size_t w = 0; w < width; w++) {
            const float part = (float)counted(s, 0, (int)h) * (float)counted(s, 1, (int)w);
            factor[h * width + w] = whole / part;
            needed |= part != whole;
        }
    const int64_t dims[] = {(int64_t)height, (int64_t)width};
    const char *y =
        needed ? qf_binary(e->maker, "Mul", mean, qf_floats(e->maker, "factor", factor, dims, 2))
               : mean;
    qf_free(factor);
    return y;
}

static const char *pool(qf_onnx_export *e, const qf_pooling_shape *s, const char *op_type)
{
    const int64_t kernel[] = {s->kernel[0], s->kernel[1]}, stride[] = {s->stride[0], s->stride[1]};
    int64_t pads[4] = {s->pad[0], s->pad[1], 0, 0};
    for (int i = 0; i < 2; i++) {
        const int behind = needed_behind(s, i);
        pads[2 + i] = behind > 0 ? behind : 0;
    }
    const qf_node_attribute attributes[] = {
        QF_INTS("kernel_shape", kernel, 2),
        QF_INTS("strides", stride, 2),
        QF_INTS("pads", pads, 4),
        QF_INT("count_include_pad", !s->without_padding),
    };
    return qf_node(e->maker, op_type, QF_INPUTS(qf_onnx_bottom(e, 0)), attributes,
                   s->average ? 4 : 3);
}

static bool is_global(const qf_pooling_shape *s)
{
    bool global = true;
    for (int i = 0; i < 2; i++)
        global &=
            s->kernel[i] == s->in[i] && s->out[i] == 1 && s->pad[i] == 0 && s->pad_end[i] == 0;
    return global;
}

void qf_onnx_pooling(qf_onnx_export *e)
{
    const qf_pooling_shape *s = qf_pooling_shape_of(e->layer);
    const char *x = qf_onnx_bottom(e, 0);
    if (!s || e->layer->top_count > 1) {
        qf_onnx_refuse(e, s ? "its second top, the mask, counts pixels of a channel; ONNX counts "
                              "those of the whole batch"
                            : "stochastic pooling has no node");
        return;
    }
    for (int i = 0; i < 2; i++)
        if (needed_behind(s, i) >= s->kernel[i] || s->pad[i] >= s->kernel[i]) {
            qf_onnx_refuse(e, "a window lies outside the image (stride %d, kernel %d)",
                           s->stride[i], s->kernel[i]);
            return;
        }
    if (is_global(s))
        qf_onnx_set_top(e, 0,
                        qf_unary(e->maker, s->average ? "GlobalAveragePool" : "GlobalMaxPool", x));
    else if (!s->average)
        qf_onnx_set_top(e, 0, pool(e, s, "MaxPool"));
    else
        qf_onnx_set_top(e, 0,
                        s->without_padding ? pool(e, s, "AveragePool")
                                           : correct(e, s, pool(e, s, "AveragePool")));
}

/* ---- sizes of images ---- */

/* Each pixel becomes a block of itself. */
void qf_onnx_upsample(qf_onnx_export *e)
{
    const Caffe__UpsampleParameter *p =
        QF_LAYER_PARAM(e->layer, upsample_param, UPSAMPLE_, Upsample);
    const bool stride = p->has_stride || p->has_stride_h || p->has_stride_w;
    if (e->layer->bottom_count > 1) {
        qf_onnx_refuse(e, "it goes by the mask of a MAX pooling, which ONNX counts otherwise");
        return;
    }
    const qf_shape *top = qf_onnx_top_shape(e, 0);
    const char *y = qf_onnx_resize(e, qf_onnx_bottom(e, 0), top->dim[2], top->dim[3], "nearest",
                                   "asymmetric", "floor");
    qf_onnx_set_top(e, 0, qf_onnx_times(e, y, stride && p->has_scale ? p->scale : 1));
}

/* Bilinear, corners on corners, of what pad_beg and pad_end leave. */
void qf_onnx_interp(qf_onnx_export *e)
{
    const Caffe__InterpParameter *p = QF_LAYER_PARAM(e->layer, interp_param, INTERP_, Interp);
    const qf_shape *x = qf_onnx_bottom_shape(e, 0), *top = qf_onnx_top_shape(e, 0);
    const int64_t starts[] = {-p->pad_beg, -p->pad_beg};
    const int64_t ends[] = {x->dim[2] + p->pad_end, x->dim[3] + p->pad_end};
    const char *inside = qf_onnx_slice(e, qf_onnx_bottom(e, 0), starts, ends, (int64_t[]){2, 3},
                                       p->pad_beg || p->pad_end ? 2 : 0);
    qf_onnx_set_top(
        e, 0,
        qf_onnx_resize(e, inside, top->dim[2], top->dim[3], "linear", "align_corners", "floor"));
}
