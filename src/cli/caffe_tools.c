/* Caffe's smaller programs: each is its flags and a call of the library. */
#include "cli/commands.h"
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

#define BACKEND_OPTION                                                                             \
    {                                                                                              \
        .name = "backend", .kind = OPTION_CHOICE, .value = "FORMAT", .choices = "lmdb|leveldb",    \
        .standard = "lmdb", .help = "The format of the database."                                  \
    }

static const option backend_options[] = {BACKEND_OPTION};

/* ---- convert_imageset ---- */

static const option imageset_options[] = {
    FLAG("gray", "Treat images as grey ones."),
    FLAG("shuffle", "Shuffle the order of images."),
    BACKEND_OPTION,
    INTEGER_OPTION("resize-width", "N", "0", 0, 65536,
                   "Width to resize images to; only together with the height."),
    INTEGER_OPTION("resize-height", "N", "0", 0, 65536, "Height to resize images to."),
    FLAG("check-size", "End with an error where images differ in size."),
    FLAG("encoded", "Store files, to be decoded while training, instead of pixels."),
    TEXT_OPTION("encode-type", "TYPE",
                "Store files of this type, jpg or png, whatever the images are."),
};

static int run_imageset(const arguments *a)
{
    session session;
    const qf_imageset_options options = {
        .size = sizeof options,
        .backend = argument_text(a, "backend"),
        .encode_type = argument_text(a, "encode-type"),
        .encoded = argument_flag(a, "encoded"),
        .gray = argument_flag(a, "gray"),
        .shuffle = argument_flag(a, "shuffle"),
        .check_size = argument_flag(a, "check-size"),
        .skip_unreadable = true,
        .resize_height = argument_integer(a, "resize-height"),
        .resize_width = argument_integer(a, "resize-width"),
    };
    if (!session_open(&session, a, QF_INFO))
        return EXIT_FAILED;
    return session_close(&session, qf_convert_imageset(session.context, a->words[1], a->words[0],
                                                       a->words[2], &options));
}

const command command_convert_imageset = {
    .name = "convert_imageset",
    .summary = "Convert a list of images to a database.",
    .details = "Each line of the list has a path below the folder and a label. Images that cannot "
               "be read are left out.",
    .example = "convert_imageset --shuffle --resize_height=256 --resize_width=256 images/ "
               "train.txt train_lmdb",
    OPTIONS(imageset_options),
    .caffe_tool = true,
    .words = "ROOTFOLDER/ LISTFILE DB_NAME",
    .fewest_words = 3,
    .most_words = 3,
    .run = run_imageset,
};

/* ---- compute_image_mean ---- */

static const option mean_options[] = {
    CHOICE("backend", "FORMAT", "lmdb|leveldb", "lmdb",
           "Accepted as Caffe does; the format of the database is seen from its files."),
};

static qf_status mean(session *session, const arguments *a)
{
    return qf_compute_image_mean(session->context, a->words[0],
                                 a->word_count > 1 ? a->words[1] : NULL);
}

static int run_mean(const arguments *a)
{
    return session_run(a, QF_INFO, mean);
}

const command command_compute_image_mean = {
    .name = "compute_image_mean",
    .summary = "Compute the mean image of a database.",
    .example = "compute_image_mean train_lmdb mean.binaryproto",
    OPTIONS(mean_options),
    .caffe_tool = true,
    .words = "INPUT_DB [OUTPUT_FILE]",
    .fewest_words = 1,
    .most_words = 2,
    .run = run_mean,
};

/* ---- convert_mnist_data, convert_mnist_siamese_data, convert_cifar_data ---- */

static qf_status mnist(session *session, const arguments *a)
{
    return qf_convert_mnist(session->context, a->words[0], a->words[1], a->words[2],
                            argument_text(a, "backend"));
}

static int run_mnist(const arguments *a)
{
    return session_run(a, QF_INFO, mnist);
}

const command command_convert_mnist_data = {
    .name = "convert_mnist_data",
    .summary = "Convert MNIST's files to a database.",
    .example = "convert_mnist_data train-images-idx3-ubyte train-labels-idx1-ubyte train_lmdb",
    OPTIONS(backend_options),
    .caffe_tool = true,
    .words = "input_image_file input_label_file output_db_file",
    .fewest_words = 3,
    .most_words = 3,
    .run = run_mnist,
};

static qf_status pairs(session *session, const arguments *a)
{
    return qf_convert_mnist_pairs(session->context, a->words[0], a->words[1], a->words[2],
                                  "leveldb");
}

static int run_pairs(const arguments *a)
{
    return session_run(a, QF_INFO, pairs);
}

const command command_convert_mnist_siamese_data = {
    .name = "convert_mnist_siamese_data",
    .summary = "Draw pairs of MNIST's images, to train a siamese network.",
    .example = "convert_mnist_siamese_data train-images-idx3-ubyte train-labels-idx1-ubyte "
               "siamese_leveldb",
    .caffe_tool = true,
    .words = "input_image_file input_label_file output_db_file",
    .fewest_words = 3,
    .most_words = 3,
    .run = run_pairs,
};

