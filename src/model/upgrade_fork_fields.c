/*
 * Fields that forks gave to layers of Caffe's, in Caffe's layers:
 *  - `relu6`, `maximum` and `minimum` of ReLU (synopsys-caffe) make it a ReLU6 or a Clip;
 *  - BatchNorm with `scale_bias` (NVIDIA's Caffe) or `filler` (Intel's) is BatchNorm and Scale. The
 *    BatchNorm keeps the layer's name, the Scale is "<name>_scale". Five blobs: mean, variance,
 *    their weight, scale, bias. Intel's nets also have Scale layers of their own, which then are
 * it;
 *  - `bn_stats_batch_size` of a net (Intel's Caffe) is each BatchNorm's `stats_batch_size`;
 *  - InnerProduct with the weights as a second bottom (NormFace) is MatMul;
 *  - Reshape with `pixelshuffler` (synopsys-caffe) is PixelShuffle;
 *  - Flip (NormFace) is Reverse;
 *  - ProposalTarget with `cls_num` (MS-CNN) is BoxTarget: the name is py-faster-rcnn's here;
 *  - `normalize_type: "Softmax"` (AMSoftmax) is what Softmax does.
 */
#include "model/field.h"
#include "model/upgrade.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

/* ---- ReLU with bounds ---- */

static bool is_bounded(const Caffe__LayerParameter *layer)
{
    const Caffe__ReLUParameter *p = layer->relu_param;
    return qf_upgrade_is(layer, "ReLU") && p && (p->relu6 || p->maximum > 0 || p->minimum != 0);
}

static qf_status upgrade_bounds(qf_context *context, Caffe__LayerParameter *layer)
{
    const Caffe__ReLUParameter *p = layer->relu_param;
    const float lower = p->minimum > 0 ? p->minimum : 0;
    float upper = p->relu6 ? 6 : FLT_MAX;
    if (p->maximum > 0 && p->maximum < upper)
        upper = p->maximum;
    if (p->negative_slope != 0)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "layer %s: a ReLU with relu6, maximum or minimum cannot have a "
                       "negative_slope (%g); write a ReLU and a Clip layer instead",
                       qf_upgrade_name(layer), (double)p->negative_slope);
    if (lower == 0 && upper == FLT_MAX) {
        layer->relu_param->has_minimum = false;
        layer->relu_param->minimum = 0;
        return QF_OK;
    }
    const bool relu6 = lower == 0 && upper == 6;
    QF_TRY(qf_set_string(context, &layer->type, relu6 ? "ReLU6" : "Clip"));
    if (!relu6) {
        qf_message_free(layer->clip_param);
        layer->clip_param = NULL;
        QF_TRY(qf_message_new(context, &caffe__clip_parameter__descriptor, &layer->clip_param));
        layer->clip_param->min = lower;
        layer->clip_param->max = upper;
    }
    qf_message_free(layer->relu_param);
    layer->relu_param = NULL;
    return QF_OK;
}

/* ---- BatchNorm with a Scale in it ---- */

/* Is the next layer that reads what this one writes a Scale? */
static bool is_scaled(const Caffe__NetParameter *net, size_t index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    for (size_t i = index + 1; i < net->n_layer && layer->n_top == 1; i++)
        for (size_t b = 0; b < net->layer[i]->n_bottom; b++)
            if (strcmp(net->layer[i]->bottom[b], layer->top[0]) == 0)
                return qf_upgrade_is(net->layer[i], "Scale");
    return false;
}

static bool has_scale_bias(const Caffe__NetParameter *net, size_t index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    const Caffe__BatchNormParameter *p = layer->batch_norm_param;
    if (!qf_upgrade_is(layer, "BatchNorm"))
        return false;
    if (layer->n_blobs == 5 || (p && (p->scale_bias || p->scale_filler)))
        return true;
    const bool of_intel = p && (p->filler || p->bias_filler);
    return of_intel && p->use_weight_bias && !is_scaled(net, index);
}

