/* qaffe qat run: the whole flow in one command. */
#include "cli/commands.h"
#include "cli/qat.h"
#include "cli/session.h"
#include "cli/signals.h"
#include "cli/table.h"

#include <math.h>

static const option options[] = {
    {.name = "model",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help =
         "The float net (.prototxt): one to train, with Data layers, or one to deploy, with Input; "
         "the latter gets data, loss and accuracy."},
    {.name = "weights",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "Its trained weights (.caffemodel)."},
    {.name = "train-data",
     .kind = OPTION_FILE,
     .value = "LMDB",
     .help = "Images to train on; without it, those that the model names."},
    {.name = "test-data",
     .kind = OPTION_FILE,
     .value = "LMDB",
     .help = "Images to test on; without it, those that the model names."},
    {.name = "iterations",
     .kind = OPTION_INTEGER,
     .value = "N",
     .standard = "1000",
     .lowest = 1,
     .highest = 1e9,
     .help = "Iterations of training."},
    {.name = "out",
     .kind = OPTION_FILE,
     .value = "PREFIX",
     .standard = "qat_results/model",
     .help = "Folder and beginning of the names of all files."},
    {.name = "config-definition",
     .kind = OPTION_FILE,
     .value = "FILE",
     .help = "A simplified configuration (.cfg) instead of the defaults."},
    {.name = "base-lr",
     .kind = OPTION_NUMBER,
     .value = "RATE",
     .standard = "0.0001",
     .lowest = 1e-12,
     .highest = 100,
     .help =
         "Learning rate; about a hundredth of what the float training began with. It falls to a "
         "tenth after two thirds."},
    {.name = "batch-size",
     .kind = OPTION_INTEGER,
     .value = "N",
     .standard = "0",
     .highest = 1e6,
     .help = "Training batch; 0 means the model's own, or 32."},
    {.name = "test-iterations",
     .kind = OPTION_INTEGER,
     .value = "N",
     .standard = "0",
     .highest = 1e9,
     .help = "Batches of each test; 0 means the whole test set once."},
    {.name = "scale",
     .kind = OPTION_NUMBER,
     .value = "FACTOR",
     .standard = "1",
     .lowest = -1e6,
     .highest = 1e6,
     .help = "Factor for pixels, for a model with Input: 0.00390625 maps bytes to 0 ... 1."},
    {.name = "mean-file",
     .kind = OPTION_FILE,
     .value = "FILE",
     .help = "Mean image (.binaryproto), for a model with Input."},
    {.name = "mean-value",
     .kind = OPTION_TEXT,
     .value = "NUMBERS",
     .help = "What to subtract from each channel, for a model with Input: 104,117,123, or one "
             "number for all."},
    BATCH_NORM_OPTION,
    {.name = "freeze-bn-after",
     .kind = OPTION_INTEGER,
     .value = "N",
     .standard = "-1",
     .lowest = -1,
     .highest = 1e9,
     .help = "Iteration from which BatchNorm keeps its statistics; -1 leaves it to the model."},
};

static const char *noise(double decibels)
{
    return isnan(decibels) ? "-" : isinf(decibels) ? "exact" : cell("%.1f", decibels);
}

static void print_models(const qf_qat_result *r)
{
    const struct {
        const char *name;
        double score;
        size_t bytes;
    } models[] = {{"float", r->float_score, r->float_bytes},
                  {"fake-quant", r->fake_quant_score, r->fake_quant_bytes},
                  {"deploy", r->deploy_score, r->deploy_bytes}};
    table table = {0};
    table_row(&table, 3, "model", r->score_name, "weights file");
    for (size_t i = 0; i < COUNT(models); i++)
        table_row(&table, 3, models[i].name, cell("%.4f", models[i].score),
                  cell("%.1f KiB", (double)models[i].bytes / 1024));
    table_print(&table);
    table_release(&table);
}

static void print_layers(const qf_qat_result *r)
{
    table table = {0};
    table_row(&table, 7, "layer", "type", "scale_d", "offset_d", "shift N", "weights dB",
              "input dB");
    for (int i = 0; i < r->rows; i++) {
        const qf_qat_row *row = &r->row[i];
        const char *shift = row->shift_max == 0 ? "-"
                            : row->shift_min == row->shift_max
                                ? cell("%d", row->shift_min)
                                : cell("%d-%d", row->shift_min, row->shift_max);
        table_row(&table, 7, row->name, row->type, cell("%.6g", (double)row->scale_d),
                  cell("%d", row->offset_d), shift, noise(row->weight_sqnr),
                  noise(row->activation_sqnr));
    }
    table_print(&table);
    table_release(&table);
}

static int run(const arguments *a)
{
    session session;
    qf_qat_options o = qf_qat_defaults;
    qf_qat_result result = {0};
    if (!session_open(&session, a, QF_INFO))
        return EXIT_FAILED;
    o.model = argument_text(a, "model");
    o.weights = argument_text(a, "weights");
    o.train_data = argument_text(a, "train-data");
    o.test_data = argument_text(a, "test-data");
    o.config_definition = argument_text(a, "config-definition");
    o.save_path = argument_text(a, "out");
    o.iterations = argument_integer(a, "iterations");
    o.batch_size = argument_integer(a, "batch-size");
    o.test_iterations = argument_integer(a, "test-iterations");
    o.base_lr = argument_number(a, "base-lr");
    o.scale = argument_number(a, "scale");
    o.mean_values = argument_text(a, "mean-value");
    o.mean_file = argument_text(a, "mean-file");
    o.batch_norm = chosen_batch_norm(a);
    o.freeze_batch_norm_after = argument_integer(a, "freeze-bn-after");
    o.show_plan = print_plan;
    signals_install("stop", "snapshot");
    qf_status status = qf_context_open_amct_log(session.context);
    if (status == QF_OK)
        status =
            qf_qat_run(session.context, &o, requested_action, show_progress, &session, &result);
    int code = session_close(&session, status);
    if (status == QF_OK) {
        print_layers(&result);
        puts("(dB: signal to quantisation noise; input: over one test batch)\n");
        print_models(&result);
        putchar('\n');
        print_verification(&result.verification);
        printf("Models: %s_fake_quant_model.prototxt, %s_deploy_model.prototxt\n", o.save_path,
               o.save_path);
    }
    qf_qat_result_release(&result);
    return code;
}

const command command_qat_run = {
    .name = "qat run",
    .summary = "Quantise a trained net: configure, prepare, train, export, test.",
    .details =
        "Takes a float Caffe net with its weights and gives the fake-quant and deploy models, "
        "trained to live with int8. Everything that AMCT's steps write is kept beside them, so "
        "each step can be repeated by hand with `qaffe qat config`, `prepare`, `qaffe train`, "
        "`qaffe qat export`.",
    .example =
        "qaffe qat run --model lenet_train_test.prototxt --weights lenet_iter_10000.caffemodel \\\n"
        "    --iterations 1000 --out results/lenet",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
