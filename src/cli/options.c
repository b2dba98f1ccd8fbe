/* Reading the command line as Caffe's users write it: -name value, --name value, --name=value. */
#include "cli/command.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const option shared_options[] = {
    TEXT_OPTION(
        "limit", "NAME=N",
        "Raise or lower what files may ask for, as image_pixels=256M; several are separated by "
        "commas. The names: docs/limits.md. The environment's QAFFE_LIMITS is read before."),
    CHOICE("unknown-fields", "HOW", "refuse|keep", "refuse",
           "What to do with a field of a .prototxt that nobody knows: refuse the file, or warn, "
           "go on "
           "without it and keep it in what is written."),
    FLAG("help", "Print this help and stop."),
};

static const option engine_options[] = {
    INTEGER_OPTION("threads", "N", "0", 0, 4096,
                   "Threads to compute with; 0 means as many as there are cores."),
    INTEGER_OPTION(
        "seed", "S", "-1", -1, 2147483647,
        "Seed of the random numbers; -1 takes one from the clock. A solver's random_seed "
        "comes first."),
    CHOICE(
        "compute", "HOW", "auto|float|int8", "auto",
        "How layers whose input and weights are 8-bit codes compute forward: in int8 where the "
        "processor is exact (auto, int8), or in float. auto takes float for shapes where that is "
        "faster and gives the same bits."),
    CHOICE("backward", "HOW", "auto|f32|bf16", "f32",
           "How such layers compute gradients: in float, or in bf16, which rounds incoming "
           "gradients (codes are exact in bf16). Some processors are twice as fast in bf16, some "
           "slower: auto measures once and takes it where it pays. A resumed run goes on as it "
           "began."),
    FLAG("checksum",
         "Write NAME.sha256 beside each file that is written, as sha256sum does. Where one lies "
         "beside weights, a state or a record, the file is checked when it is read, with this "
         "option or without."),
    FLAG("verbose",
         "The same as --log-level debug: also which layers run as one, and which kernels were "
         "chosen."),
    {.name = "log-level",
     .kind = OPTION_CHOICE,
     .value = "LEVEL",
     .choices = "debug|info|warning|error",
     .help = "The least important messages to print on stderr."},
    TEXT_OPTION("device", "NAME",
                "What to compute on: cpu, or paranoid, a slow device whose memory nobody else may "
                "touch, which finds mistakes of layers. `caffe device_query` lists all."),
    TEXT_OPTION("gpu", "IDS",
                "Devices to compute on, as Caffe numbers them: the same as --device cuda:ID. This "
                "build has none but the CPU, so that naming one is an error."),
};

/* glog's, for Caffe's tools. */
static const option log_options[] = {
    INTEGER_OPTION("minloglevel", "N", "0", 0, 3,
                   "The least important messages to print: 0 all, 1 warnings, 2 errors, 3 none."),
    FILE_OPTION("log-dir", "FOLDER", "Keep the log there too, in a file named as glog names them."),
    FLAG("logtostderr", "Accepted as Caffe does; the log goes to stderr in any case."),
    FLAG("alsologtostderr", "Accepted as Caffe does; the log goes to stderr in any case."),
    INTEGER_OPTION("stderrthreshold", "N", "0", 0, 3,
                   "Accepted as Caffe does; the whole log goes to stderr."),
    INTEGER_OPTION("v", "N", "0", 0, 100,
                   "Accepted as Caffe does, which has no messages that depend on it."),
};

static const option version_option[] = {
    FLAG("version", "Print the version and stop."),
};

/* Options of the actions, each name once. */
static const option *action_option(const command *command, size_t index)
{
    for (const struct command *const *action = command->actions; *action; action++)
        for (size_t i = 0; i < (*action)->option_count; i++) {
            const option *candidate = &(*action)->options[i];
            bool earlier = false;
            for (const struct command *const *before = command->actions; before != action; before++)
                for (size_t k = 0; k < (*before)->option_count && !earlier; k++)
                    earlier = same_word((*before)->options[k].name, candidate->name);
            if (!earlier && index-- == 0)
                return candidate;
        }
    return NULL;
}

static const option *own_option(const command *command, size_t index)
{
    if (command->actions)
        return action_option(command, index);
    return index < command->option_count ? &command->options[index] : NULL;
}

