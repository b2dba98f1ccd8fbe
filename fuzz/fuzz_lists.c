/* Lists: ImageData's of images, WindowData's of windows, ImageGtData's of fields, SSD's of
 * annotations and sizes, and those of images and their labels, of which no image is there. */
#include "data/boxes/name_sizes.h"
#include "data/sources/field_list.h"
#include "data/sources/image_list.h"
#include "data/sources/label_map_source.h"
#include "data/sources/window_list.h"
#include "data/tools/annotated_list.h"
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
    qf_field_list fields;
    if (qf_field_list_read(context, path, "none/", &fields) == QF_OK)
        qf_field_list_release(&fields);
    qf_name_sizes sizes;
    (void)qf_name_sizes_read(context, path, &sizes);
    qf_name_sizes_release(&sizes);
    qf_pair_list pairs;
    (void)qf_pair_list_read(context, path, &pairs);
    qf_pair_list_release(&pairs);
    for (int labels = QF_LABEL_MAP; labels <= QF_NO_LABELS; labels++) {
        const qf_label_map_options options = {
            .source = path, .root_folder = "none/", .labels = (qf_label_kind)labels};
        qf_data_source source;
        qf_random random;
        qf_random_seed(&random, 1);
        if (qf_label_map_source_open(context, &options, NULL, &random, &source) == QF_OK)
            qf_data_source_close(&source);
    }
    qf_context_destroy(context);
    return 0;
}
