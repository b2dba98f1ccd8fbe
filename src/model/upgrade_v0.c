/* V0 nets (2013): every parameter lies flat in one message, types are lower-case strings, padding
 * is a layer of its own. */
#include "model/field.h"
#include "model/kept_text.h"
#include "model/upgrade.h"

#include <string.h>

typedef Caffe__V1LayerParameter layer_v1;
#define V1_TYPE(name) CAFFE__V1_LAYER_PARAMETER__LAYER_TYPE__##name

static const struct {
    const char *name;
    int type;
} layer_types[] = {
    {"accuracy", V1_TYPE(ACCURACY)},
    {"bnll", V1_TYPE(BNLL)},
    {"concat", V1_TYPE(CONCAT)},
    {"conv", V1_TYPE(CONVOLUTION)},
    {"data", V1_TYPE(DATA)},
    {"dropout", V1_TYPE(DROPOUT)},
    {"euclidean_loss", V1_TYPE(EUCLIDEAN_LOSS)},
    {"flatten", V1_TYPE(FLATTEN)},
    {"hdf5_data", V1_TYPE(HDF5_DATA)},
    {"hdf5_output", V1_TYPE(HDF5_OUTPUT)},
    {"im2col", V1_TYPE(IM2COL)},
    {"images", V1_TYPE(IMAGE_DATA)},
    {"infogain_loss", V1_TYPE(INFOGAIN_LOSS)},
    {"innerproduct", V1_TYPE(INNER_PRODUCT)},
    {"lrn", V1_TYPE(LRN)},
    {"multinomial_logistic_loss", V1_TYPE(MULTINOMIAL_LOGISTIC_LOSS)},
    {"pool", V1_TYPE(POOLING)},
    {"relu", V1_TYPE(RELU)},
    {"sigmoid", V1_TYPE(SIGMOID)},
    {"softmax", V1_TYPE(SOFTMAX)},
    {"softmax_loss", V1_TYPE(SOFTMAX_LOSS)},
    {"split", V1_TYPE(SPLIT)},
    {"tanh", V1_TYPE(TANH)},
    {"window_data", V1_TYPE(WINDOW_DATA)},
};

/* Where each flat field goes, by type of the layer ("": any). Rows of one field stand together. */
static const struct {
    const char *field, *type, *message, *target;
} moves[] = {
    {"num_output", "conv", "convolution_param", "num_output"},
    {"num_output", "innerproduct", "inner_product_param", "num_output"},
    {"biasterm", "conv", "convolution_param", "bias_term"},
    {"biasterm", "innerproduct", "inner_product_param", "bias_term"},
    {"weight_filler", "conv", "convolution_param", "weight_filler"},
    {"weight_filler", "innerproduct", "inner_product_param", "weight_filler"},
    {"bias_filler", "conv", "convolution_param", "bias_filler"},
    {"bias_filler", "innerproduct", "inner_product_param", "bias_filler"},
    {"pad", "conv", "convolution_param", "pad"},
    {"pad", "pool", "pooling_param", "pad"},
    {"kernelsize", "conv", "convolution_param", "kernel_size"},
    {"kernelsize", "pool", "pooling_param", "kernel_size"},
    {"group", "conv", "convolution_param", "group"},
    {"stride", "conv", "convolution_param", "stride"},
    {"stride", "pool", "pooling_param", "stride"},
    {"pool", "pool", "pooling_param", "pool"},
    {"dropout_ratio", "dropout", "dropout_param", "dropout_ratio"},
    {"local_size", "lrn", "lrn_param", "local_size"},
    {"alpha", "lrn", "lrn_param", "alpha"},
    {"beta", "lrn", "lrn_param", "beta"},
    {"k", "lrn", "lrn_param", "k"},
    {"source", "data", "data_param", "source"},
    {"source", "hdf5_data", "hdf5_data_param", "source"},
    {"source", "images", "image_data_param", "source"},
    {"source", "window_data", "window_data_param", "source"},
    {"source", "infogain_loss", "infogain_loss_param", "source"},
    {"scale", "", "transform_param", "scale"},
    {"meanfile", "", "transform_param", "mean_file"},
    {"batchsize", "data", "data_param", "batch_size"},
    {"batchsize", "hdf5_data", "hdf5_data_param", "batch_size"},
    {"batchsize", "images", "image_data_param", "batch_size"},
    {"batchsize", "window_data", "window_data_param", "batch_size"},
    {"cropsize", "", "transform_param", "crop_size"},
    {"mirror", "", "transform_param", "mirror"},
    {"rand_skip", "data", "data_param", "rand_skip"},
    {"rand_skip", "images", "image_data_param", "rand_skip"},
    {"shuffle_images", "images", "image_data_param", "shuffle"},
    {"new_height", "images", "image_data_param", "new_height"},
    {"new_width", "images", "image_data_param", "new_width"},
    {"concat_dim", "concat", "concat_param", "concat_dim"},
    {"det_fg_threshold", "window_data", "window_data_param", "fg_threshold"},
    {"det_bg_threshold", "window_data", "window_data_param", "bg_threshold"},
    {"det_fg_fraction", "window_data", "window_data_param", "fg_fraction"},
    {"det_context_pad", "window_data", "window_data_param", "context_pad"},
    {"det_crop_mode", "window_data", "window_data_param", "crop_mode"},
    {"hdf5_output_param", "hdf5_output", NULL, "hdf5_output_param"},
    /* The same in both versions. */
    {"name", "", NULL, "name"},
    {"blobs", "", NULL, "blobs"},
    {"blobs_lr", "", NULL, "blobs_lr"},
    {"weight_decay", "", NULL, "weight_decay"},
};
enum { MOVES = sizeof moves / sizeof *moves };

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *type,
                                                const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(type, name);
}

