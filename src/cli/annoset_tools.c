/* SSD's programs for data: convert_annoset, create_annoset (a script there, which calls it),
 * get_image_size. */
#include "cli/commands.h"
#include "cli/session.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANNOSET_OPTIONS                                                                            \
    CHOICE("anno-type", "TYPE", "classification|detection", "classification",                      \
           "What the list names behind an image: its label, or a file of boxes."),                 \
        CHOICE("label-type", "FORMAT", "xml|json|txt", "xml",                                      \
               "The format of such files: VOC's, COCO's (one an image), or lines of label, left, " \
               "top, right and bottom."),                                                          \
        FILE_OPTION("label-map-file", "FILE", "The numbers of the classes, a LabelMap in text."),  \
        FLAG("check-label", "End with an error where a name or label comes twice in the map."),    \
        INTEGER_OPTION("min-dim", "N", "0", 0, 65536,                                              \
                       "Enlarge images until their shorter side is so long."),                     \
        INTEGER_OPTION("max-dim", "N", "0", 0, 65536,                                              \
                       "Make images smaller until their longer side is so long."),                 \
        INTEGER_OPTION("resize-width", "N", "0", 0, 65536,                                         \
                       "Width to resize images to; only together with the height."),               \
        INTEGER_OPTION("resize-height", "N", "0", 0, 65536, "Height to resize images to."),        \
        CHOICE("backend", "FORMAT", "lmdb|leveldb", "lmdb", "The format of the database."),        \
        FLAG("shuffle", "Shuffle the order of images."),                                           \
        FLAG("check-size", "End with an error where images differ in size."),                      \
        FLAG("encoded", "Store files, to be decoded while training, instead of pixels."),          \
        TEXT_OPTION("encode-type", "TYPE",                                                         \
                    "Store files of this type, jpg or png, whatever the images are."),             \
        FLAG("gray", "Treat images as grey ones.")

static qf_annoset_options chosen(const arguments *a)
{
    const char *type = argument_text(a, "encode-type");
    return (qf_annoset_options){
        .size = sizeof(qf_annoset_options),
        .backend = argument_text(a, "backend"),
        .encode_type = type && *type ? type : NULL, /* SSD's script passes an empty one on */
        .anno_type = argument_text(a, "anno-type"),
        .label_type = argument_text(a, "label-type"),
        .label_map_file = argument_text(a, "label-map-file"),
        .check_label = argument_flag(a, "check-label"),
        .encoded = argument_flag(a, "encoded"),
        .gray = argument_flag(a, "gray"),
        .shuffle = argument_flag(a, "shuffle"),
        .check_size = argument_flag(a, "check-size"),
        .resize_height = argument_integer(a, "resize-height"),
        .resize_width = argument_integer(a, "resize-width"),
        .min_dim = argument_integer(a, "min-dim"),
        .max_dim = argument_integer(a, "max-dim"),
    };
}

/* ---- convert_annoset ---- */

static const option convert_options[] = {ANNOSET_OPTIONS};

static qf_status convert(session *session, const arguments *a)
{
    const qf_annoset_options options = chosen(a);
    return qf_convert_annoset(session->context, a->words[1], a->words[0], a->words[2], &options);
}

static int run_convert(const arguments *a)
{
    return session_run(a, QF_INFO, convert);
}

const command command_convert_annoset = {
    .name = "convert_annoset",
    .summary = "Convert images and their annotations to a database (SSD).",
    .details = "Each line of the list has the paths, below the folder, of an image and of its "
               "annotation. Images that cannot be read are left out; annotations that cannot be, "
               "and classes that are not in the label map, are errors.",
    .example = "convert_annoset --anno_type=detection --label_map_file=labelmap_voc.prototxt "
               "--encode_type=jpg VOCdevkit/ trainval.txt trainval_lmdb",
    OPTIONS(convert_options),
    .caffe_tool = true,
    .words = "ROOTFOLDER/ LISTFILE DB_NAME",
    .fewest_words = 3,
    .most_words = 3,
    .run = run_convert,
};

