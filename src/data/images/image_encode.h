/* Pixels back into files: JPEG and PNG. */
#ifndef QF_DATA_IMAGES_IMAGE_ENCODE_H
#define QF_DATA_IMAGES_IMAGE_ENCODE_H

#include "base/buffer.h"
#include "data/images/image.h"

/* Is this a type that qf_image_encode() knows? "jpg", "jpeg" or "png". */
bool qf_image_type_known(const char *type);
/* Appends the file to *out. The image is one of interleaved bytes with 1 or 3 channels, B, G, R.
 * JPEG is of quality 95, as OpenCV's. */
qf_status qf_image_encode(qf_context *context, const qf_image *image, const char *type,
                          qf_buffer *out);
/* JPEG of any quality, 1 to 100. */
qf_status qf_image_encode_jpeg(qf_context *context, const qf_image *image, int quality,
                               qf_buffer *out);

#endif
