/* Man pages and bash completion, written by the build from the tables of options. */
#include "cli/commands.h"

#include "qaffe/qaffe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const option options[] = {
    {.name = "out",
     .kind = OPTION_FILE,
     .required = true,
     .value = "FOLDER",
     .help = "Where to write; the folder exists."},
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

/* Flags and actions of Caffe's programs; anything else may be a file. */
static void put_tool_completion(FILE *script)
{
    const command *tool;
    const option *flag;
    for (size_t i = 0; (tool = command_at(i)); i++) {
        if (!tool->caffe_tool)
            continue;
        fprintf(script, "complete -o default -W \"");
        for (size_t k = 0; tool->actions && tool->actions[k]; k++)
            fprintf(script, "%s ", tool->actions[k]->name);
        for (size_t k = 0; (flag = option_at(tool, k)); k++) {
            fputs(k ? " --" : "--", script);
            for (const char *c = flag->name; *c; c++)
                fputc(*c == '-' ? '_' : *c, script);
        }
        fprintf(script, "\" %s\n", tool->name);
    }
}

/* Words that complete a command, one case of the shell's `case` each. */
static void put_completion(FILE *script)
{
    const command *each;
    fputs("# bash completion for qaffe; written by the build from the tables of options\n"
          "_qaffe()\n{\n"
          "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
          "    local command=\"${COMP_WORDS[1]}\" options=\"\"\n"
          "    local first=1\n"
          "    case \"$command\" in\n"
          "    qat | dataset)\n        command+=\" ${COMP_WORDS[2]}\"\n        first=2\n"
          "        ;;\n    esac\n"
          "    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n        options=\"",
          script);
    const char *last = "";
    for (size_t i = 0; (each = command_at(i)); i++) {
        int length = (int)strcspn(each->name, " ");
        bool repeated = strncmp(last, each->name, (size_t)length + 1) == 0 ||
                        (each->name[length] && strncmp(last, each->name, (size_t)length) == 0);
        if (!each->hidden && !each->caffe_tool && !repeated)
            fprintf(script, "%.*s ", length, each->name);
        last = each->name;
    }
    fputs("help --help --version\"\n    elif ((COMP_CWORD == 2 && first == 2)); then\n"
          "        case \"${COMP_WORDS[1]}\" in\n",
          script);
    static const char *const groups[] = {"qat", "dataset"};
    for (size_t g = 0; g < COUNT(groups); g++) {
        fprintf(script, "        %s) options=\"", groups[g]);
        for (size_t i = 0; (each = command_at(i)); i++)
            if (strncmp(each->name, groups[g], strlen(groups[g])) == 0)
                fprintf(script, "%s ", strchr(each->name, ' ') + 1);
        fputs("\" ;;\n", script);
    }
    fputs("        esac\n    else\n        case \"$command:$before\" in\n", script);
    for (size_t i = 0; (each = command_at(i)); i++) {
        const option *option;
        for (size_t k = 0; !each->hidden && !each->caffe_tool && (option = option_at(each, k));
             k++) {
            if (option->kind == OPTION_CHOICE) {
                fprintf(script, "        \"%s:--%s\") options=\"", each->name, option->name);
                for (const char *c = option->choices; *c; c++)
                    fputc(*c == '|' ? ' ' : *c, script);
                fputs("\" ;;\n", script);
            } else if (option->kind == OPTION_FILE) {
                fprintf(script, "        \"%s:--%s\")\n", each->name, option->name);
                fputs("            COMPREPLY=($(compgen -f -- \"$word\"))\n"
                      "            return\n            ;;\n",
                      script);
            }
        }
    }
    for (size_t i = 0; (each = command_at(i)); i++) {
        const option *option;
        if (each->hidden || each->caffe_tool)
            continue;
        fprintf(script, "        \"%s:\"*) options=\"", each->name);
        for (size_t k = 0; (option = option_at(each, k)); k++)
            fprintf(script, "--%s ", option->name);
        fputs("\" ;;\n", script);
    }
    fputs("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n}\n"
          "complete -o filenames -F _qaffe qaffe\n",
          script);
    put_tool_completion(script);
}

static FILE *open_below(const char *folder, const char *name, const char *ending)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    FILE *file = fopen(path, "w");
    if (!file)
        fprintf(stderr, "qaffe: cannot write %s: %s\n", path, strerror(errno));
    return file;
}

static int run(const arguments *arguments)
{
    const char *folder = argument_text(arguments, "out");
    FILE *file = open_below(folder, "qaffe", ".1");
    if (!file)
        return EXIT_FAILED;
    put_overview_page(file);
    int failed = fclose(file);
    if (!(file = open_below(folder, "qaffe", ".bash")))
        return EXIT_FAILED;
    put_completion(file);
    failed |= fclose(file);
    const command *each;
    for (size_t i = 0; (each = command_at(i)); i++) {
        char name[64];
        page_name(each, name, sizeof name);
        if (each->hidden)
            continue;
        if (!(file = open_below(folder, name, ".1")))
            return EXIT_FAILED;
        put_command_page(each, file);
        failed |= fclose(file);
    }
    return failed ? EXIT_FAILED : EXIT_DONE;
}

const command command_document = {
    .name = "documentation",
    .summary = "Write the man pages and the bash completion.",
    .example = "qaffe documentation --out build/man",
    OPTIONS(options),
    .hidden = true,
    .run = run,
};
