/* V1 nets (2014): `layers` with types in capitals; learning rates and names of parameters in
 * parallel lists. */
#include "model/field.h"
#include "model/kept_text.h"
#include "model/upgrade.h"

#include <string.h>

#define V1_TYPE(name) CAFFE__V1_LAYER_PARAMETER__LAYER_TYPE__##name

static const char *const type_names[] = {
    [V1_TYPE(NONE)] = "",
    [V1_TYPE(ABSVAL)] = "AbsVal",
    [V1_TYPE(ACCURACY)] = "Accuracy",
    [V1_TYPE(ARGMAX)] = "ArgMax",
    [V1_TYPE(BNLL)] = "BNLL",
    [V1_TYPE(CONCAT)] = "Concat",
    [V1_TYPE(CONTRASTIVE_LOSS)] = "ContrastiveLoss",
    [V1_TYPE(CONVOLUTION)] = "Convolution",
    [V1_TYPE(DATA)] = "Data",
    [V1_TYPE(DECONVOLUTION)] = "Deconvolution",
    [V1_TYPE(DROPOUT)] = "Dropout",
    [V1_TYPE(DUMMY_DATA)] = "DummyData",
    [V1_TYPE(ELTWISE)] = "Eltwise",
    [V1_TYPE(EUCLIDEAN_LOSS)] = "EuclideanLoss",
    [V1_TYPE(EXP)] = "Exp",
    [V1_TYPE(FLATTEN)] = "Flatten",
    [V1_TYPE(HDF5_DATA)] = "HDF5Data",
    [V1_TYPE(HDF5_OUTPUT)] = "HDF5Output",
    [V1_TYPE(HINGE_LOSS)] = "HingeLoss",
    [V1_TYPE(IM2COL)] = "Im2col",
    [V1_TYPE(IMAGE_DATA)] = "ImageData",
    [V1_TYPE(INFOGAIN_LOSS)] = "InfogainLoss",
    [V1_TYPE(INNER_PRODUCT)] = "InnerProduct",
    [V1_TYPE(LRN)] = "LRN",
    [V1_TYPE(MEMORY_DATA)] = "MemoryData",
    [V1_TYPE(MULTINOMIAL_LOGISTIC_LOSS)] = "MultinomialLogisticLoss",
    [V1_TYPE(MVN)] = "MVN",
    [V1_TYPE(POOLING)] = "Pooling",
    [V1_TYPE(POWER)] = "Power",
    [V1_TYPE(RELU)] = "ReLU",
    [V1_TYPE(SIGMOID)] = "Sigmoid",
    [V1_TYPE(SIGMOID_CROSS_ENTROPY_LOSS)] = "SigmoidCrossEntropyLoss",
    [V1_TYPE(SILENCE)] = "Silence",
    [V1_TYPE(SLICE)] = "Slice",
    [V1_TYPE(SOFTMAX)] = "Softmax",
    [V1_TYPE(SOFTMAX_LOSS)] = "SoftmaxWithLoss",
    [V1_TYPE(SPLIT)] = "Split",
    [V1_TYPE(TANH)] = "TanH",
    [V1_TYPE(THRESHOLD)] = "Threshold",
    [V1_TYPE(WINDOW_DATA)] = "WindowData",
};

/* Fields whose meaning moved; every other field has the same name and type in both versions. */
static const char *const changed_fields[] = {"layer",           "type",     "param",
                                             "blob_share_mode", "blobs_lr", "weight_decay"};

static bool is_changed(const char *name)
{
    for (size_t i = 0; i < sizeof changed_fields / sizeof *changed_fields; i++)
        if (strcmp(name, changed_fields[i]) == 0)
            return true;
    return false;
}

static qf_status upgrade_params(qf_context *context, const Caffe__V1LayerParameter *old,
                                Caffe__LayerParameter *layer)
{
    Caffe__ParamSpec *spec;
    for (size_t i = 0; i < old->n_param; i++) {
        QF_TRY(qf_param_spec_at(context, layer, i, &spec));
        QF_TRY(qf_set_string(context, &spec->name, old->param[i]));
    }
    for (size_t i = 0; i < old->n_blob_share_mode; i++) {
        QF_TRY(qf_param_spec_at(context, layer, i, &spec));
        spec->has_share_mode = true;
        spec->share_mode = (Caffe__ParamSpec__DimCheckMode)old->blob_share_mode[i];
    }
    for (size_t i = 0; i < old->n_blobs_lr; i++) {
        QF_TRY(qf_param_spec_at(context, layer, i, &spec));
        spec->has_lr_mult = true;
        spec->lr_mult = old->blobs_lr[i];
    }
    for (size_t i = 0; i < old->n_weight_decay; i++) {
        QF_TRY(qf_param_spec_at(context, layer, i, &spec));
        spec->has_decay_mult = true;
        spec->decay_mult = old->weight_decay[i];
    }
    return QF_OK;
}

static qf_status upgrade_layer(qf_context *context, Caffe__V1LayerParameter *old,
                               Caffe__LayerParameter *layer)
{
    const ProtobufCMessageDescriptor *from = old->base.descriptor, *to = layer->base.descriptor;
    if (old->has_type) {
        size_t type = (size_t)old->type;
        if (type >= sizeof type_names / sizeof *type_names || !type_names[type])
            return qf_fail(context, QF_E_FORMAT, "layer '%s': unknown V1 layer type %d",
                           old->name ? old->name : "", (int)old->type);
        QF_TRY(qf_set_string(context, &layer->type, type_names[type]));
    }
    QF_TRY(upgrade_params(context, old, layer));
    QF_TRY(qf_kept_move(context, &old->base, &layer->base));
    for (unsigned i = 0; i < from->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &from->fields[i];
        if (!is_changed(field->name))
            QF_TRY(qf_field_move(context, &old->base, field, &layer->base,
                                 protobuf_c_message_descriptor_get_field_by_name(to, field->name)));
    }
    return QF_OK;
}

qf_status qf_upgrade_v1(qf_context *context, Caffe__NetParameter *net)
{
    if (net->n_layer)
        return qf_fail(
            context, QF_E_FORMAT,
            "the net has both 'layer' and 'layers' fields; 'layers' is the old form (the first is "
            "'%s'): rename them all to 'layer' and give types as strings (type: "
            "\"Convolution\")",
            net->layers[0]->name ? net->layers[0]->name : "");
    for (size_t i = 0; i < net->n_layers; i++) {
        Caffe__LayerParameter *layer;
        QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
        qf_status status = upgrade_layer(context, net->layers[i], layer);
        if (status == QF_OK)
            status = qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer);
        if (status != QF_OK) {
            qf_message_free(layer);
            return status;
        }
    }
    qf_field_clear(&net->base,
                   protobuf_c_message_descriptor_get_field_by_name(net->base.descriptor, "layers"));
    return QF_OK;
}
