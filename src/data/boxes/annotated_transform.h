/* What SSD's transform_param and samplers do to an image and its boxes: distort, expand, sample a
 * part, resize, add noise, crop, mirror, subtract a mean, scale. */
#ifndef QF_DATA_BOXES_ANNOTATED_TRANSFORM_H
#define QF_DATA_BOXES_ANNOTATED_TRANSFORM_H

#include "data/boxes/annotated.h"
#include "data/sources/transform.h"

qf_status qf_annotated_check(qf_context *context, const Caffe__TransformationParameter *transform,
                             const Caffe__AnnotatedDataParameter *samplers);
/* All but the last three, in place: afterwards qf_transform_place() and qf_transform_write() bring
 * the image into a batch, and qf_annotated_crop() its boxes. */
qf_status qf_annotated_prepare(qf_context *context, const qf_transform *transform,
                               const Caffe__AnnotatedDataParameter *samplers, qf_random *random,
                               qf_annotated *item);
/* The boxes as shares of the crop, those that are not in it left out. */
void qf_annotated_crop(const qf_transform *transform, const qf_placement *place,
                       qf_annotated *item);

#endif
