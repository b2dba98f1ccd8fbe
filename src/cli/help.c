/* --help, from the tables. */
#include "cli/command.h"

#include "qaffe/qaffe.h"

#include <string.h>

enum { WIDTH = 79 };

void print_wrapped(FILE *stream, const char *text, int indent, int column)
{
    while (*text) {
        size_t length = strcspn(text, " \n");
        if (column + (int)length > WIDTH && column > indent) {
            fprintf(stream, "\n%*s", indent, "");
            column = indent;
        }
        fprintf(stream, "%.*s", (int)length, text);
        column += (int)length;
        text += length;
        if (*text == '\n') {
            fprintf(stream, "\n%*s", text[1] == '\n' ? 0 : indent, "");
            column = indent;
            text++;
        } else if (*text == ' ') {
            if (column + 1 + (int)strcspn(text + 1, " \n") <= WIDTH) {
                fputc(' ', stream);
                column++;
            } else {
                fprintf(stream, "\n%*s", indent, "");
                column = indent;
            }
            text++;
        }
    }
    fputc('\n', stream);
}

static void print_option(const option *option, FILE *stream)
{
    enum { INDENT = 6 };
    fprintf(stream, "  --%s", option->name);
    if (option->kind == OPTION_CHOICE)
        fprintf(stream, " %s", option->choices);
    else if (option->kind != OPTION_FLAG)
        fprintf(stream, " %s", option->value);
    if (option->required)
        fputs("   (required)", stream);
    else if (option->standard)
        fprintf(stream, "   (default: %s)", option->standard);
    fprintf(stream, "\n%*s", INDENT, "");
    print_wrapped(stream, option->help, INDENT, INDENT);
}

void print_help(const command *command, FILE *stream)
{
    fprintf(stream, "Usage: qaffe %s", command->name);
    const option *each;
    for (size_t i = 0; (each = option_at(command, i)); i++)
        if (each->required)
            fprintf(stream, " --%s %s", each->name, each->value);
    fprintf(stream, " [options]%s%s\n\n", command->words ? " " : "",
            command->words ? command->words : "");
    print_wrapped(stream, command->summary, 0, 0);
    if (command->details) {
        fputc('\n', stream);
        print_wrapped(stream, command->details, 0, 0);
    }
    fputs("\nOptions (-name value, --name value and --name=value mean the same):\n", stream);
    for (size_t i = 0; (each = option_at(command, i)); i++)
        print_option(each, stream);
    fputs("\nExample:\n", stream);
    for (const char *line = command->example; *line;) {
        size_t length = strcspn(line, "\n");
        fprintf(stream, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

void print_overview(FILE *stream)
{
    fputs("Usage: qaffe COMMAND [options]\n\n"
          "Quantisation of Caffe networks: a float model goes in, an int8 model comes out that\n"
          "was trained to live with int8 (qat), or calibrated on a few batches (ptq).\n\n"
          "Commands:\n",
          stream);
    const command *each;
    for (size_t i = 0; (each = command_at(i)); i++)
        if (!each->hidden && !each->caffe_tool)
            fprintf(stream, "  %-16s%s\n", each->name, each->summary);
    fputs("\nCaffe's own programs, here and as commands of their names:\n", stream);
    for (size_t i = 0; (each = command_at(i)); i++)
        if (each->caffe_tool)
            fprintf(stream, "  %-28s%s\n", each->name, each->summary);
    fputs("\nLimits on what files may ask for (--limit NAME=N, QAFFE_LIMITS):\n", stream);
    uint64_t initial;
    const char *name, *unit;
    for (int i = 0; (name = qf_limit_describe(i, &initial, &unit)); i++)
        fprintf(stream, "  %-16s%s\n", name, unit);
    fputs(
        "\n`qaffe COMMAND --help` describes a command and gives an example.\n"
        "Start with `qaffe qat run`: it does the whole work in one go. Step by step: qat config,\n"
        "qat prepare, train, qat export; without training: ptq config, ptq plan, ptq prepare,\n"
        "ptq calibrate, ptq export.\n",
        stream);
}
