/* The decoders behind qf_image_decode(). Each checks the size and allocates with qf_image_make().
 */
#ifndef QF_DATA_IMAGES_IMAGE_CODECS_H
#define QF_DATA_IMAGES_IMAGE_CODECS_H

#include "data/images/image.h"

#include <math.h>

typedef qf_status qf_image_decoder(qf_context *context, const uint8_t *file, size_t size,
                                   qf_color color, qf_image *out);
qf_image_decoder qf_decode_jpeg, qf_decode_png, qf_decode_bmp;

/* Make *out an image of interleaved bytes, which are not set yet. */
qf_status qf_image_make(qf_context *context, long long height, long long width, int channels,
                        qf_image *out);
/* Of an image of interleaved bytes. */
static inline size_t qf_image_bytes(const qf_image *image)
{
    return (size_t)image->height * image->row_step;
}
/* Rounded to even, and into 0 … 255. */
static inline uint8_t qf_to_byte(float value)
{
    return value >= 255 ? 255 : value > 0 ? (uint8_t)lrintf(value) : 0;
}
/* `count` pixels of `channels` bytes (B, G, R, …) to grey as OpenCV does: the luma of ITU-R BT.601
 * in 14 bits. In place is fine. */
void qf_pixels_to_gray(const uint8_t *pixels, size_t count, int channels, uint8_t *gray);

/* The EXIF orientation of a JPEG file, 1 … 8; 1 where there is none. */
int qf_exif_orientation(const uint8_t *file, size_t size);
/* Turn the image upright. */
qf_status qf_image_orient(qf_context *context, int orientation, qf_image *image);

/* The failure for what a library says of an image: damage, or that memory ran out. */
qf_status qf_image_damaged(qf_context *context, const char *format, const char *reason);

#endif
