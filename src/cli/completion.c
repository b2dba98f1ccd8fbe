/* Completion for bash, zsh and fish, written by the build from the tables of commands and options.
 *
 * Commands have one word or two ("qat config"); the first of two is a group. Caffe's programs have
 * names of their own, flags, and perhaps an action as first word. */
#include "cli/completion.h"

#include <string.h>

/* ---- the tables as completion sees them ---- */

/* The commands of qaffe that people type: neither hidden nor a program of Caffe's. */
static const command *typed_command(size_t index)
{
    const command *each;
    for (size_t i = 0; (each = command_at(i)); i++)
        if (!each->hidden && !each->caffe_tool && index-- == 0)
            return each;
    return NULL;
}

static const command *caffe_tool(size_t index)
{
    const command *each;
    for (size_t i = 0; (each = command_at(i)); i++)
        if (each->caffe_tool && index-- == 0)
            return each;
    return NULL;
}

static int first_word(const command *command)
{
    return (int)strcspn(command->name, " ");
}

static bool same_group(const command *a, const command *b)
{
    return first_word(a) == first_word(b) && strncmp(a->name, b->name, (size_t)first_word(a)) == 0;
}

/* The first command of each first word; of those, only groups if `groups`. */
static const command *first_of_word(size_t index, bool groups)
{
    const command *each;
    for (size_t i = 0; (each = typed_command(i)); i++) {
        bool earlier = false;
        for (size_t k = 0; k < i && !earlier; k++)
            earlier = same_group(typed_command(k), each);
        if (!earlier && (!groups || each->name[first_word(each)]) && index-- == 0)
            return each;
    }
    return NULL;
}

static const char *second_word(const command *command)
{
    return command->name + first_word(command) + 1;
}

/* What stands beside a first word: a command's summary; of a group, that it is one. */
static const char *word_summary(const command *first)
{
    return first->name[first_word(first)] ? "Several commands." : first->summary;
}

/* "a|b|c" → "a b c" */
static void put_choices(FILE *script, const char *choices)
{
    for (; *choices; choices++)
        fputc(*choices == '|' ? ' ' : *choices, script);
}

/* Flags of Caffe's programs are written with '_'. */
static void put_flag(FILE *script, const command *command, const option *option)
{
    for (const char *c = option->name; *c; c++)
        fputc(*c == '-' && command->caffe_tool ? '_' : *c, script);
}

/* The first sentence of `text` for inside single quotes, the characters of `special` behind a
 * backslash. `quote` is what a single quote becomes there. */
static void put_sentence(FILE *script, const char *text, const char *special, const char *quote)
{
    for (; *text && !(text[0] == '.' && (text[1] == ' ' || text[1] == '\0')); text++) {
        if (*text == '\'') {
            fputs(quote, script);
            continue;
        }
        if (strchr(special, *text))
            fputc('\\', script);
        fputc(*text == '\n' ? ' ' : *text, script);
    }
}

/* ---- bash ---- */

/* Flags and actions of Caffe's programs; anything else may be a file. */
static void put_bash_tool(FILE *script, const command *tool)
{
    fputs("complete -o default -W \"", script);
    for (size_t i = 0; tool->actions && tool->actions[i]; i++)
        fprintf(script, "%s ", tool->actions[i]->name);
    const option *flag;
    for (size_t i = 0; (flag = option_at(tool, i)); i++) {
        fputs(i ? " --" : "--", script);
        put_flag(script, tool, flag);
    }
    fprintf(script, "\" %s\n", tool->name);
}

/* Words that complete a command's name, one `case` for the groups' second words. */
static void put_bash_names(FILE *script)
{
    const command *each, *group;
    fputs("    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n        options=\"", script);
    for (size_t i = 0; (each = first_of_word(i, false)); i++)
        fprintf(script, "%.*s ", first_word(each), each->name);
    fputs("help --help --version\"\n    elif ((COMP_CWORD == 2 && first == 2)); then\n"
          "        case \"${COMP_WORDS[1]}\" in\n",
          script);
    for (size_t g = 0; (group = first_of_word(g, true)); g++) {
        fprintf(script, "        %.*s) options=\"", first_word(group), group->name);
        for (size_t i = 0; (each = typed_command(i)); i++)
            if (same_group(each, group))
                fprintf(script, "%s ", second_word(each));
        fputs("\" ;;\n", script);
    }
    fputs("        esac\n", script);
}

