/*
 * BoxAnnotatorOHEM (R-FCN; Shrivastava et al., Online Hard Example Mining): the regions of each
 * image whose loss is the greatest keep their labels and weights, all others are left out of the
 * losses.
 *
 * Bottoms: regions (num, 5, …), the first of the five the image; their losses, (num, 1, …); labels,
 * as many; weights of box differences (num, channels, …). Tops: the labels, `ignore_label` for what
 * is left out; the weights, 0 for it. Each of the num · … positions is a region.
 */
#include "layers/detection/boxes.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { ROW = 5, ROIS = 0, LOSSES, LABELS, WEIGHTS, IMAGES_MAX = 1 << 20 };

typedef struct state {
    qf_candidate *regions; /* by falling loss */
    size_t capacity;
    int *left; /* how many may still come, by image */
    size_t left_capacity;
} state;

QF_LAYER_PARAM_OF(box_annotator_ohem_param, BOX_ANNOTATOR_OHEM, BoxAnnotatorOHEM)

static qf_status setup(qf_layer *layer)
{
    const uint32_t most = param_of(layer)->roi_per_img;
    return most >= 1 && most <= INT32_MAX
               ? QF_OK
               : qf_fail(layer->context, QF_E_VALUE,
                         "box_annotator_ohem_param: roi_per_img must be at least 1, is %u", most);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->regions);
    qf_free(s->left);
}

/* Positions of one item: 1 but for maps. */
static size_t plane_of(const qf_blob *blob)
{
    const qf_shape *shape = qf_blob_shape(blob);
    return shape->axes > 2 ? qf_shape_count_range(shape, 2, shape->axes) : 1;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *rois = qf_blob_shape(layer->bottom[ROIS]);
    char text[256], first[256];
    if (rois->axes < 2 || rois->dim[1] != ROW)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected regions of 5 numbers: (num, 5)",
                       layer->bottom[ROIS]->name, qf_shape_text(rois, text, sizeof text));
    const size_t regions = (size_t)rois->dim[0] * plane_of(layer->bottom[ROIS]);
    for (int b = LOSSES; b <= WEIGHTS; b++) {
        const qf_blob *blob = layer->bottom[b];
        const qf_shape *shape = qf_blob_shape(blob);
        const bool fits = b == WEIGHTS ? shape->axes >= 2 && shape->dim[0] == rois->dim[0] &&
                                             plane_of(blob) == plane_of(layer->bottom[ROIS])
                                       : qf_blob_count(blob) == regions;
        if (!fits)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' of shape %s does not fit the %zu regions of '%s', of shape %s",
                           blob->name, qf_shape_text(shape, text, sizeof text), regions,
                           layer->bottom[ROIS]->name, qf_shape_text(rois, first, sizeof first));
    }
    QF_TRY(qf_blob_reshape_to(layer->top[0], qf_blob_shape(layer->bottom[LABELS])));
    return qf_blob_reshape_to(layer->top[1], qf_blob_shape(layer->bottom[WEIGHTS]));
}

/* Which image region `index` lies in. */
static qf_status image_of(const qf_layer *layer, const float *rois, size_t index, size_t plane,
                          int *out)
{
    const float image = rois[index / plane * ROW * plane + index % plane];
    *out = (int)(image >= 0 && image < IMAGES_MAX ? image : -1);
    return *out >= 0 ? QF_OK
                     : qf_fail(layer->context, QF_E_VALUE, "region %zu of '%s' lies in image %g",
                               index, layer->bottom[ROIS]->name, (double)image);
}

static qf_status sort_regions(qf_layer *layer, const float *rois, const float *losses, size_t count,
                              size_t plane)
{
    state *s = layer->state;
    int images = 0;
    if (!qf_grow(&s->regions, &s->capacity, count, sizeof *s->regions))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu regions", count);
    for (size_t i = 0; i < count; i++) {
        int image;
        QF_TRY(image_of(layer, rois, i, plane, &image));
        images = image >= images ? image + 1 : images;
        s->regions[i] = (qf_candidate){losses[i], (int)i};
    }
    qf_candidates_sort(s->regions, count);
    if (!qf_grow(&s->left, &s->left_capacity, (size_t)images, sizeof *s->left))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %d images", images);
    for (int i = 0; i < images; i++)
        s->left[i] = (int)param_of(layer)->roi_per_img;
    return QF_OK;
}

static void keep(const qf_layer *layer, const float *const *values, size_t index, size_t plane,
                 float *labels, float *weights)
{
    const size_t channels = (size_t)qf_blob_shape(layer->bottom[WEIGHTS])->dim[1];
    labels[index] = values[LABELS][index];
    for (size_t c = 0; c < channels; c++) {
        const size_t at = (index / plane * channels + c) * plane + index % plane;
        weights[at] = values[WEIGHTS][at];
    }
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const float *values[WEIGHTS + 1];
    float *labels, *weights;
    const size_t count = qf_blob_count(layer->bottom[LOSSES]),
                 plane = plane_of(layer->bottom[ROIS]);
    for (int b = 0; b <= WEIGHTS; b++)
        QF_TRY(qf_read(layer->context, layer->bottom[b]->data, QF_PLAIN, &values[b]));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &labels));
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &weights));
    QF_TRY(sort_regions(layer, values[ROIS], values[LOSSES], count, plane));
    memset(weights, 0, qf_blob_count(layer->top[1]) * sizeof *weights);
    for (size_t i = 0; i < count; i++)
        labels[i] = (float)param_of(layer)->ignore_label;
    for (size_t i = 0; i < count; i++) {
        const size_t index = (size_t)s->regions[i].index;
        int image;
        QF_TRY(image_of(layer, values[ROIS], index, plane, &image));
        if (s->left[image] > 0) {
            s->left[image]--;
            keep(layer, values, index, plane, labels, weights);
        }
    }
    return QF_OK;
}

const qf_layer_type qf_box_annotator_ohem_layer = {
    .name = "BoxAnnotatorOHEM",
    .state_size = sizeof(state),
    QF_BOTTOMS(4, 4),
    QF_TOPS(2, 2),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
