/* qaffe ptq: AMCT's functions for calibration without retraining. */
#include "cli/commands.h"
#include "cli/qat.h"
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

static const option config_options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    {.name = "out",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The configuration to write (.json)."},
    {.name = "config-definition",
     .kind = OPTION_FILE,
     .value = "FILE",
     .help = "A simplified configuration (.cfg) to start from instead of the defaults; the options "
             "below then have no effect."},
    {.name = "skip-layers",
     .kind = OPTION_TEXT,
     .value = "NAMES",
     .help = "Layers that stay float, separated by commas."},
    {.name = "batch-num",
     .kind = OPTION_INTEGER,
     .value = "N",
     .standard = "1",
     .lowest = 1,
     .highest = 1 << 20,
     .help = "Over how many batches ranges are measured."},
    {.name = "activation-offset",
     .kind = OPTION_CHOICE,
     .value = "WHETHER",
     .choices = "true|false",
     .standard = "true",
     .help =
         "Whether a layer's input may have an offset, so that its range need not be symmetric."},
};

/* "a,b" taken apart in place; the names stay in `list`, free() the array. NULL: no memory. */
static const char **split(char *list, size_t *count)
{
    size_t most = 1;
    for (const char *c = list; *c; c++)
        most += *c == ',';
    const char **names = calloc(most, sizeof *names);
    *count = 0;
    char *rest = NULL;
    for (char *name = strtok_r(list, ",", &rest); names && name; name = strtok_r(NULL, ",", &rest))
        names[(*count)++] = name;
    return names;
}

static qf_status config(qf_context *context, const arguments *a)
{
    const char *skipped = argument_text(a, "skip-layers");
    qf_quant_options options = {.size = sizeof options};
    qf_quant_set_defaults(&options);
    char *list = strdup(skipped ? skipped : "");
    options.skip_layers = list ? split(list, &options.skip_layer_count) : NULL;
    options.batch_num = argument_integer(a, "batch-num");
    options.activation_offset = same_word(argument_text(a, "activation-offset"), "true");
    options.config_definition = argument_text(a, "config-definition");
    const qf_status status =
        options.skip_layers
            ? qf_create_quant_config(context, argument_text(a, "out"), argument_text(a, "model"),
                                     argument_text(a, "weights"), &options)
            : QF_E_MEMORY;
    free((void *)options.skip_layers);
    free(list);
    return status;
}

static int run_config(const arguments *arguments)
{
    return run_step(arguments, config, "Next: edit it where needed, then qaffe ptq plan.");
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

static const option plan_options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    {.name = "config",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FILE",
     .help = "The configuration that `qaffe ptq config` wrote."},
};

static qf_status plan(session *session, const arguments *a)
{
    qf_plan *plan;
    qf_status status =
        qf_quant_plan(session->context, argument_text(a, "model"), argument_text(a, "weights"),
                      argument_text(a, "config"), &plan);
    if (status != QF_OK)
        return status;
    print_plan(plan);
    qf_plan_destroy(plan);
    return QF_OK;
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
