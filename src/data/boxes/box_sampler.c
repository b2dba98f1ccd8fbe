/* Liu et al., SSD, section 2.2, "Data augmentation". */
#include "data/boxes/box_sampler.h"

#include <math.h>

enum { TRIALS_MAX = 1 << 20 };

static const Caffe__Sampler default_sampler = CAFFE__SAMPLER__INIT;

static qf_status check_sampler(qf_context *context, const Caffe__Sampler *s)
{
    if (!(s->min_scale > 0 && s->max_scale >= s->min_scale && s->max_scale <= 1))
        return qf_fail(context, QF_E_VALUE,
                       "sampler: scales from %g to %g; expected them above 0, at most 1, in that "
                       "order",
                       (double)s->min_scale, (double)s->max_scale);
    if (!(s->min_aspect_ratio > 0 && s->max_aspect_ratio >= s->min_aspect_ratio &&
          isfinite(s->max_aspect_ratio)))
        return qf_fail(context, QF_E_VALUE,
                       "sampler: aspect ratios from %g to %g; expected them above 0, in that order",
                       (double)s->min_aspect_ratio, (double)s->max_aspect_ratio);
    return QF_OK;
}

float qf_box_jitter_of(const Caffe__AnnotatedDataParameter *param)
{
    return param->n_batch_sampler        ? 0
           : param->has_yolo_data_jitter ? param->yolo_data_jitter
           : param->yolo_data_type == 1  ? 0.3f
                                         : 0;
}

qf_box qf_box_jitter(float jitter, bool keep_ratio, qf_random *random)
{
    const uint32_t way = qf_random_below(random, 5); /* whole, by half, three times in full */
    const float most = way == 0 ? 0 : way == 1 ? jitter / 2 : jitter;
    const float width = qf_random_uniform(random, 1 - most, 1);
    const float height = keep_ratio ? width : qf_random_uniform(random, 1 - most, 1);
    const float left = qf_random_uniform(random, 0, 1 - width);
    const float top = qf_random_uniform(random, 0, 1 - height);
    return (qf_box){left, top, left + width, top + height};
}

qf_status qf_box_samplers_check(qf_context *context, const Caffe__AnnotatedDataParameter *param)
{
    const float jitter = qf_box_jitter_of(param);
    if (!(jitter >= 0 && jitter < 1))
        return qf_fail(context, QF_E_VALUE, "yolo_data_jitter is %g, expected 0 to below 1",
                       (double)jitter);
    if (param->yolo_data_type != 0 && param->yolo_data_type != 1)
        return qf_fail(context, QF_E_VALUE, "yolo_data_type is %d, expected 0 or 1",
                       param->yolo_data_type);
    for (size_t i = 0; i < param->n_batch_sampler; i++) {
        const Caffe__BatchSampler *s = param->batch_sampler[i];
        qf_status status = QF_OK;
        if (s->sampler)
            status = check_sampler(context, s->sampler);
        if (status == QF_OK && s->max_trials > TRIALS_MAX)
            status = qf_fail(context, QF_E_VALUE, "max_trials is %u, expected at most %d",
                             s->max_trials, TRIALS_MAX);
        QF_TRY(qf_within(context, status, "batch_sampler %zu", i));
    }
    return QF_OK;
}

qf_box qf_box_sample(const Caffe__Sampler *sampler, qf_random *random)
{
    const float scale = qf_random_uniform(random, sampler->min_scale, sampler->max_scale);
    float ratio = qf_random_uniform(random, sampler->min_aspect_ratio, sampler->max_aspect_ratio);
    ratio = fminf(fmaxf(ratio, scale * scale), 1 / (scale * scale)); /* no side longer than 1 */
    const float width = fminf(scale * sqrtf(ratio), 1), height = fminf(scale / sqrtf(ratio), 1);
    const float left = qf_random_uniform(random, 0, 1 - width);
    const float top = qf_random_uniform(random, 0, 1 - height);
    return (qf_box){left, top, left + width, top + height};
}

static bool in_range(float value, bool has_least, float least, bool has_most, float most)
{
    return (!has_least || value >= least) && (!has_most || value <= most);
}

bool qf_box_satisfies(const Caffe__SampleConstraint *c, const qf_box *part,
                      const qf_annotation *objects, size_t count)
{
    if (!c ||
        !(c->has_min_jaccard_overlap || c->has_max_jaccard_overlap || c->has_min_sample_coverage ||
          c->has_max_sample_coverage || c->has_min_object_coverage || c->has_max_object_coverage))
        return true;
    for (size_t i = 0; i < count; i++) {
        const qf_box *object = &objects[i].box;
        if (in_range(qf_box_overlap(part, object, QF_BOX_BORDERS), c->has_min_jaccard_overlap,
                     c->min_jaccard_overlap, c->has_max_jaccard_overlap, c->max_jaccard_overlap) &&
            in_range(qf_box_coverage(part, object), c->has_min_sample_coverage,
                     c->min_sample_coverage, c->has_max_sample_coverage, c->max_sample_coverage) &&
            in_range(qf_box_coverage(object, part), c->has_min_object_coverage,
                     c->min_object_coverage, c->has_max_object_coverage, c->max_object_coverage))
            return true;
    }
    return false;
}

bool qf_box_samplers_draw(const Caffe__AnnotatedDataParameter *param, const qf_annotated *item,
                          qf_random *random, qf_box *out)
{
    uint32_t found = 0;
    qf_random choice = qf_random_fork(random);
    for (size_t i = 0; i < param->n_batch_sampler; i++) {
        const Caffe__BatchSampler *s = param->batch_sampler[i];
        const Caffe__Sampler *sampler = s->sampler ? s->sampler : &default_sampler;
        uint32_t own = 0;
        for (uint32_t t = 0; s->use_original_image && t < s->max_trials; t++) {
            if (s->has_max_sample && own >= s->max_sample)
                break;
            const qf_box part = qf_box_sample(sampler, random);
            if (!qf_box_satisfies(s->sample_constraint, &part, item->annotations, item->count))
                continue;
            own++;
            if (qf_random_below(&choice, ++found) == 0) /* each of them is as likely */
                *out = part;
        }
    }
    return found;
}
