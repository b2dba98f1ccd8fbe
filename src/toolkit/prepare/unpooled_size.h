/* How large the images of a net are that puts values back where its poolings found them (SegNet).
 */
#ifndef QF_TOOLKIT_PREPARE_UNPOOLED_SIZE_H
#define QF_TOOLKIT_PREPARE_UNPOOLED_SIZE_H

#include "model/model.h"

/* `size`, height and width, becomes the nearest with which each Upsample layer and the pooling
 * whose mask it reads are of one size; it stays where there are no such layers, or where no size
 * does. */
qf_status qf_unpooled_size(qf_context *context, const Caffe__NetParameter *net, int64_t size[2]);

#endif
