/* Running a calibration model: TEST passes until its layers have filled the record. */
#include "toolkit/ptq/calibrate.h"

#include "base/clock.h"
#include "layers/quantised/calibration.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"

/* The batches that the most patient layer wants; SearchN alone is retraining's. */
static qf_status find_wanted(const qf_net *net, const char *model, int *wanted)
{
    bool finds_ranges = false;
    *wanted = 0;
    for (int i = 0; i < net->layer_count; i++) {
        const int batches = qf_calibration_of(net->layers[i]).wanted;
        finds_ranges = finds_ranges || (batches && net->layers[i]->type != &qf_search_n_layer);
        *wanted = batches > *wanted ? batches : *wanted;
    }
    return finds_ranges ? QF_OK
                        : qf_fail(net->context, QF_E_MISMATCH,
                                  "%s has no IFMR or HFMG layer, so it has nothing to calibrate; "
                                  "give the model that `qaffe ptq prepare` wrote",
                                  model);
}

/* A net made anew begins at nothing, so passes that do not suffice are not begun. */
static qf_status check_batches(qf_net *net, const char *model, int given, int *batches)
{
    int wanted;
    QF_TRY(find_wanted(net, model, &wanted));
    *batches = given ? given : wanted;
    return *batches >= wanted
               ? QF_OK
               : qf_fail(net->context, QF_E_ARGUMENT,
                         "calibration needs %d batches, %d more than the %d asked for; the record "
                         "is as it was",
                         wanted, wanted - *batches, *batches);
}

static void report(const qf_net *net, int done, int batches, double start,
                   qf_progress_function progress, void *user)
{
    double wait, items;
    const double lapse = qf_seconds() - start;
    if (!progress)
        return;
    qf_net_data_statistics(net, &wait, &items);
    progress(user, &(qf_progress){.testing = true,
                                  .iteration = done,
                                  .total = batches,
                                  .items_per_second = lapse > 0 ? items / lapse : 0,
                                  .data_wait = lapse > 0 ? wait / lapse : 0,
                                  .what = "calibrating"});
}

qf_status qf_calibrate_net(qf_net *net, int batches, qf_action_function action,
                           qf_progress_function progress, void *user)
{
    const double start = qf_seconds();
    for (int i = 1; i <= batches; i++) {
        QF_TRY(qf_net_forward(net, NULL));
        report(net, i, batches, start, progress, user);
        if (i < batches && action && action(user) == QF_STOP)
            return qf_fail(net->context, QF_E_STOPPED,
                           "stopped after %d of %d batches of calibration", i, batches);
    }
    return QF_OK;
}

qf_status qf_calibrate(qf_context *context, const char *model_file, const char *weights_file,
                       const qf_data_options *given, int batches, qf_action_function action,
                       qf_progress_function progress, void *user)
{
    qf_data_options data;
    qf_net *net;
    if (batches < 0)
        return qf_fail(context, QF_E_ARGUMENT, "batches is %d, expected 0 or more", batches);
    QF_TRY(qf_data_options_take(context, given, &data));
    QF_TRY(qf_fed_net_open(context, &data, model_file, weights_file, &net));
    qf_net_keep_blobs(net, false);
    qf_status status = check_batches(net, model_file, batches, &batches);
    if (status == QF_OK && data.source)
        status = qf_fed_net_require(net, batches);
    if (status == QF_OK)
        status = qf_calibrate_net(net, batches, action, progress, user);
    qf_net_destroy(net);
    return status;
}
