/* Layers that change each value by itself, or along one axis. */
#include "onnx/export/export_layers.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static const char *x_of(const qf_onnx_export *e)
{
    return qf_onnx_bottom(e, 0);
}

/* Types whose node needs no parameters. */
#define UNARY(stem, op_type)                                                                       \
    void qf_onnx_##stem(qf_onnx_export *e)                                                         \
    {                                                                                              \
        qf_onnx_set_top(e, 0, qf_unary(e->maker, op_type, x_of(e)));                               \
    }
UNARY(abs_val, "Abs")
UNARY(bnll, "Softplus") /* log(1 + e^x) */
UNARY(sigmoid, "Sigmoid")
UNARY(tan_h, "Tanh")

static const char *clip(qf_onnx_export *e, const char *x, float low, float high)
{
    return qf_node(e->maker, "Clip",
                   QF_INPUTS(x, qf_scalar(e->maker, low), qf_scalar(e->maker, high)),
                   QF_NO_ATTRIBUTES);
}

void qf_onnx_relu6(qf_onnx_export *e)
{
    qf_onnx_set_top(e, 0, clip(e, x_of(e), 0, 6));
}

void qf_onnx_clip(qf_onnx_export *e)
{
    const Caffe__ClipParameter *p = e->layer->param->clip_param;
    qf_onnx_set_top(e, 0, clip(e, x_of(e), p->min, p->max));
}

static const char *rectify(qf_onnx_export *e, const char *x, float slope)
{
    return slope == 0 ? qf_unary(e->maker, "Relu", x)
                      : qf_node(e->maker, "LeakyRelu", QF_INPUTS(x),
                                QF_ATTRIBUTES(QF_FLOAT("alpha", slope)));
}

void qf_onnx_relu(qf_onnx_export *e)
{
    const Caffe__ReLUParameter *p = QF_LAYER_PARAM(e->layer, relu_param, RE_LU, ReLU);
    qf_onnx_set_top(e, 0, rectify(e, x_of(e), p->negative_slope));
}

void qf_onnx_c_relu(qf_onnx_export *e)
{
    const Caffe__CReLUParameter *p = QF_LAYER_PARAM(e->layer, crelu_param, CRE_LU, CReLU);
    const int axis = qf_shape_axis(qf_onnx_bottom_shape(e, 0), p->concat_axis);
    const char *above = rectify(e, x_of(e), p->negative_slope);
    const char *below = rectify(e, qf_unary(e->maker, "Neg", x_of(e)), p->negative_slope);
    qf_onnx_set_top(
        e, 0,
        qf_node(e->maker, "Concat", QF_INPUTS(above, below), QF_ATTRIBUTES(QF_INT("axis", axis))));
}

/* OpenVINO (2026.4) joins PRelu to an integer convolution and computes it wrongly where that puts
 * out one pixel. */
static bool is_pixel_of_integers(const qf_onnx_export *e)
{
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const qf_layer *maker = qf_net_producer(e->net, e->layer->bottom[0], e->layer);
    return x->axes > 2 && qf_shape_count_range(x, 2, x->axes) == 1 && maker &&
           strcmp(maker->type->name, "DeQuant") == 0;
}

/* max(x, 0) + slope · min(x, 0), to the bit. */
static const char *rectify_by_parts(qf_onnx_export *e, const char *x, const char *slope)
{
    const char *above = qf_unary(e->maker, "Relu", x);
    const char *below = qf_binary(e->maker, "Sub", x, above);
    return qf_binary(e->maker, "Add", above, qf_binary(e->maker, "Mul", below, slope));
}

/* The slopes go along axis 1. */
void qf_onnx_p_relu(qf_onnx_export *e)
{
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const size_t slopes = qf_blob_count(e->layer->params[0].blob);
    int64_t dims[QF_MAX_AXES];
    dims[0] = (int64_t)slopes;
    for (int i = 1; i < x->axes - 1; i++)
        dims[i] = 1;
    const int axes = slopes == 1 ? 1 : x->axes - 1;
    const char *slope = qf_onnx_param_as(e, 0, "slope", dims, axes);
    qf_onnx_set_top(e, 0,
                    is_pixel_of_integers(e) ? rectify_by_parts(e, x_of(e), slope)
                                            : qf_binary(e->maker, "PRelu", x_of(e), slope));
}

