/* Layers of py-faster-rcnn and R-FCN in Python, replaced by types of this library; what those
 * projects keep in a configuration file is as in theirs for nets that are trained in one go. */
#include "net/python_types.h"

#include "base/context.h"
#include "net/param_str.h"

#include <string.h>

static bool has_type(const Caffe__NetParameter *net, const char *type)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (net->layer[i]->type && strcmp(net->layer[i]->type, type) == 0)
            return true;
    return false;
}

/* What a setting is that nobody made. */
#define SET(message, field, value)                                                                 \
    do {                                                                                           \
        if (!(message)->has_##field) {                                                             \
            (message)->has_##field = true;                                                         \
            (message)->field = (value);                                                            \
        }                                                                                          \
    } while (0)

static void complete_proposal(const Caffe__NetParameter *net, bool training, void *message)
{
    Caffe__ProposalParameter *p = message;
    const bool fewer = has_type(net, "PSROIPooling"); /* R-FCN */
    SET(p, pre_nms_topn, training && !fewer ? 12000 : 6000);
    SET(p, post_nms_topn, training && !fewer ? 2000 : 300);
}

static void complete_targets(const Caffe__NetParameter *net, bool training, void *message)
{
    Caffe__ProposalTargetParameter *p = message;
    (void)training;
    if (has_type(net, "BoxAnnotatorOHEM")) /* it chooses among all */
        SET(p, batch_size, -1);
    SET(p, agnostic, p->num_classes == 2);
}

static const qf_param_str_name proposal_names[] = {
    {"scales", "scale"},
    {"ratios", "ratio"},
    {"rpn_pre_nms_top_n", "pre_nms_topn"},
    {"rpn_post_nms_top_n", "post_nms_topn"},
    {"rpn_nms_thresh", "nms_thresh"},
    {"rpn_min_size", "min_size"},
    {NULL, NULL},
};

static const struct kind {
    const char *module, *class, *type; /* module: its last part, or NULL: that does not matter */
    const ProtobufCMessageDescriptor *message;
    size_t offset; /* of the message in the layer's */
    const qf_param_str_name *names;
    void (*complete)(const Caffe__NetParameter *net, bool training, void *message);
} kinds[] = {
#define AT(field) offsetof(Caffe__LayerParameter, field)
    {"proposal_layer", "ProposalLayer", "Proposal", &caffe__proposal_parameter__descriptor,
     AT(proposal_param), proposal_names, complete_proposal},
    {"anchor_target_layer", "AnchorTargetLayer", "AnchorTarget",
     &caffe__anchor_target_parameter__descriptor, AT(anchor_target_param), NULL, NULL},
    {"proposal_target_layer", "ProposalTargetLayer", "ProposalTarget",
     &caffe__proposal_target_parameter__descriptor, AT(proposal_target_param), NULL,
     complete_targets},
    {"layer", "RoIDataLayer", "RoIData", &caffe__ro_idata_parameter__descriptor, AT(roi_data_param),
     NULL, NULL},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *kind_of(const Caffe__LayerParameter *layer)
{
    const Caffe__PythonParameter *p = layer->python_param;
    if (!layer->type || strcmp(layer->type, "Python") != 0 || !p || !p->layer || !p->module)
        return NULL;
    const char *dot = strrchr(p->module, '.'), *module = dot ? dot + 1 : p->module;
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(p->layer, kinds[i].class) == 0 && strcmp(module, kinds[i].module) == 0)
            return &kinds[i];
    return NULL;
}

/* The user's own layer comes first. */
static bool python_has(const qf_context *context, const Caffe__PythonParameter *p)
{
    const qf_python_layers *python = &context->python_layers;
    return python->setup &&
           (!python->has || python->has(context->python_user, p->module, p->layer));
}

static qf_status replace(qf_context *context, const Caffe__NetParameter *net, bool training,
                         const struct kind *kind, Caffe__LayerParameter *layer)
{
    const Caffe__PythonParameter *python = layer->python_param;
    void **place = (void **)((char *)layer + kind->offset), *message = NULL;
    QF_TRY(qf_param_str_read(context, layer->name, python->param_str ? python->param_str : "",
                             kind->names, kind->message, &message));
    qf_message_free(*place);
    *place = message;
    if (kind->complete)
        kind->complete(net, training, message);
    qf_info(context, "Layer %s: %s of Python runs as %s", layer->name, python->layer, kind->type);
    return qf_set_string(context, &layer->type, kind->type);
}

qf_status qf_python_types_replace(qf_context *context, Caffe__NetParameter *net, bool training)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        const struct kind *kind = kind_of(net->layer[i]);
        if (kind && !python_has(context, net->layer[i]->python_param))
            QF_TRY(replace(context, net, training, kind, net->layer[i]));
    }
    return QF_OK;
}
