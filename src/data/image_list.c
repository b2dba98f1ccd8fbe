#include "data/image_list.h"

#include "base/file.h"
#include "base/memory.h"

#include <math.h>
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

/* *whole: the word is a whole number, "2.0" too. Else what Caffe makes of it: what stands in front
 * of the first other character, or 0. */
static int32_t read_label(const char *word, bool *whole)
{
    char *end;
    const double value = strtod(word, &end);
    *whole =
        end != word && !*end && value >= INT32_MIN && value <= INT32_MAX && value == floor(value);
    return *whole ? (int32_t)value : (int32_t)strtol(word, NULL, 10);
}

/* Has it digits behind the point that a whole number loses? */
static bool is_fraction(const char *word)
{
    char *end;
    const double value = strtod(word, &end);
    return end != word && !*end && value != floor(value);
}

static qf_status take_line(qf_context *context, const char *name, int number, qf_list_rules rules,
                           char *line, qf_image_list *out)
{
    char *word = last_word(line);
    bool whole = false;
    const int32_t label = word ? read_label(word, &whole) : 0;
    if (word && is_fraction(word))
        return qf_fail(
            context, QF_E_FORMAT,
            "%s:%d: labels of images are whole numbers, but this one is %.80s; for others "
            "take HDF5Data",
            name, number, word);
    if (!whole && (rules == QF_LIST_STRICT || (word && label != strtol(word, NULL, 10))))
        return qf_fail(context, QF_E_FORMAT,
                       "%s:%d: expected a path and a label, a whole number that fits in 32 bits, "
                       "found '%.80s'",
                       name, number, line);
    if (!whole && out->odd_labels++ == 0)
        qf_warning(context,
                   "%s:%d: expected a path and a label, found '%.80s'; the label counts "
                   "as %d",
                   name, number, line, (int)label);
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
    static const char mark[] = "\xEF\xBB\xBF"; /* byte order, as editors on Windows write it */
    char *rest = out->text.data;
    int number = 1;
    if (rest && strncmp(rest, mark, sizeof mark - 1) == 0)
        rest += sizeof mark - 1;
    for (char *line; (line = strsep(&rest, "\n")); number++) {
        line[strcspn(line, "\r")] = '\0';
        for (char *end = line + strlen(line); end > line && strchr(blanks, end[-1]);)
            *--end = '\0';
        if (*line || (rules == QF_LIST_EVERY_LINE && rest))
            QF_TRY(take_line(context, name, number, rules, line, out));
    }
    if (out->odd_labels > 1)
        qf_warning(context, "%s: %zu lines have no whole number as label", name, out->odd_labels);
    return out->count ? QF_OK : qf_fail(context, QF_E_FORMAT, "%s names no images", name);
}

qf_status qf_image_list_read(qf_context *context, const char *path, qf_list_rules rules,
                             qf_image_list *out)
{
    *out = (qf_image_list){0};
    qf_status status = qf_file_read(context, path, &out->text);
    if (status == QF_OK)
        status = parse(context, path, rules, out);
    if (status != QF_OK)
        qf_image_list_release(out);
    return status;
}

void qf_image_list_release(qf_image_list *list)
{
    qf_free(list->items);
    qf_buffer_release(&list->text);
    *list = (qf_image_list){0};
}

void qf_path_join(qf_buffer *out, const char *folder, const char *path)
{
    const size_t length = strlen(folder);
    qf_buffer_print(out, "%s%s%s", folder, length && folder[length - 1] != '/' ? "/" : "", path);
}
