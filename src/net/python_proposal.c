/* py-faster-rcnn's ProposalLayer in Python, replaced by the layer Proposal. */
#include "net/python_proposal.h"

#include "base/context.h"

#include <stdlib.h>
#include <string.h>

static bool is_proposal(const Caffe__LayerParameter *layer)
{
    const Caffe__PythonParameter *p = layer->python_param;
    const char *module = p && p->module ? p->module : "", *dot = strrchr(module, '.');
    return layer->type && strcmp(layer->type, "Python") == 0 && p && p->layer &&
           strcmp(p->layer, "ProposalLayer") == 0 &&
           strcmp(dot ? dot + 1 : module, "proposal_layer") == 0;
}

/* The numbers behind a key of param_str, which is YAML or the inside of a Python dictionary:
 * 'feat_stride': 16, 'scales': !!python/tuple [8, 16, 32]. Returns how many. */
static size_t read_numbers(const char *text, const char *key, float *out, size_t most)
{
    const char *at = strstr(text, key), *end;
    size_t count = 0;
    if (!at || !(at = strchr(at, ':')))
        return 0;
    const char *open = at + strcspn(at, "[(\n,}");
    const bool list = *open == '[' || *open == '(';
    for (at = list ? open + 1 : at + 1; count < most; at = end + strspn(end, " ,")) {
        char *after;
        const float value = strtof(at, &after);
        if (after == at)
            break;
        out[count++] = value;
        end = after;
        if (!list)
            break;
    }
    return count;
}

static qf_status replace(qf_context *context, Caffe__LayerParameter *layer, bool training)
{
    enum { SCALES_MAX = 32 };
    const char *text = layer->python_param->param_str ? layer->python_param->param_str : "";
    float stride, scales[SCALES_MAX];
    if (!layer->proposal_param)
        QF_TRY(qf_message_new(context, &caffe__proposal_parameter__descriptor,
                              &layer->proposal_param));
    Caffe__ProposalParameter *p = layer->proposal_param;
    p->has_pre_nms_topn = p->has_post_nms_topn = true;
    p->pre_nms_topn = training ? 12000 : 6000;
    p->post_nms_topn = training ? 2000 : 300;
    if (read_numbers(text, "feat_stride", &stride, 1) == 1) {
        p->has_feat_stride = true;
        p->feat_stride = stride;
    }
    const size_t count = read_numbers(text, "scales", scales, SCALES_MAX);
    for (size_t i = 0; i < count; i++)
        QF_TRY(qf_append(context, &p->n_scale, &p->scale, &scales[i], sizeof scales[i]));
    qf_info(context, "Layer %s: %s of Python runs as Proposal", layer->name,
            layer->python_param->layer);
    return qf_set_string(context, &layer->type, "Proposal");
}

qf_status qf_python_proposal_replace(qf_context *context, Caffe__NetParameter *net, bool training)
{
    if (context->python_layers.setup) /* the user's own layer runs */
        return QF_OK;
    for (size_t i = 0; i < net->n_layer; i++)
        if (is_proposal(net->layer[i]))
            QF_TRY(replace(context, net->layer[i], training));
    return QF_OK;
}
