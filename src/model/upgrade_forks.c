/*
 * What forks of Caffe say in words of their own, in Caffe's words:
 *  - `hole`, `hole_h`, `hole_w` of a convolution (DeepLab) is `dilation`;
 *  - `ConvolutionDepthwise` (MobileNet-Caffe) is DepthwiseConvolution;
 *  - `BN` is BatchNorm and Scale. The Scale keeps the layer's name, the BatchNorm is "<name>_norm".
 *    Of the two forks that have a BN, PSPNet's stores slope, bias, mean and variance (with `frozen`
 *    it uses them in training, too); SegNet's and ENet's stores scale and shift: `LEARN` normalises
 *    by each batch, also in tests, and `INFERENCE` does not normalise;
 *  - a `DenseBlock` is many layers (upgrade_dense_block.c).
 */
#include "model/field.h"
#include "model/upgrade.h"

#include <stdlib.h>

/* ---- hole ---- */

static bool has_hole(const Caffe__LayerParameter *layer)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    return p && (p->has_hole || p->has_hole_h || p->has_hole_w);
}

static qf_status upgrade_hole(qf_context *context, Caffe__LayerParameter *layer)
{
    Caffe__ConvolutionParameter *p = layer->convolution_param;
    if (p->n_dilation)
        return qf_fail(context, QF_E_FORMAT, "layer %s: hole and dilation mean the same; give one",
                       qf_upgrade_name(layer));
    const uint32_t square = p->has_hole ? p->hole : 1;
    const uint32_t sides[] = {p->has_hole_h ? p->hole_h : square,
                              p->has_hole_w ? p->hole_w : square};
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_append(context, &p->n_dilation, &p->dilation, &sides[i], sizeof sides[i]));
    p->has_hole = p->has_hole_h = p->has_hole_w = false;
    return QF_OK;
}

/* ---- BN ---- */

/* Statistics and factors are stored as 1 x C x 1 x 1; Caffe's layers have C of them. */
qf_status qf_upgrade_flatten(qf_context *context, Caffe__BlobProto *blob)
{
    const int64_t count = (int64_t)(blob->n_double_data ? blob->n_double_data : blob->n_data);
    blob->has_num = blob->has_channels = blob->has_height = blob->has_width = false;
    if (!blob->shape)
        QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &blob->shape));
    blob->shape->n_dim = 0;
    return qf_append(context, &blob->shape->n_dim, &blob->shape->dim, &count, sizeof count);
}

/* BatchNorm's third blob: what mean and variance are to be divided by. */
static qf_status append_one(qf_context *context, Caffe__LayerParameter *layer)
{
    const float one = 1;
    Caffe__BlobProto *blob;
    QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, &blob));
    qf_status status = qf_append(context, &blob->n_data, &blob->data, &one, sizeof one);
    if (status == QF_OK)
        status = qf_upgrade_flatten(context, blob);
    if (status == QF_OK)
        status = qf_append(context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob);
    if (status != QF_OK)
        qf_message_free(blob);
    return status;
}

/* The layer without its parameters and blobs, as "<name>_norm". */
static qf_status make_norm(qf_context *context, Caffe__LayerParameter *layer, bool of_segnet,
                           Caffe__LayerParameter **out)
{
    const Caffe__BNParameter *p = layer->bn_param;
    QF_TRY(qf_upgrade_twin(context, layer, "_norm", "BatchNorm", out));
    Caffe__LayerParameter *norm = *out;
    qf_message_free(norm->bn_param);
    norm->bn_param = NULL;
    QF_TRY(
        qf_message_new(context, &caffe__batch_norm_parameter__descriptor, &norm->batch_norm_param));
    Caffe__BatchNormParameter *q = norm->batch_norm_param;
    q->has_eps = p && p->has_eps;
    q->eps = p ? p->eps : q->eps;
    q->has_moving_average_fraction = true;
    q->moving_average_fraction = p ? p->momentum : 0.9f;
    q->has_use_global_stats = of_segnet || (p && p->frozen);
    q->use_global_stats = !of_segnet;
    return QF_OK;
}

/* Mean and variance go from the Scale to the BatchNorm. */
static qf_status move_statistics(qf_context *context, Caffe__LayerParameter *scale,
                                 Caffe__LayerParameter *norm)
{
    Caffe__BlobProto *moved[] = {scale->blobs[2], scale->blobs[3]};
    scale->n_blobs = 2;
    for (size_t i = 0; i < 2; i++)
        if (qf_append(context, &norm->n_blobs, &norm->blobs, &moved[i], sizeof moved[i]) != QF_OK) {
            while (i < 2)
                qf_message_free(moved[i++]);
            return QF_E_MEMORY;
        }
    return append_one(context, norm);
}

static qf_status move_filler(qf_context *context, Caffe__BNParameter *from, const char *name,
                             Caffe__ScaleParameter *to, const char *to_name)
{
    const ProtobufCFieldDescriptor *source =
        protobuf_c_message_descriptor_get_field_by_name(from->base.descriptor, name);
    if (!qf_field_is_set(&from->base, source))
        return QF_OK;
    return qf_field_move(
        context, &from->base, source, &to->base,
        protobuf_c_message_descriptor_get_field_by_name(to->base.descriptor, to_name));
}