/* What is left of Intel's fields says nothing that a BatchNorm without a Scale in it has. */
static bool forget_fillers(Caffe__LayerParameter *layer)
{
    Caffe__BatchNormParameter *p = layer->batch_norm_param;
    if (!qf_upgrade_is(layer, "BatchNorm") || !p ||
        !(p->filler || p->bias_filler || p->has_use_weight_bias))
        return false;
    qf_message_free(p->filler);
    qf_message_free(p->bias_filler);
    p->filler = p->bias_filler = NULL;
    p->has_use_weight_bias = false;
    p->use_weight_bias = true;
    return true;
}

static qf_status share_stats_size(qf_context *context, Caffe__NetParameter *net, bool *changed)
{
    for (size_t i = 0; i < net->n_layer && net->bn_stats_batch_size; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_upgrade_is(layer, "BatchNorm"))
            continue;
        if (!layer->batch_norm_param)
            QF_TRY(qf_message_new(context, &caffe__batch_norm_parameter__descriptor,
                                  &layer->batch_norm_param));
        layer->batch_norm_param->has_stats_batch_size = true;
        layer->batch_norm_param->stats_batch_size = net->bn_stats_batch_size;
    }
    *changed |= net->has_bn_stats_batch_size;
    net->has_bn_stats_batch_size = false;
    net->bn_stats_batch_size = 0;
    return QF_OK;
}

qf_status qf_check_five_blobs(qf_context *context, const char *layer, size_t third, size_t fifth)
{
    if (fifth != 1 || third == 1)
        return QF_OK;
    return qf_fail(context, QF_E_FORMAT,
                   "layer %s: the third blob of a BatchNorm must be one number; these five are in "
                   "the order of an early NVIDIA Caffe (scale and bias first), expected mean, "
                   "variance, one number, scale, bias",
                   layer);
}

static qf_status check_scale_bias(qf_context *context, const Caffe__LayerParameter *layer)
{
    if (layer->n_bottom > 1 || layer->n_top > 1)
        return qf_fail(context, QF_E_FORMAT,
                       "layer %s: a BatchNorm has one bottom and one top, but this one has %zu "
                       "and %zu",
                       qf_upgrade_name(layer), layer->n_bottom, layer->n_top);
    if (layer->n_blobs != 0 && layer->n_blobs != 3 && layer->n_blobs != 5)
        return qf_fail(context, QF_E_FORMAT,
                       "layer %s: a BatchNorm with scale_bias has 5 blobs, but this one has %zu",
                       qf_upgrade_name(layer), layer->n_blobs);
    return layer->n_blobs == 5
               ? qf_check_five_blobs(context, qf_upgrade_name(layer), layer->blobs[2]->n_data,
                                     layer->blobs[4]->n_data)
               : QF_OK;
}

/* The layer without its blobs and settings of them, as a Scale in place behind itself. */
static qf_status make_scale(qf_context *context, Caffe__LayerParameter *layer,
                            Caffe__LayerParameter **out)
{
    QF_TRY(qf_upgrade_twin(context, layer, "_scale", "Scale", out));
    Caffe__LayerParameter *scale = *out;
    qf_message_free(scale->batch_norm_param);
    scale->batch_norm_param = NULL;
    scale->n_propagate_down = 0;
    if (scale->n_bottom && scale->n_top)
        QF_TRY(qf_set_string(context, &scale->bottom[0], scale->top[0]));
    qf_message_free(scale->scale_param);
    scale->scale_param = NULL;
    QF_TRY(qf_message_new(context, &caffe__scale_parameter__descriptor, &scale->scale_param));
    scale->scale_param->has_bias_term = scale->scale_param->bias_term = true;
    return QF_OK;
}

