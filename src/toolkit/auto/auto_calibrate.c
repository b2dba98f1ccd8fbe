/* AMCT's accuracy_based_auto_calibration (AMCT specification of post-training quantisation, 11). */
#include "base/amct_log.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "toolkit/auto/auto_evaluator.h"
#include "toolkit/auto/auto_files.h"
#include "toolkit/auto/auto_log.h"
#include "toolkit/auto/auto_work.h"
#include "toolkit/auto/layer_sensitivity.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/toolkit.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static const char MODULE[] = "accuracy_based_auto_calibration";

static const qf_auto_options defaults = {
    .size = sizeof(qf_auto_options),
    .save_path = "auto_results/model",
    .sample_bytes = 4 << 20,
    .sample_batches = 2,
    .max_loss = 0.5,
};

void qf_auto_set_defaults(qf_auto_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

static qf_status take_options(qf_context *context, const qf_auto_options *given,
                              qf_auto_options *out)
{
    *out = defaults;
    QF_TRY(qf_options_take(context, "qf_auto_options", given, out, sizeof *out));
    if (!out->model_file || !out->weights_file || !out->config_file || !out->save_path)
        return qf_fail(context, QF_E_ARGUMENT,
                       "a model, its weights, a configuration and where to save are needed");
    if (out->sample_batches < 1 || out->test_iterations < 0 || !(out->max_loss >= 0))
        return qf_fail(context, QF_E_ARGUMENT,
                       "sample_batches must be positive, test_iterations and max_loss not "
                       "negative");
    if (!qf_file_exists(out->config_file))
        return qf_fail(context, QF_E_MISMATCH, "Can not find the config_file at %s",
                       out->config_file);
    return QF_OK;
}

/* ---- what an interrupted run may go on with ---- */

static qf_status print_digest(qf_context *context, const char *path, qf_buffer *out)
{
    char digest[QF_DIGEST_TEXT];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qf_fail(context, QF_E_IO, "cannot read %s: %s", path, strerror(errno));
    const qf_status status = qf_digest(context, path, fd, digest);
    close(fd);
    if (status == QF_OK)
        qf_buffer_print(out, "%s ", digest);
    return status;
}

static const char *or_none(const char *text)
{
    return text ? text : "-";
}

static qf_status print_data(qf_context *context, const qf_auto_options *o, qf_buffer *out)
{
    qf_data_options d;
    QF_TRY(qf_data_options_take(context, o->data, &d));
    qf_buffer_print(out, " %d %a %s %s %s %d %d %a %s %s", o->test_iterations, o->max_loss,
                    or_none(o->test_data), or_none(d.source), or_none(d.data_type), d.batch_size,
                    d.resize, d.scale, or_none(d.mean_file), or_none(d.mean_values));
    return QF_OK;
}

/* Everything that the results depend on. */
static qf_status print_key(const qf_auto_work *work, qf_buffer *out)
{
    const qf_auto_options *o = work->options;
    const char *const files[] = {o->model_file, o->weights_file, o->config_file};
    for (int i = 0; i < 3; i++)
        QF_TRY(print_digest(work->context, files[i], out));
    qf_buffer_print(out, "%s %s %s %llu %d", or_none(work->evaluator->name),
                    or_none(work->strategy->name), or_none(work->sensitivity->name),
                    (unsigned long long)o->sample_bytes, o->sample_batches);
    if (!o->evaluator)
        QF_TRY(print_data(work->context, o, out));
    return qf_buffer_whole(work->context, out);
}

/* The state that is there, the folder of this run, and the state with its name. */
static qf_status begin_state(qf_auto_work *work)
{
    qf_context *context = work->context;
    qf_buffer key = {0}, path = {0};
    qf_buffer_print(&path, "%s/%s", work->results, QF_AUTO_NAME("state"));
    qf_status status = qf_buffer_whole(context, &path);
    if (status == QF_OK)
        status = print_key(work, &key);
    if (status == QF_OK)
        status = qf_auto_state_read(context, path.data, key.data, work->layers, &work->kept);
    if (status == QF_OK && work->kept.folder)
        status = qf_auto_folder_clean(context, work->results, work->kept.folder);
    if (status == QF_OK)
        status = qf_auto_folder_make(context, work->results, &work->folder);
    qf_auto_state *states[] = {&work->kept, &work->state};
    for (int i = 0; i < 2 && status == QF_OK; i++) {
        qf_free(states[i]->folder);
        states[i]->folder = qf_strdup(work->folder.name);
        if (i == 1) {
            states[i]->path = qf_strdup(path.data);
            states[i]->key = qf_strdup(key.data);
        }
        if (!states[i]->folder || !states[i]->path || !states[i]->key)
            status = qf_fail(context, QF_E_MEMORY, "no memory for names");
    }
    if (status == QF_OK)
        status = qf_auto_state_write(context, &work->kept);
    qf_buffer_release(&key);
    qf_buffer_release(&path);
    return status;
}

/* Whatever was evaluated stays for the next call, unless it is over. */
static void end_state(qf_auto_work *work, bool over)
{
    const bool worth = work->state.has_original || work->kept.has_original;
    if (work->state.path && (over || !worth))
        unlink(work->state.path);
    qf_auto_folder_remove(&work->folder);
}

/* ---- inputs ---- */

/* The layers that are quantised, and checks of all that is read. */
static qf_status read_layers(qf_auto_work *work)
{
    const qf_auto_options *o = work->options;
    qf_quant_graph *graph;
    QF_TRY(qf_quant_open(work->context, o->config_file, o->model_file, o->weights_file,
                         work->record_file, &graph));
    const qf_config *config = &graph->config;
    bool failed = !(work->names = qf_alloc(config->count, sizeof *work->names)) ||
                  !(work->types = qf_alloc(config->count, sizeof *work->types)) ||
                  !(work->partner = qf_alloc(config->count, sizeof *work->partner));
    for (size_t i = 0; i < config->count && !failed; i++) {
        if (!config->layers[i].enabled)
            continue;
        work->names[work->layers] = qf_strdup(config->layers[i].name);
        work->types[work->layers] = qf_strdup(config->layers[i].type);
        failed = !work->names[work->layers] || !work->types[work->layers];
        work->partner[work->layers] = work->layers;
        for (size_t k = 0; k < work->layers && !failed; k++)
            if (qf_toolkit_share_weights(graph->quantised.net, work->names[k],
                                         work->names[work->layers])) {
                work->partner[work->layers] = k;
                break;
            }
        work->layers++;
    }
    work->batch_num = config->batch_num;
    work->state.history.layers = work->layers;
    work->state.history.names = (const char *const *)work->names;
    qf_quant_graph_destroy(graph);
    return failed ? qf_fail(work->context, QF_E_MEMORY, "no memory for names") : QF_OK;
}

static qf_status check_outputs(const qf_auto_work *work)
{
    const qf_auto_options *o = work->options;
    const char *inputs[] = {o->model_file, o->weights_file, o->config_file};
    QF_TRY(qf_toolkit_check_outputs(work->context, (const char *const *)&work->record_file, 1,
                                    inputs, 3));
    char *final = NULL;
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/%s", work->results, QF_AUTO_NAME("final_config"));
    final = path.data;
    qf_status status = qf_buffer_whole(work->context, &path);
    if (status == QF_OK)
        status = qf_toolkit_check_inputs(work->context, final, inputs, 3);
    qf_buffer_release(&path);
    return status;
}

static qf_status begin(qf_auto_work *work)
{
    const qf_auto_options *o = work->options;
    work->results = qf_auto_folder_of(o->save_path);
    work->record_file =
        o->record_file ? qf_strdup(o->record_file) : qf_toolkit_name(o->save_path, "record.txt");
    if (!work->results || !work->record_file)
        return qf_fail(work->context, QF_E_MEMORY, "no memory for file names");
    QF_TRY(read_layers(work));
    QF_TRY(check_outputs(work));
    qf_amct_begin(work->context);
    QF_TRY(begin_state(work));
    work->resumed = work->kept.has_original;
    if (work->resumed)
        qf_auto_say(work->context,
                    "Going on where an interrupted run stopped; to begin anew, remove %s",
                    work->kept.path);
    return qf_auto_name_files(work);
}

/* ---- the steps ---- */

static qf_status evaluate_original(qf_auto_work *work)
{
    static const char REFUSAL[] =
        "Compare between original_accuracy and original_accuracy can not satisfy the acc "
        "requirement, please check the metric_eval() function.";
    qf_auto_state *state = &work->state;
    bool satisfied;
    if (work->kept.has_original && !isnan(work->kept.original.number))
        state->original = work->kept.original;
    else
        QF_TRY(qf_auto_evaluate(work, work->options->model_file, work->options->weights_file,
                                &state->original));
    QF_TRY(qf_auto_compare(work, &state->original, &satisfied, &work->original_difference));
    if (!satisfied) {
        work->kept.has_original = false;
        return qf_fail(work->context, QF_E_VALUE, "%s", REFUSAL);
    }
    state->has_original = true;
    return work->kept.history.count ? QF_OK : qf_auto_state_write(work->context, state);
}

/* All layers quantised: its result, and how sensitive each layer is. */
static qf_status evaluate_global(qf_auto_work *work)
{
    qf_auto_history *history = &work->state.history;
    qf_auto_record *record;
    QF_TRY(qf_auto_history_add(work->context, history, &record));
    if (work->kept.sensitivity && qf_auto_take_kept(work, 0, record)) {
        work->state.sensitivity = work->kept.sensitivity;
        work->kept.sensitivity = NULL;
        return QF_OK;
    }
    QF_TRY(qf_auto_make(work, 0, record, true));
    if (!qf_auto_take_kept(work, 0, record))
        QF_TRY(qf_auto_judge(work, record));
    QF_TRY(qf_auto_rank(work));
    return qf_auto_state_write(work->context, &work->state);
}

static qf_status search(qf_auto_work *work, bool *generated)
{
    qf_auto_search search = {.context = work->context,
                             .history = &work->state.history,
                             .sensitivity = work->state.sensitivity,
                             .strategy = work->strategy,
                             .partner = work->partner,
                             .original_difference = work->original_difference,
                             .attempt = qf_auto_attempt,
                             .user = work};
    QF_TRY(qf_auto_search_run(&search));
    *generated = !search.all_float;
    qf_auto_log_history(work->context, &work->state.history);
    return QF_OK;
}

static qf_status say_end(const qf_auto_work *work, bool generated)
{
    const qf_auto_history *history = &work->state.history;
    char *folder = qf_auto_folder_of(work->record_file);
    if (!folder)
        return qf_fail(work->context, QF_E_MEMORY, "no memory for a name");
    const qf_auto_ending ending = {
        .original = work->state.original.text,
        .global = history->records[0].metric.text,
        .saved = generated ? history->records[history->count - 1].metric.text : NULL,
        .model_folder = work->results,
        .record_folder = folder};
    qf_auto_log_end(work->context, &ending);
    qf_free(folder);
    return QF_OK;
}

static qf_status run(qf_auto_work *work, bool *generated)
{
    *generated = true;
    QF_TRY(evaluate_original(work));
    QF_TRY(evaluate_global(work));
    if (work->state.history.records[0].satisfied)
        qf_auto_log_satisfied(work->context);
    else
        QF_TRY(search(work, generated));
    QF_TRY(qf_auto_write_results(work, *generated));
    return say_end(work, *generated);
}

/* ---- the result ---- */

static qf_status add_layers(const qf_auto_work *work, const qf_auto_record *last,
                            qf_auto_result *out)
{
    size_t *order = qf_alloc(work->layers, sizeof *order);
    if (!order)
        return qf_fail(work->context, QF_E_MEMORY, "no memory for the result");
    qf_rollback_order(work->state.sensitivity, work->layers, order);
    qf_status status = QF_OK;
    for (size_t i = 0; i < work->layers && status == QF_OK; i++) {
        qf_auto_layer *row = qf_rows_add(&out->layer, &out->layers, sizeof *row);
        if (!row) {
            status = qf_fail(work->context, QF_E_MEMORY, "no memory for the result");
            break;
        }
        snprintf(row->name, sizeof row->name, "%s", work->names[order[i]]);
        snprintf(row->type, sizeof row->type, "%s", work->types[order[i]]);
        row->sensitivity = work->state.sensitivity[order[i]];
        row->quantised = last->quantised[order[i]];
    }
    qf_free(order);
    return status;
}

static qf_status fill_result(const qf_auto_work *work, bool generated, qf_auto_result *out)
{
    const qf_auto_history *history = &work->state.history;
    const qf_auto_record *last = &history->records[history->count - 1];
    snprintf(out->original, sizeof out->original, "%s", work->state.original.text);
    snprintf(out->global, sizeof out->global, "%s", history->records[0].metric.text);
    snprintf(out->saved, sizeof out->saved, "%s", generated ? last->metric.text : "");
    out->generated = generated;
    out->resumed = work->resumed;
    out->evaluations = work->evaluations;
    for (size_t i = 0; i < history->count; i++) {
        qf_auto_step *row = qf_rows_add(&out->step, &out->steps, sizeof *row);
        if (!row)
            return qf_fail(work->context, QF_E_MEMORY, "no memory for the result");
        row->float_layers = qf_auto_float_layers(&history->records[i], work->layers);
        row->satisfied = history->records[i].satisfied;
        row->difference = history->records[i].difference;
        snprintf(row->metric, sizeof row->metric, "%s", history->records[i].metric.text);
    }
    return add_layers(work, last, out);
}

void qf_auto_result_destroy(qf_auto_result *result)
{
    if (!result)
        return;
    qf_rows_free(result->layer, result->layers);
    qf_rows_free(result->step, result->steps);
    qf_free(result);
}

static void release(qf_auto_work *work)
{
    qf_quant_graph_destroy(work->graph);
    qf_auto_state_release(&work->state);
    qf_auto_state_release(&work->kept);
    for (int i = 0; i < QF_AUTO_FILES; i++)
        qf_free(work->file[i]);
    for (size_t i = 0; i < work->layers; i++) {
        qf_free(work->names[i]);
        qf_free(work->types[i]);
    }
    qf_free(work->names);
    qf_free(work->types);
    qf_free(work->partner);
    qf_free(work->results);
    qf_free(work->record_file);
}

static qf_status work_on(qf_auto_work *work, qf_auto_evaluator *built_in, qf_auto_result **out)
{
    bool generated = false;
    const double start = qf_seconds();
    qf_status status = begin(work);
    if (status == QF_OK && built_in)
        status = qf_auto_evaluator_prepare(work->context, built_in, work->batch_num);
    if (status == QF_OK)
        status = run(work, &generated);
    qf_auto_result *result = status == QF_OK ? qf_alloc(1, sizeof *result) : NULL;
    if (status == QF_OK)
        status = result ? fill_result(work, generated, result)
                        : qf_fail(work->context, QF_E_MEMORY, "no memory for the result");
    char sentence[QF_ERROR_TEXT_SIZE]; /* what follows is not about it */
    memcpy(sentence, work->context->error, sizeof sentence);
    end_state(work, status == QF_OK);
    memcpy(work->context->error, sentence, sizeof sentence);
    if (status != QF_OK) {
        qf_auto_result_destroy(result);
        return status;
    }
    result->seconds = qf_seconds() - start;
    qf_auto_log_cost(work->context, result->seconds);
    *out = result;
    return QF_OK;
}

/* Copies of what the caller made, as far as its header knows them. */
typedef struct callbacks {
    qf_evaluator evaluator;
    qf_strategy strategy;
    qf_sensitivity sensitivity;
} callbacks;

static qf_status take_callbacks(qf_context *context, const qf_auto_options *o, callbacks *out)
{
    const qf_evaluator *e = &out->evaluator;
    const qf_strategy *s = &out->strategy;
    if (o->evaluator)
        QF_TRY(qf_options_take(context, "qf_evaluator", o->evaluator, &out->evaluator, sizeof *e));
    if (o->strategy)
        QF_TRY(qf_options_take(context, "qf_strategy", o->strategy, &out->strategy, sizeof *s));
    if (o->sensitivity)
        QF_TRY(qf_options_take(context, "qf_sensitivity", o->sensitivity, &out->sensitivity,
                               sizeof out->sensitivity));
    return e->calibrate && e->evaluate && e->compare && s->initialize && s->update &&
                   out->sensitivity.compare
               ? QF_OK
               : qf_fail(context, QF_E_ARGUMENT,
                         "an evaluator, a strategy or a sensitivity lacks a function");
}

qf_status qf_auto_calibrate(qf_context *context, const qf_auto_options *given,
                            qf_action_function action, qf_progress_function progress, void *user,
                            qf_auto_result **out)
{
    qf_auto_options options;
    qf_binary_search binary;
    qf_auto_evaluator built_in;
    *out = NULL;
    qf_binary_search_begin(&binary);
    qf_auto_evaluator_begin(&built_in, &options, &(qf_run_callbacks){action, progress, user});
    callbacks own = {built_in.evaluator, binary.strategy, qf_cosine_sensitivity};
    qf_auto_work work = {.context = context,
                         .options = &options,
                         .evaluator = &own.evaluator,
                         .strategy = &own.strategy,
                         .sensitivity = &own.sensitivity,
                         .folder = {.lock = -1}};
    qf_status status = take_options(context, given, &options);
    if (status == QF_OK)
        status = take_callbacks(context, &options, &own);
    if (status == QF_OK)
        status = work_on(&work, options.evaluator ? NULL : &built_in, out);
    qf_auto_evaluator_release(&built_in);
    qf_binary_search_release(&binary);
    release(&work);
    return qf_amct_outcome(context, MODULE, status);
}
