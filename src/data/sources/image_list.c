/* Reading lists of image files and labels. */
#include "data/sources/image_list.h"

#include "base/memory.h"
#include "data/sources/list_text.h"
#include "model/file_type.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t";

/* Where the last word of a line begins, if there is one behind a blank; NULL: the line is one word.
 */
static char *last_word(char *line)
{
    char *word = line + strlen(line);
    while (word > line && !strchr(blanks, word[-1]))
        word--;
    return word == line ? NULL : word;
}

/* *odd: it is no number, or there is none; it counts then as in Caffe, as far as it is one. */
static qf_status take_label(qf_context *context, const char *name, int line, const char *word,
                            int32_t *label, bool *odd)
{
    double value;
    *label = 0;
    *odd = !word || !qf_list_integer(word, INT32_MIN, INT32_MAX, label);
    if (!*odd)
        return QF_OK;
    if (word && qf_list_number(word, &value))
        return qf_fail(
            context, QF_E_FORMAT,
            "%s:%d: labels of images are whole numbers that fit in 32 bits, but this one "
            "is %.80s; for others take HDF5Data",
            name, line, word);
    *label = word ? (int32_t)strtol(word, NULL, 10) : 0;
    return QF_OK;
}

static qf_status take_line(qf_context *context, const char *name, int number, qf_list_rules rules,
                           char *line, qf_image_list *out)
{
    char *word = last_word(line);
    bool odd;
    int32_t label;
    QF_TRY(take_label(context, name, number, word, &label, &odd));
    if (odd && rules == QF_LIST_STRICT)
        return qf_fail(context, QF_E_FORMAT,
                       "%s:%d: expected a path and a label, a whole number, found '%.80s'", name,
                       number, line);
    out->first_odd = odd && !out->odd_labels ? out->count : out->first_odd;
    out->odd_labels += odd;
    QF_TRY(qf_check_limit(context, QF_LIMIT_LIST_LINES, out->count + 1, "%s has more than", name));
    if (!qf_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
        return qf_fail(context, QF_E_MEMORY, "no memory for the list of images");
    for (char *end = word; end && end > line && strchr(blanks, end[-1]);)
        *--end = '\0';
    out->items[out->count++] = (qf_listed_image){line, label, number};
    return QF_OK;
}

static qf_status parse(qf_context *context, const char *name, qf_list_rules rules,
                       qf_image_list *out)
{
    char *rest = out->text.data;
    int number = 1;
    for (char *line; (line = strsep(&rest, "\n")); number++) {
        for (char *end = line + strlen(line); end > line && strchr(blanks, end[-1]);)
            *--end = '\0';
        if (*line || (rules == QF_LIST_EVERY_LINE && rest))
            QF_TRY(take_line(context, name, number, rules, line, out));
    }
    return out->count ? QF_OK : qf_fail(context, QF_E_FORMAT, "%s names no images", name);
}

/* Lines without labels are what Caffe reads, too; but it may be no list at all. */
static qf_status check_labels(qf_context *context, const char *name, const qf_image_list *list)
{
    const qf_listed_image *first = list->items + list->first_odd;
    if (!list->odd_labels)
        return QF_OK;
    if (qf_file_is_other(name, QF_FILE_IMAGE_LIST))
        return qf_fail(context, QF_E_FORMAT, "%s is no list of images and labels", name);
    qf_warning(context, "%s:%d: expected a path and a label; the label of '%.80s' counts as %d",
               name, first->line, first->path, (int)first->label);
    if (list->odd_labels > 1)
        qf_warning(context, "%s: %zu lines have no whole number as label", name, list->odd_labels);
    return QF_OK;
}

qf_status qf_image_list_read(qf_context *context, const char *path, qf_list_rules rules,
                             qf_image_list *out)
{
    *out = (qf_image_list){0};
    qf_status status = qf_list_text_read(context, path, &out->text);
    if (status == QF_OK)
        status = parse(context, path, rules, out);
    if (status == QF_OK)
        status = check_labels(context, path, out);
    if (status != QF_OK)
        qf_image_list_release(out);
    return qf_wrong_file(context, status, path, QF_FILE_IMAGE_LIST);
}

void qf_image_list_release(qf_image_list *list)
{
    qf_free(list->items);
    qf_buffer_release(&list->text);
    *list = (qf_image_list){0};
}

qf_status qf_listed_image_within(qf_context *context, qf_status status, const char *list,
                                 const qf_listed_image *image)
{
    char said[QF_ERROR_TEXT_SIZE];
    if (image->line == 0)
        return status;
    if (status == QF_E_IO && strpbrk(image->path, " \t'\",;")) {
        snprintf(said, sizeof said, "%s", qf_error_text(context));
        (void)qf_fail(context, status,
                      "%s; the path is '%s', all that stands before the last blanks", said,
                      image->path);
    }
    return qf_within(context, status, "%s:%d", list, image->line);
}

void qf_path_join(qf_buffer *out, const char *folder, const char *path)
{
    const size_t length = strlen(folder);
    qf_buffer_print(out, "%s%s%s", folder, length && folder[length - 1] != '/' ? "/" : "", path);
}
