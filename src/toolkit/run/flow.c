/* The steps that both flows take: naming files, testing their models, the report, verification. */
#include "toolkit/run/flow.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "base/rows.h"
#include "toolkit/export/export.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const char qf_stage_training[] = "training", qf_stage_rates[] = "looking for a learning rate";

enum { VERIFIED_BATCHES = 10 };

qf_status qf_flow_name_files(const qf_flow *flow, const char *const *endings, size_t count,
                             size_t checked, const char *const *inputs, int input_count,
                             char **files)
{
    for (size_t i = 0; i < count; i++) {
        files[i] = qf_toolkit_name(flow->save_path, endings[i]);
        if (!files[i])
            return qf_fail(flow->context, QF_E_MEMORY, "no memory for file names");
    }
    for (size_t i = 0; i < checked; i++)
        QF_TRY(qf_toolkit_check_inputs(flow->context, files[i], inputs, input_count));
    return qf_output_probe(flow->context, files[0]);
}

void qf_flow_warn(const qf_flow *flow, const char *record)
{
    flow->context->replaces_run = qf_file_exists(record);
    if (flow->context->replaces_run)
        qf_warning(flow->context, "The files of an earlier run that begin with %s are overwritten",
                   flow->save_path);
}

/* ---- callbacks ---- */

static qf_action ask(void *user)
{
    const qf_flow *flow = user;
    return flow->callbacks.action ? flow->callbacks.action(flow->callbacks.user) : QF_CONTINUE;
}

static void tell(void *user, const qf_progress *now)
{
    const qf_flow *flow = user;
    const bool searches = flow->stage == qf_stage_training && now->testing;
    qf_progress mine = *now;
    mine.what = flow->stage && !searches ? flow->stage : "calibrating";
    mine.testing |= flow->stage == qf_stage_rates; /* it trains a copy */
    if (flow->callbacks.progress)
        flow->callbacks.progress(flow->callbacks.user, &mine);
}

qf_run_callbacks qf_flow_callbacks(qf_flow *flow)
{
    return (qf_run_callbacks){ask, tell, flow};
}

/* ---- tests ---- */

static const char *const testing[] = {"testing the float model", "testing the calibrated model",
                                      "testing the fake-quant model", "testing the deploy model"};

qf_status qf_flow_export(qf_flow *flow, const qf_quantised_net *quantised)
{
    const qf_quantised *wide = qf_quantised_wide(quantised);
    flow->not_deployable = wide;
    if (wide)
        qf_warning(flow->context,
                   "There is no deploy model: the input of layer %s has %d bits, and the codes of "
                   "deploy models are int8",
                   wide->name, wide->data_bits);
    return qf_export(flow->context, quantised, wide ? QF_SAVE_FAKE_QUANT : QF_SAVE_BOTH,
                     flow->save_path, NULL, 0);
}

qf_status qf_flow_test(qf_flow *flow, const char *model, const char *weights,
                       qf_run_model_kind kind, qf_qat_result *out)
{
    const qf_random random = flow->context->random; /* training draws the same, tested or not */
    const qf_run_callbacks callbacks = qf_flow_callbacks(flow);
    flow->stage = testing[kind];
    qf_status status =
        qf_run_test_model(flow->context, &flow->test, model, weights, kind, &callbacks, out);
    flow->context->random = random;
    return status;
}

size_t qf_flow_file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

qf_status qf_flow_test_exported(qf_flow *flow, bool tests, qf_qat_result *out)
{
    const struct {
        const char *model, *weights;
        qf_run_model_kind kind;
        size_t *bytes;
    } models[] = {
        {"fake_quant_model.prototxt", "fake_quant_weights.caffemodel", QF_RUN_FAKE_QUANT,
         &out->fake_quant_bytes},
        {"deploy_model.prototxt", "deploy_weights.caffemodel", QF_RUN_DEPLOY, &out->deploy_bytes}};
    const int count = flow->not_deployable ? 1 : 2;
    qf_status status = QF_OK;
    if (flow->not_deployable)
        out->deploy_score = (double)NAN;
    for (int i = 0; i < count && status == QF_OK; i++) {
        char *model = qf_toolkit_name(flow->save_path, models[i].model);
        char *weights = qf_toolkit_name(flow->save_path, models[i].weights);
        if (!model || !weights)
            status = qf_fail(flow->context, QF_E_MEMORY, "no memory for file names");
        else if (tests)
            status = qf_flow_test(flow, model, weights, models[i].kind, out);
        *models[i].bytes = weights ? qf_flow_file_size(weights) : 0;
        qf_free(model);
        qf_free(weights);
    }
    return status;
}

/* ---- the report ---- */

qf_status qf_flow_fill_rows(qf_context *context, const qf_quantised_net *quantised,
                            qf_qat_result *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < quantised->count; i++) {
        const qf_quantised *q = &quantised->layers[i];
        qf_qat_row *row = qf_rows_add(&out->row, &rows, sizeof *row);
        if (!row)
            return qf_fail(context, QF_E_MEMORY, "no memory for the report");
        out->rows = (int)rows;
        snprintf(row->name, sizeof row->name, "%s", q->name);
        snprintf(row->type, sizeof row->type, "%s", q->type);
        row->scale_d = q->scale_d;
        row->offset_d = q->offset_d;
        row->weight_sqnr = q->has_weights ? q->weight_sqnr : (double)NAN;
        row->activation_sqnr = (double)NAN;
        row->weight_bits = q->has_weights ? q->weight_bits : 0;
        row->activation_bits = q->data_bits;
        for (size_t c = 0; q->shift && c < q->scales; c++) {
            row->shift_min = c == 0 || q->shift[c] < row->shift_min ? q->shift[c] : row->shift_min;
            row->shift_max = q->shift[c] > row->shift_max ? q->shift[c] : row->shift_max;
        }
    }
    return QF_OK;
}

void qf_flow_forget_rows(qf_qat_result *out)
{
    qf_rows_free(out->row, (size_t)out->rows);
    out->row = NULL;
    out->rows = 0;
}

qf_status qf_flow_verify(qf_flow *flow, const qf_data_options *data, int batches,
                         qf_qat_result *out)
{
    const qf_run_callbacks callbacks = qf_flow_callbacks(flow);
    flow->stage = "comparing integers";
    if (flow->not_deployable) { /* nothing was compared */
        out->verification = qf_alloc(1, sizeof *out->verification);
        return out->verification ? QF_OK
                                 : qf_fail(flow->context, QF_E_MEMORY, "no memory for a result");
    }
    return qf_verify(flow->context, flow->save_path, data,
                     batches < VERIFIED_BATCHES ? batches : VERIFIED_BATCHES, callbacks.action,
                     callbacks.progress, callbacks.user, &out->verification);
}

void qf_qat_result_destroy(qf_qat_result *result)
{
    if (!result)
        return;
    qf_rows_free(result->row, (size_t)result->rows);
    qf_rows_free(result->score, (size_t)result->scores);
    qf_verification_destroy(result->verification);
    qf_free(result);
}
