/* Anchors (Ren et al., Faster R-CNN, section 3.1.1) and what is measured from them. */
#include "layers/detection/anchors.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static const float usual_ratios[] = {0.5f, 1, 2}, usual_scales[] = {8, 16, 32};

static qf_status check_positive(const qf_layer *layer, const char *message, const char *field,
                                const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(values[i] > 0 && values[i] < 1e6f))
            return qf_fail(layer->context, QF_E_VALUE,
                           "%s: %s must be above 0 and below 1e6, is %g", message, field,
                           (double)values[i]);
    return QF_OK;
}

qf_status qf_anchors_make(qf_layer *layer, const qf_anchor_wish *wish, qf_anchors *out)
{
    const float *ratios = wish->ratio_count ? wish->ratios : usual_ratios;
    const float *scales = wish->scale_count ? wish->scales : usual_scales;
    const size_t ratio_count = wish->ratio_count ? wish->ratio_count : 3;
    const size_t scale_count = wish->scale_count ? wish->scale_count : 3;
    QF_TRY(check_positive(layer, wish->message, "feat_stride", &wish->stride, 1));
    QF_TRY(check_positive(layer, wish->message, "base_size", &wish->base_size, 1));
    QF_TRY(check_positive(layer, wish->message, "ratio", ratios, ratio_count));
    QF_TRY(check_positive(layer, wish->message, "scale", scales, scale_count));
    *out = (qf_anchors){.box = qf_alloc(ratio_count * scale_count, sizeof *out->box),
                        .stride = wish->stride};
    if (!out->box)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for anchors");
    const float middle = (wish->base_size - 1) / 2;
    for (size_t r = 0; r < ratio_count; r++) {
        const float width = rintf(sqrtf(wish->base_size * wish->base_size / ratios[r]));
        const float height = rintf(width * ratios[r]);
        for (size_t k = 0; k < scale_count; k++) {
            const float x = (width * scales[k] - 1) / 2, y = (height * scales[k] - 1) / 2;
            out->box[out->count++] = (qf_box){middle - x, middle - y, middle + x, middle + y};
        }
    }
    return QF_OK;
}

qf_box qf_anchor_at(const qf_anchors *anchors, size_t index, size_t row, size_t column)
{
    const qf_box *a = &anchors->box[index];
    const float x = (float)column * anchors->stride, y = (float)row * anchors->stride;
    return (qf_box){a->x1 + x, a->y1 + y, a->x2 + x, a->y2 + y};
}

void qf_box_offsets(const qf_box *from, const qf_box *to, float out[4])
{
    const float w = from->x2 - from->x1 + 1, h = from->y2 - from->y1 + 1;
    const float to_w = to->x2 - to->x1 + 1, to_h = to->y2 - to->y1 + 1;
    out[0] = (to->x1 + to_w / 2 - (from->x1 + w / 2)) / w;
    out[1] = (to->y1 + to_h / 2 - (from->y1 + h / 2)) / h;
    out[2] = logf(to_w / w);
    out[3] = logf(to_h / h);
}

void qf_sample_items(qf_random *random, size_t *items, size_t count, size_t wanted)
{
    for (size_t i = 0; i < wanted && i + 1 < count; i++) {
        const size_t with = i + qf_random_below(random, (uint32_t)(count - i)), item = items[i];
        items[i] = items[with];
        items[with] = item;
    }
}

qf_status qf_objects_check(const qf_layer *layer, const qf_blob *blob)
{
    const qf_shape *shape = qf_blob_shape(blob);
    char text[256];
    if (shape->axes >= 2 && qf_shape_count_range(shape, 1, shape->axes) == 5)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "'%s' has shape %s, expected (count, 5): a row of 5 numbers for each box",
                   blob->name, qf_shape_text(shape, text, sizeof text));
}

qf_status qf_objects_read(qf_layer *layer, qf_blob *blob, qf_objects *out)
{
    out->count = (size_t)qf_blob_shape(blob)->dim[0];
    QF_TRY(qf_read(layer->context, blob->data, QF_PLAIN, &out->rows));
    for (size_t i = 0; i < out->count; i++) {
        const qf_box *box = qf_object_box(out, i);
        if (!(box->x2 >= box->x1 && box->y2 >= box->y1 && isfinite(box->x2 - box->x1) &&
              isfinite(box->y2 - box->y1) && isfinite(out->rows[5 * i + 4])))
            return qf_fail(layer->context, QF_E_VALUE,
                           "object %zu of '%s', (%g, %g) to (%g, %g), is no box with a label", i,
                           blob->name, (double)box->x1, (double)box->y1, (double)box->x2,
                           (double)box->y2);
    }
    return QF_OK;
}

size_t qf_objects_best(const qf_objects *objects, const qf_box *box, float *overlap)
{
    size_t best = 0;
    *overlap = 0;
    for (size_t i = 0; i < objects->count; i++) {
        const float mine = qf_box_overlap(box, qf_object_box(objects, i), QF_BOX_PIXELS);
        if (mine > *overlap) {
            *overlap = mine;
            best = i;
        }
    }
    return best;
}

qf_status qf_four_numbers(const qf_layer *layer, const char *field, size_t count,
                          const float *values, const float otherwise[4], bool positive,
                          float out[4])
{
    if (count != 0 && count != 4)
        return qf_fail(layer->context, QF_E_VALUE, "%s has %zu values, expected 4", field, count);
    memcpy(out, count ? values : otherwise, 4 * sizeof *out);
    for (int i = 0; i < 4; i++)
        if (!isfinite(out[i]) || (positive && !(out[i] > 0)))
            return qf_fail(layer->context, QF_E_VALUE, "%s holds %g, which is not %s", field,
                           (double)out[i], positive ? "above 0" : "a number");
    return QF_OK;
}
