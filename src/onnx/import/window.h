/* How a window goes over images: what convolutions and pooling have in common. */
#ifndef QF_ONNX_IMPORT_WINDOW_H
#define QF_ONNX_IMPORT_WINDOW_H

#include "onnx/import/importer.h"

typedef struct qf_import_window {
    int axes; /* behind batch and channels */
    int kernel[QF_MAX_AXES], stride[QF_MAX_AXES], dilation[QF_MAX_AXES];
    int begin[QF_MAX_AXES], end[QF_MAX_AXES]; /* padding */
} qf_import_window;

/* strides, dilations, pads and auto_pad of the node; `kernel` of each axis is there already. */
qf_status qf_import_read_window(qf_importer *im, const qf_shape *image, qf_import_window *window);
/* The padding of a Pad node in front goes into that of the window, and the image that remains into
 * `*in`, whose shape becomes that without it. */
qf_status qf_import_take_padding(qf_importer *im, size_t input, qf_import_window *window,
                                 qf_import_blob *in);
bool qf_import_is_symmetric(const qf_import_window *window);        /* its padding */
int64_t qf_import_extent(const qf_import_window *window, int axis); /* of the kernel, dilated */

#endif
