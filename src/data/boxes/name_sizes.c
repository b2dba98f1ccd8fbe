/* Reading a file of names and sizes. */
#include "data/boxes/name_sizes.h"

#include "base/memory.h"
#include "data/sources/list_text.h"

enum { SIDE_MAX = 1 << 20 };

qf_status qf_name_sizes_read(qf_context *context, const char *path, qf_name_sizes *out)
{
    *out = (qf_name_sizes){0};
    QF_TRY(qf_list_text_read(context, path, &out->text));
    qf_list_words words = {out->text.data, 1, false};
    for (char *name; (name = qf_list_next_word(&words));) {
        qf_name_size item = {.name = name};
        const char *height = qf_list_next_word(&words), *width = qf_list_next_word(&words);
        if (!height || !width || !qf_list_integer(height, 1, SIDE_MAX, &item.height) ||
            !qf_list_integer(width, 1, SIDE_MAX, &item.width))
            return qf_fail(context, QF_E_FORMAT,
                           "%s:%d: expected a name, a height and a width, as get_image_size writes "
                           "them",
                           path, words.line);
        QF_TRY(
            qf_check_limit(context, QF_LIMIT_LIST_LINES, out->count + 1, "%s has more than", path));
        if (!qf_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
            return qf_fail(context, QF_E_MEMORY, "no memory for the list of sizes");
        out->items[out->count++] = item;
    }
    return out->count ? QF_OK : qf_fail(context, QF_E_FORMAT, "%s is empty", path);
}

void qf_name_sizes_release(qf_name_sizes *sizes)
{
    qf_buffer_release(&sizes->text);
    qf_free(sizes->items);
    *sizes = (qf_name_sizes){0};
}
