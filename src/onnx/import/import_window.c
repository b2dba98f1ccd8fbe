/* Reading how a window goes over images. */
#include "onnx/import/window.h"

#include <string.h>

int64_t qf_import_extent(const qf_import_window *window, int axis)
{
    return (int64_t)window->dilation[axis] * (window->kernel[axis] - 1) + 1;
}

bool qf_import_is_symmetric(const qf_import_window *window)
{
    return memcmp(window->begin, window->end, (size_t)window->axes * sizeof *window->begin) == 0;
}

/* auto_pad SAME_…: as many outputs as strides begin in the image. */
static void pad_same(const qf_shape *image, bool upper, qf_import_window *w)
{
    for (int i = 0; i < w->axes; i++) {
        const int64_t in = image->dim[2 + i], stride = w->stride[i];
        const int64_t missing =
            ((in + stride - 1) / stride - 1) * stride + qf_import_extent(w, i) - in;
        const int pad = missing > 0 ? (int)missing : 0;
        w->begin[i] = upper ? pad / 2 : pad - pad / 2;
        w->end[i] = pad - w->begin[i];
    }
}

qf_status qf_import_read_window(qf_importer *im, const qf_shape *image, qf_import_window *w)
{
    int pads[2 * QF_MAX_AXES];
    const bool upper = qf_import_says(im, "auto_pad", "SAME_UPPER");
    QF_TRY(qf_import_sizes(im, "strides", w->axes, 1, 1, w->stride));
    QF_TRY(qf_import_sizes(im, "dilations", w->axes, 1, 1, w->dilation));
    for (int i = 0; i < w->axes; i++)
        if (qf_import_extent(w, i) > INT32_MAX / 2)
            return qf_import_refuse(im, "a kernel of %d, dilated by %d, is too large", w->kernel[i],
                                    w->dilation[i]);
    if (upper || qf_import_says(im, "auto_pad", "SAME_LOWER")) {
        pad_same(image, upper, w);
        return QF_OK;
    }
    QF_TRY(qf_import_sizes(im, "pads", 2 * w->axes, 0, 0, pads));
    if (qf_import_says(im, "auto_pad", "VALID"))
        memset(pads, 0, sizeof pads);
    memcpy(w->begin, pads, (size_t)w->axes * sizeof *pads);
    memcpy(w->end, pads + w->axes, (size_t)w->axes * sizeof *pads);
    return QF_OK;
}

qf_status qf_import_take_padding(qf_importer *im, size_t input, qf_import_window *window,
                                 qf_import_blob *in)
{
    qf_import_value *value = qf_import_input(im, input);
    if (!value || !value->padded)
        return qf_import_blob_input(im, input, in);
    *in = (qf_import_blob){value->blob, QF_NO_LAYER, value->shape};
    for (int i = 0; i < 2; i++) {
        window->begin[i] += value->pads[i];
        window->end[i] += value->pads[2 + i];
        in->shape.dim[2 + i] -= value->pads[i] + value->pads[2 + i];
    }
    return QF_OK;
}
