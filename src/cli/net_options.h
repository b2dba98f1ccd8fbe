/* Options that several commands share: --level, --stage and --phase of train, test and time, which
 * say what layers a net has, --on-divergence of those that train, --ap-version of those that test.
 */
#ifndef QF_CLI_NET_OPTIONS_H
#define QF_CLI_NET_OPTIONS_H

#include "cli/session.h"

#define NET_STATE_OPTIONS                                                                          \
    {.name = "level",                                                                              \
     .kind = OPTION_INTEGER,                                                                       \
     .value = "N",                                                                                 \
     .standard = "0",                                                                              \
     .lowest = -2147483647,                                                                        \
     .highest = 2147483647,                                                                        \
     .help = "The net's level, for the include and exclude rules of its layers."},                 \
    {                                                                                              \
        .name = "stage", .kind = OPTION_TEXT, .value = "NAMES",                                    \
        .help = "The net's stages, separated by commas, for the same rules."                       \
    }

/* session_open() sees to it. */
#define UNTIL_OPTION                                                                               \
    TEXT_OPTION("until", "LAYERS",                                                                 \
                "Where the net ends: layers, separated by commas, that stay with all they need. "  \
                "Their tops become outputs; what is left is for your own code to compute.")

#define DIVERGENCE_OPTION                                                                          \
    {                                                                                              \
        .name = "on-divergence", .kind = OPTION_CHOICE, .choices = "auto|stop|warn|ignore",        \
        .standard = "auto",                                                                        \
        .help = "When the loss or a quantisation range has left for good what it began with, or "  \
                "the loss is not finite: end with a sentence, warn, or do nothing. auto stops "    \
                "nets with layers that quantise; others warn, and stop where the loss is not "     \
                "finite (docs/training.md)."                                                       \
    }
qf_divergence chosen_divergence(const arguments *arguments);

#define AP_VERSION_OPTION                                                                          \
    CHOICE("ap-version", "HOW", "Integral|MaxIntegral|11point", "Integral",                        \
           "How nets that end in DetectionEvaluate are judged: by the area under the curve of "    \
           "precision over recall, under its best from each recall on (VOC 2010 to 2012), or by "  \
           "11 of its points (VOC 2007).")
void choose_ap_version(session *session, const arguments *arguments);

/* The stages that --stage names, cut as Caffe cuts them: without any, one that is empty. */
typedef struct stages {
    char *text;
    const char *names[64];
    size_t count;
} stages;
bool stages_split(const char *list, stages *out); /* false: memory ran out */
void stages_release(stages *stages);

/* The net that --model, --level and --stage describe, with --weights loaded where given. */
qf_status open_net(session *session, const arguments *arguments, qf_phase phase, qf_net **out);

#endif
