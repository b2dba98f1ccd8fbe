/* qaffe qat config, prepare and export: AMCT's three functions. */
#include "cli/qat.h"

#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/session.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

int run_step(const arguments *arguments, step_function step, const char *done)
{
    session session;
    if (!session_open(&session, arguments, QF_WARNING))
        return EXIT_FAILED;
    qf_status status = qf_context_open_amct_log(session.context);
    if (status == QF_OK)
        status = step(session.context, arguments);
    if (status == QF_OK)
        puts(done);
    return session_close(&session, status);
}

/* ---- config ---- */

static const option config_options[] = {
    MODEL_OPTION("The float net (.prototxt), as it will be trained."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("out", "FILE", "The configuration to write (.json)."),
    FILE_OPTION("config-definition", "FILE",
                "A simplified configuration (.cfg) to start from instead of the defaults."),
    WEIGHT_BITS_OPTION,
    ACTIVATION_BITS_OPTION,
    EDGE_BITS_OPTION,
    CHOICE("ranges", "METHOD", "auto|amct|lsq|lsq+|pact|tqt", "amct",
           "How ranges learn where --config-definition says nothing else, as in `qaffe qat run`."),
    UNTIL_OPTION,
};

static qf_status config(qf_context *context, const arguments *a)
{
    const char *ranges = argument_text(a, "ranges");
    const qf_retrain_config_options options = {
        .size = sizeof options,
        .config_definition = argument_text(a, "config-definition"),
        .weight_bits = argument_integer(a, "weight-bits"),
        .activation_bits = argument_integer(a, "activation-bits"),
        .edge_bits = argument_integer(a, "edge-bits"),
        .ranges = same_word(ranges, "amct") ? NULL : ranges};
    return qf_create_retrain_config(context, argument_text(a, "out"), argument_text(a, "model"),
                                    argument_text(a, "weights"), &options);
}

static int run_config(const arguments *arguments)
{
    return run_step(arguments, config, "Next: edit it where needed, then qaffe qat prepare.");
}

const command command_qat_config = {
    .name = "qat config",
    .summary = "Write the configuration: which layers to quantise, and how.",
    .details = "Every layer that can be quantised is listed and enabled. This is AMCT's "
               "create_quant_retrain_config.",
    .example = "qaffe qat config --model m.prototxt --weights m.caffemodel --out config.json",
    OPTIONS(config_options),
    .computes = true,
    .run = run_config,
};

/* ---- prepare ---- */

static const option prepare_options[] = {
    MODEL_OPTION("The float net (.prototxt), as it will be trained."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("config", "FILE", "The configuration that `qaffe qat config` wrote."),
    REQUIRED_FILE("out-model", "FILE",
                  "The net to train, with fake-quantisation layers (.prototxt)."),
    REQUIRED_FILE("out-weights", "FILE", "Its weights (.caffemodel)."),
    REQUIRED_FILE("record", "FILE", "The record of factors: created empty, filled while testing."),
    BATCH_NORM_OPTION,
    FROM_PTQ_OPTION,
    EQUALISE_OPTION("off"),
    FLAG("adaround",
         "Begin with the roundings of weights that `qaffe ptq run --adaround` learned: of the "
         "fake-quant model beside the record that --from-ptq names."),
    FLAG("bias-correction",
         "Begin with the biases that `qaffe ptq run --bias-correction N` corrected, from there."),
    UNTIL_OPTION,
    DISTIL_OPTIONS("off"),
};

qf_distil chosen_distil(const arguments *arguments)
{
    const char *chosen = argument_text(arguments, "distil");
    return same_word(chosen, "on")    ? QF_DISTIL_ON
           : same_word(chosen, "off") ? QF_DISTIL_OFF
                                      : QF_DISTIL_AUTO;
}

qf_batch_norm chosen_batch_norm(const arguments *arguments)
{
    const char *chosen = argument_text(arguments, "batch-norm");
    return same_word(chosen, "frozen")  ? QF_BATCH_NORM_FROZEN
           : same_word(chosen, "train") ? QF_BATCH_NORM_TRAIN
                                        : QF_BATCH_NORM_AS_MODEL;
}

void print_plan(const qf_plan *plan)
{
    table table = {.left = ALL_COLUMNS, .optional = 1u << 1};
    table_row(&table, 4, "layer", "type", "treatment", "how, or why");
    for (size_t i = 0; i < plan->rows; i++) {
        const qf_plan_row *row = plan->row[i];
        table_row(&table, 4, row->layer, row->type, row->treatment, row->detail);
    }
    table_print(&table);
    table_release(&table);
    putchar('\n');
}

static qf_status prepare(qf_context *context, const arguments *a)
{
    const qf_retrain_options options = {.size = sizeof options,
                                        .batch_norm = chosen_batch_norm(a),
                                        .calibrated_record = argument_text(a, "from-ptq"),
                                        .equalise = chosen_equalise(a),
                                        .distil = chosen_distil(a),
                                        .no_labels = argument_flag(a, "no-labels"),
                                        .distil_temperature =
                                            argument_number(a, "distil-temperature"),
                                        .distil_weight = argument_number(a, "distil-weight"),
                                        .distil_blobs = argument_text(a, "distil-blobs"),
                                        .adaround = argument_flag(a, "adaround"),
                                        .bias_correction = argument_flag(a, "bias-correction")};
    qf_plan *plan;
    qf_status status =
        qf_quant_retrain_plan(context, argument_text(a, "model"), argument_text(a, "weights"),
                              argument_text(a, "config"), &options, &plan);
    if (status != QF_OK)
        return status;
    print_plan(plan);
    qf_plan_destroy(plan);
    return qf_prepare_quant_retrain_model(
        context, argument_text(a, "model"), argument_text(a, "weights"), argument_text(a, "config"),
        argument_text(a, "out-model"), argument_text(a, "out-weights"), argument_text(a, "record"),
        &options);
}

static int run_prepare(const arguments *arguments)
{
    return run_step(
        arguments, prepare,
        "Next: qaffe train with a solver whose net is the new model (test_initialization: "
        "false).");
}

const command command_qat_prepare = {
    .name = "qat prepare",
    .summary = "Insert fake-quantisation layers into a net.",
    .details =
        "This is AMCT's create_quant_retrain_model. The solver that trains the result must test: "
        "the TEST phase searches the shift factors.",
    .example =
        "qaffe qat prepare --model m.prototxt --weights m.caffemodel --config config.json \\\n"
        "    --out-model modified.prototxt --out-weights modified.caffemodel --record record.txt",
    OPTIONS(prepare_options),
    .computes = true,
    .run = run_prepare,
};

/* ---- export ---- */

static const option export_options[] = {
    REQUIRED_FILE("model", "FILE", "The net that was trained: what `qaffe qat prepare` wrote."),
    REQUIRED_FILE("weights", "FILE", "The weights that training left (solver_iter_N.caffemodel)."),
    SAVE_TYPE_OPTION,
    REQUIRED_FILE("out", "PREFIX", "Folder and beginning of the names to write."),
    REQUIRED_FILE("record", "FILE", "The record of factors."),
    FILE_OPTION("config", "FILE", "The configuration, to be checked."),
    UNTIL_OPTION,
};

qf_save_type chosen_save_type(const arguments *arguments)
{
    const char *type = argument_text(arguments, "type");
    return same_word(type, "Both")     ? QF_SAVE_BOTH
           : same_word(type, "Deploy") ? QF_SAVE_DEPLOY
                                       : QF_SAVE_FAKE_QUANT;
}

static qf_status export_models(qf_context *context, const arguments *a)
{
    return qf_save_quant_retrain_model(
        context, argument_text(a, "model"), argument_text(a, "weights"), chosen_save_type(a),
        argument_text(a, "out"), argument_text(a, "record"), argument_text(a, "config"));
}

static int run_export(const arguments *arguments)
{
    return run_step(arguments, export_models, "Next: qaffe test on the models.");
}

const command command_qat_export = {
    .name = "qat export",
    .summary = "Write the fake-quant and deploy models of a trained net.",
    .details = "This is AMCT's save_quant_retrain_model.",
    .example =
        "qaffe qat export --model modified.prototxt --weights solver_iter_1000.caffemodel \\\n"
        "    --type Both --out results/user_model --record record.txt --config config.json",
    OPTIONS(export_options),
    .computes = true,
    .run = run_export,
};

/* ---- verify ---- */

static const option verify_options[] = {
    REQUIRED_FILE("model", "PREFIX",
                  "What was given to `qaffe qat export`, `qat run` or `ptq run` as --out: both "
                  "models are read."),
    DATA_OPTION("Images to compare on:"),
    INTEGER_OPTION("iterations", "N", "10", 1, 1e9, "How many batches to compare."),
    DATA_DETAILS,
    UNTIL_OPTION,
};

void print_verification(const qf_verification *found)
{
    printf("Verified: %zu integer%s behind %d Quant and DeQuant layer%s, %zu differ%s; dequantised "
           "values are at most %.3g steps apart.\n",
           found->compared, found->compared == 1 ? "" : "s", found->layers,
           found->layers == 1 ? "" : "s", found->differing, found->differing == 1 ? "s" : "",
           found->largest_distance);
}

static int run_verify(const arguments *a)
{
    session session;
    qf_verification *found;
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    signals_install("stop", "none");
    const qf_data_options data = chosen_data(a);
    qf_status status = qf_verify(session.context, argument_text(a, "model"), &data,
                                 argument_integer(a, "iterations"), requested_action, show_progress,
                                 &session, &found);
    int code = session_close(&session, status);
    if (status == QF_OK)
        print_verification(found);
    qf_verification_destroy(found);
    return code;
}

const command command_verify = {
    .name = "verify",
    .summary = "Compare a fake-quant model with its deploy model, integer by integer.",
    .details = "Runs both on the same batches, layer by layer. If an integer differs, the first "
               "layer, batch and "
               "element are named and the exit code is 1.",
    .example = "qaffe verify --model results/user_model --data test_lmdb",
    OPTIONS(verify_options),
    .computes = true,
    .run = run_verify,
};
