#include "data/image_list.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static qf_status take_line(qf_context *context, const char *name, int number, qf_list_rules rules,
                           char *line, qf_image_list *out)
{
    char *blank = strrchr(line, ' '), *end = NULL;
    errno = 0;
    const long label = blank ? strtol(blank + 1, &end, 10) : 0;
    const bool whole = blank && blank != line && end != blank + 1 && !*end && !errno;
    if ((rules == QF_LIST_STRICT && !whole) || label != (int32_t)label)
        return qf_fail(context, QF_E_FORMAT, "%s:%d: expected a path and a label, found '%.80s'",
                       name, number, line);
    QF_TRY(qf_check_limit(context, QF_LIMIT_LIST_LINES, out->count + 1, "%s has more than", name));
    if (!qf_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
        return qf_fail(context, QF_E_MEMORY, "no memory for the list of images");
    if (blank)
        *blank = '\0';
    out->items[out->count++] = (qf_listed_image){line, (int32_t)label, number};
    return QF_OK;
}

static qf_status parse(qf_context *context, const char *name, qf_list_rules rules,
                       qf_image_list *out)
{
    char *rest = out->text.data;
    int number = 1;
    for (char *line; (line = strsep(&rest, "\n")); number++) {
        line[strcspn(line, "\r")] = '\0';
        if (*line || (rules == QF_LIST_EVERY_LINE && rest))
            QF_TRY(take_line(context, name, number, rules, line, out));
    }
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
