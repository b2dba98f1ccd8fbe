/* Layers that combine values: sums, factors, normalisation, reductions. */
#include "onnx/export/export_layers.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

void qf_onnx_eltwise(qf_onnx_export *e)
{
    const Caffe__EltwiseParameter *p = QF_LAYER_PARAM(e->layer, eltwise_param, ELTWISE_, Eltwise);
    static const char *const operations[] = {
        [CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__PROD] = "Mul",
        [CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM] = "Add",
        [CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__MAX] = "Max",
    };
    const char *sum = NULL;
    for (int b = 0; b < e->layer->bottom_count; b++) {
        const char *x = qf_onnx_times(e, qf_onnx_bottom(e, b), p->n_coeff ? p->coeff[b] : 1);
        sum = sum ? qf_binary(e->maker, operations[p->operation], sum, x) : x;
    }
    qf_onnx_set_top(e, 0, sum);
}

/* The factor or summand covers its axes from `axis` on; ONNX aligns at the end, so axes of 1
 * follow.
 */
static const char *along(qf_onnx_export *e, int axis, int param, const char *what)
{
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const bool given = param < 0; /* bottom 1 */
    const qf_shape *shape =
        given ? qf_onnx_bottom_shape(e, 1) : qf_blob_shape(e->layer->params[param].blob);
    const int first = shape->axes ? qf_shape_axis(x, axis) : x->axes;
    const int behind = x->axes - first - shape->axes;
    int64_t dims[QF_MAX_AXES];
    if (given)
        return qf_onnx_trailing_axes(e, qf_onnx_bottom(e, 1), shape->axes, behind);
    for (int i = 0; i < shape->axes + behind; i++)
        dims[i] = i < shape->axes ? shape->dim[i] : 1;
    return qf_onnx_param_as(e, param, what, dims, shape->axes + behind);
}

void qf_onnx_scale(qf_onnx_export *e)
{
    const Caffe__ScaleParameter *p = QF_LAYER_PARAM(e->layer, scale_param, SCALE_, Scale);
    const bool learned = e->layer->bottom_count == 1;
    const char *y = qf_binary(e->maker, "Mul", qf_onnx_bottom(e, 0),
                              along(e, p->axis, learned ? 0 : -1, "factor"));
    if (p->bias_term)
        y = qf_binary(e->maker, "Add", y, along(e, p->axis, learned ? 1 : 0, "bias"));
    qf_onnx_set_top(e, 0, y);
}

void qf_onnx_bias(qf_onnx_export *e)
{
    const Caffe__BiasParameter *p = QF_LAYER_PARAM(e->layer, bias_param, BIAS_, Bias);
    const bool learned = e->layer->bottom_count == 1;
    qf_onnx_set_top(e, 0,
                    qf_binary(e->maker, "Add", qf_onnx_bottom(e, 0),
                              along(e, p->axis, learned ? 0 : -1, "bias")));
}

/* a · x + y, a factor for each image and channel */
void qf_onnx_axpy(qf_onnx_export *e)
{
    const int behind = qf_onnx_bottom_shape(e, 1)->axes - qf_onnx_bottom_shape(e, 0)->axes;
    const char *a =
        qf_onnx_trailing_axes(e, qf_onnx_bottom(e, 0), qf_onnx_bottom_shape(e, 0)->axes, behind);
    const char *product = qf_binary(e->maker, "Mul", qf_onnx_bottom(e, 1), a);
    qf_onnx_set_top(e, 0, qf_binary(e->maker, "Add", product, qf_onnx_bottom(e, 2)));
}

void qf_onnx_parameter(qf_onnx_export *e)
{
    const char *value = qf_onnx_param_value(e, 0, "value");
    qf_onnx_set_top(e, 0, qf_unary(e->maker, "Identity", value));
}