static qf_status cifar(session *session, const arguments *a)
{
    return qf_convert_cifar(session->context, a->words[0], a->words[1], a->words[2]);
}

static int run_cifar(const arguments *a)
{
    return session_run(a, QF_INFO, cifar);
}

const command command_convert_cifar_data = {
    .name = "convert_cifar_data",
    .summary = "Convert CIFAR-10's binary batches to databases.",
    .example = "convert_cifar_data data/cifar10 examples/cifar10 lmdb",
    .caffe_tool = true,
    .words = "input_folder output_folder db_type",
    .fewest_words = 3,
    .most_words = 3,
    .run = run_cifar,
};

/* ---- extract_features ---- */

static int run_extract(const arguments *a)
{
    session session;
    char *end;
    long batches = strtol(a->words[4], &end, 10);
    if (*end || batches < 1 || batches > 1000000000) {
        fprintf(stderr, "%s: num_mini_batches is \"%s\"; expected a whole number above 0\n",
                command_title(a->command), a->words[4]);
        return EXIT_FAILED;
    }
    if (!session_open(&session, a, QF_INFO))
        return EXIT_FAILED;
    if (a->word_count > 6 && strcmp(a->words[6], "GPU") == 0) {
        char name[64];
        snprintf(name, sizeof name, "cuda:%s", a->word_count > 7 ? a->words[7] : "0");
        const qf_status status = qf_context_set_device(session.context, name);
        if (status != QF_OK)
            return session_close(&session, status);
        say(&session, "Using GPU");
    } else {
        say(&session, "Using CPU");
    }
    return session_close(&session,
                         qf_extract_features(session.context, a->words[1], a->words[0], a->words[2],
                                             a->words[3], (int)batches, a->words[5]));
}

const command command_extract_features = {
    .name = "extract_features",
    .summary = "Store the values of blobs, image by image, in databases.",
    .details = "Several blobs and databases are separated by commas. The net has a data layer.",
    .example = "extract_features net.caffemodel net.prototxt fc7 fc7_lmdb 10 lmdb",
    .computes = true,
    .caffe_tool = true,
    .words = "pretrained_net_param feature_extraction_proto_file blob_name1[,name2,...] "
             "dataset_name1[,name2,...] num_mini_batches db_type [CPU/GPU] [DEVICE_ID]",
    .fewest_words = 6,
    .most_words = 8,
    .run = run_extract,
};

/* ---- upgrade_… ---- */

/* Exit codes are Caffe's: 1, something was dropped; 2, the input cannot be read. */
static int upgrade(const arguments *a, qf_file_kind kind)
{
    enum { UNREADABLE = 2 };
    session session;
    bool whole;
    if (!session_open(&session, a, QF_INFO))
        return EXIT_FAILED;
    qf_status status = qf_upgrade_file(session.context, kind, a->words[0], a->words[1], &whole);
    session_close(&session, status);
    return status != QF_OK ? UNREADABLE : whole ? EXIT_DONE : EXIT_FAILED;
}

static int upgrade_net_text(const arguments *a)
{
    return upgrade(a, QF_NET_TEXT);
}

static int upgrade_net_binary(const arguments *a)
{
    return upgrade(a, QF_NET_BINARY);
}

static int upgrade_solver_text(const arguments *a)
{
    return upgrade(a, QF_SOLVER_TEXT);
}

const command command_upgrade_net_proto_text = {
    .name = "upgrade_net_proto_text",
    .summary = "Bring an old net (.prototxt) to today's format.",
    .example = "upgrade_net_proto_text old.prototxt new.prototxt",
    .caffe_tool = true,
    .words = "v0_net_proto_file_in net_proto_file_out",
    .fewest_words = 2,
    .most_words = 2,
    .run = upgrade_net_text,
};

const command command_upgrade_net_proto_binary = {
    .name = "upgrade_net_proto_binary",
    .summary = "Bring old weights (.caffemodel) to today's format.",
    .example = "upgrade_net_proto_binary old.caffemodel new.caffemodel",
    .caffe_tool = true,
    .words = "v0_net_proto_file_in net_proto_file_out",
    .fewest_words = 2,
    .most_words = 2,
    .run = upgrade_net_binary,
};

const command command_upgrade_solver_proto_text = {
    .name = "upgrade_solver_proto_text",
    .summary = "Bring an old solver (.prototxt) to today's format.",
    .example = "upgrade_solver_proto_text old_solver.prototxt solver.prototxt",
    .caffe_tool = true,
    .words = "old_solver_proto_file_in solver_proto_file_out",
    .fewest_words = 2,
    .most_words = 2,
    .run = upgrade_solver_text,
};
