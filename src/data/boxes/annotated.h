/* SSD's AnnotatedDatum: an image and the boxes on it. */
#ifndef QF_DATA_BOXES_ANNOTATED_H
#define QF_DATA_BOXES_ANNOTATED_H

#include "base/box.h"
#include "base/random.h"
#include "data/images/image.h"

typedef struct qf_annotation {
    int label, instance;
    qf_box box; /* shares of the image: 0 … 1 */
    bool difficult;
} qf_annotation;

typedef struct qf_annotated {
    qf_image image;
    int height, width; /* of the image before it was resized (annotated_transform.h) */
    bool has_type;     /* what it shows is said by boxes; else by the image's label */
    qf_annotation *annotations;
    size_t count, capacity;
} qf_annotated;

/* Parses and decodes. Sizes are checked, and that boxes are numbers. *out is to be released; that
 * does no harm after a failure. */
qf_status qf_annotated_decode(qf_context *context, const void *datum, size_t size, qf_color color,
                              qf_annotated *out);
void qf_annotated_release(qf_annotated *item);

#endif
