/* Reading the options of a configuration of calibration. */
#include "cli/quant_options.h"

#include <stdlib.h>
#include <string.h>

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

bool choose_quant(const arguments *a, quant_choice *out)
{
    const char *skipped = argument_text(a, "skip-layers");
    qf_quant_options *options = &out->options;
    *out = (quant_choice){.options.size = sizeof out->options};
    qf_quant_set_defaults(options);
    out->list = strdup(skipped ? skipped : "");
    options->skip_layers = out->list ? split(out->list, &options->skip_layer_count) : NULL;
    options->batch_num = argument_integer(a, "batch-num");
    options->activation_offset = same_word(argument_text(a, "activation-offset"), "true");
    options->config_definition = argument_text(a, "config-definition");
    return options->skip_layers;
}

void quant_choice_release(quant_choice *choice)
{
    free((void *)choice->options.skip_layers);
    free(choice->list);
}

bool quant_given(const arguments *a)
{
    return argument_given(a, "config-definition") || argument_given(a, "skip-layers") ||
           argument_given(a, "batch-num") || argument_given(a, "activation-offset");
}