const option *option_at(const command *command, size_t index)
{
    const struct {
        const option *options;
        size_t count;
        bool has;
    } groups[] = {
        {engine_options, COUNT(engine_options), command->computes},
        {log_options, COUNT(log_options), command->caffe_tool},
        {shared_options, COUNT(shared_options), true},
        {version_option, COUNT(version_option), command->caffe_tool},
    };
    size_t own = 0;
    const option *found = NULL;
    while ((found = own_option(command, own)) && own < index)
        own++;
    if (found)
        return found;
    index -= own;
    for (size_t g = 0; g < COUNT(groups); g++) {
        if (!groups[g].has)
            continue;
        if (index < groups[g].count)
            return &groups[g].options[index];
        index -= groups[g].count;
    }
    return NULL;
}

const option *option_find(const command *command, const char *name, size_t *index)
{
    const option *found;
    *index = 0;
    while ((found = option_at(command, *index)) && !same_word(found->name, name))
        ++*index;
    return found;
}

static size_t index_of(const arguments *arguments, const char *name)
{
    size_t index;
    if (option_find(arguments->command, name, &index))
        return index;
    fprintf(stderr, "%s: the table of options lacks --%s\n", command_title(arguments->command),
            name);
    exit(EXIT_FAILED);
}

const char *argument_text(const arguments *arguments, const char *name)
{
    return arguments->values[index_of(arguments, name)];
}

int argument_integer(const arguments *arguments, const char *name)
{
    const char *text = argument_text(arguments, name);
    return text ? (int)strtol(text, NULL, 10) : 0;
}

double argument_number(const arguments *arguments, const char *name)
{
    const char *text = argument_text(arguments, name);
    return text ? strtod(text, NULL) : 0;
}

bool argument_flag(const arguments *arguments, const char *name)
{
    const char *text = argument_text(arguments, name);
    return text && same_word(text, "true");
}

bool argument_given(const arguments *arguments, const char *name)
{
    return arguments->given[index_of(arguments, name)];
}

const char *program_name = "qaffe";

const char *command_title(const command *command)
{
    static char titles[2][64];
    static int next;
    char *title = titles[next ^= 1];
    if (command && command->caffe_tool)
        snprintf(title, sizeof titles[0], "%s", command->name);
    else
        snprintf(title, sizeof titles[0], "%s%s%s", program_name, command ? " " : "",
                 command ? command->name : "");
    return title;
}

int usage_error(const command *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", command_title(command));
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nTry `%s --help`.\n", command_title(command));
    va_end(arguments);
    return EXIT_USAGE;
}

bool same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int left = *a == '_' ? '-' : tolower((unsigned char)*a);
        int right = *b == '_' ? '-' : tolower((unsigned char)*b);
        if (left != right)
            return false;
    }
    return *a == *b;
}

/* Editing steps (insert, delete, replace) from one word to the other: Levenshtein's distance. */
static size_t editing_steps(const char *from, const char *to)
{
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1], columns = strlen(to);
    if (columns > LONGEST)
        return LONGEST;
    for (size_t i = 0; i <= columns; i++)
        row[i] = i;
    for (size_t line = 1; *from; from++, line++) {
        size_t diagonal = row[0];
        row[0] = line;
        for (size_t i = 1; i <= columns; i++) {
            size_t replaced = diagonal + (*from != to[i - 1]);
            size_t inserted = row[i - 1] + 1, deleted = row[i] + 1;
            diagonal = row[i];
            row[i] = replaced < inserted ? replaced : inserted;
            row[i] = row[i] < deleted ? row[i] : deleted;
        }
    }
    return row[columns];
}

const char *nearest_word(const char *word, const char *(*candidate)(const void *list, size_t index),
                         const void *list)
{
    const char *best = NULL, *name;
    size_t fewest = strlen(word) / 3 + 2; /* more steps than this make it another word */
    for (size_t i = 0; (name = candidate(list, i)); i++) {
        size_t steps = editing_steps(word, name);
        if (strlen(word) > 2 && strncmp(word, name, strlen(word)) == 0)
            steps = 1; /* the beginning of the word */
        if (steps < fewest)
            best = name, fewest = steps;
    }
    return best;
}