void qf_onnx_reduction(qf_onnx_export *e)
{
    const Caffe__ReductionParameter *p =
        QF_LAYER_PARAM(e->layer, reduction_param, REDUCTION_, Reduction);
    static const char *const operations[] = {
        [CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__SUM] = "ReduceSum",
        [CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__ASUM] = "ReduceL1",
        [CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__SUMSQ] = "ReduceSumSquare",
        [CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__MEAN] = "ReduceMean",
    };
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const int axis = qf_shape_axis(x, p->axis);
    const char *sum =
        qf_onnx_reduce(e, operations[p->operation], qf_onnx_bottom(e, 0), axis, x->axes, false);
    qf_onnx_set_top(e, 0, qf_onnx_times(e, sum, p->coeff));
}

/* ---- normalisation ---- */

/* Caffe stores sums over batches, and the weight to divide them by. */
static const char *running(qf_onnx_export *e, int param, const char *what, float factor, float eps)
{
    const float *sums = qf_onnx_param(e, param);
    const size_t count = qf_blob_count(e->layer->params[param].blob);
    float *values = qf_alloc(count, sizeof *values);
    if (!sums || !values) {
        qf_free(values);
        if (e->maker->status == QF_OK)
            e->maker->status = qf_fail(e->context, QF_E_MEMORY, "no memory for statistics");
        return "";
    }
    for (size_t c = 0; c < count; c++) {
        values[c] = sums[c] * factor;
        if (eps > 0) /* of √σ² + eps; the node adds none then */
            values[c] = (sqrtf(values[c]) + eps) * (sqrtf(values[c]) + eps);
    }
    const char *made = qf_floats(e->maker, what, values, (int64_t[]){(int64_t)count}, 1);
    qf_free(values);
    return made;
}

static const char *constant_of(qf_onnx_export *e, const char *what, size_t count, float value)
{
    float *values = qf_alloc(count, sizeof *values);
    if (!values)
        e->maker->status = qf_fail(e->context, QF_E_MEMORY, "no memory for %zu channels", count);
    for (size_t c = 0; values && c < count; c++)
        values[c] = value;
    const char *made =
        values ? qf_floats(e->maker, what, values, (int64_t[]){(int64_t)count}, 1) : "";
    qf_free(values);
    return made;
}

void qf_onnx_batch_norm(qf_onnx_export *e)
{
    const Caffe__BatchNormParameter *p =
        QF_LAYER_PARAM(e->layer, batch_norm_param, BATCH_NORM_, BatchNorm);
    const float *weight = qf_onnx_param(e, 2);
    const size_t channels = qf_blob_count(e->layer->params[0].blob);
    if (p->has_use_global_stats && !p->use_global_stats) {
        qf_onnx_refuse(e, "it normalises by the statistics of each batch (use_global_stats: "
                          "false), and ONNX runtimes by stored ones");
        return;
    }
    if (!weight)
        return;
    const float factor = *weight == 0 ? 0 : 1 / *weight;
    const bool inside = p->add_eps_before_sqrt;
    const char *one = constant_of(e, "factor", channels, 1),
               *zero = constant_of(e, "bias", channels, 0),
               *mean = running(e, 0, "mean", factor, 0),
               *variance = running(e, 1, "variance", factor, inside ? 0 : p->eps);
    qf_onnx_set_top(e, 0,
                    qf_node(e->maker, "BatchNormalization",
                            QF_INPUTS(qf_onnx_bottom(e, 0), one, zero, mean, variance),
                            QF_ATTRIBUTES(QF_FLOAT("epsilon", inside ? p->eps : 0))));
}

