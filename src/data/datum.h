/* One stored image: Caffe's Datum, raw or encoded. */
#ifndef QF_DATA_DATUM_H
#define QF_DATA_DATUM_H

#include "base/context.h"

typedef enum qf_color { QF_COLOR_AS_STORED, QF_COLOR_FORCED, QF_GRAY_FORCED } qf_color;

/* Pixel (c, h, w) is at c · channel_step + h · row_step + w · pixel_step. */
typedef struct qf_image {
    int channels, height, width, label;
    const uint8_t *bytes; /* or: */
    const float *floats;
    size_t channel_step, row_step, pixel_step;
    void *owned[2]; /* what the arrays live in */
} qf_image;

/* Parses and, where needed, decodes (JPEG, PNG; channels in B, G, R order). Sizes are checked. */
qf_status qf_image_decode(qf_context *context, const void *datum, size_t size, qf_color color,
                          qf_image *out);
void qf_image_release(qf_image *image);

#endif
