/* What the report says of whole models: scores, sizes, speed. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rows.h"
#include "toolkit/report/report.h"
#include "toolkit/report/wording.h"
#include "toolkit/run/flow.h"
#include "toolkit/sources/feed_net.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- scores ---- */

static void tell_training(const qf_qat_result *r, char *out, size_t size)
{
    char cell[5][32];
    const bool averaged = !isnan(r->validation_average);
    if (*r->validation_name)
        snprintf(out, size,
                 "On %llu items that are neither trained nor tested on, %.100s is %s in float, %s "
                 "calibrated, %s of the best state of training, %s of the last%s%s. %s",
                 (unsigned long long)r->validation_items, r->validation_name,
                 qf_score_text(r->validation_float, cell[0], sizeof *cell),
                 qf_score_text(r->validation_calibrated, cell[1], sizeof *cell),
                 qf_score_text(r->validation_best, cell[2], sizeof *cell),
                 qf_score_text(r->validation_last, cell[3], sizeof *cell),
                 averaged ? ", of the average of all " : "",
                 averaged ? qf_score_text(r->validation_average, cell[4], sizeof *cell) : "",
                 r->kept_reason);
    else
        snprintf(out, size, "%s", r->kept_reason);
}

/* What the result has becomes the report's; of a caller's it is copied. */
static qf_status take_scores(qf_context *context, const qf_qat_result *result, qf_report *report)
{
    size_t count = 0;
    snprintf(report->score_name, sizeof report->score_name, "%s", result->score_name);
    for (int i = 0; i < result->scores; i++) {
        qf_qat_score *score = qf_rows_add(&report->score, &count, sizeof *score);
        if (!score)
            return qf_fail(context, QF_E_MEMORY, "no memory for the scores");
        report->scores = (int)count;
        *score = *result->score[i];
    }
    report->test_items = result->test_items;
    report->test_batches = result->test_batches;
    report->float_bytes = result->float_bytes;
    report->fake_quant_bytes = result->fake_quant_bytes;
    report->deploy_bytes = result->deploy_bytes;
    tell_training(result, report->training, sizeof report->training);
    return QF_OK;
}

/* On what are models tested? A model whose data are its own says whether they have labels; one with
 * an Input needs some named. */
static qf_status find_test(qf_context *context, const qf_report_options *o,
                           const qf_data_options *given, qf_data_options *data, bool *tests)
{
    Caffe__NetParameter *net;
    QF_TRY(qf_test_phase_read(context, o->model, &net));
    const bool own = !qf_net_wants_feeding(net);
    qf_message_free(net);
    *tests = own || o->test_data;
    *data = *given;
    data->source = o->test_data ? o->test_data : given->source;
    data->batch_size = 0;
    return QF_OK;
}

static qf_status test_models(qf_context *context, const qf_report_options *o,
                             const qf_data_options *given, const qf_run_callbacks *callbacks,
                             qf_qat_result *out)
{
    qf_data_options data;
    bool tests;
    qf_flow flow = {.context = context, .save_path = o->prefix, .callbacks = *callbacks};
    QF_TRY(find_test(context, o, given, &data, &tests));
    out->float_bytes = qf_flow_file_size(o->weights);
    qf_status status =
        tests ? qf_run_test_prepare(context, o->model, o->weights, data.source ? &data : NULL,
                                    o->test_iterations, &flow.test)
              : QF_OK;
    if (status == QF_OK && tests)
        status = qf_flow_test(&flow, o->model, o->weights, QF_RUN_FLOAT, out);
    if (status == QF_OK)
        status = qf_flow_test_exported(&flow, tests, out);
    qf_run_test_release(&flow.test);
    return status;
}

qf_status qf_report_test(qf_context *context, const qf_report_options *options,
                         const qf_data_options *data, const qf_run_callbacks *callbacks,
                         qf_report *report)
{
    if (options->result)
        return take_scores(context, options->result, report);
    qf_qat_result *found = qf_alloc(1, sizeof *found);
    if (!found)
        return qf_fail(context, QF_E_MEMORY, "no memory for the scores");
    qf_run_test_none(found);
    qf_status status = test_models(context, options, data, callbacks, found);
    if (status == QF_OK)
        status = take_scores(context, found, report);
    qf_qat_result_destroy(found);
    return status;
}

/* ---- speed ---- */

enum { MOST_PASSES = 10 };
#define LONG_ENOUGH 0.5 /* seconds */

static double seconds_of_compute(const qf_net *net)
{
    double seconds = 0;
    for (int i = 0; i < net->layer_count; i++)
        if (!net->layers[i]->type->source)
            seconds += qf_net_layer_seconds(net, i, false);
    return seconds;
}

static double items_of_batch(const qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i]->top_count && net->layers[i]->bottom_count == 0)
            return (double)qf_tensor_extent(qf_blob_shape(net->layers[i]->top[0])).batch;
    return (double)NAN;
}

/* The fastest pass: what others do on the machine makes passes slower, never faster. */
qf_status qf_report_speed(qf_net *net, double *out)
{
    const double start = qf_seconds();
    double least = (double)INFINITY;
    qf_net_keep_blobs(net, false);
    QF_TRY(qf_net_forward(net, NULL)); /* kernels are chosen */
    for (int pass = 0; pass < MOST_PASSES && (pass == 0 || qf_seconds() - start < LONG_ENOUGH);
         pass++) {
        qf_net_set_timing(net, true);
        QF_TRY(qf_net_forward(net, NULL));
        least = fmin(least, seconds_of_compute(net));
    }
    qf_net_set_timing(net, false);
    *out = least > 0 ? items_of_batch(net) / least : (double)NAN;
    return QF_OK;
}
