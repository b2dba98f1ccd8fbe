/* Files that say what is on an image: VOC's and ILSVRC's XML, COCO's JSON as SSD's scripts cut it
 * into one file an image, and lines of text. */
#ifndef QF_DATA_BOXES_ANNOTATION_FILE_H
#define QF_DATA_BOXES_ANNOTATION_FILE_H

#include "base/buffer.h"
#include "model/caffe.pb-c.h"

/* In pixels of the image. */
typedef struct qf_drawn_box {
    int label;
    double left, top, right, bottom;
    bool difficult;
} qf_drawn_box;

typedef struct qf_drawn_boxes {
    double width, height; /* of the image, as the file says; 0: it does not */
    qf_drawn_box *items;
    size_t count, capacity;
} qf_drawn_boxes;

typedef enum qf_annotation_format {
    QF_ANNOTATION_XML,
    QF_ANNOTATION_JSON,
    QF_ANNOTATION_TEXT
} qf_annotation_format;
/* "xml", "json" or "txt". */
qf_status qf_annotation_format_find(qf_context *context, const char *name,
                                    qf_annotation_format *out);

/* The boxes of a file, labelled by the map (text has numbers in itself). A name that is not in the
 * map is an error, as is a coordinate that is no number. Release *out also after a failure. */
qf_status qf_annotation_file_read(qf_context *context, const char *path,
                                  qf_annotation_format format, const Caffe__LabelMap *map,
                                  qf_drawn_boxes *out);
void qf_drawn_boxes_release(qf_drawn_boxes *boxes);
/* In groups by label, as shares of the size that the file says, else of the image's. What is odd
 * but kept, as SSD does, is warned of: another size, boxes that leave the image or are turned over.
 */
qf_status qf_drawn_boxes_store(qf_context *context, const char *path, const qf_drawn_boxes *boxes,
                               int height, int width, Caffe__AnnotatedDatum *out);

/* ---- for the formats ---- */

typedef qf_status qf_annotation_reader(qf_context *context, const char *path, const qf_buffer *file,
                                       const Caffe__LabelMap *map, qf_drawn_boxes *out);
qf_annotation_reader qf_annotation_read_xml, qf_annotation_read_json;
qf_status qf_drawn_boxes_add(qf_context *context, qf_drawn_boxes *boxes, const qf_drawn_box *box);
/* The label of a class, or the sentence that it has none. */
qf_status qf_annotation_label(qf_context *context, const Caffe__LabelMap *map, const char *name,
                              int *out);

#endif