/* What is of the Scale goes there. Nothing can fail but memory. */
static qf_status divide(qf_context *context, Caffe__LayerParameter *norm,
                        Caffe__LayerParameter *scale)
{
    Caffe__BatchNormParameter *p = norm->batch_norm_param;
    norm->n_loss_weight = 0; /* of the top, which the Scale writes last */
    while (norm->n_blobs > 3) {
        QF_TRY(qf_append(context, &scale->n_blobs, &scale->blobs, &norm->blobs[3],
                         sizeof *norm->blobs));
        if (norm->n_blobs > 4)
            norm->blobs[3] = norm->blobs[4];
        norm->n_blobs--;
    }
    for (; norm->n_param > 5; norm->n_param--)
        qf_message_free(norm->param[norm->n_param - 1]);
    while (norm->n_param > 3) {
        QF_TRY(qf_append(context, &scale->n_param, &scale->param, &norm->param[3],
                         sizeof *norm->param));
        if (norm->n_param > 4)
            norm->param[3] = norm->param[4];
        norm->n_param--;
    }
    for (size_t i = 0; i < norm->n_param;
         i++) { /* statistics are never learned, whatever is said */
        norm->param[i]->has_lr_mult = norm->param[i]->has_decay_mult = true;
        norm->param[i]->lr_mult = norm->param[i]->decay_mult = 0;
    }
    if (!p)
        return QF_OK;
    Caffe__FillerParameter **filler = p->scale_filler ? &p->scale_filler : &p->filler;
    scale->scale_param->filler = *filler;
    scale->scale_param->bias_filler = p->bias_filler;
    *filler = p->bias_filler = NULL;
    p->has_scale_bias = p->scale_bias = false;
    if (!p->use_global_stats) /* NVIDIA's default: as the phase says */
        p->has_use_global_stats = false;
    if (p->eps < 1e-5f) /* cuDNN's smallest */
        p->eps = 1e-5f;
    return QF_OK;
}

static qf_status split_scale_bias(qf_context *context, Caffe__NetParameter *net, size_t index)
{
    Caffe__LayerParameter *layer = net->layer[index], *scale = NULL;
    QF_TRY(check_scale_bias(context, layer));
    qf_status status = make_scale(context, layer, &scale);
    if (status == QF_OK)
        status = divide(context, layer, scale);
    if (status == QF_OK)
        status = qf_append(context, &net->n_layer, &net->layer, &scale, sizeof scale);
    if (status != QF_OK) {
        qf_message_free(scale);
        return status;
    }
    memmove(net->layer + index + 2, net->layer + index + 1,
            (net->n_layer - index - 2) * sizeof *net->layer);
    net->layer[index + 1] = scale;
    return QF_OK;
}

/* ---- InnerProduct of two bottoms ---- */

static bool has_two_factors(const Caffe__LayerParameter *layer)
{
    return qf_upgrade_is(layer, "InnerProduct") && layer->n_bottom == 2;
}

static qf_status make_product(qf_context *context, Caffe__LayerParameter *layer)
{
    const Caffe__InnerProductParameter *p = layer->inner_product_param;
    if (!p || p->bias_term || (p->axis < 1 && p->axis != -1))
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "layer %s: an InnerProduct whose weights are a second bottom needs "
                       "bias_term: false and as axis the last",
                       qf_upgrade_name(layer));
    const bool transpose = !p->transpose;
    qf_message_free(layer->matmul_param);
    layer->matmul_param = NULL;
    QF_TRY(qf_set_string(context, &layer->type, "MatMul"));
    QF_TRY(qf_message_new(context, &caffe__mat_mul_parameter__descriptor, &layer->matmul_param));
    layer->matmul_param->has_transpose_b = true;
    layer->matmul_param->transpose_b = transpose;
    qf_message_free(layer->inner_product_param);
    layer->inner_product_param = NULL;
    return QF_OK;
}

/* ---- Reshape that shuffles pixels ---- */

static bool shuffles_pixels(const Caffe__LayerParameter *layer)
{
    return qf_upgrade_is(layer, "Reshape") && layer->reshape_param &&
           layer->reshape_param->has_pixelshuffler;
}

