/* Caffe's DataTransformer: crop, mirror, mean, scale. */
#ifndef QF_DATA_SOURCES_TRANSFORM_H
#define QF_DATA_SOURCES_TRANSFORM_H

#include "data/stores/datum.h"
#include "model/model.h"

typedef struct qf_transform {
    const Caffe__TransformationParameter *param; /* borrowed; NULL: nothing to do */
    bool train;
    qf_color color;
    float *mean; /* mean file: channels · height · width */
    int mean_channels, mean_height, mean_width;
} qf_transform;

qf_status qf_transform_setup(qf_context *context, const Caffe__TransformationParameter *param,
                             bool train, qf_transform *out);
void qf_transform_release(qf_transform *transform);
/* Height and width of the results for an image. Fails where it does not fit crop, mean file or mean
 * values. */
qf_status qf_transform_shape(qf_context *context, const qf_transform *transform,
                             const qf_image *image, int *height, int *width);
/* out: height · width · channels floats, channels last. Draws from `random` as Caffe does: crop in
 * TRAIN, mirror always. */
void qf_transform_apply(const qf_transform *transform, const qf_image *image, qf_random *random,
                        float *out);

#endif
