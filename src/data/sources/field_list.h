/* ImageGtData's text file (MS-CNN): images, and for each the objects in it and what nobody is to
 * look at. */
#ifndef QF_DATA_SOURCES_FIELD_LIST_H
#define QF_DATA_SOURCES_FIELD_LIST_H

#include "base/box.h"
#include "base/context.h"

typedef struct qf_field_box {
    qf_box box;
    int label; /* 1 or more; of the data source one of its own: data_source.h */
    bool ignored;
} qf_field_box;

typedef struct qf_field_image {
    char *path; /* with the root folder */
    int channels, height, width, line;
    size_t first, count; /* of its boxes */
    bool counts;         /* it shows an object that is not ignored */
} qf_field_image;

typedef struct qf_field_list {
    qf_field_image *images;
    qf_field_box *boxes;
    size_t image_count, box_count, image_capacity, box_capacity;
} qf_field_list;

qf_status qf_field_list_read(qf_context *context, const char *path, const char *root_folder,
                             qf_field_list *out);
void qf_field_list_release(qf_field_list *list);

#endif
