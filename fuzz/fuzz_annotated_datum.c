/* Annotated datums, and their way through everything that AnnotatedData does to them. */
#include "base/memory.h"
#include "data/boxes/annotated_transform.h"
#include "fuzz.h"
#include "model/model.h"

static const char transform_text[] =
    "crop_size: 4 mirror: true mean_value: 100 distort_param { brightness_prob: 1 "
    "brightness_delta: "
    "9 contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 1.5 hue_prob: 1 hue_delta: 9 "
    "saturation_prob: 1 saturation_lower: 0.5 saturation_upper: 2 random_order_prob: 1 } "
    "expand_param { max_expand_ratio: 2 } resize_param { resize_mode: FIT_SMALL_SIZE height: 6 "
    "width: "
    "9 height_scale: 4 width_scale: 4 interp_mode: AREA interp_mode: CUBIC interp_mode: LANCZOS4 "
    "interp_mode: NEAREST } noise_param { gauss_blur: true hist_eq: true clahe: true jpeg: 50 "
    "erode: "
    "true saltpepper: true saltpepper_param { fraction: 0.1 value: 3 } } emit_constraint { "
    "emit_type: "
    "MIN_OVERLAP emit_overlap: 0.1 }";
static const char sampler_text[] =
    "batch_sampler { sampler { min_scale: 0.3 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } "
    "sample_constraint { min_jaccard_overlap: 0.1 max_object_coverage: 0.9 } max_sample: 1 "
    "max_trials: 5 }";

static void *parsed(qf_context *context, const char *text, size_t size,
                    const ProtobufCMessageDescriptor *type)
{
    void *message;
    fuzz_require(qf_text_parse(context, "settings", text, size, type, &message) == QF_OK,
                 "settings are wrong");
    return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    Caffe__TransformationParameter *param =
        parsed(context, transform_text, sizeof transform_text - 1,
               &caffe__transformation_parameter__descriptor);
    Caffe__AnnotatedDataParameter *samplers = parsed(context, sampler_text, sizeof sampler_text - 1,
                                                     &caffe__annotated_data_parameter__descriptor);
    qf_transform transform;
    qf_annotated item;
    fuzz_require(qf_transform_setup(context, param, true, &transform) == QF_OK &&
                     qf_annotated_check(context, param, samplers) == QF_OK,
                 "no transform");
    if (qf_annotated_decode(context, data, size, QF_COLOR_AS_STORED, &item) == QF_OK &&
        qf_annotated_prepare(context, &transform, samplers, &context->random, &item) == QF_OK) {
        const qf_placement place = qf_transform_place(&transform, &item.image, &context->random);
        const size_t count =
            (size_t)place.height * (size_t)place.width * (size_t)item.image.channels;
        float *out = qf_alloc_raw(count, sizeof *out);
        if (out)
            qf_transform_write(&transform, &item.image, &place, out);
        qf_free(out);
        qf_annotated_crop(&transform, &place, &item);
    }
    qf_annotated_release(&item);
    qf_transform_release(&transform);
    qf_message_free(param);
    qf_message_free(samplers);
    qf_context_destroy(context);
    return 0;
}
