/* Options of the commands that feed a net with what a user names. */
#ifndef QF_CLI_DATA_OPTIONS_H
#define QF_CLI_DATA_OPTIONS_H

#include "cli/command.h"
#include "qaffe/qaffe.h"

/* How pixels are prepared where images take the place of an Input layer. */
#define SCALE_OPTION                                                                               \
    {                                                                                              \
        .name = "scale", .kind = OPTION_NUMBER, .value = "FACTOR", .standard = "1",                \
        .lowest = -1e6, .highest = 1e6,                                                            \
        .help = "Factor for pixels, for a model with Input: 0.00390625 maps bytes to 0 ... 1."     \
    }
#define MEAN_FILE_OPTION                                                                           \
    FILE_OPTION("mean-file", "FILE", "Mean image (.binaryproto), for a model with Input.")
#define MEAN_VALUE_OPTION                                                                          \
    TEXT_OPTION("mean-value", "NUMBERS",                                                           \
                "What to subtract from each channel, for a model with Input: 104,117,123, or one " \
                "number for all.")

#define DATA_OPTION(what)                                                                          \
    FILE_OPTION("data", "SOURCE",                                                                  \
                what " an LMDB or LevelDB, a folder of images, a list of images (a path and a "    \
                     "label on each line), or a folder of .bin files, raw batches of the input's " \
                     "shape (INPUT=FOLDER,INPUT=FOLDER for several); without it, what the model "  \
                     "names.")
/* All but what is read; rows of a table. */
#define DATA_DETAILS                                                                               \
    CHOICE("data-type", "TYPE",                                                                    \
           "float32|float64|float16|int8|int16|int32|int64|uint8|uint16|uint32|uint64|bool",       \
           "float32", "Type of the values in .bin files."),                                        \
        INTEGER_OPTION("batch-size", "N", "0", 0, 1e6,                                             \
                       "Images in a batch; 0 means the model's own."),                             \
        INTEGER_OPTION("resize", "N", "0", 0, 1e5,                                                 \
                       "Image files are made N x N, of which the net takes the middle; 0 means "   \
                       "the size of the mean image or of the net's input."),                       \
        SCALE_OPTION, MEAN_FILE_OPTION, MEAN_VALUE_OPTION

/* Of a command with all of them. */
qf_data_options chosen_data(const arguments *arguments);

#endif
