/* Options of the commands that write a configuration of calibration. */
#ifndef QF_CLI_QUANT_OPTIONS_H
#define QF_CLI_QUANT_OPTIONS_H

#include "cli/command.h"
#include "qaffe/qaffe.h"

/* Rows of a table. */
#define QUANT_OPTIONS                                                                              \
    FILE_OPTION("config-definition", "FILE",                                                       \
                "A simplified configuration (.cfg) to start from instead of the defaults; the "    \
                "options below then have no effect."),                                             \
        TEXT_OPTION("skip-layers", "NAMES", "Layers that stay float, separated by commas."),       \
        INTEGER_OPTION("batch-num", "N", "1", 1, 1 << 20,                                          \
                       "Over how many batches ranges are measured."),                              \
        CHOICE("activation-offset", "WHETHER", "true|false", "true",                               \
               "Whether a layer's input may have an offset, so that its range need not be "        \
               "symmetric.")

typedef struct quant_choice {
    qf_quant_options options;
    char *list; /* the names that `options` point to */
} quant_choice;

/* False: no memory. Release it in any case. */
bool choose_quant(const arguments *arguments, quant_choice *out);
void quant_choice_release(quant_choice *choice);
/* Is one of these options given? */
bool quant_given(const arguments *arguments);

/* What the output that matters most may lose. */
#define MAX_LOSS_OPTION(text)                                                                      \
    {                                                                                              \
        .name = "max-loss", .kind = OPTION_NUMBER, .value = "POINTS", .standard = "0.5",           \
        .lowest = 0, .highest = 1e6, .help = text                                                  \
    }

#endif
