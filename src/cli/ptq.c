/* qaffe ptq: AMCT's functions for calibration without retraining. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/quant_options.h"
#include "cli/session.h"
#include "cli/signal_thread.h"

static const option config_options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("out", "FILE", "The configuration to write (.json)."),
    QUANT_OPTIONS,
    UNTIL_OPTION,
};

static qf_status config(qf_context *context, const arguments *a)
{
    quant_choice choice;
    const qf_status status =
        choose_quant(a, &choice)
            ? qf_create_quant_config(context, argument_text(a, "out"), argument_text(a, "model"),
                                     argument_text(a, "weights"), &choice.options)
            : QF_E_MEMORY;
    quant_choice_release(&choice);
    return status;
}

static int run_config(const arguments *arguments)
{
    return run_step(
        arguments, config,
        "Next: edit it where needed, look at it with qaffe ptq plan, then qaffe ptq prepare.");
}

const command command_ptq_config = {
    .name = "ptq config",
    .summary = "Write the configuration of calibration without retraining.",
    .details = "Every layer that can be quantised is listed, with how the range of its input is "
               "measured; those that are skipped are listed as disabled. This is AMCT's "
               "create_quant_config.",
    .example = "qaffe ptq config --model m.prototxt --weights m.caffemodel --out config.json \\\n"
               "    --batch-num 8 --skip-layers conv1,fc8",
    OPTIONS(config_options),
    .computes = true,
    .run = run_config,
};

#define CONFIG_OPTION                                                                              \
    REQUIRED_FILE("config", "FILE", "The configuration that `qaffe ptq config` wrote.")

static const option plan_options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    CONFIG_OPTION,
    UNTIL_OPTION,
    EQUALISE_OPTION("off"),
};

static qf_status show_plan(qf_context *context, const arguments *a)
{
    qf_plan *plan;
    qf_status status =
        qf_quant_plan_equalised(context, argument_text(a, "model"), argument_text(a, "weights"),
                                argument_text(a, "config"), chosen_equalise(a), &plan);
    if (status != QF_OK)
        return status;
    print_plan(plan);
    qf_plan_destroy(plan);
    return QF_OK;
}

static qf_status plan(session *session, const arguments *a)
{
    return show_plan(session->context, a);
}

static int run_plan(const arguments *a)
{
    return session_run(a, QF_WARNING, plan);
}

const command command_ptq_plan = {
    .name = "ptq plan",
    .summary = "Check a configuration of calibration, and show what it does to each layer.",
    .details = "What is wrong with an edited file is said in AMCT's words. Layers that are not "
               "quantised are listed with the reason, BatchNorm and Scale with the layer that they "
               "are folded into. Nothing is written.",
    .example = "qaffe ptq plan --model m.prototxt --weights m.caffemodel --config config.json",
    OPTIONS(plan_options),
    .computes = true,
    .run = run_plan,
};

/* ---- prepare ---- */

static qf_status open_graph(qf_context *context, const arguments *a, qf_quant_graph **graph)
{
    return qf_quant_open_equalised(context, argument_text(a, "config"), argument_text(a, "model"),
                                   argument_text(a, "weights"), argument_text(a, "record"),
                                   chosen_equalise(a), graph);
}

static const option prepare_options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    CONFIG_OPTION,
    REQUIRED_FILE("out-model", "FILE", "The net to calibrate (.prototxt)."),
    REQUIRED_FILE("out-weights", "FILE", "Its weights (.caffemodel)."),
    REQUIRED_FILE("record", "FILE",
                  "The record of factors: created, or emptied; filled while the net runs."),
    UNTIL_OPTION,
    EQUALISE_OPTION("off"),
};

/* The record is emptied when the model is there, not before. */
static qf_status prepare(qf_context *context, const arguments *a)
{
    qf_quant_graph *graph = NULL;
    qf_status status = show_plan(context, a);
    if (status == QF_OK)
        status = open_graph(context, a, &graph);
    if (status == QF_OK)
        status = qf_quantize_model(context, graph, argument_text(a, "out-model"),
                                   argument_text(a, "out-weights"));
    qf_quant_graph_destroy(graph);
    return status;
}

static int run_prepare(const arguments *a)
{
    return run_step(
        a, prepare,
        "Next: qaffe ptq calibrate, or a run of the new model's TEST phase for batch_num "
        "batches, which fills the record; then qaffe ptq export.");
}

