/* qaffe qat run: the whole flow in one command. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/report_files.h"
#include "cli/run_report.h"
#include "cli/session.h"
#include "cli/signal_thread.h"

#include <string.h>

static const option options[] = {
    REQUIRED_FILE(
        "model", "FILE",
        "The float net (.prototxt): one to train, with Data layers, or one to deploy, with Input; "
        "the latter gets data, loss and accuracy."),
    REQUIRED_FILE("weights", "FILE", "Its trained weights (.caffemodel)."),
    FILE_OPTION("train-data", "SOURCE",
                "Images to train on: an LMDB or LevelDB, a folder whose folders are the labels, or "
                "a list; without it, those that the model names."),
    FILE_OPTION("test-data", "SOURCE",
                "Images to test on, as for --train-data; without it, those that the model names."),
    INTEGER_OPTION("iterations", "N", "0", 0, 1e9,
                   "Iterations of training; 0 means as many as --epochs says."),
    INTEGER_OPTION("epochs", "N", "0", 0, 1e6,
                   "Train on all training data so often; 0 means ten times, but 200 iterations at "
                   "least and 1000 at most."),
    {.name = "out",
     .kind = OPTION_FILE,
     .value = "PREFIX",
     .standard = "qat_results/model",
     .help = "Folder and beginning of the names of all files."},
    FILE_OPTION("config-definition", "FILE",
                "A simplified configuration (.cfg) instead of the defaults."),
    {.name = "base-lr",
     .kind = OPTION_NUMBER,
     .value = "RATE",
     .standard = "0",
     .lowest = 0,
     .highest = 100,
     .help = "Learning rate, which falls to a tenth after two thirds; 0 means a hundredth of "
             "--float-solver's or, without one, a rate found by a short test on training data "
             "(docs/training.md)."},
    FILE_OPTION("float-solver", "FILE",
                "The solver (.prototxt) that trained the float net: its rule, momentum and weight "
                "decay are used, and a hundredth of its rate."),
    INTEGER_OPTION("batch-size", "N", "0", 0, 1e6,
                   "Training batch; 0 means the model's own, or 32."),
    INTEGER_OPTION("test-iterations", "N", "0", 0, 1e9,
                   "Batches of each test; 0 means the whole test set once."),
    SCALE_OPTION,
    MEAN_FILE_OPTION,
    MEAN_VALUE_OPTION,
    BATCH_NORM_OPTION,
    FROM_PTQ_OPTION,
    WEIGHT_BITS_OPTION,
    ACTIVATION_BITS_OPTION,
    EDGE_BITS_OPTION,
    EQUALISE_OPTION("auto"),
    RANGES_OPTION,
    INTEGER_OPTION("re-estimate-bn", "N", "0", 0, 1e6,
                   "Take the statistics of BatchNorm layers anew over so many batches of training "
                   "data when training has ended, and keep them unless they are worse; 0: do not."),
    INTEGER_OPTION(
        "batch-num", "N", "0", 0, 1 << 20,
        "Batches of training data over which the net is calibrated before it is trained, "
        "as `qaffe ptq run --batch-num` does it, and shifts are searched; 0: enough for "
        "400 images. batch_num of --config-definition counts more."),
    INTEGER_OPTION(
        "freeze-bn-after", "N", "-1", -1, 1e9,
        "Iteration from which BatchNorm keeps its statistics; -1 leaves it to the model."),
    AP_VERSION_OPTION,
    DIVERGENCE_OPTION,
    UNTIL_OPTION,
    REPORT_OPTION,
    FILE_OPTION("validation-data", "SOURCE",
                "Images to measure states of training on, as for --train-data, neither trained nor "
                "tested on; without it, a share of the training data (--hold-back)."),
    {.name = "hold-back",
     .kind = OPTION_NUMBER,
     .value = "SHARE",
     .standard = "-1",
     .lowest = -1,
     .highest = 0.5,
     .help = "Share of the training data that is measured on, not trained on; 0: none, so that the "
             "last state is exported; -1: a tenth, at most 2000 images."},
    CHOICE("keep", "WHICH", "best|last", "best",
           "The state of training to export: the best on these images, the calibrated start among "
           "them, or the last."),
    CHOICE("average", "HOW", "on|off", "on",
           "Average the weights along the training, and keep the average unless what is measured "
           "speaks against it; off: only states themselves. Never with --keep last."),
    INTEGER_OPTION(
        "patience", "N", "5", 0, 1e6,
        "Measures in a row without a gain (there are ten, or fewer) after which training "
        "ends; 0: it never does."),
    FLAG(
        "resume",
        "Go on with the run of this --out that was interrupted, by whatever: its results are those "
        "of a run that was not. Begins anew where there is none."),
    DISTIL_OPTIONS("auto"),
};

static void read_options(const arguments *a, qf_qat_options *o)
{
    *o = (qf_qat_options){.size = sizeof *o};
    qf_qat_set_defaults(o);
    o->model = argument_text(a, "model");
    o->weights = argument_text(a, "weights");
    o->train_data = argument_text(a, "train-data");
    o->test_data = argument_text(a, "test-data");
    o->config_definition = argument_text(a, "config-definition");
    o->save_path = argument_text(a, "out");
    o->iterations = argument_integer(a, "iterations");
    o->epochs = argument_integer(a, "epochs");
    o->float_solver = argument_text(a, "float-solver");
    o->show_training = report_training;
    o->batch_size = argument_integer(a, "batch-size");
    o->test_iterations = argument_integer(a, "test-iterations");
    o->base_lr = argument_number(a, "base-lr");
    o->scale = argument_number(a, "scale");
    o->mean_values = argument_text(a, "mean-value");
    o->mean_file = argument_text(a, "mean-file");
    o->batch_norm = chosen_batch_norm(a);
    o->freeze_batch_norm_after = argument_integer(a, "freeze-bn-after");
    o->on_divergence = chosen_divergence(a);
    o->show_plan = report_plan;
    o->calibrated_record = argument_text(a, "from-ptq");
    o->validation_data = argument_text(a, "validation-data");
    o->hold_back = argument_number(a, "hold-back");
    o->keep = strcmp(argument_text(a, "keep"), "last") == 0 ? QF_KEEP_LAST : QF_KEEP_BEST;
    o->average = strcmp(argument_text(a, "average"), "off") != 0;
    o->patience = argument_integer(a, "patience");
    o->resume = argument_flag(a, "resume");
    o->weight_bits = argument_integer(a, "weight-bits");
    o->activation_bits = argument_integer(a, "activation-bits");
    o->edge_bits = argument_integer(a, "edge-bits");
    o->equalise = chosen_equalise(a);
    o->ranges = argument_text(a, "ranges");
    o->distil = chosen_distil(a);
    o->no_labels = argument_flag(a, "no-labels");
    o->distil_temperature = argument_number(a, "distil-temperature");
    o->distil_weight = argument_number(a, "distil-weight");
    o->distil_blobs = argument_text(a, "distil-blobs");
    o->re_estimate_batch_norm = argument_integer(a, "re-estimate-bn");
    o->batch_num = argument_integer(a, "batch-num");
}

static qf_status report(session *session, const arguments *a, const qf_qat_options *wanted,
                        const qf_qat_result *result, const char *log)
{
    char model[4096], retrained[4096];
    qf_report_options options = {.size = sizeof options};
    const char *prefix = wanted->save_path, *joint = report_joint(prefix);
    qf_report_set_defaults(&options);
    snprintf(model, sizeof model, "%s%sfloat.prototxt", prefix, joint);
    snprintf(retrained, sizeof retrained, "%s%sretrained_iter_%d.caffemodel", prefix, joint,
             result->kept_iteration);
    options.model = model; /* which has its data */
    options.weights = wanted->weights;
    options.retrained = retrained;
    options.prefix = prefix;
    options.log = log;
    options.result = result;
    options.batches = result->test_batches < REPORT_BATCHES ? result->test_batches : REPORT_BATCHES;
    return report_run(session, argument_text(a, "report"), &options);
}