/* ---- create_annoset ---- */

static const option create_options[] = {
    ANNOSET_OPTIONS,
    FLAG("redo", "Put the new database in the place of one that is there."),
};

static qf_status refuse(session *session, const char *what, const char *path)
{
    fprintf(stderr, "%s: cannot %s %s: %s\n", command_title(session->command), what, path,
            strerror(errno));
    return QF_E_IO;
}

static bool has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
           access(path, F_OK) == 0;
}

/* The files of a database, and its folder; nothing else is removed. */
static qf_status remove_database(session *session, const char *folder)
{
    if (!has_file(folder, "data.mdb") && !has_file(folder, "CURRENT")) {
        errno = ENOTDIR;
        return refuse(session, "replace what is no database,", folder);
    }
    DIR *open = opendir(folder);
    if (!open)
        return refuse(session, "read", folder);
    for (struct dirent *entry; (entry = readdir(open));)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(open), entry->d_name, 0);
    closedir(open);
    return rmdir(folder) == 0 ? QF_OK : refuse(session, "remove", folder);
}

/* examples/name, a link to the database, as SSD's script makes it. */
static qf_status link_example(session *session, const char *database, const char *folder)
{
    char link[PATH_MAX], target[PATH_MAX];
    const char *slash = strrchr(database, '/');
    struct stat info;
    if (!realpath(database, target))
        return refuse(session, "find", database);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return refuse(session, "make", folder);
    if (snprintf(link, sizeof link, "%s/%s", folder, slash ? slash + 1 : database) >=
        (int)sizeof link)
        return QF_E_ARGUMENT;
    if (lstat(link, &info) == 0 && S_ISLNK(info.st_mode))
        (void)unlink(link);
    return symlink(target, link) == 0 ? QF_OK : refuse(session, "link", link);
}

static qf_status create(session *session, const arguments *a)
{
    const qf_annoset_options options = chosen(a);
    const char *database = a->words[2];
    qf_status status = QF_OK;
    if (argument_flag(a, "redo") && access(database, F_OK) == 0)
        status = remove_database(session, database);
    if (status == QF_OK)
        status = qf_convert_annoset(session->context, a->words[1], a->words[0], database, &options);
    if (status == QF_OK && a->word_count > 3)
        status = link_example(session, database, a->words[3]);
    return status;
}

static int run_create(const arguments *a)
{
    return session_run(a, QF_INFO, create);
}

const command command_create_annoset = {
    .name = "create_annoset",
    .summary = "The same as convert_annoset, called as SSD's script create_annoset.py is.",
    .details = "EXAMPLEDIR gets a link to the database.",
    .example =
        "create_annoset --anno-type=detection --label-map-file=labelmap_voc.prototxt "
        "--encode-type=jpg --encoded --redo VOCdevkit trainval.txt lmdb/trainval_lmdb examples",
    OPTIONS(create_options),
    .caffe_tool = true,
    .words = "ROOT LISTFILE OUTDIR [EXAMPLEDIR]",
    .fewest_words = 3,
    .most_words = 4,
    .run = run_create,
};

/* ---- get_image_size ---- */

static const option size_options[] = {
    FILE_OPTION("name-id-file", "FILE",
                "Numbers to write in place of names: a name and its number "
                "on each line."),
};

static qf_status sizes(session *session, const arguments *a)
{
    return qf_get_image_size(session->context, a->words[1], a->words[0], a->words[2],
                             argument_text(a, "name-id-file"));
}

static int run_sizes(const arguments *a)
{
    return session_run(a, QF_INFO, sizes);
}

const command command_get_image_size = {
    .name = "get_image_size",
    .summary = "Write names and sizes of images, for name_size_file (SSD).",
    .details = "Takes the list that convert_annoset takes.",
    .example = "get_image_size VOCdevkit/ test.txt test_name_size.txt",
    OPTIONS(size_options),
    .caffe_tool = true,
    .words = "ROOTFOLDER/ LISTFILE OUTFILE",
    .fewest_words = 3,
    .most_words = 3,
    .run = run_sizes,
};
