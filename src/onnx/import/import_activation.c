/* Functions of each element, and Softmax. */
#include "onnx/import/operators.h"

#include <float.h>
#include <math.h>

static const char *const unary_types[] = {
    [QF_IMPORT_ABSOLUTE] = "AbsVal",   [QF_IMPORT_EXPONENTIAL] = "Exp",
    [QF_IMPORT_HARD_SWISH] = "Hswish", [QF_IMPORT_LOGARITHM] = "Log",
    [QF_IMPORT_MISH] = "Mish",         [QF_IMPORT_RELU] = "ReLU",
    [QF_IMPORT_SIGMOID] = "Sigmoid",   [QF_IMPORT_SOFTPLUS] = "BNLL",
    [QF_IMPORT_TANH] = "TanH",
};

/* A layer without parameters, or with those that the caller sets. */
static qf_status apply(qf_importer *im, const char *type, const char *tail, qf_import_blob *blob,
                       Caffe__LayerParameter **layer)
{
    const qf_shape shape = blob->shape;
    return qf_import_chain(im, type, tail, blob, &shape, blob, layer);
}

qf_status qf_import_unary(qf_importer *im, int operation)
{
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(apply(im, unary_types[operation], "", &blob, NULL));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_leaky_relu(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(apply(im, "ReLU", "", &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__re_luparameter__descriptor, &layer->relu_param));
    QF_SET(layer->relu_param, negative_slope, qf_import_float(im, "alpha", 0.01f));
    return qf_import_define(im, 0, &blob);
}

/* One slope for each channel, or for all. */
qf_status qf_import_prelu(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    const float *slopes;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_floats(im, 1, 0, &slopes));
    const qf_shape *shape = &qf_import_input(im, 1)->shape;
    const int count = (int)qf_shape_count(shape);
    const int at = 1 - (blob.shape.axes - shape->axes); /* where the channels are in the slopes */
    const bool by_channel = blob.shape.axes > 1 && at >= 0 && at < shape->axes &&
                            shape->dim[at] == count && count == blob.shape.dim[1];
    if (!by_channel && count != 1)
        return qf_import_refuse(im, "its slopes are not one for each channel, and not one for all");
    QF_TRY(apply(im, "PReLU", "", &blob, &layer));
    if (!by_channel) {
        QF_TRY(
            qf_message_new(im->context, &caffe__pre_luparameter__descriptor, &layer->prelu_param));
        QF_SET(layer->prelu_param, channel_shared, true);
    }
    QF_TRY(qf_import_give(im, layer, &(qf_shape){by_channel, {count}}, slopes));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_elu(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    const float alpha = qf_import_float(im, "alpha", 1);
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(apply(im, "ELU", "", &blob, &layer));
    if (alpha != 1) {
        QF_TRY(qf_message_new(im->context, &caffe__eluparameter__descriptor, &layer->elu_param));
        QF_SET(layer->elu_param, alpha, alpha);
    }
    return qf_import_define(im, 0, &blob);
}

static qf_status bound(qf_importer *im, double lowest, double highest, qf_import_blob *blob)
{
    Caffe__LayerParameter *layer;
    if (!(lowest <= highest))
        return qf_import_damaged(im, "its bounds are %g and %g", lowest, highest);
    if (lowest == 0 && highest == 6)
        return apply(im, "ReLU6", "", blob, NULL);
    if (lowest == 0 && highest >= FLT_MAX)
        return apply(im, "ReLU", "", blob, NULL);
    QF_TRY(apply(im, "Clip", "", blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__clip_parameter__descriptor, &layer->clip_param));
    layer->clip_param->min = (float)fmax(lowest, -FLT_MAX);
    layer->clip_param->max = (float)fmin(highest, FLT_MAX);
    return QF_OK;
}

qf_status qf_import_clip(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    double lowest, highest;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_scalar(im, 1, qf_import_float(im, "min", -FLT_MAX), &lowest));
    QF_TRY(qf_import_scalar(im, 2, qf_import_float(im, "max", FLT_MAX), &highest));
    QF_TRY(bound(im, lowest, highest, &blob));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_hard_sigmoid(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(apply(im, "HardSigmoid", "", &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__hard_sigmoid_parameter__descriptor,
                          &layer->hard_sigmoid_param));
    QF_SET(layer->hard_sigmoid_param, alpha, qf_import_float(im, "alpha", 0.2f));
    QF_SET(layer->hard_sigmoid_param, beta, qf_import_float(im, "beta", 0.5f));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_selu(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(apply(im, "SELU", "", &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__seluparameter__descriptor, &layer->selu_param));
    QF_SET(layer->selu_param, lambda, qf_import_float(im, "gamma", 1.05070102f));
    QF_SET(layer->selu_param, alpha, qf_import_float(im, "alpha", 1.67326319f));
    return qf_import_define(im, 0, &blob);
}

/* ---- Softmax ---- */

/* Before operator set 13 all axes from `axis` on are one row. */
static qf_status add_softmax(qf_importer *im, qf_import_blob *blob)
{
    const qf_shape whole = blob->shape;
    const bool flat = im->opset < 13;
    Caffe__LayerParameter *layer;
    int axis;
    if (!whole.axes)
        return qf_import_refuse(im, "Caffe needs an axis; the input has none");
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", flat ? 1 : -1), whole.axes, &axis));
    if (flat && qf_shape_count_range(&whole, axis + 1, whole.axes) != 1) {
        qf_shape rows = whole;
        rows.axes = axis + 1;
        rows.dim[axis] = (int)qf_shape_count_range(&whole, axis, whole.axes);
        QF_TRY(qf_import_reshape(im, "rows", blob, &rows, blob));
    }
    QF_TRY(apply(im, "Softmax", "", blob, &layer));
    if (axis != 1) {
        QF_TRY(qf_message_new(im->context, &caffe__softmax_parameter__descriptor,
                              &layer->softmax_param));
        QF_SET(layer->softmax_param, axis, axis);
    }
    return qf_import_reshape(im, "shaped", blob, &whole, blob);
}

qf_status qf_import_softmax(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(add_softmax(im, &blob));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_log_softmax(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(add_softmax(im, &blob));
    QF_TRY(apply(im, "Log", "log", &blob, NULL));
    return qf_import_define(im, 0, &blob);
}
