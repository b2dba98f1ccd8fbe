/* Reading a list of pairs. */
#include "data/tools/annotated_list.h"

#include "base/memory.h"
#include "data/sources/list_text.h"

qf_status qf_pair_list_read(qf_context *context, const char *path, qf_pair_list *out)
{
    *out = (qf_pair_list){0};
    QF_TRY(qf_list_text_read(context, path, &out->text));
    qf_list_words words = {out->text.data, 1, false};
    for (const char *image; (image = qf_list_next_word(&words));) {
        const int line = words.line;
        const char *annotation = qf_list_next_word(&words);
        if (!annotation || words.line != line)
            return qf_fail(context, QF_E_FORMAT,
                           "%s:%d: expected the path of an image and that of its annotation (or a "
                           "label), with a blank between them",
                           path, line);
        QF_TRY(
            qf_check_limit(context, QF_LIMIT_LIST_LINES, out->count + 1, "%s has more than", path));
        if (!qf_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
            return qf_fail(context, QF_E_MEMORY, "no memory for the list of images");
        out->items[out->count++] = (qf_listed_pair){image, annotation, line};
    }
    return out->count ? QF_OK : qf_fail(context, QF_E_FORMAT, "%s is empty", path);
}

void qf_pair_list_release(qf_pair_list *list)
{
    qf_buffer_release(&list->text);
    qf_free(list->items);
    *list = (qf_pair_list){0};
}