static qf_status make_shuffle(qf_context *context, Caffe__LayerParameter *layer)
{
    const int32_t factor = layer->reshape_param->pixelshuffler;
    layer->reshape_param->has_pixelshuffler = false;
    if (factor == 1)
        return QF_OK;
    QF_TRY(qf_set_string(context, &layer->type, "PixelShuffle"));
    qf_message_free(layer->pixel_shuffle_param);
    layer->pixel_shuffle_param = NULL;
    QF_TRY(qf_message_new(context, &caffe__pixel_shuffle_parameter__descriptor,
                          &layer->pixel_shuffle_param));
    layer->pixel_shuffle_param->has_upscale_factor = true;
    layer->pixel_shuffle_param->upscale_factor = (uint32_t)factor;
    qf_message_free(layer->reshape_param);
    layer->reshape_param = NULL;
    return QF_OK;
}

/* ---- Softmax by another name ---- */

static qf_status check_normalize_type(qf_context *context, Caffe__LayerParameter *layer,
                                      bool *changed)
{
    Caffe__SoftmaxParameter *p = layer->softmax_param;
    if (!p || !p->normalize_type)
        return QF_OK;
    const bool of_lengths = /* where NormFace first had it */
        qf_upgrade_is(layer, "Normalize") && strcmp(p->normalize_type, "L2") == 0;
    if (strcmp(p->normalize_type, "Softmax") != 0 && !of_lengths)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "layer %s: softmax_param.normalize_type is '%s', expected 'Softmax'",
                       qf_upgrade_name(layer), p->normalize_type);
    free(p->normalize_type);
    p->normalize_type = NULL;
    *changed = true;
    return QF_OK;
}

/* ---- MS-CNN's ProposalTarget ---- */

static qf_status rename_box_target(qf_context *context, Caffe__LayerParameter *layer, bool *changed)
{
    const Caffe__ProposalTargetParameter *p = layer->proposal_target_param;
    if (!qf_upgrade_is(layer, "ProposalTarget") || !p || !p->has_cls_num)
        return QF_OK;
    *changed = true;
    return qf_set_string(context, &layer->type, "BoxTarget");
}

/* ---- Flip ---- */

static qf_status make_reverse(qf_context *context, Caffe__LayerParameter *layer)
{
    const Caffe__FlipParameter *p = layer->flip_param;
    const bool flipped[] = {p && p->flip_height, !p || p->flip_width};
    QF_TRY(qf_set_string(context, &layer->type, "Reverse"));
    qf_message_free(layer->reverse_param);
    layer->reverse_param = NULL;
    QF_TRY(qf_message_new(context, &caffe__reverse_parameter__descriptor, &layer->reverse_param));
    for (int32_t i = 0; i < 2; i++) {
        const int32_t axis = 2 + i;
        if (flipped[i])
            QF_TRY(qf_append(context, &layer->reverse_param->n_axis, &layer->reverse_param->axis,
                             &axis, sizeof axis));
    }
    qf_message_free(layer->flip_param);
    layer->flip_param = NULL;
    return QF_OK;
}

qf_status qf_upgrade_fork_fields(qf_context *context, Caffe__NetParameter *net, bool *changed)
{
    QF_TRY(share_stats_size(context, net, changed));
    for (size_t i = 0; i < net->n_layer; i++) {
        const bool bounded = is_bounded(net->layer[i]), scaled = has_scale_bias(net, i);
        const bool flipped = qf_upgrade_is(net->layer[i], "Flip");
        const bool product = has_two_factors(net->layer[i]);
        const bool shuffled = shuffles_pixels(net->layer[i]);
        if (bounded)
            QF_TRY(upgrade_bounds(context, net->layer[i]));
        if (scaled)
            QF_TRY(split_scale_bias(context, net, i));
        if (product)
            QF_TRY(make_product(context, net->layer[i]));
        if (shuffled)
            QF_TRY(make_shuffle(context, net->layer[i]));
        if (flipped)
            QF_TRY(make_reverse(context, net->layer[i]));
        QF_TRY(rename_box_target(context, net->layer[i], changed));
        QF_TRY(check_normalize_type(context, net->layer[i], changed));
        *changed |= forget_fillers(net->layer[i]);
        *changed |= bounded || scaled || product || shuffled || flipped;
    }
    return QF_OK;
}
