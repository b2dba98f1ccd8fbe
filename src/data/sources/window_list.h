/* WindowData's text file: images, and for each the windows in it with their class and overlap. */
#ifndef QF_DATA_SOURCES_WINDOW_LIST_H
#define QF_DATA_SOURCES_WINDOW_LIST_H

#include "base/context.h"
#include "model/caffe.pb-c.h"

enum { QF_WINDOW_CHANNELS = 3 }; /* images are read in colour */

typedef struct qf_window {
    size_t image;
    int label, left, top, right, bottom; /* right and bottom are included */
    int line;                            /* of the file, from 1 */
} qf_window;

typedef struct qf_windows {
    qf_window *items;
    size_t count, capacity;
} qf_windows;

typedef struct qf_window_list {
    char **images; /* paths, with the root folder */
    size_t image_count, image_capacity;
    qf_windows foreground, background;
} qf_window_list;

/* Reads param->source. Windows that overlap an object by fg_threshold or more are foreground, by
 * less than bg_threshold background; what lies between is left out. */
qf_status qf_window_list_read(qf_context *context, const Caffe__WindowDataParameter *param,
                              qf_window_list *out);
void qf_window_list_release(qf_window_list *list);

#endif
