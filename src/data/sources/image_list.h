/* Lists of image files and labels, a line each: convert_imageset's and ImageData's. */
#ifndef QF_DATA_SOURCES_IMAGE_LIST_H
#define QF_DATA_SOURCES_IMAGE_LIST_H

#include "base/buffer.h"

typedef struct qf_listed_image {
    const char *path; /* in the list's text */
    int32_t label;
    int line; /* counted from 1; 0: of a folder, there is no list */
} qf_listed_image;

typedef struct qf_image_list {
    qf_buffer text;
    qf_listed_image *items;
    size_t count, capacity;
    size_t odd_labels, first_odd; /* items whose label is missing or no number; the first of them */
} qf_image_list;

/* A path may contain blanks: the label is what follows the last blanks or tabs. A mark of byte
 * order, empty lines, and blanks and \r at a line's end are left out. A label that is a number but
 * no whole one is an error. Strict: so is any that is no number, or none. Else they are read as
 * Caffe does, with a warning: what is no number counts as far as it is one, and a line without a
 * blank has label 0; unless the file is of another type altogether. */
typedef enum qf_list_rules {
    QF_LIST_STRICT,
    QF_LIST_LENIENT,
    QF_LIST_EVERY_LINE /* lenient; empty lines count too, as images without a name */
} qf_list_rules;
qf_status qf_image_list_read(qf_context *context, const char *path, qf_list_rules rules,
                             qf_image_list *out);
void qf_image_list_release(qf_image_list *list);
/* Call with how reading an image of the list ended: the sentence names the line, and where the file
 * is not there what in the line is the path. Returns the status. */
qf_status qf_listed_image_within(qf_context *context, qf_status status, const char *list,
                                 const qf_listed_image *image);
/* Folder and path, with one / between them; an empty folder gives the path. */
void qf_path_join(qf_buffer *out, const char *folder, const char *path);

#endif
