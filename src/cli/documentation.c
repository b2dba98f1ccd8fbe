/* Man pages, written by the build from the tables of options, and beside them the files of
 * completion.h. */
#include "cli/commands.h"
#include "cli/completion.h"

#include "qaffe/qaffe.h"

#include <errno.h>
#include <string.h>

static const option options[] = {
    REQUIRED_FILE("out", "FOLDER", "Where to write; the folder exists."),
};

/* Text as roff wants it: backslashes, hyphens that are typed, and no line that is a request. */
static void put_roff(FILE *page, const char *text)
{
    for (bool at_start = true; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", page);
        at_start = *text == '\n';
        if (*text == '\n' && text[1] == '\n') {
            fputs("\n.PP", page);
            continue;
        }
        if (*text == '-')
            fputs("\\-", page);
        else if (*text == '\\')
            fputs("\\e", page);
        else
            fputc(*text, page);
    }
}

static void put_section(FILE *page, const char *title, const char *text)
{
    fprintf(page, ".SH %s\n", title);
    put_roff(page, text);
    fputc('\n', page);
}

static void put_head(FILE *page, const char *title, const char *summary)
{
    fprintf(page, ".TH \"%s\" 1 \"\" \"qaffe %s\" \"qaffe\"\n.SH NAME\n", title, qf_version());
    put_roff(page, title);
    fputs(" \\- ", page);
    put_roff(page, summary);
    fputc('\n', page);
}

static void put_option(FILE *page, const command *command, const option *option)
{
    fputs(".TP\n\\fB\\-\\-", page);
    put_roff(page, option->name);
    fputs("\\fR", page);
    if (option->kind != OPTION_FLAG) {
        fputs(" \\fI", page);
        put_roff(page, option->kind == OPTION_CHOICE ? option->choices : option->value);
        fputs("\\fR", page);
    }
    fputc('\n', page);
    put_roff(page, option->help);
    if (option->required && !command->actions)
        fputs(" Required.", page);
    else if (option->standard) {
        fputs(" Default: ", page);
        put_roff(page, option->standard);
        fputc('.', page);
    }
    fputc('\n', page);
}

static const char exit_codes[] =
    "0: done. 1: the work failed; one sentence on stderr says why and what to do. 2: the command "
    "line was wrong.";

/* "qat config" → "qaffe-qat-config"; Caffe's programs have pages of their own names. */
static void page_name(const command *command, char *out, size_t size)
{
    snprintf(out, size, "%s%s", command->caffe_tool ? "" : "qaffe-", command->name);
    for (char *c = out; *c; c++)
        if (*c == ' ')
            *c = '-';
}

static void put_synopsis(const command *command, FILE *page)
{
    const option *each;
    fputs(".SH SYNOPSIS\n.B ", page);
    put_roff(page, command_title(command));
    fputs("\n", page);
    for (size_t i = 0; !command->caffe_tool && (each = option_at(command, i)); i++)
        if (each->required) {
            fputs("\\fB\\-\\-", page);
            put_roff(page, each->name);
            fprintf(page, "\\fR \\fI%s\\fR\n", each->value);
        }
    fputs("[options]\n", page);
    if (command->words)
        fprintf(page, "\\fI%s\\fR\n", command->words);
}

static void put_actions(const command *command, FILE *page)
{
    if (!command->actions)
        return;
    fputs(".SH COMMANDS\n", page);
    for (size_t i = 0; command->actions[i]; i++) {
        fprintf(page, ".TP\n.B %s\n", command->actions[i]->name);
        put_roff(page, command->actions[i]->summary);
        fputc('\n', page);
    }
}

static void put_command_page(const command *command, FILE *page)
{
    char name[64];
    page_name(command, name, sizeof name);
    put_head(page, name, command->summary);
    put_synopsis(command, page);
    if (command->details)
        put_section(page, "DESCRIPTION", command->details);
    put_actions(command, page);
    fputs(".SH OPTIONS\nOptions may be written \\-name value, \\-\\-name value or "
          "\\-\\-name=value",
          page);
    fputs(command->caffe_tool ? ", before and behind the other words; a switch also \\-\\-noname.\n"
                              : ".\n",
          page);
    const option *each;
    for (size_t i = 0; (each = option_at(command, i)); i++)
        put_option(page, command, each);
    fputs(".SH EXAMPLE\n.nf\n", page);
    put_roff(page, command->example);
    fputs("\n.fi\n", page);
    put_section(page, "EXIT STATUS", exit_codes);
    fputs(".SH SEE ALSO\n.BR qaffe (1)\n", page);
}

static void put_overview_page(FILE *page)
{
    put_head(page, "qaffe", "quantisation-aware training of Caffe networks");
    fputs(".SH SYNOPSIS\n.B qaffe\n\\fIcommand\\fR [options]\n", page);
    put_section(page, "DESCRIPTION",
                "qaffe takes a trained Caffe network and gives back an int8 network that was "
                "trained to live with int8. Files, formats and messages are those of Caffe and of "
                "AMCT for Caffe (amct_caffe).");
    fputs(".SH COMMANDS\n", page);
    const command *each;
    for (size_t i = 0; (each = command_at(i)); i++) {
        if (each->hidden)
            continue;
        char name[64];
        page_name(each, name, sizeof name);
        fputs(".TP\n.BR ", page);
        put_roff(page, name);
        fputs(" (1)\n", page);
        put_roff(page, each->summary);
        fputc('\n', page);
    }
    fputs(".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nNot empty: no colours.\n"
          ".TP\n.B AMCT_LOG_LEVEL\nLeast important messages of the qat commands on stderr: DEBUG, "
          "INFO, WARNING or ERROR.\n"
          ".TP\n.B AMCT_LOG_FILE_LEVEL\nThe same for ./amct_log/amct_caffe.log.\n",
          page);
    put_section(page, "EXIT STATUS", exit_codes);
}

/* A file of the folder, written by `put`, which is given `what`. */
static bool write_file(const char *folder, const char *name,
                       void (*put)(FILE *file, const command *what), const command *what)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    bool written = file != NULL;
    if (file) {
        put(file, what);
        written = !ferror(file);
        written = fclose(file) == 0 && written;
    }
    if (!written)
        fprintf(stderr, "qaffe: cannot write %s: %s\n", path, strerror(errno));
    return written;
}

static void put_page(FILE *page, const command *command)
{
    if (command)
        put_command_page(command, page);
    else
        put_overview_page(page);
}

static int run(const arguments *arguments)
{
    static const struct {
        const char *name;
        void (*put)(FILE *script, const command *ignored);
    } scripts[] = {
        {"qaffe.bash", put_bash_completion},
        {"_qaffe", put_zsh_completion},
        {"qaffe.fish", put_fish_completion},
    };
    const char *folder = argument_text(arguments, "out");
    bool written = write_file(folder, "qaffe.1", put_page, NULL);
    for (size_t i = 0; i < COUNT(scripts) && written; i++)
        written = write_file(folder, scripts[i].name, scripts[i].put, NULL);
    const command *each;
    for (size_t i = 0; written && (each = command_at(i)); i++) {
        char name[64], file[72];
        page_name(each, name, sizeof name);
        snprintf(file, sizeof file, "%s.1", name);
        written = each->hidden || write_file(folder, file, put_page, each);
    }
    return written ? EXIT_DONE : EXIT_FAILED;
}

const command command_document = {
    .name = "documentation",
    .summary = "Write the man pages, and completion for bash, zsh and fish.",
    .example = "qaffe documentation --out build/man",
    OPTIONS(options),
    .hidden = true,
    .run = run,
};