void qf_onnx_elu(qf_onnx_export *e)
{
    const Caffe__ELUParameter *p = QF_LAYER_PARAM(e->layer, elu_param, ELU, ELU);
    qf_onnx_set_top(
        e, 0,
        qf_node(e->maker, "Elu", QF_INPUTS(x_of(e)), QF_ATTRIBUTES(QF_FLOAT("alpha", p->alpha))));
}

void qf_onnx_swish(qf_onnx_export *e)
{
    const Caffe__SwishParameter *p = QF_LAYER_PARAM(e->layer, swish_param, SWISH_, Swish);
    const char *gate = qf_unary(e->maker, "Sigmoid", qf_onnx_times(e, x_of(e), p->beta));
    qf_onnx_set_top(e, 0, qf_binary(e->maker, "Mul", x_of(e), gate));
}

/* x · min(max(x / 6 + 1/2, 0), 1) */
void qf_onnx_hswish(qf_onnx_export *e)
{
    const char *gate = qf_node(e->maker, "HardSigmoid", QF_INPUTS(x_of(e)),
                               QF_ATTRIBUTES(QF_FLOAT("alpha", 1.0f / 6), QF_FLOAT("beta", 0.5f)));
    qf_onnx_set_top(e, 0, qf_binary(e->maker, "Mul", x_of(e), gate));
}

/* (shift + scale · x)^power */
void qf_onnx_power(qf_onnx_export *e)
{
    const Caffe__PowerParameter *p = QF_LAYER_PARAM(e->layer, power_param, POWER_, Power);
    const char *y = qf_onnx_plus(e, qf_onnx_times(e, x_of(e), p->scale), p->shift);
    if (p->power != 1)
        y = qf_binary(e->maker, "Pow", y, qf_scalar(e->maker, p->power));
    qf_onnx_set_top(e, 0, y);
}

/* The natural logarithm of a base; -1 stands for e. */
static float log_of(float base)
{
    return base == -1 ? 1 : logf(base);
}

/* base^(shift + scale · x) */
void qf_onnx_exp(qf_onnx_export *e)
{
    const Caffe__ExpParameter *p = QF_LAYER_PARAM(e->layer, exp_param, EXP_, Exp);
    const float log = log_of(p->base);
    const char *y = qf_unary(e->maker, "Exp", qf_onnx_times(e, x_of(e), log * p->scale));
    qf_onnx_set_top(e, 0, qf_onnx_times(e, y, expf(log * p->shift)));
}

/* log_base(shift + scale · x) */
void qf_onnx_log(qf_onnx_export *e)
{
    const Caffe__LogParameter *p = QF_LAYER_PARAM(e->layer, log_param, LOG_, Log);
    const char *x = qf_onnx_plus(e, qf_onnx_times(e, x_of(e), p->scale), p->shift);
    qf_onnx_set_top(e, 0, qf_onnx_times(e, qf_unary(e->maker, "Log", x), 1 / log_of(p->base)));
}

static const char *as_float(qf_onnx_export *e, const char *x)
{
    return qf_node(e->maker, "Cast", QF_INPUTS(x),
                   QF_ATTRIBUTES(QF_INT("to", ONNX__TENSOR__DATA_TYPE__FLOAT)));
}

void qf_onnx_threshold(qf_onnx_export *e)
{
    const Caffe__ThresholdParameter *p =
        QF_LAYER_PARAM(e->layer, threshold_param, THRESHOLD_, Threshold);
    const char *above = qf_binary(e->maker, "Greater", x_of(e), qf_scalar(e->maker, p->threshold));
    qf_onnx_set_top(e, 0, as_float(e, above));
}

/* ---- along an axis ---- */

