/* Reading ImageGtData's text. */
#include "data/sources/field_list.h"

#include "base/memory.h"
#include "data/sources/data_source.h"
#include "data/sources/list_text.h"
#include "model/file_type.h"

#include <string.h>

/* The file is words between blanks and line ends:
 *     # image_index
 *     path
 *     channels
 *     height
 *     width
 *     number of objects
 *     label ignored x1 y1 x2 y2        for each
 *     number of boxes that nobody is to look at
 *     x1 y1 x2 y2                      for each */
enum { COORDINATE_MAX = 1 << 24, COUNT_MAX = 1 << 28 };

typedef struct reader {
    qf_context *context;
    const char *path, *root_folder;
    qf_list_words words;
} reader;

static qf_status take(reader *r, const char *what, int low, int high, int *out)
{
    return qf_list_take_integer(r->context, r->path, &r->words, what, low, high, out);
}

static qf_status take_box(reader *r, bool object, qf_field_list *out)
{
    int label = QF_BOX_UNSEEN, ignored = 0, corner[4];
    QF_TRY(qf_check_limit(r->context, QF_LIMIT_LIST_LINES, out->box_count + 1, "%s has more than",
                          r->path));
    if (!qf_grow(&out->boxes, &out->box_capacity, out->box_count + 1, sizeof *out->boxes))
        return qf_fail(r->context, QF_E_MEMORY, "no memory for the boxes of %s", r->path);
    if (object) {
        QF_TRY(take(r, "the label of an object, 1 or more", 1, COORDINATE_MAX, &label));
        QF_TRY(take(r, "0, or 1 for an object that does not count", 0, 1, &ignored));
        out->images[out->image_count - 1].counts |= !ignored;
    }
    for (int i = 0; i < 4; i++)
        QF_TRY(take(r, "a corner of a box", -COORDINATE_MAX, COORDINATE_MAX, &corner[i]));
    out->boxes[out->box_count++] = (qf_field_box){
        {(float)corner[0], (float)corner[1], (float)corner[2], (float)corner[3]}, label, ignored};
    return QF_OK;
}

static qf_status take_boxes(reader *r, bool objects, qf_field_list *out)
{
    int count;
    QF_TRY(take(r,
                objects ? "the number of an image's objects"
                        : "the number of boxes that nobody is to look at",
                0, COUNT_MAX, &count));
    for (int i = 0; i < count; i++)
        QF_TRY(take_box(r, objects, out));
    return QF_OK;
}

static qf_status take_path(reader *r, qf_field_image *image)
{
    const char *path = qf_list_next_word(&r->words);
    qf_buffer whole = {0};
    if (!path)
        return qf_fail(r->context, QF_E_FORMAT, "%s:%d: expected the path of an image", r->path,
                       r->words.line);
    image->line = r->words.line;
    qf_buffer_print(&whole, "%s%s", r->root_folder, path);
    image->path = whole.failed ? NULL : qf_strdup(whole.data);
    qf_buffer_release(&whole);
    return image->path ? QF_OK : qf_fail(r->context, QF_E_MEMORY, "no memory for %s", r->path);
}

static qf_status take_image(reader *r, qf_field_list *out)
{
    int index;
    QF_TRY(take(r, "the number of an image", 0, COUNT_MAX, &index));
    if (!qf_grow(&out->images, &out->image_capacity, out->image_count + 1, sizeof *out->images))
        return qf_fail(r->context, QF_E_MEMORY, "no memory for the images of %s", r->path);
    qf_field_image *image = &out->images[out->image_count++];
    *image = (qf_field_image){.first = out->box_count};
    QF_TRY(take_path(r, image));
    QF_TRY(take(r, "an image's channels", 1, 4, &image->channels));
    QF_TRY(take(r, "an image's height", 1, COORDINATE_MAX, &image->height));
    QF_TRY(take(r, "an image's width", 1, COORDINATE_MAX, &image->width));
    QF_TRY(take_boxes(r, true, out));
    QF_TRY(take_boxes(r, false, out));
    out->images[out->image_count - 1].count = out->box_count - image->first;
    return QF_OK;
}

static qf_status parse(reader *r, qf_field_list *out)
{
    for (char *word; (word = qf_list_next_word(&r->words));) {
        if (strcmp(word, "#") != 0)
            return qf_fail(r->context, QF_E_FORMAT,
                           "%s:%d: expected # and the number of an image, found '%.80s'", r->path,
                           r->words.line, word);
        QF_TRY(take_image(r, out));
    }
    return out->image_count ? QF_OK
                            : qf_fail(r->context, QF_E_FORMAT, "%s names no images", r->path);
}

qf_status qf_field_list_read(qf_context *context, const char *path, const char *root_folder,
                             qf_field_list *out)
{
    qf_buffer text = {0};
    *out = (qf_field_list){0};
    qf_status status = qf_list_text_read(context, path, &text);
    reader r = {context, path, root_folder, {.at = text.data, .line = 1}};
    if (status == QF_OK)
        status = parse(&r, out);
    qf_buffer_release(&text);
    if (status != QF_OK)
        qf_field_list_release(out);
    return qf_wrong_file(context, status, path, QF_FILE_WINDOW_LIST);
}

void qf_field_list_release(qf_field_list *list)
{
    for (size_t i = 0; i < list->image_count; i++)
        qf_free(list->images[i].path);
    qf_free(list->images);
    qf_free(list->boxes);
    *list = (qf_field_list){0};
}
