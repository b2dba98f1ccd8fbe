/* Colours changed as SSD does, by OpenCV's words. Images are of interleaved bytes. */
#ifndef QF_DATA_IMAGES_IMAGE_DISTORT_H
#define QF_DATA_IMAGES_IMAGE_DISTORT_H

#include "base/random.h"
#include "data/images/image.h"
#include "model/caffe.pb-c.h"

qf_status qf_distort_check(qf_context *context, const Caffe__DistortionParameter *param);
/* In place. What needs three channels is left out where there is another number of them. */
void qf_image_distort(const Caffe__DistortionParameter *param, qf_random *random, qf_image *image);

/* A pixel in B, G, R as hue (0 … 179), saturation and value in bytes, and back. */
void qf_pixel_to_hsv(const uint8_t bgr[3], uint8_t hsv[3]);
void qf_pixel_from_hsv(const uint8_t hsv[3], uint8_t bgr[3]);

#endif
