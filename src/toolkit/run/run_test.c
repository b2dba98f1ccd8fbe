/* The tests of the whole flow: its models on the same batches, and all that they put out. */
#include "base/rows.h"
#include "toolkit/run/run.h"
#include "toolkit/sources/feed_net.h"
#include "train/solver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ENDLESS_BATCHES = 100, /* where the data have no end */
    VALUES_MAX = 32        /* of one output, to be worth a look */
};

/* A net with an Input gets labels, and somebody who compares its scores with them. */
static qf_status open_net(qf_context *context, const qf_data_options *data, const char *model,
                          qf_net **out)
{
    Caffe__NetParameter *param;
    *out = NULL;
    if (!data)
        return qf_net_create(context, model, QF_TEST, 0, NULL, 0, out);
    QF_TRY(qf_test_phase_read(context, model, &param));
    qf_status status = qf_net_wants_feeding(param) ? qf_run_judge(context, model, param) : QF_OK;
    if (status == QF_OK)
        status = qf_feed_net(context, data, model, "label", param);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    qf_message_free(param);
    return status;
}

qf_status qf_run_test_prepare(qf_context *context, const char *model, const char *weights,
                              const qf_data_options *data, int iterations, qf_run_test *out)
{
    qf_net *net;
    qf_test_set set = {0};
    *out = (qf_run_test){.data = data, .iterations = iterations, .batches = iterations};
    QF_TRY(open_net(context, data, model, &net));
    qf_status status = qf_net_load_weights_file(net, weights);
    if (status == QF_OK)
        status = qf_net_require_weights(net, weights);
    if (status == QF_OK && iterations == 0)
        status = qf_test_set_find(net, &set);
    if (status == QF_OK && iterations == 0)
        out->batches = set.items ? set.batches : ENDLESS_BATCHES;
    if (status == QF_OK && set.items == 0)
        out->iterations = out->batches;
    if (status == QF_OK)
        status = qf_feed_take(net, &out->feed);
    qf_net_destroy(net);
    return status;
}

void qf_run_test_release(qf_run_test *test)
{
    qf_feed_release(&test->feed);
}

void qf_run_test_none(qf_qat_result *out)
{
    snprintf(out->score_name, sizeof out->score_name, "none");
    out->float_score = out->calibrated_score = out->fake_quant_score = out->deploy_score =
        (double)NAN;
}

/* Where a model's value stands in a row. */
static double *place_of(qf_qat_score *score, qf_run_model_kind kind)
{
    double *const places[] = {&score->float_score, &score->calibrated_score,
                              &score->fake_quant_score, &score->deploy_score};
    return places[kind];
}

/* How many values follow that are of the same output as value `first`. */
static int values_of_output(const qf_scores *scores, int first)
{
    int count = 1;
    while (first + count < qf_scores_count(scores) &&
           strcmp(qf_scores_name(scores, first + count), qf_scores_name(scores, first)) == 0)
        count++;
    return count;
}

/* NULL: no memory for a new one. */
static qf_qat_score *row_of(qf_qat_result *out, const char *name)
{
    size_t count = (size_t)out->scores;
    for (size_t i = 0; i < count; i++)
        if (strcmp(out->score[i]->name, name) == 0)
            return out->score[i];
    qf_qat_score *row = qf_rows_add(&out->score, &count, sizeof *row);
    if (!row)
        return NULL;
    out->scores = (int)count;
    snprintf(row->name, sizeof row->name, "%s", name);
    row->float_score = row->calibrated_score = row->fake_quant_score = row->deploy_score =
        (double)NAN;
    return row;
}

static bool note_output(const qf_scores *scores, int first, int count, qf_run_model_kind kind,
                        qf_qat_result *out)
{
    char name[sizeof(*out->score)->name];
    for (int k = 0; k < count; k++) {
        if (count == 1)
            snprintf(name, sizeof name, "%s", qf_scores_name(scores, first));
        else
            snprintf(name, sizeof name, "%.100s[%d]", qf_scores_name(scores, first), k);
        qf_qat_score *row = row_of(out, name);
        if (!row)
            return false;
        row->better = qf_scores_better(scores, first + k);
        *place_of(row, kind) = qf_scores_value(scores, first + k);
    }
    return true;
}

/* The main output comes first; the others follow as in the net. */
static qf_status note_scores(qf_context *context, const qf_scores *scores, qf_run_model_kind kind,
                             qf_qat_result *out)
{
    const char *main;
    qf_scores_main(scores, &main);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0, count; i < qf_scores_count(scores); i += count) {
            count = values_of_output(scores, i);
            const bool first = main && strcmp(qf_scores_name(scores, i), main) == 0;
            if (first == (pass == 0) && count <= VALUES_MAX &&
                !note_output(scores, i, count, kind, out))
                return qf_fail(context, QF_E_MEMORY, "no memory for the scores");
        }
    snprintf(out->score_name, sizeof out->score_name, "%s", main ? main : "none");
    out->test_items = qf_scores_items(scores);
    return QF_OK;
}

qf_status qf_run_test_model(qf_context *context, const qf_run_test *test, const char *model,
                            const char *weights, qf_run_model_kind kind,
                            const qf_run_callbacks *callbacks, qf_qat_result *out)
{
    qf_net *net;
    QF_TRY(open_net(context, test->data, model, &net));
    qf_status status = qf_net_load_weights(net, weights);
    if (status == QF_OK)
        status = qf_run_test_net(net, test, kind, callbacks, out);
    qf_net_destroy(net);
    return status;
}

qf_status qf_run_test_net(qf_net *net, const qf_run_test *test, qf_run_model_kind kind,
                          const qf_run_callbacks *callbacks, qf_qat_result *out)
{
    qf_scores *scores = NULL;
    qf_net_keep_blobs(net, false);
    qf_status status = qf_feed_give(net, &test->feed);
    if (status == QF_OK)
        status = qf_net_test(net, test->iterations, callbacks->action, callbacks->progress,
                             callbacks->user, &scores);
    if (status == QF_OK)
        status = note_scores(net->context, scores, kind, out);
    if (status == QF_OK) {
        double *const main[] = {&out->float_score, &out->calibrated_score, &out->fake_quant_score,
                                &out->deploy_score};
        *main[kind] = qf_scores_main(scores, NULL);
        out->test_batches = test->batches;
    }
    qf_scores_destroy(scores);
    return status;
}
