/* Recorded runs of AMCT's automatic calibration: what was tried, and the files and log lines. The
 * metric of a model with k layers in float is k, that of the original −1. */
#include "golden/amct_kernels.h"
#include "toolkit/auto/auto_files.h"
#include "toolkit/auto/auto_log.h"
#include "toolkit/auto/auto_search.h"

#include <string.h>

enum { MOST_LAYERS = 16, MOST_TESTS = 16 };

typedef struct recording {
    const int32_t *good; /* by the number of layers in float */
    size_t layers, tests;
    int32_t tested[MOST_TESTS];
    char metric[16]; /* of the model that was saved last */
} recording;

static void judge(const recording *r, size_t k, qf_auto_record *record)
{
    record->satisfied = r->good[k];
    record->difference = -1 - (double)k;
}

static qf_status attempt(void *user, size_t index, qf_auto_record *record)
{
    recording *r = user;
    const size_t k = qf_auto_float_layers(record, r->layers);
    assert_true(index >= 1 && r->tests < MOST_TESTS);
    r->tested[r->tests++] = (int32_t)k;
    snprintf(r->metric, sizeof r->metric, "%zu", k);
    judge(r, k, record);
    return QF_OK;
}

/* ---- log and configuration as they were recorded ---- */

static void keep_line(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)file;
    (void)line;
    assert_int_equal(level, QF_INFO);
    if (!strstr(text, "stored in dir")) /* not in the recordings */
        qf_buffer_print(user, "INFO %s\n", text);
}

/* The user's configuration of the recordings. */
static void print_config(const char *const *names, size_t count, qf_buffer *out)
{
    qf_buffer_print(out, "{\"version\": 1, \"batch_num\": 1, \"activation_offset\": true, "
                         "\"joint_quant\": false, \"do_fusion\": true, \"skip_fusion_layers\": []");
    for (size_t i = 0; i < count; i++)
        qf_buffer_print(out,
                        ", \"%s\": {\"quant_enable\": true, "
                        "\"activation_quant_params\": {\"act_algo\": \"ifmr\"}, "
                        "\"weight_quant_params\": {\"wts_algo\": \"arq_quantize\", "
                        "\"channel_wise\": true}}",
                        names[i]);
    qf_buffer_print(out, "}");
}

static void give_files(run *r, const qf_auto_history *history, const double *sensitivity,
                       bool generated)
{
    char *folder = test_make_directory();
    char *config = test_format("%s/config.json", folder), *path = test_format("%s/out", folder);
    qf_buffer text = {0};
    print_config(history->names, history->layers, &text);
    assert_ok(r->context, qf_file_write(r->context, config, text.data, text.size, 0640));
    assert_ok(r->context, qf_auto_write_ranking(r->context, history, sensitivity, path));
    give_file(r, "ranking_information_json", path);
    assert_ok(r->context, qf_auto_write_records(r->context, history, path));
    give_file(r, "record_json", path);
    if (generated) {
        const qf_auto_record *last = &history->records[history->count - 1];
        assert_ok(r->context, qf_auto_write_config(r->context, history, last, config, path));
        give_file(r, "final_config_json", path);
    }
    test_remove_directory(folder);
    qf_buffer_release(&text);
    qf_free(folder);
    qf_free(config);
    qf_free(path);
}

static bool search(run *r, recording *recording, const double *sensitivity,
                   qf_auto_history *history)
{
    qf_binary_search strategy;
    qf_auto_record *first;
    qf_binary_search_begin(&strategy);
    qf_auto_search search = {.context = r->context,
                             .history = history,
                             .sensitivity = sensitivity,
                             .strategy = &strategy.strategy,
                             .attempt = attempt,
                             .user = recording};
    assert_ok(r->context, qf_auto_history_add(r->context, history, &first));
    judge(recording, 0, first);
    if (first->satisfied)
        qf_auto_log_satisfied(r->context);
    else {
        assert_ok(r->context, qf_auto_search_run(&search));
        qf_auto_log_history(r->context, history);
    }
    qf_binary_search_release(&strategy);
    return !search.all_float;
}

qf_status amct_auto_calibration(run *r)
{
    const test_array *sensitivity = input(r, "sensitivity");
    const char *names[MOST_LAYERS];
    qf_auto_history history = {.layers = sensitivity->count, .names = names};
    recording recording = {.good = input(r, "satisfied")->data,
                           .layers = sensitivity->count,
                           .tested = {-1},
                           .metric = "0"};
    qf_buffer log = {0};
    size_t order[MOST_LAYERS];
    assert_true(history.layers <= MOST_LAYERS);
    for (size_t i = 0; i < history.layers; i++)
        names[i] = json_string_value(json_array_get(param_of(r, "names"), i));
    qf_rollback_order(sensitivity->data, history.layers, order);
    double *given = give(r, "order", history.layers);
    for (size_t i = 0; i < history.layers; i++)
        given[i] = (double)order[i];
    qf_context_set_log(r->context, keep_line, &log, QF_INFO);
    const bool generated = search(r, &recording, sensitivity->data, &history);
    const qf_auto_ending ending = {.original = "-1",
                                   .global = "0",
                                   .saved = generated ? recording.metric : NULL,
                                   .model_folder = "results",
                                   .record_folder = "results"};
    qf_auto_log_end(r->context, &ending);
    qf_context_set_log(r->context, NULL, NULL, QF_INFO);
    give_text(r, "log", qf_buffer_text(&log));
    give_ints(r, "tested", recording.tested, recording.tests ? recording.tests : 1);
    *give(r, "final", 1) =
        (double)qf_auto_float_layers(&history.records[history.count - 1], history.layers);
    *give(r, "final_config_written", 1) = generated;
    give_files(r, &history, sensitivity->data, generated);
    qf_buffer_release(&log);
    qf_auto_history_release(&history);
    return QF_OK;
}
