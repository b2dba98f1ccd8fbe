/* qaffe layers, qaffe version. */
#include "cli/commands.h"

#include "qaffe/qaffe.h"

static int list_layers(const arguments *arguments)
{
    (void)arguments;
    const char *name;
    for (int i = 0; (name = qf_layer_type_name(i)); i++)
        puts(name);
    return EXIT_DONE;
}

const command command_layers = {
    .name = "layers",
    .summary = "List the types of layers that this build knows.",
    .example = "qaffe layers",
    .run = list_layers,
};

static int print_version(const arguments *arguments)
{
    (void)arguments;
    printf("qaffe %s\n", qf_version());
    return EXIT_DONE;
}

const command command_version = {
    .name = "version",
    .summary = "Print the version.",
    .example = "qaffe version",
    .run = print_version,
};
