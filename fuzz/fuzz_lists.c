/* ImageData's list of images and WindowData's list of windows. */
#include "data/sources/image_list.h"
#include "data/sources/window_list.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Caffe__WindowDataParameter param = CAFFE__WINDOW_DATA_PARAMETER__INIT;
    const char *path = fuzz_file(data, size);
    for (int strict = 0; strict < 2; strict++) {
        qf_image_list images;
        if (qf_image_list_read(context, path, strict, &images) == QF_OK)
            qf_image_list_release(&images);
    }
    qf_window_list windows;
    param.source = (char *)path;
    if (qf_window_list_read(context, &param, &windows) == QF_OK)
        qf_window_list_release(&windows);
    qf_context_destroy(context);
    return 0;
}
