/* Data sets and Caffe's tools. */
#define QF_TRIAL
#include "faults/trials.h"

static qf_status digits(qf_context *context, double *result)
{
    (void)result;
    return qf_make_digits(context, "out/train", "out/test", 6, 4, 1);
}

static qf_status idx(qf_context *context, double *result)
{
    (void)result;
    return qf_convert_idx(context, "images.idx", "labels.idx", "out/lmdb");
}

static qf_status images(qf_context *context, double *result)
{
    (void)result;
    return qf_convert_images(context, "list.txt", ".", 1, "out/lmdb");
}

static qf_status imageset(qf_context *context, double *result)
{
    (void)result;
    const qf_imageset_options options = {.size = sizeof options,
                                         .backend = "lmdb",
                                         .encode_type = "jpg",
                                         .gray = true,
                                         .shuffle = true,
                                         .resize_height = 5,
                                         .resize_width = 4};
    return qf_convert_imageset(context, "list.txt", ".", "out/lmdb", &options);
}

static qf_status annoset(qf_context *context, double *result)
{
    (void)result;
    const qf_annoset_options options = {.size = sizeof options,
                                        .anno_type = "detection",
                                        .label_type = "xml",
                                        .label_map_file = "labelmap.prototxt",
                                        .encode_type = "jpg",
                                        .shuffle = true,
                                        .max_dim = 5};
    return qf_convert_annoset(context, "annotated.txt", ".", "out/lmdb", &options);
}

static qf_status annoset_of_json(qf_context *context, double *result)
{
    (void)result;
    const qf_annoset_options options = {.size = sizeof options,
                                        .anno_type = "detection",
                                        .label_type = "json",
                                        .label_map_file = "labelmap.prototxt"};
    return qf_convert_annoset(context, "annotated_json.txt", ".", "out/lmdb", &options);
}

static qf_status image_sizes(qf_context *context, double *result)
{
    (void)result;
    return qf_get_image_size(context, "annotated.txt", ".", "out/sizes.txt", NULL);
}

static qf_status mnist(qf_context *context, double *result)
{
    (void)result;
    return qf_convert_mnist(context, "images.idx", "labels.idx", "out/level", "leveldb");
}

static qf_status mnist_pairs(qf_context *context, double *result)
{
    (void)result;
    return qf_convert_mnist_pairs(context, "images.idx", "labels.idx", "out/lmdb", "lmdb");
}

static qf_status cifar(qf_context *context, double *result)
{
    (void)result;
    return qf_convert_cifar(context, ".", "out", "lmdb");
}

static qf_status mean(qf_context *context, double *result)
{
    (void)result;
    return qf_compute_image_mean(context, "train_lmdb", "out/mean.binaryproto");
}

static qf_status features(qf_context *context, double *result)
{
    (void)result;
    return qf_extract_features(context, "net.prototxt", "given.caffemodel", "c,ip", "out/c,out/ip",
                               1, "lmdb");
}

static qf_status upgrade(qf_context *context, double *result)
{
    bool whole[3];
    QF_TRY(qf_upgrade_file(context, QF_NET_TEXT, "old.prototxt", "out/net.prototxt", &whole[0]));
    QF_TRY(qf_upgrade_file(context, QF_NET_BINARY, "given.caffemodel", "out/new.caffemodel",
                           &whole[1]));
    QF_TRY(qf_upgrade_file(context, QF_SOLVER_TEXT, "solver.prototxt", "out/solver.prototxt",
                           &whole[2]));
    *result = whole[0] + 2 * whole[1] + 4 * whole[2];
    return QF_OK;
}

const trial trials_of_data[] = {
    {.name = "drawn digits", .run = digits},
    {.name = "idx files", .run = idx},
    {.name = "images as they are", .run = images},
    {.name = "images as pixels", .run = imageset},
    {.name = "annotated images", .run = annoset},
    {.name = "annotations of COCO", .run = annoset_of_json},
    {.name = "sizes of images", .run = image_sizes},
    /* LevelDB has no memory for errors at some places, and does not bear all that it throws itself;
     * where it cannot make a table, records stay in its log. */
    {.name = "MNIST", .run = mnist, .spare = "libstdc++ libleveldb", .loose_files = true},
    {.name = "pairs of MNIST", .run = mnist_pairs},
    {.name = "CIFAR-10", .run = cifar},
    {.name = "a mean", .run = mean},
    {.name = "features", .run = features},
    {.name = "upgrades", .run = upgrade},
    {.name = NULL},
};
