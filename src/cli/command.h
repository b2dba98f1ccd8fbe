/* What a command is: a name, options in a table, a function. Help, man pages and completion are
 * made from the same tables, so that they cannot disagree with what is parsed. */
#ifndef QF_CLI_COMMAND_H
#define QF_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef enum option_kind {
    OPTION_FLAG,    /* --help, --help=false */
    OPTION_TEXT,    /* anything that is not empty */
    OPTION_FILE,    /* a path; completion offers files */
    OPTION_INTEGER, /* from lowest to highest */
    OPTION_NUMBER,  /* the same, with a fractional part */
    OPTION_CHOICE   /* one of `choices`, without regard to case */
} option_kind;

typedef struct option {
    const char *name; /* written with '-'; '_' is read as the same, since Caffe's flags have it */
    option_kind kind;
    bool required;
    const char *value;          /* what the help calls the value: "FILE" */
    const char *standard;       /* the value when the option is absent, or NULL: there is none */
    const char *caffe_standard; /* the same for Caffe's program, where it is another */
    const char *choices;        /* "stop|snapshot|none" */
    double lowest, highest;
    const char *help;
} option;

/* Rows of most tables: name, what the help calls the value, and then what the kind needs. */
#define FLAG(name_, help_)                                                                         \
    {                                                                                              \
        .name = (name_), .kind = OPTION_FLAG, .help = help_                                        \
    }
#define TEXT_OPTION(name_, value_, help_)                                                          \
    {                                                                                              \
        .name = (name_), .kind = OPTION_TEXT, .value = (value_), .help = help_                     \
    }
#define FILE_OPTION(name_, value_, help_)                                                          \
    {                                                                                              \
        .name = (name_), .kind = OPTION_FILE, .value = (value_), .help = help_                     \
    }
#define REQUIRED_FILE(name_, value_, help_)                                                        \
    {                                                                                              \
        .name = (name_), .kind = OPTION_FILE, .required = true, .value = (value_), .help = help_   \
    }
#define INTEGER_OPTION(name_, value_, standard_, lowest_, highest_, help_)                         \
    {                                                                                              \
        .name = (name_), .kind = OPTION_INTEGER, .value = (value_), .standard = (standard_),       \
        .lowest = (lowest_), .highest = (highest_), .help = help_                                  \
    }
#define CHOICE(name_, value_, choices_, standard_, help_)                                          \
    {                                                                                              \
        .name = (name_), .kind = OPTION_CHOICE, .value = (value_), .choices = (choices_),          \
        .standard = (standard_), .help = help_                                                     \
    }

struct arguments;

typedef struct command {
    const char *name; /* one word or two: "train", "qat config" */
    const char *summary;
    const char *details; /* paragraphs for --help and the man page, separated by empty lines */
    const char *example; /* lines to type */
    const option *options;
    size_t option_count;
    bool computes; /* also takes the options of the engine: --threads, --seed, … */
    bool hidden;   /* not listed; a tool of the build */
    int (*run)(const struct arguments *arguments);

    const char *words; /* what stands beside the options: "INPUT_DB [OUTPUT_FILE]" */
    int fewest_words, most_words;
    /* One of Caffe's programs: known by its own name too, and reads flags as gflags does. */
    bool caffe_tool;
    /* `caffe`: the actions that the first word chooses; its flags are theirs. Ends with NULL. */
    const struct command *const *actions;
} command;

enum { OPTIONS_MAX = 96, WORDS_MAX = 8 };

typedef struct arguments {
    const command *command;
    const char *values[OPTIONS_MAX]; /* by option_at() index; the standard value where none given */
    bool given[OPTIONS_MAX];
    char **words; /* moved to the front of argv */
    int word_count;
    /* Those of the Caffe program that runs this; NULL: none does. Then only what Caffe itself would
     * print: no tables on stdout. */
    const struct arguments *caffe;
} arguments;

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define OPTIONS(array) .options = (array), .option_count = COUNT(array)

const command *command_at(size_t index); /* NULL past the end; hidden ones are last */
/* The command that the first words of argv name, and how many words that took; NULL: none. */
const command *command_find(int argc, char **argv, int *words);

/* The options of a command, its own first, then those that many share; NULL past the end. */
const option *option_at(const command *command, size_t index);

/* Values of options by name; asking for an option that the table lacks is a fault of this program
 * and ends it with a message. */
const char *argument_text(const arguments *arguments, const char *name); /* NULL: absent */
int argument_integer(const arguments *arguments, const char *name);
double argument_number(const arguments *arguments, const char *name);
bool argument_flag(const arguments *arguments, const char *name);
bool argument_given(const arguments *arguments, const char *name);

/* Read argv (without the command's words). Returns false after a message on stderr. */
bool arguments_parse(arguments *out, const command *command, int argc, char **argv);
/* The same, as gflags would (gflags.c). */
bool flags_parse(arguments *out, const command *command, int argc, char **argv);
/* The option of this name, '-' and '_' alike, and its index; NULL: there is none. */
const option *option_find(const command *command, const char *name, size_t *index);
/* No values but the standard ones. */
void arguments_reset(arguments *out, const command *command);
/* Is `text` one of "stop|snapshot|none"? */
bool one_of(const char *choices, const char *text);
bool is_number(const option *option, const char *text, double *value);

/* Run a tool whose flags were read; gives the exit code. */
int run_tool(const arguments *given);

/* Under which name this program runs: "qaffe", or "caffe". */
extern const char *program_name;
/* "qaffe train", "caffe train", "convert_imageset"; a NULL command: the program alone. One of two
 * buffers, used in turn. */
const char *command_title(const command *command);

/* A sentence on stderr: "qaffe train: …", and where to find help. Returns EXIT_USAGE. */
int usage_error(const command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Same name, '-' and '_' and letter case not told apart. */
bool same_word(const char *a, const char *b);
/* The candidate nearest to `word` in editing steps, or NULL if none is near enough to be meant. */
const char *nearest_word(const char *word, const char *(*candidate)(const void *list, size_t index),
                         const void *list);

/* The tool that a program of this name is ("/usr/bin/caffe", "caffe.bin"), or NULL. */
const command *tool_find(const char *program);

/* Print text broken at blanks, every line after the first indented, and a newline. `column`: where
 * we are. */
void print_wrapped(FILE *stream, const char *text, int indent, int column);
void print_overview(FILE *stream);
void print_flags(const command *command, FILE *stream); /* of a tool, as gflags prints them */
void print_help(const command *command, FILE *stream);

#endif
