/* Flags as Caffe's programs read them: with one dash or two, before and behind the other words,
 * --flag=value or --flag value, --flag and --noflag for switches; errors and help in the words of
 * gflags. */
#include "cli/command.h"

#include "qaffe/qaffe.h"

#include <string.h>

static const char caffe_version[] = "1.0.0"; /* the one whose files and flags these are */

/* "false" or "true" for what gflags takes as a truth value, or NULL. */
static const char *truth(const char *text)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"f", "t"}, {"no", "yes"}, {"n", "y"}, {"0", "1"}};
    for (size_t i = 0; i < COUNT(words); i++)
        for (int k = 0; k < 2; k++)
            if (same_word(words[i][k], text))
                return words[0][k];
    return NULL;
}

static const char *type_name(const option *option)
{
    return option->kind == OPTION_FLAG      ? "bool"
           : option->kind == OPTION_INTEGER ? "int32"
           : option->kind == OPTION_NUMBER  ? "double"
                                            : "string";
}

/* gflags writes '_' where our names have '-'. */
static const char *flag_name(const option *option, char *out, size_t size)
{
    snprintf(out, size, "%s", option->name);
    for (char *c = out; *c; c++)
        if (*c == '-')
            *c = '_';
    return out;
}

static bool accept(arguments *out, const option *option, size_t index, const char *value)
{
    double number;
    char name[64];
    bool is_text = option->kind == OPTION_TEXT || option->kind == OPTION_FILE;
    if (option->kind == OPTION_FLAG && truth(value))
        value = truth(value);
    else if (option->kind == OPTION_FLAG ||
             (option->kind == OPTION_CHOICE && *value && !one_of(option->choices, value)) ||
             ((option->kind == OPTION_INTEGER || option->kind == OPTION_NUMBER) &&
              (!is_number(option, value, &number) || number < option->lowest ||
               number > option->highest))) {
        fprintf(stderr, "ERROR: illegal value '%s' specified for %s flag '%s'", value,
                type_name(option), flag_name(option, name, sizeof name));
        if (option->kind == OPTION_CHOICE)
            fprintf(stderr, "; expected one of %s", option->choices);
        fputc('\n', stderr);
        return false;
    }
    bool empty =
        (is_text || option->kind == OPTION_CHOICE) && !*value; /* as if it were not there */
    out->values[index] = empty ? option->standard : value;
    out->given[index] = !empty;
    return true;
}

static bool parse_flag(arguments *out, int argc, char **argv, int *position)
{
    const char *word = argv[*position] + (argv[*position][1] == '-' ? 2 : 1);
    size_t length = strcspn(word, "="), index;
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    if (same_word(name, "h") || same_word(name, "helpshort") || same_word(name, "helpfull"))
        snprintf(name, sizeof name, "help");
    const option *found = option_find(out->command, name, &index);
    if (!found && strncmp(name, "no", 2) == 0 && !value) {
        found = option_find(out->command, name + 2, &index);
        if (found && found->kind == OPTION_FLAG)
            return accept(out, found, index, "false");
        found = NULL;
    }
    if (!found) {
        fprintf(stderr, "ERROR: unknown command line flag '%s'\n", name);
        return false;
    }
    if (!value && found->kind == OPTION_FLAG)
        value = "true";
    if (!value && *position + 1 < argc)
        value = argv[++*position];
    if (!value) {
        fprintf(stderr, "ERROR: flag '%s' is missing its argument; flag description: %s\n",
                argv[*position], found->help);
        return false;
    }
    return accept(out, found, index, value);
}

bool flags_parse(arguments *out, const command *command, int argc, char **argv)
{
    bool flags_end = false;
    arguments_reset(out, command);
    out->words = argv;
    for (int i = 0; i < argc; i++) {
        bool flag = !flags_end && argv[i][0] == '-' && argv[i][1];
        if (flag && strcmp(argv[i], "--") == 0)
            flags_end = true;
        else if (flag && !parse_flag(out, argc, argv, &i))
            return false;
        else if (!flag && out->word_count < WORDS_MAX)
            argv[out->word_count++] = argv[i]; /* over what was read */
    }
    return true;
}

/* ---- help ---- */

static void put_flag(const option *option, FILE *stream)
{
    char name[64], text[1024];
    bool quoted = strcmp(type_name(option), "string") == 0;
    const char *standard = option->caffe_standard        ? option->caffe_standard
                           : option->standard            ? option->standard
                           : option->kind == OPTION_FLAG ? "false"
                                                         : "";
    snprintf(text, sizeof text, "-%s (%s) type: %s default: %s%s%s",
             flag_name(option, name, sizeof name), option->help, type_name(option),
             quoted ? "\"" : "", standard, quoted ? "\"" : "");
    fputs("    ", stream);
    print_wrapped(stream, text, 6, 4);
}

void print_flags(const command *command, FILE *stream)
{
    fprintf(stream, "%s: %s\nusage: %s [flags] %s\n", command->name, command->summary,
            command->name, command->words);
    if (command->actions) {
        fputs("\ncommands:\n", stream);
        for (size_t i = 0; command->actions[i]; i++)
            fprintf(stream, "  %-16s%s\n", command->actions[i]->name, command->actions[i]->summary);
    }
    if (command->details)
        fprintf(stream, "\n%s\n", command->details);
    const option *each;
    fprintf(stream, "\n  Flags (-flag value, --flag=value, --flag value; --noflag for bool):\n");
    for (size_t i = 0; (each = option_at(command, i)); i++)
        put_flag(each, stream);
}

/* ---- running ---- */

static int run_action(const arguments *given)
{
    const command *caffe = given->command, *action = NULL;
    size_t i, index;
    arguments sub;
    for (i = 0; caffe->actions[i] && !action; i++)
        if (strcmp(caffe->actions[i]->name, given->words[0]) == 0)
            action = caffe->actions[i];
    if (!action) {
        fprintf(stderr, "%s: unknown action \"%s\"; available are", caffe->name, given->words[0]);
        for (i = 0; caffe->actions[i]; i++)
            fprintf(stderr, "%s %s", i ? "," : "", caffe->actions[i]->name);
        fputc('\n', stderr);
        return EXIT_FAILED;
    }
    arguments_reset(&sub, action);
    sub.caffe = given;
    const option *option, *same;
    for (i = 0; (option = option_at(action, i)); i++) {
        if (option->caffe_standard)
            sub.values[i] = option->caffe_standard;
        if ((same = option_find(caffe, option->name, &index)) && given->given[index]) {
            sub.values[i] = given->values[index];
            sub.given[i] = true;
        } else if (option->required) {
            fprintf(stderr, "%s: the flag -%s %s is missing: %s\n", command_title(action),
                    option->name, option->value, option->help);
            return EXIT_FAILED;
        }
    }
    int code = action->run(&sub);
    return code == EXIT_USAGE ? EXIT_FAILED : code;
}

int run_tool(const arguments *given)
{
    const command *tool = given->command;
    program_name = tool->name;
    if (argument_flag(given, "version")) {
        printf("%s version %s (qaffe %s)\n", tool->name, caffe_version, qf_version());
        return EXIT_DONE;
    }
    if (argument_flag(given, "help") || given->word_count < tool->fewest_words ||
        given->word_count > tool->most_words) {
        print_flags(tool, stdout);
        return EXIT_FAILED; /* as gflags and Caffe have it */
    }
    return tool->actions ? run_action(given) : tool->run(given);
}
