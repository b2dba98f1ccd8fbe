/* SSD's batch_sampler: random parts of an image that show enough of its objects. */
#ifndef QF_DATA_BOXES_BOX_SAMPLER_H
#define QF_DATA_BOXES_BOX_SAMPLER_H

#include "base/random.h"
#include "data/boxes/annotated.h"
#include "model/caffe.pb-c.h"

qf_status qf_box_samplers_check(qf_context *context, const Caffe__AnnotatedDataParameter *param);
/* A part by the sampler's ranges of scale and aspect ratio, as shares of the image. */
qf_box qf_box_sample(const Caffe__Sampler *sampler, qf_random *random);
/* Is there an object that the part shows as the constraint asks? Without one, any part will do. */
bool qf_box_satisfies(const Caffe__SampleConstraint *constraint, const qf_box *part,
                      const qf_annotation *objects, size_t count);
/* All samplers try their luck; of the parts found, one is drawn. False: there is none. */
bool qf_box_samplers_draw(const Caffe__AnnotatedDataParameter *param, const qf_annotated *item,
                          qf_random *random, qf_box *out);
/* MobileNet-YOLO's part of an image: often whole, else shorter by up to `jitter` along each side,
 * or by half of that. 0: the parameter has no jitter. */
float qf_box_jitter_of(const Caffe__AnnotatedDataParameter *param);
qf_box qf_box_jitter(float jitter, bool keep_ratio, qf_random *random);

#endif
