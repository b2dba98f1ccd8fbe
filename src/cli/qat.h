/* What the commands of AMCT's flows share: qat and ptq. */
#ifndef QF_CLI_QAT_H
#define QF_CLI_QAT_H

#include "cli/command.h"
#include "qaffe/qaffe.h"

#define MODEL_OPTION(text)                                                                         \
    {                                                                                              \
        .name = "model", .kind = OPTION_FILE, .required = true, .value = "FILE", .help = (text)    \
    }
#define WEIGHTS_OPTION                                                                             \
    {                                                                                              \
        .name = "weights", .kind = OPTION_FILE, .required = true, .value = "FILE",                 \
        .help = "Its trained weights (.caffemodel)."                                               \
    }
#define BATCH_NORM_OPTION                                                                          \
    {                                                                                              \
        .name = "batch-norm", .kind = OPTION_CHOICE, .value = "HOW",                               \
        .choices = "model|frozen|train", .standard = "model",                                      \
        .help = "BatchNorm during retraining: as the model says; with frozen statistics; or on "   \
                "batch statistics, learning on (see train --freeze-bn-after)."                     \
    }
#define FROM_PTQ_OPTION                                                                            \
    FILE_OPTION("from-ptq", "RECORD",                                                              \
                "A record of `qaffe ptq`: ranges begin where calibration ended, instead of "       \
                "being measured on the first batch.")
#define WEIGHT_BITS_OPTION                                                                         \
    INTEGER_OPTION(                                                                                \
        "weight-bits", "N", "8", 4, 8,                                                             \
        "Bits of the weights of layers of which --config-definition says nothing: 4, 6 "           \
        "or 8.")
#define ACTIVATION_BITS_OPTION                                                                     \
    INTEGER_OPTION(                                                                                \
        "activation-bits", "N", "8", 4, 16,                                                        \
        "The same of their inputs: 4, 6, 8, or 16, for which there is no deploy model.")
#define EDGE_BITS_OPTION                                                                           \
    INTEGER_OPTION("edge-bits", "N", "8", 4, 8,                                                    \
                   "Bits of both in the first and in the last layer with weights.")
#define EQUALISE_OPTION(standard_)                                                                 \
    CHOICE("equalise", "WHETHER", "auto|on|off", standard_,                                        \
           "Rescale channels before quantisation, so that loud ones do not leave the others few "  \
           "codes: auto where their ranges spread over more than 2^5 (see `qaffe equalise`).")
#define RANGES_OPTION                                                                              \
    CHOICE("ranges", "METHOD", "auto|amct|lsq|lsq+|pact|tqt", "auto",                              \
           "How ranges learn where --config-definition says nothing else: AMCT's ULQ and ARQ, "    \
           "LSQ, LSQ+, PACT or TQT; auto: AMCT's of 8 bits, LSQ of fewer.")
/* `standard`: whether the float net teaches where nothing is said. */
#define DISTIL_OPTIONS(standard_)                                                                  \
    CHOICE("distil", "HOW", "on|off|auto", standard_,                                              \
           "Let the net learn from the float net's outputs, too. auto: classifiers that train on " \
           "fewer than 5000 images, or on images without labels."),                                \
        FLAG("no-labels", "Ignore the labels of the training data: distillation alone trains."),   \
        {.name = "distil-temperature",                                                             \
         .kind = OPTION_NUMBER,                                                                    \
         .value = "T",                                                                             \
         .standard = "2",                                                                          \
         .lowest = 0.01,                                                                           \
         .highest = 1000,                                                                          \
         .help = "What scores of classes are divided by before they are compared."},               \
        {.name = "distil-weight",                                                                  \
         .kind = OPTION_NUMBER,                                                                    \
         .value = "W",                                                                             \
         .standard = "0.5",                                                                        \
         .lowest = 1e-6,                                                                           \
         .highest = 1,                                                                             \
         .help = "Of distillation; the losses of labels have 1 - W."},                             \
        TEXT_OPTION("distil-blobs", "NAMES",                                                       \
                    "Blobs to be learned besides the outputs, with commas between.")
/* Of a calibrated net, before its models are written. */
#define CORRECTION_OPTIONS                                                                         \
    INTEGER_OPTION("bias-correction", "N", "0", 0, 1e6,                                            \
                   "Measure over so many batches for each layer how far quantisation moves the "   \
                   "means of its channels, and put that right in its bias; 0: do not."),           \
        FLAG("adaround",                                                                           \
             "Learn for each weight whether it is rounded up or down (AdaRound), from the "        \
             "batches that calibrate: most with few bits."),                                       \
        INTEGER_OPTION("adaround-iterations", "N", "1000", 1, 1e6,                                 \
                       "How many iterations the rounding of each layer learns.")
#define SAVE_TYPE_OPTION                                                                           \
    CHOICE("type", "TYPE", "Fakequant|Deploy|Both", "Both",                                        \
           "Which models to write: float arithmetic on int8 values, real integers, or both.")
typedef qf_status (*step_function)(qf_context *context, const arguments *arguments);
/* One of AMCT's functions, with AMCT's log; `done` is printed at its end. */
int run_step(const arguments *arguments, step_function step, const char *done);

/* Whether the float net teaches, from the options above. */
qf_distil chosen_distil(const arguments *arguments);
qf_batch_norm chosen_batch_norm(const arguments *arguments);
qf_equalise chosen_equalise(const arguments *arguments);
qf_save_type chosen_save_type(const arguments *arguments);

void print_plan(const qf_plan *plan);
void print_verification(const qf_verification *found);

#endif