/* Move a flat field to message.target of the new layer. */
static qf_status move(qf_context *context, ProtobufCMessage *old,
                      const ProtobufCFieldDescriptor *field, layer_v1 *layer, const char *message,
                      const char *target)
{
    ProtobufCMessage *to = &layer->base;
    if (message) {
        const ProtobufCFieldDescriptor *nested = field_of(to->descriptor, message);
        ProtobufCMessage **slot = qf_field_address(to, nested);
        if (!*slot)
            QF_TRY(qf_message_new(context, nested->descriptor, slot));
        to = *slot;
    }
    return qf_field_move(context, old, field, to, field_of(to->descriptor, target));
}

static qf_status move_fields(qf_context *context, Caffe__V0LayerParameter *old, layer_v1 *layer,
                             bool *clean)
{
    const char *type = old->type ? old->type : "";
    for (int i = 0, end; i < MOVES; i = end) {
        const ProtobufCFieldDescriptor *field =
            field_of(&caffe__v0_layer_parameter__descriptor, moves[i].field);
        bool set = qf_field_is_set(&old->base, field), moved = false;
        for (end = i; end < MOVES && strcmp(moves[end].field, moves[i].field) == 0; end++) {
            if (!set || moved || (*moves[end].type && strcmp(moves[end].type, type) != 0))
                continue;
            QF_TRY(move(context, &old->base, field, layer, moves[end].message, moves[end].target));
            moved = true;
        }
        if (set && !moved) {
            qf_problem(context, "Unknown parameter %s for layer type %s", moves[i].field, type);
            *clean = false;
        }
    }
    return QF_OK;
}

