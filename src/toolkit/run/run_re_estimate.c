/* Statistics of BatchNorm anew after retraining: the running ones are of weights that were still
 * moving, and of as few batches as the moving average reaches back. */
#include "model/until.h"
#include "net/net.h"
#include "toolkit/prepare/graph.h"
#include "toolkit/run/keep.h"

#include <math.h>
#include <string.h>

/* The moving average sums mean and variance of each batch and counts batches: with all of the past
 * kept (a fraction of 1), from zeros, that is the plain mean over batches. */
static qf_status average_all(qf_context *context, Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_layer_is(layer, "BatchNorm"))
            continue;
        if (!layer->batch_norm_param)
            QF_TRY(qf_message_new(context, &caffe__batch_norm_parameter__descriptor,
                                  &layer->batch_norm_param));
        layer->batch_norm_param->has_moving_average_fraction = true;
        layer->batch_norm_param->moving_average_fraction = 1;
    }
    return QF_OK;
}

/* Does it learn statistics where it trains? A teacher's layers compute as in a test. */
static bool learns(const qf_layer *layer)
{
    const Caffe__BatchNormParameter *p = layer->param->batch_norm_param;
    return strcmp(layer->type->name, "BatchNorm") == 0 && layer->param_count >= 3 &&
           !(layer->param->has_phase && layer->param->phase == CAFFE__PHASE__TEST) &&
           !(p && p->has_use_global_stats && p->use_global_stats);
}

static qf_status forget(qf_net *net, int *layers)
{
    *layers = 0;
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        if (!learns(layer))
            continue;
        ++*layers;
        for (int i = 0; i < 3; i++) {
            qf_tensor *tensor = layer->params[i].blob->data;
            float *values;
            QF_TRY(qf_update(net->context, tensor, QF_PLAIN, &values));
            memset(values, 0, qf_shape_count(&tensor->shape) * sizeof *values);
        }
    }
    return QF_OK;
}

/* The prepared net in its TRAIN phase, with fake quantisation, and with these weights. */
static qf_status open_net(qf_run_training *t, const char *weights, qf_net **out)
{
    qf_context *context = t->flow->context;
    Caffe__NetParameter *param;
    *out = NULL;
    QF_TRY(qf_net_param_read(context, t->model, &param));
    qf_run_leave_record(param);
    qf_status status = average_all(context, param);
    if (status == QF_OK)
        status = qf_net_param_set_state(context, param, QF_TRAIN, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    if (status == QF_OK)
        status = qf_net_load_weights(*out, weights);
    qf_message_free(param);
    return status;
}

static qf_status estimate(qf_run_training *t, const char *weights, qf_net **net, int *layers)
{
    QF_TRY(open_net(t, weights, net));
    QF_TRY(forget(*net, layers));
    for (int i = 0; i < t->options->re_estimate_batch_norm && *layers; i++)
        QF_TRY(qf_net_forward(*net, NULL));
    return QF_OK;
}

/* Not worse than what is kept, or nobody can say. */
static qf_status is_welcome(qf_run_training *t, qf_net *net, bool *welcome)
{
    const qf_run_progress *p = &t->progress;
    qf_run_validation validation;
    qf_run_measure now = {.iteration = p->kept.iteration};
    *welcome = true;
    if (!*p->measure || !isfinite(p->kept.score))
        return QF_OK;
    QF_TRY(qf_run_validation_open(t, t->model, NULL, net, &validation));
    qf_status status = validation.net ? qf_run_measure_net(t, &validation, &now) : QF_OK;
    if (status == QF_OK && validation.net) {
        *welcome = (now.score - p->kept.score) * p->better >= 0;
        qf_info(t->flow->context,
                "With statistics of BatchNorm over %d batches: %s = %g, %g before; they are %s",
                t->options->re_estimate_batch_norm, p->measure, now.score, p->kept.score,
                *welcome ? "taken" : "left as they were");
    }
    qf_run_validation_close(&validation);
    return status;
}

qf_status qf_run_re_estimate(qf_run_training *t, const char *weights)
{
    qf_context *context = t->flow->context;
    const qf_random random = context->random;
    char *until;
    qf_net *net = NULL;
    int layers = 0;
    bool welcome = false;
    if (t->options->re_estimate_batch_norm == 0 || qf_run_kept(t) == 0)
        return QF_OK;
    until = qf_until_suspend(context); /* the whole net trains */
    qf_status status = estimate(t, weights, &net, &layers);
    if (status == QF_OK && layers)
        status = is_welcome(t, net, &welcome);
    if (status == QF_OK && welcome)
        status = qf_net_save_weights(net, weights);
    qf_net_destroy(net);
    qf_until_resume(context, until);
    context->random = random;
    return qf_within(context, status, "statistics of BatchNorm");
}
