/* The shapes of what layers make that read data, without looking at the data: from what the layers
 * say, and from what the net does with it. */
#ifndef QF_TOOLKIT_PREPARE_EXPECTED_SHAPES_H
#define QF_TOOLKIT_PREPARE_EXPECTED_SHAPES_H

#include "model/model.h"

enum { QF_EXPECTED_AXES = 32 };

typedef struct qf_expected_shape {
    int64_t dim[QF_EXPECTED_AXES];
    size_t axes;
} qf_expected_shape;

/* One image of the layer, (1, channels, height, width). */
qf_expected_shape qf_expected_image(const Caffe__NetParameter *net,
                                    const Caffe__LayerParameter *layer);
/* What top `top` has beside images of shape `images`. */
qf_expected_shape qf_expected_companion(const Caffe__NetParameter *net,
                                        const Caffe__LayerParameter *layer, size_t top,
                                        const qf_expected_shape *images);

#endif
