/* Which BatchNorm and Scale layers are folded before calibration (specification of post-training
 * quantisation, 5.3): behind every layer with weights, and in front of convolutions. */
#include "base/amct_log.h"
#include "toolkit/export/fold.h"
#include "toolkit/ptq/quant_graph.h"

static const struct pattern {
    qf_fold (*find)(const Caffe__NetParameter *net, int index);
    qf_status (*fold)(qf_context *, Caffe__NetParameter *net, int index, qf_fold);
    bool front;
} patterns[] = {
    {qf_graph_fold_front, qf_fold_front, true},
    {qf_graph_fold, qf_fold_behind, false},
    {qf_graph_fold_product, qf_fold_behind, false},
};
enum { PATTERNS = sizeof patterns / sizeof *patterns };

static qf_status fold_one(qf_context *context, qf_quantised_net *q, int index,
                          const struct pattern *pattern)
{
    const qf_fold fold = pattern->find(q->net, index);
    if (fold.batch_norm == QF_NONE)
        return QF_OK;
    const size_t before = q->net->n_layer;
    QF_TRY(qf_quantised_note_fold(context, q, index, fold, pattern->front));
    qf_status status = pattern->fold(context, q->net, index, fold);
    if (q->net->n_layer == before) /* it stayed: not finite, or no memory */
        qf_quantised_forget_fold(q);
    return status;
}

qf_status qf_ptq_fold(qf_context *context, const qf_config *config, qf_quantised_net *quantised)
{
    qf_amct_say(context, QF_INFO, "Optimizer", "Do <class 'BatchNormFusionPass'>");
    for (size_t i = 0; i < config->count; i++) { /* every layer that could be quantised */
        const char *name = config->layers[i].name;
        if (qf_config_skips_fusion(config, name))
            continue;
        for (int k = 0; k < PATTERNS; k++) {
            const int index = qf_graph_find(quantised->net, name);
            if (index != QF_NONE)
                QF_TRY(fold_one(context, quantised, index, &patterns[k]));
        }
    }
    return QF_OK;
}
