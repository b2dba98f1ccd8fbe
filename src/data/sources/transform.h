/* Caffe's DataTransformer: crop, mirror, mean, scale; and SSD's: resize, noise. */
#ifndef QF_DATA_SOURCES_TRANSFORM_H
#define QF_DATA_SOURCES_TRANSFORM_H

#include "data/stores/datum.h"
#include "model/model.h"

typedef struct qf_transform {
    const Caffe__TransformationParameter *param; /* borrowed; NULL: nothing to do */
    const Caffe__ResizeParameter *resize; /* of those in `param` the one in force; NULL: none */
    bool train;
    qf_color color;
    float *mean; /* mean file: channels · height · width */
    int mean_channels, mean_height, mean_width;
} qf_transform;

qf_status qf_transform_setup(qf_context *context, const Caffe__TransformationParameter *param,
                             bool train, qf_transform *out);
void qf_transform_release(qf_transform *transform);
/* Of several resize_param (MobileNet-YOLO) one is drawn, for a whole batch. */
void qf_transform_begin_batch(qf_transform *transform, qf_random *random);
/* Random sizes, resize_param and noise_param (SSD): what is done to an image before it is cut and
 * written. */
qf_status qf_transform_prepare(qf_context *context, const qf_transform *transform,
                               qf_random *random, qf_image *image);
/* Height and width of the results for an image. Fails where it does not fit crop, mean file or mean
 * values. */
qf_status qf_transform_shape(qf_context *context, const qf_transform *transform,
                             const qf_image *image, int *height, int *width);
/* What of an image is taken, and whether mirrored. Draws from `random` as Caffe does: crop in
 * TRAIN, mirror always. */
typedef struct qf_placement {
    int top, left, height, width;
    bool mirror;
} qf_placement;
qf_placement qf_transform_place(const qf_transform *transform, const qf_image *image,
                                qf_random *random);
/* out: height · width · channels floats, channels last. */
void qf_transform_write(const qf_transform *transform, const qf_image *image,
                        const qf_placement *place, float *out);

#endif
