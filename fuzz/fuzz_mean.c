/* Mean files (.binaryproto). */
#include "data/sources/transform.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Caffe__TransformationParameter param = CAFFE__TRANSFORMATION_PARAMETER__INIT;
    qf_transform transform;
    param.mean_file = (char *)fuzz_file(data, size);
    (void)qf_transform_setup(context, &param, true, &transform);
    qf_transform_release(&transform);
    qf_context_destroy(context);
    return 0;
}