static const char *softmax(qf_onnx_export *e, int named_axis)
{
    const int axis = qf_shape_axis(qf_onnx_bottom_shape(e, 0), named_axis);
    return qf_node(e->maker, "Softmax", QF_INPUTS(x_of(e)), QF_ATTRIBUTES(QF_INT("axis", axis)));
}

void qf_onnx_softmax(qf_onnx_export *e)
{
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(e->layer, softmax_param, SOFTMAX_, Softmax);
    qf_onnx_set_top(e, 0, softmax(e, p->axis));
}

/* A loss of which the answers stay; they have no blob in the net. The first are called prob. */
static void answer(qf_onnx_export *e, const char *value)
{
    const bool first = e->answer_count == 0 && qf_net_blob_index(e->net, "prob") < 0;
    const char *name = first ? "prob" : e->layer->name;
    if (e->maker->status != QF_OK)
        return;
    if (!qf_grow(&e->answer, &e->answer_capacity, e->answer_count + 1, sizeof *e->answer)) {
        e->maker->status = qf_fail(e->context, QF_E_MEMORY, "no memory for names");
        return;
    }
    qf_maker_rename(e->maker, value, name);
    e->answer[e->answer_count++] = (struct qf_onnx_answer){name, e->layer->bottom[0]};
}

void qf_onnx_softmax_with_loss(qf_onnx_export *e)
{
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(e->layer, softmax_param, SOFTMAX_, Softmax);
    answer(e, softmax(e, p->axis));
}

void qf_onnx_sigmoid_with_loss(qf_onnx_export *e)
{
    answer(e, qf_unary(e->maker, "Sigmoid", x_of(e)));
}

/* Backwards along an axis. */
static const char *reversed(qf_onnx_export *e, const char *x, int64_t axis)
{
    qf_graph_maker *m = e->maker;
    const char *back = qf_integer(m, -1);
    return qf_node(m, "Slice",
                   QF_INPUTS(x, back, qf_integer(m, INT64_MIN + 1), qf_integer(m, axis), back),
                   QF_NO_ATTRIBUTES);
}

/* The best of each item, or along an axis: where they are, or their values, or both. Of equal ones
 * Caffe takes the last first, TopK the first, so that it is given them backwards. */
void qf_onnx_arg_max(qf_onnx_export *e)
{
    const Caffe__ArgMaxParameter *p = QF_LAYER_PARAM(e->layer, argmax_param, ARG_MAX_, ArgMax);
    qf_graph_maker *m = e->maker;
    const qf_shape *shape = qf_onnx_bottom_shape(e, 0);
    const int axis = p->has_axis ? qf_shape_axis(shape, p->axis) : 1;
    const size_t count =
        p->has_axis ? (size_t)shape->dim[axis] : qf_shape_count_range(shape, 1, shape->axes);
    const char *x =
        p->has_axis ? x_of(e)
                    : qf_node(m, "Flatten", QF_INPUTS(x_of(e)), QF_ATTRIBUTES(QF_INT("axis", 1)));
    const char *best[2];
    if (p->has_axis && qf_onnx_bottom_dim(e, 0, axis) < 0) {
        qf_onnx_refuse(e, "it looks along the batch; give the model a fixed batch");
        return;
    }
    qf_node_of_many(m, "TopK", QF_INPUTS(reversed(e, x, axis), qf_integer(m, p->top_k)),
                    QF_ATTRIBUTES(QF_INT("axis", axis)), best, 2);
    const char *index = qf_binary(m, "Sub", qf_scalar(m, (float)count - 1), as_float(e, best[1]));
    if (p->has_axis) {
        qf_onnx_set_top(e, 0, p->out_max_val ? best[0] : index);
        return;
    }
    if (p->out_max_val)
        index = qf_node(m, "Concat", QF_INPUTS(index, best[0]), QF_ATTRIBUTES(QF_INT("axis", 1)));
    qf_onnx_set_top(e, 0, qf_onnx_reshape_to_top(e, index, 0));
}
