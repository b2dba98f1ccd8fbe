/* qaffe qat config, prepare and export: AMCT's three functions. */
#include "cli/commands.h"
#include "cli/session.h"

typedef qf_status (*step_function)(qf_context *context, const arguments *arguments);

static int run_step(const arguments *arguments, step_function step, const char *done)
{
    session session;
    if (!session_open(&session, arguments, QF_WARNING))
        return EXIT_FAILED;
    qf_status status = step(session.context, arguments);
    if (status == QF_OK)
        puts(done);
    return session_close(&session, status);
}

#define MODEL_OPTION                                                                               \
    {                                                                                              \
        .name = "model", .kind = OPTION_FILE, .required = true, .value = "FILE",                   \
        .help = "The float net (.prototxt), as it will be trained."                                \
    }
#define WEIGHTS_OPTION                                                                             \
    {                                                                                              \
        .name = "weights", .kind = OPTION_FILE, .required = true, .value = "FILE",                 \
        .help = "Its trained weights (.caffemodel)."                                               \
    }

/* ---- config ---- */

static const option config_options[] = {
    MODEL_OPTION,
    WEIGHTS_OPTION,
    {.name = "out",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The configuration to write (.json)."},
    {.name = "config-definition",
     .kind = OPTION_FILE,
     .value = "FILE",
     .help = "A simplified configuration (.cfg) to start from instead of the defaults."},
};

static qf_status config(qf_context *context, const arguments *a)
{
    return qf_create_quant_retrain_config(context, argument_text(a, "out"),
                                          argument_text(a, "model"), argument_text(a, "weights"),
                                          argument_text(a, "config-definition"));
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
    MODEL_OPTION,
    WEIGHTS_OPTION,
    {.name = "config",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The configuration that `qaffe qat config` wrote."},
    {.name = "out-model",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The net to train, with fake-quantisation layers (.prototxt)."},
    {.name = "out-weights",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "Its weights (.caffemodel)."},
    {.name = "record",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The record of factors: created empty, filled while testing."},
};

static qf_status prepare(qf_context *context, const arguments *a)
{
    return qf_create_quant_retrain_model(
        context, argument_text(a, "model"), argument_text(a, "weights"), argument_text(a, "config"),
        argument_text(a, "out-model"), argument_text(a, "out-weights"), argument_text(a, "record"));
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
    {.name = "model",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The net that was trained: what `qaffe qat prepare` wrote."},
    {.name = "weights",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The weights that training left (solver_iter_N.caffemodel)."},
    {.name = "type",
     .kind = OPTION_CHOICE,
     .value = "TYPE",
     .choices = "Fakequant|Deploy|Both",
     .standard = "Both",
     .help = "Which models to write: float arithmetic on int8 values, real integers, or both."},
    {.name = "out",
     .kind = OPTION_FILE,
     .required = true,
     .value = "PREFIX",
     .help = "Folder and beginning of the names to write."},
    {.name = "record",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The record of factors."},
    {.name = "config",
     .kind = OPTION_FILE,
     .value = "FILE",
     .help = "The configuration, to be checked."},
};

static qf_status export_models(qf_context *context, const arguments *a)
{
    const char *type = argument_text(a, "type");
    qf_save_type save = same_word(type, "Both")     ? QF_SAVE_BOTH
                        : same_word(type, "Deploy") ? QF_SAVE_DEPLOY
                                                    : QF_SAVE_FAKE_QUANT;
    return qf_save_quant_retrain_model(context, argument_text(a, "model"),
                                       argument_text(a, "weights"), save, argument_text(a, "out"),
                                       argument_text(a, "record"), argument_text(a, "config"));
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
