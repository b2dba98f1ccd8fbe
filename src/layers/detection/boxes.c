/* Formulas: Liu et al., SSD: Single Shot MultiBox Detector, section 2.2; for CENTER_SIZE codes
 * Ren et al., Faster R-CNN, equation 2. */
#include "layers/detection/boxes.h"

#include <math.h>
#include <stdlib.h>

enum {
    CORNER = CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CORNER,
    CENTER_SIZE = CAFFE__PRIOR_BOX_PARAMETER__CODE_TYPE__CENTER_SIZE,
};

int qf_scores_order(float a, float b)
{
    const float first = isnan(a) ? -INFINITY : a, second = isnan(b) ? -INFINITY : b;
    return (first < second) - (first > second);
}

static int by_falling_score(const void *a, const void *b)
{
    const qf_candidate *x = a, *y = b;
    const int order = qf_scores_order(x->score, y->score);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

void qf_candidates_sort(qf_candidate *candidates, size_t count)
{
    if (count) /* else there may be no array */
        qsort(candidates, count, sizeof *candidates, by_falling_score);
}

size_t qf_boxes_suppress(const qf_box *boxes, qf_candidate *candidates, size_t count,
                         qf_box_kind kind, float threshold, float eta, int most)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && (most < 0 || kept < (size_t)most); i++) {
        bool alone = true;
        for (size_t k = 0; k < kept && alone; k++)
            alone = qf_box_overlap(&boxes[candidates[i].index], &boxes[candidates[k].index],
                                   kind) <= threshold;
        if (!alone)
            continue;
        candidates[kept++] = candidates[i];
        if (eta < 1 && threshold > 0.5f)
            threshold *= eta;
    }
    return kept;
}

qf_status qf_detections_put(qf_layer *layer, const float *rows, size_t count, size_t numbers,
                            int images)
{
    const int tall = count ? (int)count : images, wide = (int)numbers;
    float *y;
    QF_TRY(qf_blob_reshape_to(layer->top[0], &(qf_shape){4, {1, 1, tall, wide}}));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    for (int i = 0; i < tall * wide; i++)
        y[i] = count ? rows[i] : i % wide != 0 ? -1 : (float)(i / wide);
    return QF_OK;
}

/* ---- SSD ---- */

qf_status qf_priors_read(qf_layer *layer, qf_blob *blob, const qf_box_code *code, qf_priors *out)
{
    const size_t values = qf_blob_count(blob);
    const float *data;
    char text[256];
    if (values == 0 || values % 8)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s is not what a PriorBox layer makes: (1, 2, 4 · boxes)",
                       blob->name, qf_shape_text(qf_blob_shape(blob), text, sizeof text));
    QF_TRY(qf_read(layer->context, blob->data, QF_PLAIN, &data));
    *out = (qf_priors){(const qf_box *)data, (const qf_box *)(data + values / 2), values / 8};
    for (size_t i = 0; i < out->count; i++) {
        const qf_box *b = &out->box[i], *v = &out->variance[i];
        if (code->type != CORNER && !(b->x2 > b->x1 && b->y2 > b->y1))
            return qf_fail(layer->context, QF_E_VALUE,
                           "prior %zu of '%s', (%g, %g) to (%g, %g), has no area", i, blob->name,
                           (double)b->x1, (double)b->y1, (double)b->x2, (double)b->y2);
        if (!(v->x1 > 0 && v->y1 > 0 && v->x2 > 0 && v->y2 > 0))
            return qf_fail(layer->context, QF_E_VALUE,
                           "prior %zu of '%s' has a variance that is not positive", i, blob->name);
    }
    return QF_OK;
}

qf_status qf_priors_check_predictions(const qf_layer *layer, const qf_blob *blob, size_t priors,
                                      size_t per_prior, const char *what)
{
    const qf_shape *shape = qf_blob_shape(blob);
    const size_t found = shape->axes ? qf_shape_count_range(shape, 1, shape->axes) : 0;
    if (found == priors * per_prior)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "'%s' has %zu %s for each image, expected %zu: %zu for each of the %zu priors; "
                   "do num_classes and share_location fit the net?",
                   blob->name, found, what, priors * per_prior, per_prior, priors);
}

typedef struct centred {
    float x, y, width, height;
} centred;

static centred centre(const qf_box *box)
{
    return (centred){(box->x1 + box->x2) / 2, (box->y1 + box->y2) / 2, box->x2 - box->x1,
                     box->y2 - box->y1};
}

static const qf_box ones = {1, 1, 1, 1};

qf_box qf_box_encode(const qf_box_code *code, const qf_priors *priors, size_t prior,
                     const qf_box *box)
{
    const qf_box *p = &priors->box[prior];
    const qf_box *v = code->variance_in_target ? &ones : &priors->variance[prior];
    const centred from = centre(p), to = centre(box);
    if (code->type == CENTER_SIZE)
        return (qf_box){(to.x - from.x) / from.width / v->x1, (to.y - from.y) / from.height / v->y1,
                        logf(to.width / from.width) / v->x2, logf(to.height / from.height) / v->y2};
    const float width = code->type == CORNER ? 1 : from.width;
    const float height = code->type == CORNER ? 1 : from.height;
    return (qf_box){(box->x1 - p->x1) / width / v->x1, (box->y1 - p->y1) / height / v->y1,
                    (box->x2 - p->x2) / width / v->x2, (box->y2 - p->y2) / height / v->y2};
}

qf_box qf_box_decode(const qf_box_code *code, const qf_priors *priors, size_t prior,
                     const qf_box *offsets)
{
    const qf_box *p = &priors->box[prior];
    const qf_box *v = code->variance_in_target ? &ones : &priors->variance[prior];
    const centred from = centre(p);
    if (code->type == CENTER_SIZE) {
        const centred to = {
            v->x1 * offsets->x1 * from.width + from.x, v->y1 * offsets->y1 * from.height + from.y,
            expf(v->x2 * offsets->x2) * from.width, expf(v->y2 * offsets->y2) * from.height};
        return (qf_box){to.x - to.width / 2, to.y - to.height / 2, to.x + to.width / 2,
                        to.y + to.height / 2};
    }
    const float width = code->type == CORNER ? 1 : from.width;
    const float height = code->type == CORNER ? 1 : from.height;
    return (qf_box){p->x1 + v->x1 * offsets->x1 * width, p->y1 + v->y1 * offsets->y1 * height,
                    p->x2 + v->x2 * offsets->x2 * width, p->y2 + v->y2 * offsets->y2 * height};
}
