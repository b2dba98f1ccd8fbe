/* qaffe test: what `caffe test` does; float, fake-quant and deploy models alike. */
#include "cli/commands.h"
#include "cli/net_options.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

static const option options[] = {
    REQUIRED_FILE("model", "FILE", "The net (.prototxt), with data layers for the TEST phase."),
    REQUIRED_FILE("weights", "FILES",
                  "Its weights (.caffemodel, .caffemodel.h5; several separated by commas)."),
    {.name = "iterations",
     .kind = OPTION_INTEGER,
     .value = "N",
     .standard = "0",
     .caffe_standard = "50",
     .lowest = 0,
     .highest = 1e9,
     .help = "How many batches to test; 0: the whole test set, each image once."},
    AP_VERSION_OPTION,
    NET_STATE_OPTIONS,
    UNTIL_OPTION,
};

static void print_scores(const qf_scores *scores)
{
    table table = {0};
    table_row(&table, 2, "output", "mean");
    for (int i = 0; i < qf_scores_count(scores); i++)
        table_row(&table, 2, qf_scores_name(scores, i), cell("%.6g", qf_scores_value(scores, i)));
    table_print(&table);
    table_release(&table);
    if (qf_scores_items(scores))
        printf("(the whole test set: %llu item%s, each once)\n",
               (unsigned long long)qf_scores_items(scores),
               qf_scores_items(scores) == 1 ? "" : "s");
}

static qf_status test(session *session, const arguments *arguments)
{
    qf_net *net;
    qf_scores *scores = NULL;
    qf_status status = open_net(session, arguments, QF_TEST, &net);
    if (status != QF_OK)
        return status;
    qf_net_keep_blobs(net, false);
    choose_ap_version(session, arguments);
    signals_install("stop", "none");
    status = qf_net_test(net, argument_integer(arguments, "iterations"), requested_action,
                         show_progress, session, &scores);
    if (status == QF_OK && !arguments->caffe)
        print_scores(scores);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    return status;
}

static int run(const arguments *arguments)
{
    return session_run(arguments, QF_INFO, test);
}

const command command_test = {
    .name = "test",
    .summary = "Measure a trained net on its test data, as `caffe test` does.",
    .details =
        "Caffe's lines go to stderr, a table of the averaged outputs to stdout. A deploy model "
        "runs in integers, as it will on the device. The whole test set is tested whether or not "
        "the batch divides it: the last batch is as small as it must be, and the means are those "
        "of one batch with all images. With --iterations each batch counts the same, as in Caffe.",
    .example = "qaffe test --model lenet_train_test.prototxt --weights lenet_iter_10000.caffemodel",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
