/* Shapes that somebody gives for the blobs a net begins with. */
#ifndef QF_TOOLKIT_PREPARE_INPUT_SHAPES_H
#define QF_TOOLKIT_PREPARE_INPUT_SHAPES_H

#include "model/model.h"

/* `shapes`: "data=1x3x224x224", several separated by commas. Each layer without bottoms that makes
 * such a blob becomes an Input of that shape, whatever it read before; its other tops get the shape
 * that is given for them, or what its type makes beside images (boxes, maps of labels), or one
 * value for each of the batch, as labels are. */
qf_status qf_input_shapes_apply(qf_context *context, Caffe__NetParameter *net, const char *shapes);
/* Call with how building a net ended, and the shapes it was given (NULL: none): where the data of a
 * layer could not be had, the sentence goes on with what shape to give. Returns the status. */
qf_status qf_input_shapes_suggest(qf_context *context, qf_status status,
                                  const Caffe__NetParameter *param, const char *shapes);

#endif