const command command_ptq_prepare = {
    .name = "ptq prepare",
    .summary = "Write the net to calibrate: quantised weights, layers that measure.",
    .details = "This is AMCT's init and quantize_model. BatchNorm and Scale are folded. The order "
               "of steps: config, prepare, calibrate, export; what --equalise says here, export "
               "must be told, too.",
    .example =
        "qaffe ptq prepare --model m.prototxt --weights m.caffemodel --config config.json \\\n"
        "    --out-model calibration.prototxt --out-weights calibration.caffemodel --record "
        "record.txt",
    OPTIONS(prepare_options),
    .computes = true,
    .run = run_prepare,
};

/* ---- export ---- */

static const option export_options[] = {
    MODEL_OPTION("The float net (.prototxt), not the one that was calibrated."),
    WEIGHTS_OPTION,
    CONFIG_OPTION,
    REQUIRED_FILE("record", "FILE", "The record that calibration has filled."),
    SAVE_TYPE_OPTION,
    REQUIRED_FILE("out", "PREFIX", "Folder and beginning of the names to write."),
    CORRECTION_OPTIONS,
    DATA_OPTION("What --adaround and --bias-correction run on, as `qaffe ptq calibrate` did:"),
    DATA_DETAILS,
    UNTIL_OPTION,
    EQUALISE_OPTION("off"),
};

static qf_status save(qf_context *context, const arguments *a, qf_quant_graph *graph)
{
    const qf_data_options data = chosen_data(a);
    const qf_correction_options options = {
        .size = sizeof options,
        .model = argument_text(a, "model"),
        .weights = argument_text(a, "weights"),
        .data = &data,
        .bias_correction = argument_integer(a, "bias-correction"),
        .adaround = argument_flag(a, "adaround"),
        .adaround_iterations = argument_integer(a, "adaround-iterations")};
    const char *prefix = argument_text(a, "out");
    return options.adaround || options.bias_correction
               ? qf_save_corrected_model(context, graph, chosen_save_type(a), prefix, &options,
                                         requested_action, NULL, NULL)
               : qf_save_model(context, graph, chosen_save_type(a), prefix);
}

static qf_status export_models(qf_context *context, const arguments *a)
{
    qf_quant_graph *graph;
    qf_status status = open_graph(context, a, &graph);
    if (status == QF_OK)
        status = save(context, a, graph);
    qf_quant_graph_destroy(graph);
    return status;
}

static int run_export(const arguments *a)
{
    signals_install("stop", "none");
    return run_step(a, export_models, "Next: qaffe test on the models, or qaffe verify.");
}

const command command_ptq_export = {
    .name = "ptq export",
    .summary = "Write the fake-quant and deploy models of a calibrated net.",
    .details = "This is AMCT's save_model. Give the same model, weights, configuration and "
               "--equalise as `qaffe ptq prepare` had, and for --adaround and --bias-correction "
               "the data of `qaffe ptq calibrate`. Equalised weights are left beside the models, "
               "as PREFIX_equalised.caffemodel, for `qaffe report`; those of an earlier run go.",
    .example = "qaffe ptq export --model m.prototxt --weights m.caffemodel --config config.json "
               "\\\n    --record record.txt --type Both --out results/user_model",
    OPTIONS(export_options),
    .computes = true,
    .run = run_export,
};

/* ---- convert ---- */

static const option convert_options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("record", "FILE", "The factors of its layers, without shifts."),
    REQUIRED_FILE("out", "PREFIX", "Folder and beginning of the names to write."),
    UNTIL_OPTION,
};

static qf_status convert(qf_context *context, const arguments *a)
{
    return qf_convert_model(context, argument_text(a, "model"), argument_text(a, "weights"),
                            argument_text(a, "record"), argument_text(a, "out"));
}

static int run_convert(const arguments *a)
{
    return run_step(a, convert, "Next: qaffe test on the models, or qaffe verify.");
}

const command command_ptq_convert = {
    .name = "ptq convert",
    .summary = "Write both models of a float net and factors that another tool found.",
    .details = "This is AMCT's convert_model. Layers that the record does not name stay float; "
               "BatchNorm and Scale behind a convolution are folded unless its entry says "
               "skip_fusion.",
    .example = "qaffe ptq convert --model m.prototxt --weights m.caffemodel --record factors.txt "
               "\\\n    --out results/user_model",
    OPTIONS(convert_options),
    .computes = true,
    .run = run_convert,
};