static int run(const arguments *a)
{
    session session;
    qf_qat_options wanted;
    qf_qat_result *result = NULL;
    char log[4096], next[4096];
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    choose_ap_version(&session, a);
    read_options(a, &wanted);
    report_log(&session, wanted.save_path, log, sizeof log);
    snprintf(next, sizeof next, "qaffe verify --model %s --iterations 100", wanted.save_path);
    signals_install("stop", "snapshot");
    qf_status status = qf_context_open_amct_log(session.context);
    if (status == QF_OK)
        status = qf_qat_run(session.context, &wanted, requested_action, show_progress, &session,
                            &result);
    if (status == QF_OK)
        status = report(&session, a, &wanted, result, log);
    const bool logged = session.run_log.begun;
    int code = session_close(&session, status);
    if (status == QF_OK)
        report_result(result, wanted.save_path, next);
    else if (logged)
        fprintf(stderr, "(the log is in %s)\n", log);
    qf_qat_result_destroy(result);
    return code;
}

const command command_qat_run = {
    .name = "qat run",
    .summary = "Quantise a trained net: configure, prepare, train, export, test.",
    .details =
        "Takes a float Caffe net with its weights and gives the fake-quant and deploy models, "
        "trained to live with int8. Everything that AMCT's steps write is kept beside them, so "
        "each step can be repeated by hand with `qaffe qat config`, `prepare`, `qaffe train`, "
        "`qaffe qat export`.\n\n"
        "The screen shows the plan, the progress and the result; the whole log, in the form of "
        "Caffe's, goes to PREFIX_run.log (--log-level info shows it, too; --verbose also says "
        "which kernels were chosen). All models are tested on the same batches: the whole "
        "test set, each image once, whether or not the batch divides it.",
    .example =
        "qaffe qat run --model lenet_train_test.prototxt --weights lenet_iter_10000.caffemodel \\\n"
        "    --float-solver lenet_solver.prototxt --out results/lenet",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
