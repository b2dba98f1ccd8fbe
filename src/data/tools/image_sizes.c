/* Names and sizes of images, as SSD's get_image_size writes them for name_size_file. */
#include "base/file.h"
#include "base/memory.h"
#include "data/images/image.h"
#include "data/sources/image_list.h"
#include "data/sources/list_text.h"
#include "data/tools/annotated_list.h"

#include <string.h>

enum { REPORT = 1000 }; /* images between reports */

/* Without its folder and what follows the last dot. */
static void print_stem(const char *path, qf_buffer *out)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    const size_t length = dot && dot != name ? (size_t)(dot - name) : strlen(name);
    qf_buffer_append(out, name, length);
}

/* The number that stands behind the name in a text of such pairs. */
static qf_status find_id(qf_context *context, const char *name, const char *file,
                         const qf_buffer *ids, int *out)
{
    qf_buffer copy = {0};
    bool found = false, good = true;
    qf_buffer_append(&copy, ids->data, ids->size);
    qf_buffer_append(&copy, "", 1);
    QF_TRY(qf_buffer_whole(context, &copy));
    qf_list_words words = {copy.data, 1, false};
    for (const char *word; !found && good && (word = qf_list_next_word(&words));) {
        const char *id = qf_list_next_word(&words);
        good = id && qf_list_integer(id, INT32_MIN, INT32_MAX, out);
        found = good && strcmp(word, name) == 0;
    }
    const int line = words.line;
    qf_buffer_release(&copy);
    if (!good)
        return qf_fail(context, QF_E_FORMAT, "%s:%d: expected a name and a whole number", file,
                       line);
    return found ? QF_OK
                 : qf_fail(context, QF_E_VALUE, "%s has no number for the image '%s'", file, name);
}

static qf_status print_size(qf_context *context, const char *folder, const qf_listed_pair *pair,
                            const char *id_file, const qf_buffer *ids, qf_buffer *out)
{
    qf_buffer path = {0}, name = {0};
    qf_image image = {0};
    int id = 0;
    qf_path_join(&path, folder, pair->image);
    print_stem(pair->image, &name);
    qf_buffer_append(&name, "", 1);
    qf_status status = qf_buffer_whole(context, path.failed ? &path : &name);
    if (status == QF_OK)
        status = qf_image_read(context, path.data, QF_COLOR_FORCED, &image);
    if (status == QF_OK && id_file)
        status = find_id(context, name.data, id_file, ids, &id);
    if (status == QF_OK && id_file)
        qf_buffer_print(out, "%d %d %d\n", id, image.height, image.width);
    else if (status == QF_OK)
        qf_buffer_print(out, "%s %d %d\n", name.data, image.height, image.width);
    qf_image_release(&image);
    qf_buffer_release(&path);
    qf_buffer_release(&name);
    return status;
}

qf_status qf_get_image_size(qf_context *context, const char *list, const char *folder,
                            const char *out_file, const char *name_id_file)
{
    qf_pair_list pairs;
    qf_buffer ids = {0}, out = {0};
    if (name_id_file && !*name_id_file)
        name_id_file = NULL;
    qf_status status = qf_pair_list_read(context, list, &pairs);
    if (status == QF_OK && name_id_file)
        status = qf_list_text_read(context, name_id_file, &ids);
    if (status == QF_OK)
        qf_info(context, "A total of %zu images.", pairs.count);
    for (size_t i = 0; status == QF_OK && i < pairs.count; i++) {
        status = qf_within(context,
                           print_size(context, folder, &pairs.items[i], name_id_file, &ids, &out),
                           "%s:%d", list, pairs.items[i].line);
        if (status == QF_OK && ((i + 1) % REPORT == 0 || i + 1 == pairs.count))
            qf_info(context, "Processed %zu files.", i + 1);
    }
    if (status == QF_OK)
        status = qf_buffer_whole(context, &out);
    if (status == QF_OK)
        status = qf_file_write(context, out_file, out.data, out.size, 0644);
    qf_pair_list_release(&pairs);
    qf_buffer_release(&ids);
    qf_buffer_release(&out);
    return status;
}
