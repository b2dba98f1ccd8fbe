/* qaffe report: what each layer of a quantised net loses, and why. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/report_files.h"
#include "cli/signal_thread.h"

static const option options[] = {
    REPORT_MODELS,
    DATA_OPTION("What is measured on:"),
    FILE_OPTION("test-data", "SOURCE",
                "Labelled images to test all models on; without it, those that the model names."),
    DATA_DETAILS,
    INTEGER_OPTION("batches", "N", "4", 1, 1e6, "Batches that figures of layers are measured on."),
    INTEGER_OPTION("test-iterations", "N", "0", 0, 1e9,
                   "Batches of each test; 0 means the whole test set once."),
    FILE_OPTION("log", "FILE",
                "The log of the training (PREFIX_run.log, or Caffe's): adds curves and learned "
                "ranges."),
    FILE_OPTION("out", "FILE", "Write one HTML page that needs no other file."),
    FILE_OPTION("json", "FILE", "Write all figures as JSON."),
    FLAG("sensitivity", "Also find out what each layer costs the whole net, as `qaffe sensitivity` "
                        "does, on as many batches."),
    FLAG("text", "Show the report here; so it is without --out and --json, too."),
    UNTIL_OPTION,
};

static qf_status report(session *session, const arguments *a)
{
    qf_data_options data = chosen_data(a);
    qf_report_options wanted = {.size = sizeof wanted};
    qf_sensitivity_result *sensitivity = NULL;
    qf_report *made = NULL;
    qf_report_set_defaults(&wanted);
    wanted.model = argument_text(a, "model");
    wanted.weights = argument_text(a, "weights");
    wanted.retrained = argument_text(a, "retrained");
    wanted.prefix = argument_text(a, "prefix");
    wanted.data = &data;
    wanted.test_data = argument_text(a, "test-data");
    wanted.log = argument_text(a, "log");
    wanted.batches = argument_integer(a, "batches");
    wanted.test_iterations = argument_integer(a, "test-iterations");
    const report_files files = {.html = argument_text(a, "out"),
                                .json = argument_text(a, "json"),
                                .text = argument_flag(a, "text")};
    signals_install("stop", "none");
    qf_status status =
        argument_flag(a, "sensitivity") ? find_sensitivity(session, a, &data, &sensitivity) : QF_OK;
    wanted.sensitivity = sensitivity;
    if (status == QF_OK)
        status = qf_report_create(session->context, &wanted, requested_action, show_progress,
                                  session, &made);
    if (status == QF_OK)
        status = write_report(session, made, &files);
    qf_report_destroy(made);
    qf_sensitivity_result_destroy(sensitivity);
    return status;
}

static int run(const arguments *a)
{
    return session_run(a, QF_WARNING, report);
}

const command command_report = {
    .name = "report",
    .summary = "Say which layers of a quantised net lose most, why, and what to try.",
    .details =
        "Runs the float net and its fake-quant net on the same batches. For each quantised layer: "
        "the ratio of signal to noise of its weights, input and output, when only it is quantised "
        "and when all are; a histogram of its input with the clip range; weights, shifts N and "
        "their headroom by channel; and, with --log, how the range was learned. Whole models are "
        "tested and timed. The layer that loses most comes first, and advice says what to try.",
    .example = "qaffe report --model train_val.prototxt --weights m.caffemodel \\\n"
               "    --prefix ptq_results/model --out report.html --json report.json\n"
               "qaffe report --model train_val.prototxt --weights m.caffemodel --prefix "
               "qat_results/model \\\n"
               "    --retrained qat_results/model_retrained_iter_1000.caffemodel \\\n"
               "    --log qat_results/model_run.log --text",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
