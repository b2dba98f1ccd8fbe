/* Models as they are exported, measured on what states of training are measured on: what has the
 * shifts N and integer biases, and may be worth less than the net that was trained. */
#include "base/file.h"
#include "base/memory.h"
#include "model/until.h"
#include "toolkit/prepare/graph.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/run/keep.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <string.h>

/* The layers of `net` that read data read what those of `from`, of phase TEST, do. */
static qf_status take_sources(qf_context *context, const Caffe__NetParameter *from,
                              Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *copy, *layer = net->layer[i];
        if (layer->n_bottom || !layer->n_top)
            continue;
        for (size_t k = 0; k < from->n_layer; k++) {
            const Caffe__LayerParameter *source = from->layer[k];
            if (source->n_bottom || !source->n_top || !qf_phase_has(source, QF_TEST) ||
                strcmp(source->top[0], net->layer[i]->top[0]) != 0)
                continue;
            QF_TRY(qf_message_copy(context, source, &copy));
            qf_message_free(net->layer[i]);
            net->layer[i] = copy;
            break;
        }
    }
    return QF_OK;
}

/* NULL in *out: there is nothing to measure on. */
static qf_status read_model(qf_run_training *t, const char *model, Caffe__NetParameter **out)
{
    qf_context *context = t->flow->context;
    Caffe__NetParameter *sources;
    *out = NULL;
    QF_TRY(qf_run_validation_param(t, t->float_model, &sources));
    if (!sources)
        return QF_OK;
    qf_status status = qf_net_param_read(context, model, out);
    if (status == QF_OK)
        status = take_sources(context, sources, *out);
    qf_message_free(sources);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

static qf_status measure(qf_run_training *t, const char *model, const char *weights,
                         qf_run_measure *out)
{
    Caffe__NetParameter *param;
    qf_run_validation validation;
    QF_TRY(read_model(t, model, &param));
    QF_TRY(qf_run_validation_open_param(t, param, weights, &validation));
    qf_status status = validation.net ? qf_run_measure_net(t, &validation, out) : QF_OK;
    qf_run_validation_close(&validation);
    return status;
}

qf_status qf_run_measure_exported(qf_run_training *t, const char *prefix, qf_run_measure *out)
{
    static const char *const names[2][2] = {
        {"deploy_model.prototxt", "deploy_weights.caffemodel"},
        {"fake_quant_model.prototxt", "fake_quant_weights.caffemodel"}};
    qf_status status = QF_OK;
    out->score = out->loss = (double)NAN;
    const int kind = t->flow->not_deployable;
    char *model = qf_toolkit_name(prefix, names[kind][0]);
    char *weights = qf_toolkit_name(prefix, names[kind][1]);
    if (!model || !weights)
        status = qf_fail(t->flow->context, QF_E_MEMORY, "no memory for file names");
    else
        status = measure(t, model, weights, out);
    qf_free(model);
    qf_free(weights);
    return status;
}

/* ---- the last word ---- */

qf_status qf_run_check_exported(qf_run_training *t, const char *prefix)
{
    qf_run_progress *p = &t->progress;
    qf_run_measure now = {.iteration = qf_run_kept(t)};
    if (now.iteration == 0 || t->options->keep != QF_KEEP_BEST || !*p->measure ||
        t->by_training_loss || !qf_run_start_tests(t->start))
        return QF_OK;
    QF_TRY(qf_run_measure_exported(t, prefix, &now));
    qf_info(t->flow->context, "Iteration %d as integers: %s = %g; the start %g", now.iteration,
            p->measure, now.score, p->start.score);
    if (!isfinite(now.score) || qf_run_stands(p, &p->start, &now))
        return QF_OK;
    p->rejected = now;
    p->kept = p->start;
    QF_TRY(qf_run_start_give_record(t->start, t->record));
    return qf_run_progress_write(t);
}