static qf_status upgrade_layer(qf_context *context, layer_v1 *from, layer_v1 **out, bool *clean)
{
    QF_TRY(qf_message_new(context, &caffe__v1_layer_parameter__descriptor, out));
    const ProtobufCMessageDescriptor *type = (*out)->base.descriptor;
    static const char *const kept[] = {"bottom", "top"};
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_field_move(context, &from->base, field_of(type, kept[i]), &(*out)->base,
                             field_of(type, kept[i])));
    QF_TRY(qf_kept_move(context, &from->base, &(*out)->base));
    Caffe__V0LayerParameter *old = from->layer;
    if (!old)
        return QF_OK;
    QF_TRY(qf_kept_move(context, &old->base, &(*out)->base));
    for (size_t i = 0; old->type && i < sizeof layer_types / sizeof *layer_types; i++)
        if (strcmp(old->type, layer_types[i].name) == 0) {
            (*out)->has_type = true;
            (*out)->type = layer_types[i].type;
        }
    if (old->type && !(*out)->has_type)
        return qf_fail(context, QF_E_FORMAT, "layer '%s': unknown layer type '%s' of a V0 net",
                       old->name ? old->name : "", old->type);
    /* The file to write is called source in V0. */
    if (old->source && old->type && strcmp(old->type, "hdf5_output") == 0) {
        QF_TRY(move(context, &old->base, field_of(old->base.descriptor, "source"), *out,
                    "hdf5_output_param", "file_name"));
    }
    return move_fields(context, old, *out, clean);
}

static bool is_type(const layer_v1 *layer, const char *type)
{
    return layer->layer && layer->layer->type && strcmp(layer->layer->type, type) == 0;
}

/* The layer before `index` whose top is `blob`, the last one if there are several; NULL if it is an
 * input; *found says whether either is the case. */
static layer_v1 *producer(const Caffe__NetParameter *net, size_t index, const char *blob,
                          bool *found)
{
    *found = true;
    for (size_t i = index; i-- > 0;)
        for (size_t t = 0; t < net->layers[i]->n_top; t++)
            if (strcmp(net->layers[i]->top[t], blob) == 0)
                return net->layers[i];
    for (size_t i = 0; i < net->n_input; i++)
        if (strcmp(net->input[i], blob) == 0)
            return NULL;
    *found = false;
    return NULL;
}

/* A padding layer becomes the `pad` of the convolution or pooling behind it. */
static qf_status join_padding(qf_context *context, Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layers; i++) {
        layer_v1 *layer = net->layers[i];
        for (size_t b = 0; b < layer->n_bottom; b++) {
            bool found;
            layer_v1 *source = producer(net, i, layer->bottom[b], &found);
            if (!found)
                return qf_fail(context, QF_E_FORMAT, "Unknown blob input %s to layer %zu",
                               layer->bottom[b], b);
            if (!source || !is_type(source, "padding"))
                continue;
            if (!is_type(layer, "conv") && !is_type(layer, "pool"))
                return qf_fail(
                    context, QF_E_FORMAT,
                    "Padding layer input to non-convolutional / non-pooling layer type %s",
                    layer->layer && layer->layer->type ? layer->layer->type : "(none)");
            if (layer->n_bottom != 1 || source->n_bottom != 1 || source->n_top != 1)
                return qf_fail(context, QF_E_FORMAT,
                               "a padding layer and the layer behind it take a single blob each");
            layer->layer->has_pad = true;
            layer->layer->pad = source->layer->pad;
            QF_TRY(qf_set_string(context, &layer->bottom[b], source->bottom[0]));
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < net->n_layers; i++) {
        if (is_type(net->layers[i], "padding"))
            qf_message_free(net->layers[i]);
        else
            net->layers[kept++] = net->layers[i];
    }
    net->n_layers = kept;
    return QF_OK;
}

qf_status qf_upgrade_v0(qf_context *context, Caffe__NetParameter *net, bool *clean)
{
    static const char *const kept[] = {"name", "input", "input_dim", "force_backward", "layers"};
    QF_TRY(join_padding(context, net));
    for (unsigned i = 0; i < net->base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &net->base.descriptor->fields[i];
        bool keep = false;
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
            keep = keep || strcmp(field->name, kept[k]) == 0;
        if (!keep)
            qf_field_clear(&net->base, field);
    }
    for (size_t i = 0; i < net->n_layers; i++) {
        layer_v1 *upgraded = NULL;
        qf_status status = upgrade_layer(context, net->layers[i], &upgraded, clean);
        if (upgraded) {
            qf_message_free(net->layers[i]);
            net->layers[i] = upgraded;
        }
        QF_TRY(status);
    }
    return QF_OK;
}