/* What follows an option, then the options. */
static void put_bash_options(FILE *script, const command *command, bool values)
{
    const option *option;
    if (!values)
        fprintf(script, "        \"%s:\"*) options=\"", command->name);
    for (size_t i = 0; (option = option_at(command, i)); i++) {
        if (!values) {
            fprintf(script, "--%s ", option->name);
        } else if (option->kind == OPTION_CHOICE) {
            fprintf(script, "        \"%s:--%s\") options=\"", command->name, option->name);
            put_choices(script, option->choices);
            fputs("\" ;;\n", script);
        } else if (option->kind == OPTION_FILE) {
            fprintf(script, "        \"%s:--%s\")\n", command->name, option->name);
            fputs("            COMPREPLY=($(compgen -f -- \"$word\"))\n"
                  "            return\n            ;;\n",
                  script);
        }
    }
    if (!values)
        fputs(command->words ? "\" files=1 ;;\n" : "\" ;;\n", script);
}

void put_bash_completion(FILE *script, const command *ignored)
{
    (void)ignored;
    const command *each;
    fputs("# bash completion for qaffe; written by the build from the tables of options\n"
          "_qaffe()\n{\n"
          "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
          "    local command=\"${COMP_WORDS[1]}\" options=\"\" files=\"\"\n"
          "    local first=1\n"
          "    case \"$command\" in\n    ",
          script);
    for (size_t i = 0; (each = first_of_word(i, true)); i++)
        fprintf(script, "%s%.*s", i ? " | " : "", first_word(each), each->name);
    fputs(")\n        command+=\" ${COMP_WORDS[2]}\"\n        first=2\n        ;;\n    esac\n",
          script);
    put_bash_names(script);
    fputs("    else\n        case \"$command:$before\" in\n", script);
    for (size_t i = 0; (each = typed_command(i)); i++)
        put_bash_options(script, each, true);
    for (size_t i = 0; (each = typed_command(i)); i++)
        put_bash_options(script, each, false);
    fputs("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
          "    [ -z \"$files\" ] || COMPREPLY+=($(compgen -f -- \"$word\"))\n}\n"
          "complete -o filenames -F _qaffe qaffe\n",
          script);
    for (size_t i = 0; (each = caffe_tool(i)); i++)
        put_bash_tool(script, each);
}

/* ---- zsh ---- */

static const char zsh_special[] = "[]:\\", zsh_quote[] = "'\\''";

/* 'name:summary' for _describe */
static void put_zsh_word(FILE *script, int length, const char *name, const char *summary)
{
    fprintf(script, " '%.*s:", length, name);
    put_sentence(script, summary, zsh_special, zsh_quote);
    fputc('\'', script);
}

/* _arguments with all options of a command; some commands take words beside them. */
static void put_zsh_options(FILE *script, const command *command)
{
    fputs("_arguments", script);
    const option *option;
    for (size_t i = 0; (option = option_at(command, i)); i++) {
        fputs(" \\\n            '--", script);
        put_flag(script, command, option);
        fputc('[', script);
        put_sentence(script, option->help, zsh_special, zsh_quote);
        fputc(']', script);
        if (option->kind == OPTION_CHOICE) {
            fprintf(script, ":%s:(", option->value);
            put_choices(script, option->choices);
            fputc(')', script);
        } else if (option->kind != OPTION_FLAG) {
            fputc(':', script);
            put_sentence(script, option->value, zsh_special, zsh_quote);
            fprintf(script, ":%s", option->kind == OPTION_FILE ? "_files" : " ");
        }
        fputc('\'', script);
    }
    if (command->actions) {
        fputs(" \\\n            '1:command:(", script);
        for (size_t i = 0; command->actions[i]; i++)
            fprintf(script, "%s%s", i ? " " : "", command->actions[i]->name);
        fputs(")'", script);
    } else if (command->words) {
        fputs(" \\\n            '*:file:_files'", script);
    }
    fputs("\n        ;;\n", script);
}

/* The second word of each group; `name` becomes both words. */
static void put_zsh_groups(FILE *script)
{
    const command *each, *group;
    fputs("    local name=$words[2]\n    case $name in\n", script);
    for (size_t g = 0; (group = first_of_word(g, true)); g++) {
        fprintf(script, "    %.*s)\n        if ((CURRENT == 3)); then\n            names=(",
                first_word(group), group->name);
        for (size_t i = 0; (each = typed_command(i)); i++)
            if (same_group(each, group))
                put_zsh_word(script, (int)strlen(second_word(each)), second_word(each),
                             each->summary);
        fputs(")\n            _describe command names\n            return\n        fi\n"
              "        name+=\" $words[3]\"\n        shift words\n        ((CURRENT--))\n"
              "        ;;\n",
              script);
    }
    fputs("    esac\n    shift words\n    ((CURRENT--))\n", script);
}

