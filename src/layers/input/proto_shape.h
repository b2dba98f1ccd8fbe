/* Shapes of layers that say them in the prototxt: Input, DummyData, RawData. */
#ifndef QF_LAYERS_INPUT_PROTO_SHAPE_H
#define QF_LAYERS_INPUT_PROTO_SHAPE_H

#include "layers/layer.h"

qf_status qf_shape_from_proto(qf_layer *layer, const Caffe__BlobShape *proto, qf_shape *out);

#endif