/* The layer itself becomes the Scale, in place behind the BatchNorm if there is one. */
static qf_status make_scale(qf_context *context, Caffe__LayerParameter *layer, bool behind)
{
    static const char *const fillers[][2] = {{"slope_filler", "filler"},
                                             {"scale_filler", "filler"},
                                             {"bias_filler", "bias_filler"},
                                             {"shift_filler", "bias_filler"}};
    QF_TRY(qf_set_string(context, &layer->type, "Scale"));
    QF_TRY(qf_message_new(context, &caffe__scale_parameter__descriptor, &layer->scale_param));
    layer->scale_param->has_bias_term = layer->scale_param->bias_term = true;
    for (size_t i = 0; layer->bn_param && i < sizeof fillers / sizeof *fillers; i++)
        QF_TRY(move_filler(context, layer->bn_param, fillers[i][0], layer->scale_param,
                           fillers[i][1]));
    for (size_t i = 2; i < layer->n_param; i++) /* statistics are never learned */
        qf_message_free(layer->param[i]);
    layer->n_param = layer->n_param < 2 ? layer->n_param : 2;
    if (behind) {
        layer->n_propagate_down = 0;
        QF_TRY(qf_set_string(context, &layer->bottom[0], layer->top[0]));
    }
    if (layer->bn_param && layer->bn_param->frozen)
        for (size_t i = 0; i < 2; i++) {
            Caffe__ParamSpec *spec;
            QF_TRY(qf_param_spec_at(context, layer, i, &spec));
            spec->has_lr_mult = spec->has_decay_mult = true;
            spec->lr_mult = spec->decay_mult = 0;
        }
    for (size_t i = 0; i < layer->n_blobs; i++)
        QF_TRY(qf_upgrade_flatten(context, layer->blobs[i]));
    qf_message_free(layer->bn_param);
    layer->bn_param = NULL;
    return QF_OK;
}

/* Appends what stands for a BN layer; the layer belongs to the list afterwards. */
static qf_status upgrade_bn(qf_context *context, Caffe__LayerParameter *layer, size_t *count,
                            Caffe__LayerParameter ***layers)
{
    const Caffe__BNParameter *p = layer->bn_param;
    const bool of_segnet =
        layer->n_blobs == 2 || (p && (p->has_bn_mode || p->scale_filler || p->shift_filler));
    const bool normalises =
        layer->n_blobs != 2 &&
        !(of_segnet && p && p->bn_mode == CAFFE__BNPARAMETER__BNMODE__INFERENCE);
    if (layer->n_blobs && layer->n_blobs != 2 && layer->n_blobs != 4)
        return qf_fail(context, QF_E_FORMAT,
                       "layer %s: a BN has 2 blobs (SegNet) or 4 (PSPNet), but this one has %zu",
                       qf_upgrade_name(layer), layer->n_blobs);
    if (layer->n_bottom != 1 || layer->n_top != 1)
        return qf_fail(context, QF_E_FORMAT,
                       "layer %s: a BN has one bottom and one top, but this one has %zu and %zu",
                       qf_upgrade_name(layer), layer->n_bottom, layer->n_top);
    if (normalises) {
        Caffe__LayerParameter *norm = NULL;
        qf_status status = make_norm(context, layer, of_segnet, &norm);
        if (status == QF_OK && layer->n_blobs == 4)
            status = move_statistics(context, layer, norm);
        for (size_t i = 0; status == QF_OK && i < norm->n_blobs; i++)
            status = qf_upgrade_flatten(context, norm->blobs[i]);
        if (status == QF_OK)
            status = qf_append(context, count, layers, &norm, sizeof norm);
        if (status != QF_OK) {
            qf_message_free(norm);
            return status;
        }
    }
    return make_scale(context, layer, normalises);
}

static qf_status replace_layers(qf_context *context, Caffe__NetParameter *net)
{
    Caffe__LayerParameter **layers = NULL;
    size_t count = 0;
    qf_status status = QF_OK;
    for (size_t i = 0; i < net->n_layer; i++) { /* after a failure only the owner changes */
        if (status == QF_OK && qf_upgrade_is(net->layer[i], "BN"))
            status = upgrade_bn(context, net->layer[i], &count, &layers);
        if (status == QF_OK && qf_upgrade_is(net->layer[i], "DenseBlock"))
            status = qf_upgrade_dense_block(context, net->layer[i], &count, &layers);
        if (qf_append(context, &count, &layers, &net->layer[i], sizeof *layers) != QF_OK) {
            qf_message_free(net->layer[i]);
            status = QF_E_MEMORY;
        }
    }
    free(net->layer);
    net->layer = layers;
    net->n_layer = count;
    return status;
}

/* ---- together ---- */

qf_status qf_upgrade_forks(qf_context *context, Caffe__NetParameter *net, bool *changed)
{
    bool has_many = false; /* layers that stand for several */
    *changed = false;
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        const bool hole = has_hole(layer), depthwise = qf_upgrade_is(layer, "ConvolutionDepthwise");
        if (hole)
            QF_TRY(upgrade_hole(context, layer));
        if (depthwise)
            QF_TRY(qf_set_string(context, &layer->type, "DepthwiseConvolution"));
        has_many |= qf_upgrade_is(layer, "BN") || qf_upgrade_is(layer, "DenseBlock");
        *changed |= hole || depthwise;
    }
    *changed |= has_many;
    QF_TRY(qf_upgrade_fork_fields(context, net, changed));
    return has_many ? replace_layers(context, net) : QF_OK;
}
