/* Walking a folder for images, with a label for each folder in it. */
#include "data/sources/image_folder.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct found {
    char *path;
    int32_t label;
    int turn; /* how many of the label come before it */
} found;

/* A folder and those that it is in, since links may go in circles. */
typedef struct place {
    const struct place *outer; /* NULL: the first one */
    dev_t device;
    ino_t number;
} place;

typedef struct walk {
    qf_context *context;
    found *images;
    size_t count, capacity;
    int folders;   /* in the first one: the labels given so far */
    int32_t label; /* of the folder that is being walked */
    int turn;
} walk;

static bool is_image(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".bmp"};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(ending, endings[i]) == 0)
            return true;
    return false;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static qf_status add_image(walk *w, const char *path)
{
    QF_TRY(qf_check_limit(w->context, QF_LIMIT_LIST_LINES, w->count + 1, "%s has more than", path));
    char *copy = qf_strdup(path);
    if (!copy || !qf_grow(&w->images, &w->capacity, w->count + 1, sizeof *w->images)) {
        qf_free(copy);
        return qf_fail(w->context, QF_E_MEMORY, "no memory for the list of images");
    }
    w->images[w->count++] = (found){copy, w->label, w->turn++};
    return QF_OK;
}

static qf_status add_folder(walk *w, const char *folder, const place *outer);

static bool is_within(const struct stat *folder, const place *place)
{
    while (place && (place->device != folder->st_dev || place->number != folder->st_ino))
        place = place->outer;
    return place;
}

/* A folder in the first one begins a label. */
static qf_status enter(walk *w, const char *folder, const place *outer)
{
    const int32_t label = w->label;
    const int turn = w->turn;
    if (!outer->outer) {
        w->label = w->folders++;
        w->turn = 0;
    }
    qf_status status = add_folder(w, folder, outer);
    if (!outer->outer) {
        w->label = label;
        w->turn = turn;
    }
    return status;
}

static qf_status add_entry(walk *w, const char *folder, const char *name, const place *here)
{
    struct stat info;
    qf_buffer path = {0};
    qf_path_join(&path, folder, name);
    qf_status status = qf_buffer_whole(w->context, &path);
    const bool there = status == QF_OK && stat(path.data, &info) == 0;
    if (there && S_ISREG(info.st_mode) && is_image(name))
        status = add_image(w, path.data);
    else if (there && S_ISDIR(info.st_mode) && !is_within(&info, here))
        status = enter(w, path.data, here);
    qf_buffer_release(&path);
    return status;
}

static qf_status add_folder(walk *w, const char *folder, const place *outer)
{
    struct dirent **entries;
    struct stat info;
    const int count = stat(folder, &info) == 0 ? scandir(folder, &entries, visible, by_name) : -1;
    if (count < 0)
        return errno == ENOMEM ? qf_fail(w->context, QF_E_MEMORY, "no memory for a folder's names")
                               : qf_fail(w->context, QF_E_IO, "cannot read the folder %s: %s",
                                         folder, strerror(errno));
    const place here = {outer, info.st_dev, info.st_ino};
    qf_status status = QF_OK;
    for (int i = 0; i < count; i++) {
        if (status == QF_OK)
            status = add_entry(w, folder, entries[i]->d_name, &here);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static int by_turn(const void *a, const void *b)
{
    const found *x = a, *y = b;
    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    return x->label != y->label ? (x->label < y->label ? -1 : 1) : strcmp(x->path, y->path);
}

/* As one text, which the items point into. */
static qf_status put(qf_context *context, walk *w, qf_image_list *out)
{
    for (size_t i = 0; i < w->count; i++)
        qf_buffer_append(&out->text, w->images[i].path, strlen(w->images[i].path) + 1);
    QF_TRY(qf_buffer_whole(context, &out->text));
    out->items = qf_alloc(w->count, sizeof *out->items);
    if (!out->items)
        return qf_fail(context, QF_E_MEMORY, "no memory for the list of images");
    out->count = out->capacity = w->count;
    const char *path = out->text.data;
    for (size_t i = 0; i < w->count; path += strlen(path) + 1, i++)
        out->items[i] = (qf_listed_image){path, w->images[i].label, 0};
    return QF_OK;
}

qf_status qf_image_folder_list(qf_context *context, const char *folder, qf_image_list *out)
{
    walk w = {.context = context};
    *out = (qf_image_list){0};
    qf_status status = add_folder(&w, folder, NULL);
    if (status == QF_OK && !w.count)
        status = qf_fail(context, QF_E_FORMAT,
                         "%s is a directory without images (.jpg, .jpeg, .png, .bmp), but a list "
                         "of images and labels or a folder of images is expected",
                         folder);
    if (status == QF_OK) {
        qsort(w.images, w.count, sizeof *w.images, by_turn);
        status = put(context, &w, out);
    }
    for (size_t i = 0; i < w.count; i++)
        qf_free(w.images[i].path);
    qf_free(w.images);
    if (status != QF_OK)
        qf_image_list_release(out);
    return status;
}
