/* Reading a label map, and looking into it: there are tens of classes, not thousands. */
#include "data/boxes/label_map.h"

#include "model/model.h"

#include <string.h>

static qf_status check(qf_context *context, const char *path, const Caffe__LabelMap *map,
                       bool unique)
{
    if (map->n_item == 0)
        return qf_fail(
            context, QF_E_FORMAT,
            "%s has no item; a label map has item { name: ... label: ... } for each class", path);
    for (size_t i = 0; i < map->n_item; i++) {
        const Caffe__LabelMapItem *item = map->item[i];
        if (!item->name || !item->has_label || item->label < 0)
            return qf_fail(context, QF_E_FORMAT,
                           "%s: item %zu needs a name, and a label of 0 or more", path, i);
        for (size_t k = 0; unique && k < i; k++)
            if (strcmp(item->name, map->item[k]->name) == 0 || item->label == map->item[k]->label)
                return qf_fail(context, QF_E_FORMAT,
                               "%s: items %zu ('%s', label %d) and %zu ('%s', label %d) have the "
                               "same name or label",
                               path, k, map->item[k]->name, map->item[k]->label, i, item->name,
                               item->label);
    }
    return QF_OK;
}

qf_status qf_label_map_read(qf_context *context, const char *path, bool unique,
                            Caffe__LabelMap **out)
{
    *out = NULL;
    QF_TRY(qf_text_read(context, path, &caffe__label_map__descriptor, out));
    qf_status status = check(context, path, *out, unique);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

bool qf_label_of(const Caffe__LabelMap *map, const char *name, int *out)
{
    for (size_t i = map->n_item; i-- > 0;)
        if (strcmp(map->item[i]->name, name) == 0) {
            *out = map->item[i]->label;
            return true;
        }
    return false;
}

const char *qf_label_name(const Caffe__LabelMap *map, int label)
{
    for (size_t i = 0; i < map->n_item; i++)
        if (map->item[i]->label == label)
            return map->item[i]->name;
    return NULL;
}
