/* The models of a calibrated net, step by step, but corrected first as `ptq run` does it. */
#include "base/memory.h"
#include "base/sized_options.h"
#include "toolkit/export/export.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/run/bias_correction.h"
#include "toolkit/run/learn_rounding.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/toolkit.h"

enum { ITERATIONS = 1000 };

static qf_status take_options(qf_context *context, const qf_correction_options *given,
                              qf_correction_options *out, qf_data_options *data)
{
    *out = (qf_correction_options){.size = sizeof *out};
    QF_TRY(qf_options_take(context, "qf_correction_options", given, out, sizeof *out));
    if (!out->model || !out->weights)
        return qf_fail(context, QF_E_ARGUMENT, "a model and its weights are needed");
    if (out->bias_correction < 0 || out->adaround_iterations < 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "bias_correction and adaround_iterations must not be negative");
    if (!out->adaround_iterations)
        out->adaround_iterations = ITERATIONS;
    return qf_data_options_take(context, out->data, data);
}

static qf_status correct(qf_flow *flow, qf_quant_graph *graph, const qf_correction_options *o,
                         const char *weights, const qf_data_options *data)
{
    if (o->adaround)
        QF_TRY(qf_run_learn_rounding(flow, graph, o->model, weights, data, o->adaround_iterations));
    if (o->bias_correction)
        QF_TRY(qf_run_correct_biases(flow, graph, o->model, weights, data, o->bias_correction));
    return QF_OK;
}

qf_status qf_save_corrected_model(qf_context *context, qf_quant_graph *graph,
                                  qf_save_type save_type, const char *save_path,
                                  const qf_correction_options *given, qf_action_function action,
                                  qf_progress_function progress, void *user)
{
    qf_correction_options o;
    qf_data_options data;
    qf_flow flow = {
        .context = context, .save_path = save_path, .callbacks = {action, progress, user}};
    char *weights = NULL;
    QF_TRY(take_options(context, given, &o, &data));
    QF_TRY(qf_export_check_arguments(context, save_type, save_path));
    qf_status status = qf_quant_graph_weights(context, graph, save_path, &weights);
    if (status == QF_OK)
        status = correct(&flow, graph, &o, weights, &data);
    if (status == QF_OK)
        status = qf_quant_graph_export(context, graph, save_type, save_path);
    qf_free(weights);
    return status;
}
