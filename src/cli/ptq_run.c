/* qaffe ptq run: quantisation without retraining in one command. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/quant_options.h"
#include "cli/report_files.h"
#include "cli/run_report.h"
#include "cli/signal_thread.h"

static const option options[] = {
    REQUIRED_FILE("model", "FILE",
                  "The float net (.prototxt): one to train, with Data layers, or one to deploy, "
                  "with Input."),
    WEIGHTS_OPTION,
    DATA_OPTION("What ranges are measured on:"),
    FILE_OPTION("test-data", "SOURCE",
                "Labelled images to test all models on: an LMDB or LevelDB, a folder whose folders "
                "are the labels, or a list; without it, those that the model names."),
    {.name = "out",
     .kind = OPTION_FILE,
     .value = "PREFIX",
     .standard = "ptq_results/model",
     .help = "Folder and beginning of the names of all files."},
    FILE_OPTION("config", "FILE",
                "A configuration that `qaffe ptq config` wrote; without it, one is made by the "
                "next four options."),
    QUANT_OPTIONS,
    EQUALISE_OPTION("auto"),
    CORRECTION_OPTIONS,
    DATA_DETAILS,
    INTEGER_OPTION("test-iterations", "N", "0", 0, 1e9,
                   "Batches of each test; 0 means the whole test set once."),
    UNTIL_OPTION,
    AP_VERSION_OPTION,
    REPORT_OPTION,
};

static qf_ptq_options read_options(const arguments *a)
{
    qf_ptq_options options = {.size = sizeof options};
    qf_ptq_set_defaults(&options);
    options.model = argument_text(a, "model");
    options.weights = argument_text(a, "weights");
    options.test_data = argument_text(a, "test-data");
    options.config = argument_text(a, "config");
    options.save_path = argument_text(a, "out");
    options.test_iterations = argument_integer(a, "test-iterations");
    options.show_plan = report_plan;
    options.equalise = chosen_equalise(a);
    options.bias_correction = argument_integer(a, "bias-correction");
    options.adaround = argument_flag(a, "adaround");
    options.adaround_iterations = argument_integer(a, "adaround-iterations");
    return options;
}

static qf_status report(session *session, const arguments *a, const qf_ptq_options *wanted,
                        const qf_qat_result *result)
{
    qf_report_options options = {.size = sizeof options};
    const int calibrated = argument_integer(a, "batch-num"); /* there are so many at least */
    qf_report_set_defaults(&options);
    options.model = wanted->model;
    options.weights = wanted->weights;
    options.prefix = wanted->save_path;
    options.data = wanted->data;
    options.test_data = wanted->test_data;
    options.result = result;
    options.batches = calibrated < REPORT_BATCHES ? calibrated : REPORT_BATCHES;
    return report_run(session, argument_text(a, "report"), &options);
}

static int work(session *session, const arguments *a, qf_ptq_options *wanted)
{
    qf_qat_result *result = NULL;
    char log[4096], next[4096];
    report_log(session, wanted->save_path, log, sizeof log);
    signals_install("stop", "none");
    qf_status status = qf_context_open_amct_log(session->context);
    if (status == QF_OK)
        status =
            qf_ptq_run(session->context, wanted, requested_action, show_progress, session, &result);
    if (status == QF_OK)
        status = report(session, a, wanted, result);
    const bool logged = session->run_log.begun;
    int code = session_close(session, status);
    snprintf(next, sizeof next,
             "qaffe qat run --from-ptq %s%srecord.txt, where that costs too much",
             wanted->save_path, report_joint(wanted->save_path));
    if (status == QF_OK)
        report_result(result, wanted->save_path, next);
    else if (logged)
        fprintf(stderr, "(the log is in %s)\n", log);
    qf_qat_result_destroy(result);
    return code;
}

static int run(const arguments *a)
{
    session session;
    quant_choice choice;
    const qf_data_options data = chosen_data(a);
    qf_ptq_options wanted = read_options(a);
    if (wanted.config && quant_given(a))
        return usage_error(a->command, "--config says what the other settings would; give one or "
                                       "the others");
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    choose_ap_version(&session, a);
    wanted.data = &data;
    const bool chosen = choose_quant(a, &choice);
    wanted.quantisation = wanted.config ? NULL : &choice.options;
    const int code = chosen ? work(&session, a, &wanted) : session_close(&session, QF_E_MEMORY);
    quant_choice_release(&choice);
    return code;
}

const command command_ptq_run = {
    .name = "ptq run",
    .summary = "Quantise a trained net without training: configure, calibrate, export, test.",
    .details =
        "Takes a float Caffe net with its weights and a few batches of data, and gives the "
        "fake-quant and deploy models. Everything that AMCT's steps write is kept beside them, so "
        "each step can be repeated by hand with `qaffe ptq config`, `prepare`, `export`.\n\n"
        "The screen shows the plan, the progress and the result; the whole log goes to "
        "PREFIX_run.log. All models are tested on the same batches where there are labels; "
        "fake-quant and deploy models are compared integer by integer on the data that "
        "calibrated. A model with Input layers keeps them: data take their place only while "
        "qaffe runs it.",
    .example = "qaffe ptq run --model deploy.prototxt --weights m.caffemodel --data "
               "calibration_images \\\n"
               "    --batch-num 8 --mean-value 104,117,123 --test-data val.txt --out results/model",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
