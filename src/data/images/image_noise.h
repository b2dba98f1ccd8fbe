/* SSD's noise_param: an image made worse in one way or another, by OpenCV's words. */
#ifndef QF_DATA_IMAGES_IMAGE_NOISE_H
#define QF_DATA_IMAGES_IMAGE_NOISE_H

#include "base/random.h"
#include "data/images/image.h"
#include "model/caffe.pb-c.h"

qf_status qf_noise_check(qf_context *context, const Caffe__NoiseParameter *param);
/* In place; the image is one of interleaved bytes. What needs three channels is left out where
 * there is another number of them. As in SSD, `prob` decides nothing: what is asked for is always
 * done. */
qf_status qf_image_add_noise(qf_context *context, const Caffe__NoiseParameter *param,
                             qf_random *random, qf_image *image);

/* Of the brightness: the same number of pixels of each (histogram equalisation), over the image or,
 * limited, over each of 8 x 8 tiles and blended between them (CLAHE). `plane` has height · width
 * bytes. */
void qf_equalize(uint8_t *plane, int height, int width);
qf_status qf_equalize_tiles(qf_context *context, uint8_t *plane, int height, int width);

#endif
