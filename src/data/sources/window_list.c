/* Reading WindowData's text. */
#include "data/sources/window_list.h"

#include "base/memory.h"
#include "data/sources/list_text.h"
#include "model/file_type.h"

#include <math.h>
#include <string.h>

/* The file is words between blanks and line ends:
 *     # image_index
 *     path
 *     channels
 *     height
 *     width
 *     number of windows
 *     class overlap x1 y1 x2 y2        for each window */
enum { INTEGER_MAX = 1 << 28 }; /* of sizes and places; sums of a few are integers still */

typedef struct reader {
    qf_context *context;
    const Caffe__WindowDataParameter *param;
    qf_list_words words;
} reader;

static qf_status unexpected(reader *r, const char *what, const char *found)
{
    return qf_fail(r->context, QF_E_FORMAT, "%s:%d: expected %s, found '%.80s'", r->param->source,
                   r->words.line, what, found ? found : "the end of the file");
}

static qf_status take_integer(reader *r, const char *what, int low, int *out)
{
    return qf_list_take_integer(r->context, r->param->source, &r->words, what, low, INTEGER_MAX,
                                out);
}

static qf_status add_window(reader *r, qf_windows *to, const qf_window *window)
{
    QF_TRY(qf_check_limit(r->context, QF_LIMIT_LIST_LINES, to->count + 1, "%s has more than",
                          r->param->source));
    if (!qf_grow(&to->items, &to->capacity, to->count + 1, sizeof *to->items))
        return qf_fail(r->context, QF_E_MEMORY, "no memory for the windows of %s",
                       r->param->source);
    to->items[to->count++] = *window;
    return QF_OK;
}

static qf_status take_window(reader *r, qf_window_list *out)
{
    qf_window w = {.image = out->image_count - 1};
    double overlap;
    const char *word;
    QF_TRY(take_integer(r, "the class of a window", -INTEGER_MAX, &w.label));
    w.line = r->words.line;
    word = qf_list_next_word(&r->words);
    if (!word || !qf_list_number(word, &overlap) || fabs(overlap) > 1e30)
        return unexpected(r, "a window's overlap with an object", word);
    QF_TRY(take_integer(r, "a window's x1", -INTEGER_MAX, &w.left));
    QF_TRY(take_integer(r, "a window's y1", -INTEGER_MAX, &w.top));
    QF_TRY(take_integer(r, "a window's x2", -INTEGER_MAX, &w.right));
    QF_TRY(take_integer(r, "a window's y2", -INTEGER_MAX, &w.bottom));
    if (w.left < 0 || w.top < 0 || w.right < w.left || w.bottom < w.top)
        return qf_fail(r->context, QF_E_VALUE, "%s:%d: x %d ... %d, y %d ... %d is not a window",
                       r->param->source, w.line, w.left, w.right, w.top, w.bottom);
    if ((float)overlap >= r->param->fg_threshold) {
        if (w.label < 1)
            return qf_fail(r->context, QF_E_VALUE,
                           "%s:%d: a foreground window is of class %d, expected 1 or more",
                           r->param->source, w.line, w.label);
        return add_window(r, &out->foreground, &w);
    }
    return (float)overlap < r->param->bg_threshold ? add_window(r, &out->background, &w) : QF_OK;
}

static qf_status take_image(reader *r, qf_window_list *out)
{
    int index, channels, height, width, windows;
    QF_TRY(take_integer(r, "the number of an image", 0, &index));
    if ((size_t)index != out->image_count)
        return qf_fail(r->context, QF_E_FORMAT,
                       "%s:%d: image %d follows %zu images; they are numbered from 0",
                       r->param->source, r->words.line, index, out->image_count);
    const char *path = qf_list_next_word(&r->words);
    if (!path)
        return unexpected(r, "the path of an image", path);
    qf_buffer whole = {0};
    qf_buffer_print(&whole, "%s%s", r->param->root_folder, path);
    char *copy = whole.failed ? NULL : qf_strdup(whole.data);
    qf_buffer_release(&whole);
    if (!copy ||
        !qf_grow(&out->images, &out->image_capacity, out->image_count + 1, sizeof *out->images)) {
        qf_free(copy);
        return qf_fail(r->context, QF_E_MEMORY, "no memory for the images of %s", r->param->source);
    }
    out->images[out->image_count++] = copy;
    QF_TRY(take_integer(r, "an image's channels", 1, &channels));
    if (channels != QF_WINDOW_CHANNELS)
        return qf_fail(r->context, QF_E_SHAPE,
                       "%s:%d: an image has %d channels; windows are taken from images of %d",
                       r->param->source, r->words.line, channels, QF_WINDOW_CHANNELS);
    QF_TRY(take_integer(r, "an image's height", 1, &height));
    QF_TRY(take_integer(r, "an image's width", 1, &width));
    QF_TRY(take_integer(r, "the number of an image's windows", 0, &windows));
    for (int i = 0; i < windows; i++)
        QF_TRY(take_window(r, out));
    return QF_OK;
}

static qf_status parse(reader *r, qf_window_list *out)
{
    for (char *word; (word = qf_list_next_word(&r->words));) {
        if (strcmp(word, "#") != 0)
            return unexpected(r, "# and the number of an image", word);
        QF_TRY(take_image(r, out));
    }
    return out->image_count
               ? QF_OK
               : qf_fail(r->context, QF_E_FORMAT, "%s names no images", r->param->source);
}

qf_status qf_window_list_read(qf_context *context, const Caffe__WindowDataParameter *param,
                              qf_window_list *out)
{
    qf_buffer text = {0};
    *out = (qf_window_list){0};
    qf_status status = qf_list_text_read(context, param->source, &text);
    reader r = {.context = context, .param = param, .words = {.at = text.data, .line = 1}};
    if (status == QF_OK)
        status = parse(&r, out);
    qf_buffer_release(&text);
    if (status != QF_OK)
        qf_window_list_release(out);
    return qf_wrong_file(context, status, param->source, QF_FILE_WINDOW_LIST);
}

void qf_window_list_release(qf_window_list *list)
{
    for (size_t i = 0; i < list->image_count; i++)
        qf_free(list->images[i]);
    qf_free(list->images);
    qf_free(list->foreground.items);
    qf_free(list->background.items);
    *list = (qf_window_list){0};
}
