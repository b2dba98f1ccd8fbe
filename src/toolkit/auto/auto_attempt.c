/* One configuration of automatic calibration: quantised, calibrated, evaluated. */
#include "base/memory.h"
#include "model/file_type.h"
#include "toolkit/auto/auto_files.h"
#include "toolkit/auto/auto_work.h"
#include "toolkit/auto/layer_sensitivity.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/toolkit.h"

#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

qf_status qf_auto_name_files(qf_auto_work *work)
{
    static const char *const names[] = {[QF_AUTO_CONFIG] = "config.json",
                                        [QF_AUTO_MODEL] = "calibration.prototxt",
                                        [QF_AUTO_WEIGHTS] = "calibration.caffemodel",
                                        [QF_AUTO_RECORD] = "record.txt"};
    bool failed = false;
    for (int i = 0; i < QF_AUTO_FILES; i++) {
        qf_buffer path = {0};
        if (i <= QF_AUTO_PREFIX) {
            qf_buffer_print(&path, "%s/%s", work->folder.path,
                            i < QF_AUTO_PREFIX ? names[i] : base_name(work->options->save_path));
            work->file[i] = path.data;
        } else
            work->file[i] =
                qf_toolkit_name(work->file[QF_AUTO_PREFIX], i == QF_AUTO_FAKE_MODEL
                                                                ? "fake_quant_model.prototxt"
                                                                : "fake_quant_weights.caffemodel");
        failed = failed || path.failed || !work->file[i];
        if (failed)
            break;
    }
    return failed ? qf_fail(work->context, QF_E_MEMORY, "no memory for file names") : QF_OK;
}

/* The sentence of a callback that fails without one. */
static void expect_sentence(qf_context *context, const char *function)
{
    qf_fail(context, QF_E_VALUE, "%s has failed without saying why", function);
}

qf_status qf_auto_evaluate(qf_auto_work *work, const char *model_file, const char *weights_file,
                           qf_metric *out)
{
    const qf_evaluator *evaluator = work->evaluator;
    expect_sentence(work->context, "the evaluator's evaluate()");
    *out = (qf_metric){0};
    work->evaluations++;
    return evaluator->evaluate(evaluator->user, work->context, model_file, weights_file, out);
}

qf_status qf_auto_compare(qf_auto_work *work, const qf_metric *other, bool *satisfied,
                          double *difference)
{
    const qf_evaluator *evaluator = work->evaluator;
    expect_sentence(work->context, "the evaluator's metric_eval()");
    *satisfied = false;
    *difference = 0;
    return evaluator->compare(evaluator->user, work->context, &work->state.original, other,
                              satisfied, difference);
}

static qf_sample_wish wish_of(const qf_auto_work *work)
{
    const int most = work->options->sample_batches;
    return (qf_sample_wish){.folder = work->folder.path,
                            .layers = (const char *const *)work->names,
                            .count = work->layers,
                            .bytes = work->options->sample_bytes,
                            .batches = most < work->batch_num ? most : work->batch_num};
}

static qf_status calibrate(qf_auto_work *work)
{
    const qf_evaluator *evaluator = work->evaluator;
    expect_sentence(work->context, "the evaluator's calibration()");
    return evaluator->calibrate(evaluator->user, work->context, work->file[QF_AUTO_MODEL],
                                work->file[QF_AUTO_WEIGHTS]);
}

qf_status qf_auto_make(qf_auto_work *work, size_t index, const qf_auto_record *record, bool samples)
{
    qf_context *context = work->context;
    char *const *file = work->file;
    const qf_auto_options *o = work->options;
    const bool before = context->replaces_run; /* of our own files nobody need be warned */
    qf_quant_graph_destroy(work->graph);
    work->graph = NULL;
    context->replaces_run = true;
    qf_status status = qf_auto_write_config(context, &work->state.history, record, o->config_file,
                                            file[QF_AUTO_CONFIG]);
    if (status == QF_OK)
        status = qf_quant_init(context, file[QF_AUTO_CONFIG], o->model_file, o->weights_file,
                               file[QF_AUTO_RECORD], &work->graph);
    if (status == QF_OK)
        status =
            qf_quantize_model(context, work->graph, file[QF_AUTO_MODEL], file[QF_AUTO_WEIGHTS]);
    const qf_sample_wish wish = wish_of(work);
    if (status == QF_OK && samples)
        status = qf_sample_insert(context, &wish, file[QF_AUTO_MODEL]);
    if (status == QF_OK)
        status = calibrate(work);
    if (status == QF_OK)
        status = qf_save_model(context, work->graph, QF_SAVE_BOTH, file[QF_AUTO_PREFIX]);
    context->replaces_run = before;
    work->made = index;
    return status;
}

/* ---- sensitivities ---- */

static qf_status read_fake_net(qf_auto_work *work, Caffe__NetParameter **out)
{
    Caffe__NetParameter *weights = NULL;
    qf_status status = qf_toolkit_read(work->context, work->file[QF_AUTO_FAKE_MODEL],
                                       work->file[QF_AUTO_FAKE_WEIGHTS], out, &weights);
    if (status == QF_OK)
        status = qf_quantised_attach(work->context, *out, weights);
    qf_message_free(weights);
    return status;
}

qf_status qf_auto_rank(qf_auto_work *work)
{
    const qf_sample_wish wish = wish_of(work);
    Caffe__NetParameter *fake = NULL;
    double *found = qf_alloc(work->layers, sizeof *found);
    qf_status status = found ? read_fake_net(work, &fake)
                             : qf_fail(work->context, QF_E_MEMORY, "no memory for sensitivities");
    for (size_t i = 0; i < work->layers && status == QF_OK; i++)
        status = qf_layer_sensitivity(work->context, &wish, i, work->graph->quantised.net, fake,
                                      work->sensitivity, &found[i]);
    qf_message_free(fake);
    if (status == QF_OK)
        work->state.sensitivity = found;
    else
        qf_free(found);
    return status;
}

/* ---- one step of the search ---- */

qf_status qf_auto_judge(qf_auto_work *work, qf_auto_record *record)
{
    QF_TRY(qf_auto_evaluate(work, work->file[QF_AUTO_FAKE_MODEL], work->file[QF_AUTO_FAKE_WEIGHTS],
                            &record->metric));
    QF_TRY(qf_auto_compare(work, &record->metric, &record->satisfied, &record->difference));
    return qf_auto_state_write(work->context, &work->state);
}

/* From the first configuration that is another one on, nothing that was kept counts. */
bool qf_auto_take_kept(qf_auto_work *work, size_t index, qf_auto_record *record)
{
    qf_auto_history *kept = &work->kept.history;
    if (index >= kept->count)
        return false;
    const qf_auto_record *old = &kept->records[index];
    if (memcmp(old->quantised, record->quantised, work->layers * sizeof *old->quantised) != 0) {
        qf_auto_history_release(kept);
        return false;
    }
    record->satisfied = old->satisfied;
    record->difference = old->difference;
    record->metric = old->metric;
    return true;
}

qf_status qf_auto_attempt(void *user, size_t index, qf_auto_record *record)
{
    qf_auto_work *work = user;
    if (qf_auto_take_kept(work, index, record))
        return QF_OK;
    QF_TRY(qf_auto_make(work, index, record, false));
    return qf_auto_judge(work, record);
}
