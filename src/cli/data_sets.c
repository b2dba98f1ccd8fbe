/* qaffe digits and qaffe convert-idx: data sets as LMDBs. */
#include "cli/commands.h"
#include "cli/session.h"

#include <stdlib.h>

static const option digits_options[] = {
    REQUIRED_FILE("out", "FOLDER", "Where to write train_lmdb and test_lmdb."),
    INTEGER_OPTION("train", "N", "20000", 1, 1e7, "Images to train on."),
    INTEGER_OPTION("test", "N", "4000", 1, 1e7, "Images to test on."),
};

static int run_digits(const arguments *a)
{
    session session;
    char train[4096], test[4096];
    const char *folder = argument_text(a, "out");
    int seed = argument_integer(a, "seed");
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    snprintf(train, sizeof train, "%s/train_lmdb", folder);
    snprintf(test, sizeof test, "%s/test_lmdb", folder);
    qf_status status = qf_make_digits(session.context, train, test, argument_integer(a, "train"),
                                      argument_integer(a, "test"), seed < 0 ? 1 : seed);
    if (status == QF_OK)
        printf("%s: %s images\n%s: %s images\n", train, argument_text(a, "train"), test,
               argument_text(a, "test"));
    return session_close(&session, status);
}

const command command_digits = {
    .name = "digits",
    .summary = "Make a data set of drawn digits, like MNIST but without a download.",
    .details =
        "28 x 28 grey images with labels, as LMDBs that the Data layer reads. The same --seed "
        "gives the same images; without it the seed is 1.",
    .example = "qaffe digits --out data --train 20000 --test 4000",
    OPTIONS(digits_options),
    .computes = true,
    .run = run_digits,
};

static const option idx_options[] = {
    REQUIRED_FILE("images", "FILE", "train-images-idx3-ubyte or t10k-images-idx3-ubyte, also .gz."),
    REQUIRED_FILE("labels", "FILE", "The labels that belong to them."),
    REQUIRED_FILE("out", "LMDB", "The database to write; it must not exist yet."),
};

static qf_status idx(session *session, const arguments *a)
{
    return qf_convert_idx(session->context, argument_text(a, "images"), argument_text(a, "labels"),
                          argument_text(a, "out"));
}

static int run_idx(const arguments *a)
{
    return session_run(a, QF_WARNING, idx);
}

const command command_convert_idx = {
    .name = "convert-idx",
    .summary = "Convert MNIST's idx files to an LMDB.",
    .example = "qaffe convert-idx --images train-images-idx3-ubyte.gz \\\n"
               "    --labels train-labels-idx1-ubyte.gz --out mnist_train_lmdb",
    OPTIONS(idx_options),
    .computes = true,
    .run = run_idx,
};

static const option image_options[] = {
    REQUIRED_FILE("list", "FILE", "Text file: a path and a label on each line."),
    FILE_OPTION("folder", "FOLDER",
                "What the paths are relative to; without it, the working directory."),
    FLAG("shuffle", "Shuffle the images, by --seed."),
    REQUIRED_FILE("out", "LMDB", "The database to write; it must not exist yet."),
};

static int run_images(const arguments *a)
{
    session session;
    const char *folder = argument_text(a, "folder");
    int seed = argument_integer(a, "seed");
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    return session_close(&session, qf_convert_images(session.context, argument_text(a, "list"),
                                                     folder ? folder : "",
                                                     !argument_given(a, "shuffle") ? -1
                                                     : seed < 0                    ? 1
                                                                                   : seed,
                                                     argument_text(a, "out")));
}

const command command_convert_images = {
    .name = "convert-images",
    .summary = "Convert a list of JPEG and PNG files to an LMDB.",
    .details = "The files are stored as they are and decoded while training, like Caffe's "
               "`convert_imageset --encoded`.",
    .example = "qaffe convert-images --list val.txt --folder images --out val_lmdb",
    OPTIONS(image_options),
    .computes = true,
    .run = run_images,
};
