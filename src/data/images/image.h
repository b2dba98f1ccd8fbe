/* Images as OpenCV decodes and resizes them, which is what Caffe sees. */
#ifndef QF_DATA_IMAGES_IMAGE_H
#define QF_DATA_IMAGES_IMAGE_H

#include "base/context.h"

/* AS_STORED: grey stays grey, an alpha channel stays (IMREAD_UNCHANGED; 16 bits are refused as
 * Caffe does). FORCED: IMREAD_COLOR and IMREAD_GRAYSCALE, which also turn a JPEG as its EXIF
 * orientation says. LABELS: as GRAY_FORCED, but the pixels of a PNG with a palette are its
 * numbers. */
typedef enum qf_color { QF_COLOR_AS_STORED, QF_COLOR_FORCED, QF_GRAY_FORCED, QF_LABELS } qf_color;

/* Pixel (c, h, w) is at c · channel_step + h · row_step + w · pixel_step. */
typedef struct qf_image {
    int channels, height, width, label;
    const uint8_t *bytes; /* or: */
    const float *floats;
    size_t channel_step, row_step, pixel_step;
    void *message;   /* what the arrays live in: a Datum, */
    uint8_t *pixels; /* or pixels of our own */
} qf_image;

/* JPEG, PNG or BMP; channels in B, G, R (alpha) order. The result is interleaved bytes. */
qf_status qf_image_decode(qf_context *context, const void *file, size_t size, qf_color color,
                          qf_image *out);
/* The same of a file, whose name a failure tells. */
qf_status qf_image_read(qf_context *context, const char *path, qf_color color, qf_image *out);
/* To height x width by OpenCV's INTER_LINEAR for bytes. `image` is one of interleaved bytes. */
qf_status qf_image_resize(qf_context *context, qf_image *image, int height, int width);
/* The same by any of OpenCV's interpolations. */
typedef enum qf_interpolation {
    QF_INTERPOLATE_LINEAR,
    QF_INTERPOLATE_AREA,
    QF_INTERPOLATE_NEAREST,
    QF_INTERPOLATE_CUBIC,
    QF_INTERPOLATE_LANCZOS
} qf_interpolation;
qf_status qf_image_interpolate(qf_context *context, qf_image *image, int height, int width,
                               qf_interpolation how);

/* Pixels around an image of interleaved bytes: of one value (a byte for each channel), mirrored
 * without the outermost, or the outermost again. */
typedef enum qf_border { QF_BORDER_CONSTANT, QF_BORDER_MIRRORED, QF_BORDER_REPEATED } qf_border;
typedef struct qf_padding {
    int top, bottom, left, right;
} qf_padding;
qf_status qf_image_pad(qf_context *context, qf_image *image, const qf_padding *padding,
                       qf_border border, const uint8_t *value);
/* Which row or column stands at `index`, inside or outside. Constant: as repeated. */
int qf_border_index(qf_border border, int index, int extent);
/* An image of bytes in planes, as raw datums are, becomes one of interleaved bytes of its own, as
 * all others are; one of floats cannot. */
qf_status qf_image_interleave(qf_context *context, qf_image *image);
/* Only a rectangle of it stays. */
qf_status qf_image_cut(qf_context *context, qf_image *image, int top, int left, int height,
                       int width);
/* The same by INTER_NEAREST, which mixes nothing. */
qf_status qf_image_resize_nearest(qf_context *context, qf_image *image, int height, int width);
/* A new image of interleaved bytes, whose pixels all have these channels. */
qf_status qf_image_fill(qf_context *context, int height, int width, int channels,
                        const uint8_t *pixel, qf_image *out);
/* To a larger height and width, with such pixels below and to the right. */
qf_status qf_image_extend(qf_context *context, qf_image *image, int height, int width,
                          const uint8_t *pixel);
/* A rectangle of an image of interleaved bytes as an image that borrows its pixels. */
qf_image qf_image_part(const qf_image *image, int top, int left, int height, int width);
void qf_image_release(qf_image *image);

#endif