static const char *option_name(const void *list, size_t index)
{
    const option *found = option_at(list, index);
    return found ? found->name : NULL;
}

bool one_of(const char *choices, const char *text)
{
    for (const char *start = choices; *start;) {
        size_t length = strcspn(start, "|");
        char choice[64];
        snprintf(choice, sizeof choice, "%.*s", (int)length, start);
        if (same_word(choice, text))
            return true;
        start += length + (start[length] == '|');
    }
    return false;
}

bool is_number(const option *option, const char *text, double *value)
{
    char *end;
    errno = 0;
    if (option->kind == OPTION_INTEGER)
        *value = (double)strtol(text, &end, 10);
    else
        *value = strtod(text, &end);
    return end != text && !*end && !errno && isfinite(*value);
}

static bool check_value(const command *command, const option *option, const char *text)
{
    double value;
    switch (option->kind) {
    case OPTION_FLAG:
        if (same_word(text, "true") || same_word(text, "false"))
            return true;
        usage_error(command, "--%s is a switch: give it no value, or true or false, not \"%s\"",
                    option->name, text);
        return false;
    case OPTION_TEXT:
    case OPTION_FILE:
        if (*text)
            return true;
        usage_error(command, "--%s is empty; expected --%s %s", option->name, option->name,
                    option->value);
        return false;
    case OPTION_INTEGER:
    case OPTION_NUMBER:
        if (is_number(option, text, &value) && value >= option->lowest && value <= option->highest)
            return true;
        usage_error(command, "--%s is \"%s\"; expected %s from %.10g to %.10g", option->name, text,
                    option->kind == OPTION_INTEGER ? "a whole number" : "a number", option->lowest,
                    option->highest);
        return false;
    case OPTION_CHOICE:
        if (one_of(option->choices, text))
            return true;
        usage_error(command, "--%s is \"%s\"; expected one of %s", option->name, text,
                    option->choices);
        return false;
    }
    return false;
}

/* One option and, where it has one, its value; *position is moved over what was used. */
static bool parse_option(arguments *out, int argc, char **argv, int *position)
{
    const command *command = out->command;
    const char *word = argv[*position];
    word += strspn(word, "-");
    size_t length = strcspn(word, "=");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    if (strcmp(name, "h") == 0)
        snprintf(name, sizeof name, "help");

    size_t index;
    const option *found = option_find(command, name, &index);
    if (!found) {
        const char *meant = nearest_word(name, option_name, command);
        usage_error(command, "there is no option --%s%s%s%s", name,
                    meant ? "; did you mean --" : "", meant ? meant : "", meant ? "?" : "");
        return false;
    }

    const char *value;
    if (word[length] == '=') {
        value = word + length + 1;
    } else if (found->kind == OPTION_FLAG) {
        value = "true";
    } else if (*position + 1 < argc) {
        value = argv[++*position];
    } else {
        usage_error(command, "--%s needs a value: --%s %s", found->name, found->name, found->value);
        return false;
    }
    if (!check_value(command, found, value))
        return false;
    out->values[index] = value;
    out->given[index] = true;
    return true;
}

void arguments_reset(arguments *out, const command *command)
{
    *out = (arguments){.command = command};
    const option *each;
    for (size_t i = 0; (each = option_at(command, i)); i++)
        out->values[i] = each->standard;
}

bool arguments_parse(arguments *out, const command *command, int argc, char **argv)
{
    const option *each;
    arguments_reset(out, command);
    out->words = argv;
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-' && out->word_count < command->most_words) {
            argv[out->word_count++] = argv[i]; /* over what was read */
            continue;
        }
        if (argv[i][0] != '-' || !argv[i][1]) {
            usage_error(command, "\"%s\" is not an option; every value follows its --name",
                        argv[i]);
            return false;
        }
        if (!parse_option(out, argc, argv, &i))
            return false;
    }
    if (argument_flag(out, "help"))
        return true; /* whatever else is missing */
    for (size_t i = 0; (each = option_at(command, i)); i++)
        if (each->required && !out->given[i]) {
            usage_error(command, "--%s %s is missing", each->name, each->value);
            return false;
        }
    return true;
}
