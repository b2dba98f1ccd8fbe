/* Images made of a random size before a part of them is cut out: Intel's random_resize_param and
 * random_aspect_ratio_param, NVIDIA's img_rand_resize_lower and its kin. */
#ifndef QF_DATA_SOURCES_RANDOM_SIZE_H
#define QF_DATA_SOURCES_RANDOM_SIZE_H

#include "base/random.h"
#include "data/images/image.h"
#include "model/model.h"

/* Do the settings make sense? */
qf_status qf_random_size_check(qf_context *context, const Caffe__TransformationParameter *param);
/* Is there anything to do? */
bool qf_random_size_asked(const Caffe__TransformationParameter *param);
/* In place; an image of interleaved bytes. */
qf_status qf_random_size_apply(qf_context *context, const Caffe__TransformationParameter *param,
                               qf_random *random, qf_image *image);

#endif
