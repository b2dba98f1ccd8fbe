/* Datums, raw and encoded, and their way through crop, mirror and mean values. */
#include "base/memory.h"
#include "data/sources/transform.h"
#include "data/stores/datum.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Caffe__TransformationParameter param = CAFFE__TRANSFORMATION_PARAMETER__INIT;
    float mean = 100;
    qf_transform transform;
    qf_image image;
    param.crop_size = (uint32_t)(size % 5);
    param.mirror = true;
    param.n_mean_value = 1;
    param.mean_value = &mean;
    fuzz_require(qf_transform_setup(context, &param, true, &transform) == QF_OK, "no transform");
    if (qf_datum_decode(context, data, size, QF_COLOR_AS_STORED, &image) == QF_OK) {
        int height, width;
        if (qf_transform_shape(context, &transform, &image, &height, &width) == QF_OK) {
            const size_t count = (size_t)height * (size_t)width * (size_t)image.channels;
            float *out = qf_alloc_raw(count, sizeof *out);
            if (out) {
                const qf_placement place = qf_transform_place(&transform, &image, &context->random);
                qf_transform_write(&transform, &image, &place, out);
            }
            qf_free(out);
        }
        qf_image_release(&image);
    }
    qf_transform_release(&transform);
    qf_context_destroy(context);
    return 0;
}