/* Within a channel: x · (1 + alpha · mean of squares around)^−beta; Caffe counts the padding. */
static const char *lrn_within(qf_onnx_export *e, const Caffe__LRNParameter *p)
{
    const char *x = qf_onnx_bottom(e, 0);
    const int64_t size = p->local_size, pad = (size - 1) / 2;
    const int64_t kernel[] = {size, size}, pads[] = {pad, pad, pad, pad};
    const char *mean =
        qf_node(e->maker, "AveragePool", QF_INPUTS(qf_binary(e->maker, "Mul", x, x)),
                QF_ATTRIBUTES(QF_INTS("kernel_shape", kernel, 2), QF_INTS("pads", pads, 4),
                              QF_INT("count_include_pad", 1)));
    const char *scale = qf_onnx_plus(e, qf_onnx_times(e, mean, p->alpha), 1);
    return qf_binary(e->maker, "Div", x,
                     qf_binary(e->maker, "Pow", scale, qf_scalar(e->maker, p->beta)));
}

void qf_onnx_lrn(qf_onnx_export *e)
{
    const Caffe__LRNParameter *p = QF_LAYER_PARAM(e->layer, lrn_param, LRN, LRN);
    qf_onnx_set_top(
        e, 0,
        p->norm_region == CAFFE__LRNPARAMETER__NORM_REGION__WITHIN_CHANNEL
            ? lrn_within(e, p)
            : qf_node(e->maker, "LRN", QF_INPUTS(qf_onnx_bottom(e, 0)),
                      QF_ATTRIBUTES(QF_INT("size", p->local_size), QF_FLOAT("alpha", p->alpha),
                                    QF_FLOAT("beta", p->beta), QF_FLOAT("bias", p->k))));
}

/* Mean 0, and, with the variance, divided by deviation + eps. */
void qf_onnx_mvn(qf_onnx_export *e)
{
    const Caffe__MVNParameter *p = QF_LAYER_PARAM(e->layer, mvn_param, MVN, MVN);
    qf_graph_maker *m = e->maker;
    const char *x = qf_onnx_bottom(e, 0);
    const int first = p->across_channels ? 1 : 2;
    if (qf_onnx_bottom_shape(e, 0)->axes != 4)
        x = qf_onnx_reshape_to_top(e, x, 0);
    const char *y = qf_binary(m, "Sub", x, qf_onnx_reduce(e, "ReduceMean", x, first, 4, true));
    if (p->normalize_variance) {
        const char *variance =
            qf_onnx_reduce(e, "ReduceMean", qf_binary(m, "Mul", y, y), first, 4, true);
        y = qf_binary(m, "Div", y, qf_onnx_plus(e, qf_unary(m, "Sqrt", variance), p->eps));
    }
    qf_onnx_set_top(e, 0, y);
}

/* scale · x / √(Σ x² + eps), over the channels of a pixel or the whole image; NormFace's layer of
 * this name and GRN have no scale. */
void qf_onnx_normalize(qf_onnx_export *e)
{
    const Caffe__NormalizeParameter *p =
        QF_LAYER_PARAM(e->layer, norm_param, NORMALIZE_, Normalize);
    const qf_shape *shape = qf_onnx_bottom_shape(e, 0);
    const bool scaled = e->layer->param_count > 0;
    const bool grn = strcmp(e->layer->type->name, "GRN") == 0;
    const float plain = grn ? QF_LAYER_PARAM(e->layer, grn_param, GRN, GRN)->bias : 1e-6f;
    const char *x = qf_onnx_bottom(e, 0);
    const char *squares = qf_onnx_reduce(e, "ReduceSumSquare", x, 1,
                                         scaled && p->across_spatial ? shape->axes : 2, true);
    const char *length =
        qf_unary(e->maker, "Sqrt", qf_onnx_plus(e, squares, scaled ? p->eps : plain));
    const char *y = qf_binary(e->maker, "Div", x, length);
    int64_t dims[QF_MAX_AXES];
    for (int i = 1; i < shape->axes - 1; i++)
        dims[i] = 1;
    if (scaled) {
        dims[0] = (int64_t)qf_blob_count(e->layer->params[0].blob);
        y = qf_binary(
            e->maker, "Mul", y,
            qf_onnx_param_as(e, 0, "factor", dims, p->channel_shared ? 1 : shape->axes - 1));
    }
    qf_onnx_set_top(e, 0, y);
}
