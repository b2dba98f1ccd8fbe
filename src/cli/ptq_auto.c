/* qaffe ptq auto: calibration that leaves in float the layers that would cost too much. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/quant_options.h"
#include "cli/session.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <math.h>

static const option options[] = {
    MODEL_OPTION("The float net (.prototxt); its TEST phase needs an accuracy or a loss."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("config", "FILE", "The configuration that `qaffe ptq config` wrote."),
    {.name = "out",
     .kind = OPTION_FILE,
     .value = "PREFIX",
     .standard = "auto_results/model",
     .help = "Folder and beginning of the names of the models."},
    FILE_OPTION("record", "FILE", "The record of factors to write; without it, PREFIX_record.txt."),
    MAX_LOSS_OPTION(
        "How much worse the output that matters most may become: percentage points of an "
        "accuracy, per cent of anything else."),
    DATA_OPTION("What ranges are measured on:"),
    FILE_OPTION("test-data", "SOURCE",
                "Labelled images that models are judged on: an LMDB or LevelDB, a folder whose "
                "folders are the labels, or a list; without it, those that the model names."),
    DATA_DETAILS,
    INTEGER_OPTION("test-iterations", "N", "0", 0, 1e9,
                   "Batches of each test; 0 means the whole test set once."),
    UNTIL_OPTION,
};

static void read_options(const arguments *a, qf_auto_options *o)
{
    *o = (qf_auto_options){.size = sizeof *o};
    qf_auto_set_defaults(o);
    o->model_file = argument_text(a, "model");
    o->weights_file = argument_text(a, "weights");
    o->config_file = argument_text(a, "config");
    o->save_path = argument_text(a, "out");
    o->record_file = argument_text(a, "record");
    o->max_loss = argument_number(a, "max-loss");
    o->test_data = argument_text(a, "test-data");
    o->test_iterations = argument_integer(a, "test-iterations");
}

static void print_steps(const qf_auto_result *r)
{
    table table = {0};
    table_row(&table, 4, "layers in float", "result", "loss", "good enough");
    table_row(&table, 4, "all (the original)", r->original, "0", "yes");
    for (size_t i = 0; i < r->steps; i++) {
        const qf_auto_step *step = r->step[i];
        if (*step->metric)
            table_row(&table, 4, cell("%zu", step->float_layers), step->metric,
                      cell("%.4g", step->difference), step->satisfied ? "yes" : "no");
    }
    table_print(&table);
    table_release(&table);
}

static void print_layers(const qf_auto_result *r)
{
    table table = {.left = ALL_COLUMNS, .optional = 1u << 1};
    table_row(&table, 4, "layer", "type", "sensitivity", "becomes");
    for (size_t i = 0; i < r->layers; i++)
        table_row(&table, 4, r->layer[i]->name, r->layer[i]->type,
                  cell("%.6f", r->layer[i]->sensitivity),
                  r->layer[i]->quantised ? "quantised" : "float: more sensitive than the rest");
    table_print(&table);
    table_release(&table);
}

static void print_result(const qf_auto_result *r, const qf_auto_options *o)
{
    print_steps(r);
    puts("(loss: percentage points of an accuracy, per cent of anything else)\n");
    print_layers(r);
    puts("(sensitivity: how alike the layer's outputs in float and quantised are, 1: entirely)\n");
    if (r->generated)
        printf("The models are in %s…; next: qaffe verify --model %s\n", o->save_path,
               o->save_path);
    else
        puts("No layer can be quantised at this loss, so there are no models; allow more with "
             "--max-loss, or retrain: qaffe qat run");
}

static int run(const arguments *a)
{
    session session;
    qf_auto_options wanted;
    qf_auto_result *result = NULL;
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    read_options(a, &wanted);
    const qf_data_options data = chosen_data(a);
    wanted.data = &data;
    signals_install("stop", "stop");
    qf_status status = qf_context_open_amct_log(session.context);
    if (status == QF_OK)
        status = qf_auto_calibrate(session.context, &wanted, requested_action, show_progress,
                                   &session, &result);
    const int code = session_close(&session, status);
    const bool generated = result && result->generated;
    if (result)
        print_result(result, &wanted);
    else if (status == QF_E_STOPPED)
        fputs("(the same command goes on from here)\n", stderr);
    qf_auto_result_destroy(result);
    return code == EXIT_DONE && !generated ? EXIT_FAILED : code;
}

const command command_ptq_auto = {
    .name = "ptq auto",
    .summary = "Quantise without training, and leave in float what would cost too much.",
    .details =
        "Calibrates on --data, or the first batches of the TEST data, quantises all layers, and "
        "tests the "
        "result. Where that is worse by more than --max-loss, the layers that quantisation changes "
        "most stay float: as few of them as it takes, found by halving. This is AMCT's "
        "accuracy_based_auto_calibration.\n\n"
        "What was tested is kept beside the models until the end: interrupted, the same command "
        "goes on where it was. The exit status is 1 where no layer can be quantised.",
    .example = "qaffe ptq auto --model m.prototxt --weights m.caffemodel --config config.json \\\n"
               "    --max-loss 0.5 --out results/m",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
