/* qaffe layers, qaffe version. */
#include "cli/commands.h"

#include "qaffe/qaffe.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Beside the command in the build tree, below share/ where it is installed. */
static int print_caffe_home(const arguments *arguments)
{
    (void)arguments;
    static const char *const places[] = {"caffe-home", "../share/qaffe/caffe-home"};
    char command[PATH_MAX], place[PATH_MAX + 64], home[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", command, sizeof command - 1);
    command[length > 0 ? length : 0] = '\0';
    for (size_t i = 0; i < COUNT(places); i++) {
        const char *slash = strrchr(command, '/');
        snprintf(place, sizeof place, "%.*s/%s", (int)(slash ? slash - command : 0), command,
                 places[i]);
        if (realpath(place, home)) {
            puts(home);
            return EXIT_DONE;
        }
    }
    fprintf(stderr,
            "qaffe caffe-home: there is no caffe-home beside %s; build or install it whole\n",
            command);
    return EXIT_FAILED;
}

const command command_caffe_home = {
    .name = "caffe-home",
    .summary = "Print a folder laid out like a built Caffe checkout.",
    .details =
        "For scripts that ask where Caffe is: it has python/caffe, build/tools/ with caffe and "
        "its other programs, and build/examples/ with the converters of data sets. To use it "
        "inside a checkout of Caffe, make its build a link to the one here.",
    .example = "python3 ResNet50_retrain.py --caffe_dir $(qaffe caffe-home) ...\n"
               "cd caffe && ln -s $(qaffe caffe-home)/build build && examples/mnist/train_lenet.sh",
    .run = print_caffe_home,
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
