/* SSD's lists: a path of an image and one of its annotation, or a label, on each line. */
#ifndef QF_DATA_TOOLS_ANNOTATED_LIST_H
#define QF_DATA_TOOLS_ANNOTATED_LIST_H

#include "base/buffer.h"

typedef struct qf_listed_pair {
    const char *image, *annotation; /* in the list's text */
    int line;
} qf_listed_pair;

typedef struct qf_pair_list {
    qf_buffer text;
    qf_listed_pair *items;
    size_t count, capacity;
} qf_pair_list;

/* Words between blanks, two an image. An empty list is an error. Release it also after a failure.
 */
qf_status qf_pair_list_read(qf_context *context, const char *path, qf_pair_list *out);
void qf_pair_list_release(qf_pair_list *list);

#endif
