/* Calibrating and testing models for automatic calibration. */
#include "toolkit/auto/auto_evaluator.h"

#include "base/memory.h"
#include "toolkit/sources/data_layer.h"

#include <math.h>
#include <stdio.h>

#define ROUNDING 1e-6

static qf_action ask(void *user)
{
    const qf_auto_evaluator *e = user;
    return e->callbacks.action ? e->callbacks.action(e->callbacks.user) : QF_CONTINUE;
}

static void tell(void *user, const qf_progress *now)
{
    const qf_auto_evaluator *e = user;
    qf_progress mine = *now;
    mine.what = e->stage;
    if (e->callbacks.progress)
        e->callbacks.progress(e->callbacks.user, &mine);
}

static qf_status calibrate(void *user, qf_context *context, const char *model_file,
                           const char *weights_file)
{
    qf_auto_evaluator *e = user;
    e->stage = "calibrating";
    return qf_calibrate(context, model_file, weights_file, &e->data, e->batch_num, ask, tell, e);
}

static qf_status evaluate(void *user, qf_context *context, const char *model_file,
                          const char *weights_file, qf_metric *out)
{
    qf_auto_evaluator *e = user;
    qf_qat_result *found = qf_alloc(1, sizeof *found); /* of which tests fill a part */
    if (!found)
        return qf_fail(context, QF_E_MEMORY, "no memory for scores");
    e->stage = e->tested ? "testing the quantised model" : "testing the float model";
    qf_status status = qf_run_test_model(context, &e->test, model_file, weights_file, QF_RUN_FLOAT,
                                         &(qf_run_callbacks){ask, tell, e}, found);
    e->tested = true;
    if (status == QF_OK && (!found->scores || !found->score[0]->better))
        status = qf_fail(context, QF_E_UNSUPPORTED,
                         "the TEST phase of %s puts out no accuracy and no loss to judge "
                         "quantisation by; add an Accuracy layer",
                         e->options->model_file);
    if (status == QF_OK) {
        e->better = found->score[0]->better;
        out->number = found->float_score;
        snprintf(out->text, sizeof out->text, "%.100s %.6g", found->score_name, found->float_score);
    }
    qf_qat_result_destroy(found);
    return status;
}

/* Percentage points of an accuracy; of other values, which have no such scale, per cent. */
static qf_status compare(void *user, qf_context *context, const qf_metric *original,
                         const qf_metric *other, bool *satisfied, double *difference)
{
    const qf_auto_evaluator *e = user;
    (void)context;
    const double loss = (original->number - other->number) * (e->better < 0 ? -1 : 1);
    const double scale = e->better < 0 ? fabs(original->number) : 1;
    const bool rounding = fabs(loss) <= ROUNDING * fabs(original->number); /* of sums in float */
    *difference = rounding ? 0 : 100 * loss / scale;
    *satisfied = *difference <= e->options->max_loss; /* false of NaN */
    return QF_OK;
}

void qf_auto_evaluator_begin(qf_auto_evaluator *out, const qf_auto_options *options,
                             const qf_run_callbacks *callbacks)
{
    *out = (qf_auto_evaluator){.evaluator = {.size = sizeof out->evaluator,
                                             .user = out,
                                             .calibrate = calibrate,
                                             .evaluate = evaluate,
                                             .compare = compare,
                                             .name = "built-in"},
                               .callbacks = *callbacks,
                               .options = options};
}

qf_status qf_auto_evaluator_prepare(qf_context *context, qf_auto_evaluator *evaluator,
                                    int batch_num)
{
    const qf_auto_options *o = evaluator->options;
    evaluator->batch_num = batch_num;
    QF_TRY(qf_data_options_take(context, o->data, &evaluator->data));
    evaluator->test_data = evaluator->data;
    evaluator->test_data.source = o->test_data;
    evaluator->test_data.batch_size = 0;
    return qf_run_test_prepare(context, o->model_file, o->weights_file,
                               o->test_data ? &evaluator->test_data : NULL, o->test_iterations,
                               &evaluator->test);
}

void qf_auto_evaluator_release(qf_auto_evaluator *evaluator)
{
    qf_run_test_release(&evaluator->test);
}
