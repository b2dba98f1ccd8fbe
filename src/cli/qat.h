/* Tables that the qat commands share. */
#ifndef QF_CLI_QAT_H
#define QF_CLI_QAT_H

#include "cli/command.h"
#include "qaffe/qaffe.h"

#define BATCH_NORM_OPTION                                                                          \
    {                                                                                              \
        .name = "batch-norm", .kind = OPTION_CHOICE, .value = "HOW",                               \
        .choices = "model|frozen|train", .standard = "model",                                      \
        .help = "BatchNorm during retraining: as the model says; with frozen statistics; or on "   \
                "batch statistics, learning on (see train --freeze-bn-after)."                     \
    }
qf_batch_norm chosen_batch_norm(const arguments *arguments);

void print_plan(const qf_plan *plan);
void print_verification(const qf_verification *found);

#endif
