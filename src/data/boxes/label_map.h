/* SSD's label map: names of classes and their numbers. */
#ifndef QF_DATA_BOXES_LABEL_MAP_H
#define QF_DATA_BOXES_LABEL_MAP_H

#include "base/context.h"
#include "model/caffe.pb-c.h"

/* Reads the file, a LabelMap in text. Where `unique`, a name or label that comes twice is an error;
 * else the last of a name counts. To be freed with qf_message_free(). */
qf_status qf_label_map_read(qf_context *context, const char *path, bool unique,
                            Caffe__LabelMap **out);
/* The label of a name, or the other way round; false, NULL: there is none. */
bool qf_label_of(const Caffe__LabelMap *map, const char *name, int *out);
const char *qf_label_name(const Caffe__LabelMap *map, int label);

#endif