void put_zsh_completion(FILE *script, const command *ignored)
{
    (void)ignored;
    const command *each;
    fputs("#compdef qaffe", script);
    for (size_t i = 0; (each = caffe_tool(i)); i++)
        fprintf(script, " %s", each->name);
    fputs("\n# zsh completion for qaffe; written by the build from the tables of options\n"
          "_qaffe_tool() {\n    case $1 in\n",
          script);
    for (size_t i = 0; (each = caffe_tool(i)); i++) {
        fprintf(script, "    %s)\n        ", each->name);
        put_zsh_options(script, each);
    }
    fputs("    esac\n}\n_qaffe() {\n    local -a names\n"
          "    if [[ $service != qaffe ]]; then\n        _qaffe_tool $service\n        return\n"
          "    fi\n    if ((CURRENT == 2)); then\n        names=(",
          script);
    for (size_t i = 0; (each = first_of_word(i, false)); i++)
        put_zsh_word(script, first_word(each), each->name, word_summary(each));
    fputs(")\n        _describe command names\n        return\n    fi\n", script);
    put_zsh_groups(script);
    fputs("    case $name in\n", script);
    for (size_t i = 0; (each = typed_command(i)); i++) {
        fprintf(script, "    '%s')\n        ", each->name);
        put_zsh_options(script, each);
    }
    fputs("    esac\n}\n_qaffe \"$@\"\n", script);
}

/* ---- fish ---- */

static const char fish_special[] = "\\", fish_quote[] = "\\'";

static void put_fish_sentence(FILE *script, const char *text)
{
    fputs(" -d '", script);
    put_sentence(script, text, fish_special, fish_quote);
    fputs("'\n", script);
}

static void put_fish_options(FILE *script, const command *command)
{
    const option *option;
    for (size_t i = 0; (option = option_at(command, i)); i++) {
        if (command->caffe_tool)
            fprintf(script, "complete -c %s -l ", command->name);
        else
            fprintf(script, "complete -c qaffe -n '__qaffe_typed %s' -l ", command->name);
        put_flag(script, command, option);
        if (option->kind == OPTION_CHOICE) {
            fputs(" -x -a '", script);
            put_choices(script, option->choices);
            fputc('\'', script);
        } else if (option->kind != OPTION_FLAG) {
            fputs(option->kind == OPTION_FILE ? " -r -F" : " -x", script);
        }
        put_fish_sentence(script, option->help);
    }
    if (command->words && !command->caffe_tool)
        fprintf(script, "complete -c qaffe -n '__qaffe_typed %s' -F\n", command->name);
    for (size_t i = 0; command->actions && command->actions[i]; i++) {
        fprintf(script, "complete -c %s -f -n 'test (count (commandline -opc)) -eq 1' -a %s",
                command->name, command->actions[i]->name);
        put_fish_sentence(script, command->actions[i]->summary);
    }
}

void put_fish_completion(FILE *script, const command *ignored)
{
    (void)ignored;
    const command *each;
    fputs("# fish completion for qaffe; written by the build from the tables of options\n"
          "# Does the command line begin with these words?\n"
          "function __qaffe_typed\n"
          "    set -l words (commandline -opc)\n"
          "    set -l last (math (count $argv) + 1)\n"
          "    test (count $words) -ge $last; and test \"$words[2..$last]\" = \"$argv\"\nend\n"
          "complete -c qaffe -f\n",
          script);
    for (size_t i = 0; (each = first_of_word(i, false)); i++) {
        fprintf(script, "complete -c qaffe -n 'test (count (commandline -opc)) -eq 1' -a %.*s",
                first_word(each), each->name);
        put_fish_sentence(script, word_summary(each));
    }
    for (size_t i = 0; (each = typed_command(i)); i++) {
        if (each->name[first_word(each)]) {
            fprintf(script,
                    "complete -c qaffe -n '__qaffe_typed %.*s; and test (count (commandline -opc)) "
                    "-eq 2' -a %s",
                    first_word(each), each->name, second_word(each));
            put_fish_sentence(script, each->summary);
        }
        put_fish_options(script, each);
    }
    for (size_t i = 0; (each = caffe_tool(i)); i++)
        put_fish_options(script, each);
}
