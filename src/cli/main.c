/* The qaffe command, and Caffe's programs, which are links to it: find the command that is meant,
 * read its options, run it. */
#include "cli/commands.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const command *const commands[] = {
    &command_qat_run,
    &command_qat_bits,
    &command_qat_config,
    &command_qat_prepare,
    &command_qat_export,
    &command_ptq_run,
    &command_ptq_auto,
    &command_ptq_nuq,
    &command_ptq_config,
    &command_ptq_plan,
    &command_ptq_prepare,
    &command_ptq_calibrate,
    &command_ptq_export,
    &command_ptq_convert,
    &command_decompose,
    &command_equalise,
    &command_verify,
    &command_export_onnx,
    &command_import_onnx,
    &command_report,
    &command_sensitivity,
    &command_train,
    &command_test,
    &command_time,
    &command_inspect,
    &command_digits,
    &command_convert_idx,
    &command_convert_images,
    &command_caffe_home,
    &command_layers,
    &command_version,
    &command_caffe,
    &command_convert_imageset,
    &command_compute_image_mean,
    &command_extract_features,
    &command_upgrade_net_proto_text,
    &command_upgrade_net_proto_binary,
    &command_upgrade_solver_proto_text,
    &command_convert_mnist_data,
    &command_convert_mnist_siamese_data,
    &command_convert_cifar_data,
    &command_convert_annoset,
    &command_create_annoset,
    &command_get_image_size,
    &command_document,
};

const command *command_at(size_t index)
{
    return index < COUNT(commands) ? commands[index] : NULL;
}

/* How many words of argv spell the command's name; 0: they do not. */
static int matching_words(const command *command, int argc, char **argv)
{
    const char *blank = strchr(command->name, ' ');
    if (argc < 1)
        return 0;
    if (!blank)
        return same_word(command->name, argv[0]);
    char first[32];
    snprintf(first, sizeof first, "%.*s", (int)(blank - command->name), command->name);
    return argc > 1 && same_word(first, argv[0]) && same_word(blank + 1, argv[1]) ? 2 : 0;
}

const command *command_find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < COUNT(commands); i++)
        if ((*words = matching_words(commands[i], argc, argv)) > 0)
            return commands[i];
    return NULL;
}

const command *tool_find(const char *program)
{
    const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;
    size_t length = strcspn(name, ".");
    if (name[length] && strcmp(name + length, ".bin") != 0) /* Caffe's build has both */
        return NULL;
    for (size_t i = 0; i < COUNT(commands); i++)
        if (commands[i]->caffe_tool && strlen(commands[i]->name) == length &&
            strncmp(commands[i]->name, name, length) == 0)
            return commands[i];
    return NULL;
}

static const char *command_name(const void *list, size_t index)
{
    (void)list;
    const command *found = command_at(index);
    return found && !found->hidden ? found->name : NULL;
}

/* "qat" alone: list the commands that begin with it. False: none does. */
static bool print_group(const char *word)
{
    bool any = false;
    for (size_t i = 0; i < COUNT(commands); i++) {
        const char *name = commands[i]->name, *blank = strchr(name, ' ');
        if (!blank || strlen(word) != (size_t)(blank - name) ||
            strncmp(name, word, strlen(word)) != 0)
            continue;
        if (!any)
            fprintf(stderr, "qaffe %s: one more word is needed:\n", word);
        fprintf(stderr, "  qaffe %-16s%s\n", name, commands[i]->summary);
        any = true;
    }
    return any;
}

static int unknown_command(int argc, char **argv)
{
    char words[128];
    bool two = argc > 1 && argv[1][0] != '-';
    snprintf(words, sizeof words, "%s%s%s", argv[0], two ? " " : "", two ? argv[1] : "");
    const char *meant = nearest_word(words, command_name, NULL);
    if (!meant)
        meant = nearest_word(argv[0], command_name, NULL);
    if (!two && print_group(argv[0]))
        return EXIT_USAGE;
    return usage_error(NULL, "there is no command \"%s\"%s%s%s", two && !meant ? argv[0] : words,
                       meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
}

static int run_command(const command *command, int argc, char **argv, bool help)
{
    arguments given = {.command = command};
    if (!help && !arguments_parse(&given, command, argc, argv))
        return EXIT_USAGE;
    if (help || argument_flag(&given, "help")) {
        print_help(command, stdout);
        return EXIT_DONE;
    }
    return command->run(&given);
}

/* Did messages go to a full disk? Nothing but the exit code can say so. A reader that went away, or
 * a stream that was closed before, is as somebody wanted it. */
static bool messages_lost(void)
{
    struct stat info;
    return ferror(stderr) && fstat(STDERR_FILENO, &info) == 0 && !S_ISFIFO(info.st_mode) &&
           !S_ISSOCK(info.st_mode);
}

static int run(const command *command, int argc, char **argv, bool help)
{
    arguments given;
    int code;
    if (!command->caffe_tool)
        code = run_command(command, argc, argv, help);
    else if (help)
        print_flags(command, stdout), code = EXIT_DONE;
    else
        code = flags_parse(&given, command, argc, argv) ? run_tool(&given) : EXIT_FAILED;
    if (fflush(stdout) != 0 && code == EXIT_DONE) {
        fprintf(stderr, "%s: standard output: %s\n", command_title(command), strerror(errno));
        return EXIT_FAILED;
    }
    if (table_was_incomplete() && code == EXIT_DONE) {
        fprintf(stderr, "%s: memory ran out: a table is incomplete\n", command_title(command));
        return EXIT_FAILED;
    }
    return code == EXIT_DONE && messages_lost() ? EXIT_FAILED : code;
}

/* amct_caffe is a name for the commands of AMCT: "amct_caffe config" means "qaffe qat config". */
static bool is_amct(const char *program)
{
    const char *slash = strrchr(program, '/');
    return strcmp(slash ? slash + 1 : program, "amct_caffe") == 0;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN); /* a closed pipe shows as a failed write, */
    signal(SIGXFSZ, SIG_IGN); /* and so does a file that becomes larger than is allowed */
    if (!signals_start())
        return EXIT_FAILED;
    const command *tool = argc > 0 ? tool_find(argv[0]) : NULL;
    if (tool)
        return run(tool, argc - 1, argv + 1, false);
    static char group[] = "qat";
    if (argc > 0 && is_amct(argv[0]))
        argv[0] = group;
    else
        argc--, argv++;
    bool help = argc > 0 && (same_word(argv[0], "help") || same_word(argv[0], "--help") ||
                             same_word(argv[0], "-help") || same_word(argv[0], "-h"));
    if (argc > 0 && (same_word(argv[0], "--version") || same_word(argv[0], "-version")))
        argv[0] = "version";
    if (argc == 0 || (help && argc == 1)) {
        print_overview(help ? stdout : stderr);
        return help ? EXIT_DONE : EXIT_USAGE;
    }
    if (help)
        argc--, argv++;
    int words;
    const command *found = command_find(argc, argv, &words);
    return found ? run(found, argc - words, argv + words, help) : unknown_command(argc, argv);
}
