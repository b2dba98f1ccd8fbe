/* BatchNormalization, InstanceNormalization and LRN. */
#include "onnx/import/operators.h"

#include "base/memory.h"

#include <stdlib.h>

/* A factor and a summand for each channel. */
static qf_status add_scale(qf_importer *im, const float *factor, const float *summand,
                           qf_import_blob *blob)
{
    Caffe__LayerParameter *layer;
    const qf_shape shape = blob->shape, channels = {1, {blob->shape.dim[1]}};
    QF_TRY(qf_import_chain(im, "Scale", "scale", blob, &shape, blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__scale_parameter__descriptor, &layer->scale_param));
    QF_SET(layer->scale_param, bias_term, true);
    QF_TRY(qf_import_give(im, layer, &channels, factor));
    return qf_import_give(im, layer, &channels, summand);
}

/* By these statistics or, where the mean is NULL, by those of each batch. */
static qf_status add_batch_norm(qf_importer *im, const float *mean, const float *variance,
                                qf_import_blob *blob)
{
    Caffe__LayerParameter *layer;
    const qf_shape shape = blob->shape, channels = {1, {shape.dim[1]}}, one = {1, {1}};
    QF_TRY(qf_import_chain(im, "BatchNorm", "", blob, &shape, blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__batch_norm_parameter__descriptor,
                          &layer->batch_norm_param));
    QF_SET(layer->batch_norm_param, eps, qf_import_float(im, "epsilon", 1e-5f));
    if (!mean)
        QF_SET(layer->batch_norm_param, use_global_stats, false);
    QF_TRY(qf_import_give(im, layer, &channels, mean));
    QF_TRY(qf_import_give(im, layer, &channels, variance));
    /* By this Caffe divides them; 0: none were learned. */
    return qf_import_give(im, layer, &one, (const float[]){mean ? 1 : 0});
}

qf_status qf_import_batch_normalization(qf_importer *im, int detail)
{
    (void)detail;
    const float *factor, *summand, *mean, *variance;
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    if (qf_import_int(im, "training_mode", 0))
        return qf_import_refuse(im,
                                "it learns its statistics (training_mode); export the model for "
                                "inference");
    if (blob.shape.axes < 2)
        return qf_import_refuse(im, "its input has no channels");
    const size_t channels = (size_t)blob.shape.dim[1];
    QF_TRY(qf_import_floats(im, 1, channels, &factor));
    QF_TRY(qf_import_floats(im, 2, channels, &summand));
    QF_TRY(qf_import_floats(im, 3, channels, &mean));
    QF_TRY(qf_import_floats(im, 4, channels, &variance));
    QF_TRY(add_batch_norm(im, mean, variance, &blob));
    QF_TRY(add_scale(im, factor, summand, &blob));
    return qf_import_define(im, 0, &blob);
}

/* Each channel of each item by its own statistics: those of a batch of one whose channels they all
 * are. */
qf_status qf_import_instance_normalization(qf_importer *im, int detail)
{
    (void)detail;
    const float *factor, *summand;
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    if (blob.shape.axes < 3)
        return qf_import_refuse(im, "its input has no images");
    const size_t channels = (size_t)blob.shape.dim[1];
    QF_TRY(qf_import_floats(im, 1, channels, &factor));
    QF_TRY(qf_import_floats(im, 2, channels, &summand));
    const qf_shape shape = blob.shape;
    qf_shape as_one = shape;
    as_one.dim[0] = 1;
    as_one.dim[1] *= shape.dim[0];
    QF_TRY(qf_import_reshape(im, "as_one", &blob, &as_one, &blob));
    QF_TRY(add_batch_norm(im, NULL, NULL, &blob));
    QF_TRY(qf_import_reshape(im, "shaped", &blob, &shape, &blob));
    QF_TRY(add_scale(im, factor, summand, &blob));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_lrn(qf_importer *im, int detail)
{
    (void)detail;
    Caffe__LayerParameter *layer;
    qf_import_blob blob;
    const int64_t size = qf_import_int(im, "size", 0);
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    if (blob.shape.axes != 4)
        return qf_import_refuse(im, "Caffe's LRN is of images; the input has %d axes",
                                blob.shape.axes);
    if (size < 1 || size > 1 << 20 || size % 2 == 0)
        return qf_import_refuse(im, "its size is %lld; Caffe's LRN needs an odd number of channels",
                                (long long)size);
    const qf_shape shape = blob.shape;
    QF_TRY(qf_import_chain(im, "LRN", "", &blob, &shape, &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__lrnparameter__descriptor, &layer->lrn_param));
    Caffe__LRNParameter *p = layer->lrn_param;
    QF_SET(p, local_size, (uint32_t)size);
    QF_SET(p, alpha, qf_import_float(im, "alpha", 1e-4f));
    QF_SET(p, beta, qf_import_float(im, "beta", 0.75f));
    QF_SET(p, k, qf_import_float(im, "bias", 1));
    return qf_import_define(im, 0, &blob);
}
