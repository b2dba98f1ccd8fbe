/* SSD's augmentation, step by step; boxes go along. Nothing is encoded as JPEG in between, as SSD
 * does. */
#include "data/boxes/annotated_transform.h"

#include "data/boxes/box_sampler.h"
#include "data/boxes/fit.h"
#include "data/images/image_codecs.h"
#include "data/images/image_distort.h"

#include <math.h>

typedef Caffe__TransformationParameter transformation;

enum { EXPAND_MAX = 100, CHANNELS_MAX = 4 };

qf_status qf_annotated_check(qf_context *context, const transformation *t,
                             const Caffe__AnnotatedDataParameter *samplers)
{
    QF_TRY(qf_box_samplers_check(context, samplers));
    if (!t)
        return QF_OK;
    if (t->distort_param)
        QF_TRY(qf_distort_check(context, t->distort_param));
    const Caffe__ExpansionParameter *e = t->expand_param;
    if (e && !(e->max_expand_ratio >= 1 && e->max_expand_ratio <= EXPAND_MAX))
        return qf_fail(context, QF_E_VALUE,
                       "expand_param: max_expand_ratio is %g, expected 1 to %d",
                       (double)e->max_expand_ratio, EXPAND_MAX);
    if (e && t->mean_file)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "expand_param fills up with mean_value; a mean_file has a size of its own");
    return QF_OK;
}

/* ---- boxes ---- */

static bool is_emitted(const Caffe__EmitConstraint *emit, const qf_box *frame, const qf_box *box)
{
    const float x = (box->x1 + box->x2) / 2, y = (box->y1 + box->y2) / 2;
    if (!emit)
        return true;
    if (emit->emit_type == CAFFE__EMIT_CONSTRAINT__EMIT_TYPE__MIN_OVERLAP)
        return qf_box_coverage(box, frame) > emit->emit_overlap;
    return x >= frame->x1 && x <= frame->x2 && y >= frame->y1 && y <= frame->y2;
}

/* As shares of `frame`; what is outside goes. */
static void reframe(const transformation *t, const qf_box *frame, qf_annotated *item)
{
    size_t kept = 0;
    for (size_t i = 0; i < item->count; i++) {
        qf_annotation *a = &item->annotations[i];
        if (is_emitted(t ? t->emit_constraint : NULL, frame, &a->box) &&
            qf_box_project(frame, &a->box, &a->box))
            item->annotations[kept++] = *a;
    }
    item->count = kept;
}

/* ---- steps ---- */

static qf_status expand(qf_context *context, const transformation *t, qf_random *random,
                        qf_annotated *item)
{
    const Caffe__ExpansionParameter *e = t->expand_param;
    const qf_image *image = &item->image;
    const float chance = qf_random_uniform(random, 0, 1);
    if (chance > e->prob || e->max_expand_ratio < 1.01f)
        return QF_OK;
    const float ratio = qf_random_uniform(random, 1, e->max_expand_ratio);
    const int more_rows = (int)((float)image->height * ratio) - image->height,
              more_columns = (int)((float)image->width * ratio) - image->width;
    const int top = (int)qf_random_uniform(random, 0, (float)more_rows),
              left = (int)qf_random_uniform(random, 0, (float)more_columns);
    const float height = (float)image->height, width = (float)image->width;
    const qf_box frame = {-(float)left / width, -(float)top / height,
                          1 + (float)(more_columns - left) / width,
                          1 + (float)(more_rows - top) / height};
    uint8_t mean[CHANNELS_MAX] = {0};
    for (int c = 0; c < image->channels && c < CHANNELS_MAX && t->n_mean_value; c++)
        mean[c] = qf_to_byte(t->mean_value[t->n_mean_value == 1 ? 0 : c]);
    reframe(t, &frame, item);
    return qf_image_pad(context, &item->image,
                        &(qf_padding){top, more_rows - top, left, more_columns - left},
                        QF_BORDER_CONSTANT, mean);
}

static qf_status cut_out(qf_context *context, const transformation *t, const qf_box *part,
                         qf_annotated *item)
{
    const qf_image *image = &item->image;
    const qf_box inside = qf_box_clip(part, 1, 1);
    const int left = (int)(inside.x1 * (float)image->width),
              top = (int)(inside.y1 * (float)image->height);
    int width = (int)((inside.x2 - inside.x1) * (float)image->width),
        height = (int)((inside.y2 - inside.y1) * (float)image->height);
    width = width < 1 ? 1 : width > image->width - left ? image->width - left : width;
    height = height < 1 ? 1 : height > image->height - top ? image->height - top : height;
    reframe(t, &inside, item);
    return qf_image_cut(context, &item->image, top, left, height, width);
}

/* By SSD's samplers, or YOLO's jitter; false: the whole image. */
static bool draw_part(const Caffe__ResizeParameter *resize,
                      const Caffe__AnnotatedDataParameter *samplers, const qf_annotated *item,
                      qf_random *random, qf_box *out)
{
    const float jitter = qf_box_jitter_of(samplers);
    if (jitter == 0)
        return qf_box_samplers_draw(samplers, item, random, out);
    const bool keep_ratio =
        resize &&
        resize->resize_mode == CAFFE__RESIZE_PARAMETER__RESIZE_MODE__FIT_LARGE_SIZE_AND_PAD;
    *out = qf_box_jitter(jitter, keep_ratio, random);
    return true;
}

static void fit_boxes(const Caffe__ResizeParameter *resize, qf_annotated *item)
{
    for (size_t i = 0; i < item->count; i++)
        item->annotations[i].box =
            qf_fit_box(resize, item->height, item->width, &item->annotations[i].box);
}

qf_status qf_annotated_prepare(qf_context *context, const qf_transform *transform,
                               const Caffe__AnnotatedDataParameter *samplers, qf_random *random,
                               qf_annotated *item)
{
    const transformation *t = transform->param;
    qf_box part;
    QF_TRY(qf_image_interleave(context, &item->image));
    if (t && t->distort_param)
        qf_image_distort(t->distort_param, random, &item->image);
    if (t && t->expand_param)
        QF_TRY(expand(context, t, random, item));
    if (draw_part(transform->resize, samplers, item, random, &part))
        QF_TRY(cut_out(context, t, &part, item));
    item->height = item->image.height;
    item->width = item->image.width;
    if (transform->resize)
        fit_boxes(transform->resize, item);
    return qf_transform_prepare(context, transform, random, &item->image);
}

void qf_annotated_crop(const qf_transform *transform, const qf_placement *place, qf_annotated *item)
{
    const transformation *t = transform->param;
    const float height = (float)item->image.height, width = (float)item->image.width;
    const qf_box crop = {(float)place->left / width, (float)place->top / height,
                         (float)(place->left + place->width) / width,
                         (float)(place->top + place->height) / height};
    reframe(t, &crop, item);
    for (size_t i = 0; i < item->count; i++) {
        qf_box *box = &item->annotations[i].box;
        if (place->mirror)
            *box = (qf_box){1 - box->x2, box->y1, 1 - box->x1, box->y2};
        if (transform->resize)
            *box = qf_fit_rescale(transform->resize, item->height, item->width, &crop, box);
    }
}
