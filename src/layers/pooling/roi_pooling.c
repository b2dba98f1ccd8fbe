/* ROIPooling (Fast R-CNN): each region cut into pooled_h × pooled_w bins, the largest value of each
 * bin; 0 where a bin holds nothing. */
#include "layers/pooling/regions.h"

#include "base/memory.h"

#include <math.h>

typedef struct state {
    qf_regions regions;
    int pooled[2];  /* height, width */
    float scale[2]; /* of the map against the image */
    int *winner; /* for each value of the top: where in the map (h · width + w), −1: nowhere */
    size_t capacity;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__ROIPoolingParameter *p =
        QF_LAYER_PARAM(layer, roi_pooling_param, ROIPOOLING_, ROIPooling);
    state *s = layer->state;
    if (p->pooled_h < 1 || p->pooled_w < 1 || p->pooled_h > INT32_MAX || p->pooled_w > INT32_MAX)
        return qf_fail(
            layer->context, QF_E_VALUE,
            "roi_pooling_param needs pooled_h and pooled_w of at least 1, found %u and %u",
            p->pooled_h, p->pooled_w);
    s->pooled[0] = (int)p->pooled_h;
    s->pooled[1] = (int)p->pooled_w;
    s->scale[0] = p->has_spatial_scale_h ? p->spatial_scale_h : p->spatial_scale;
    s->scale[1] = p->has_spatial_scale_w ? p->spatial_scale_w : p->spatial_scale;
    for (int i = 0; i < 2; i++)
        if (!(s->scale[i] > 0 && s->scale[i] <= 1e6f))
            return qf_fail(layer->context, QF_E_VALUE,
                           "roi_pooling_param: spatial_scale must be above 0 and at most 1e6, is "
                           "%g",
                           (double)s->scale[i]);
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->winner);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_regions_make(layer, &s->regions));
    return qf_regions_top(layer, &s->regions, s->regions.channels, s->pooled[0], s->pooled[1]);
}

/* Where the bins of one axis begin and end on the map. In float, like the original: in double a
 * bin could end one pixel elsewhere. */
static void bin(const state *s, int axis, float from, float to, int index, int range[2])
{
    const int end = axis == 0 ? s->regions.height : s->regions.width;
    const float first = roundf(from * s->scale[axis]), last = roundf(to * s->scale[axis]);
    const float size = fmaxf(last - first + 1, 1) / (float)s->pooled[axis];
    range[0] = qf_region_limit(floorf((float)index * size) + first, end);
    range[1] = qf_region_limit(ceilf((float)(index + 1) * size) + first, end);
}

static void pool(const state *s, const float *map, const int rows[2], const int columns[2],
                 float *value, int *winner)
{
    *winner = -1;
    for (int h = rows[0]; h < rows[1]; h++)
        for (int w = columns[0]; w < columns[1]; w++) {
            const int at = h * s->regions.width + w;
            if (*winner < 0 || map[at] > map[*winner])
                *winner = at;
        }
    *value = *winner < 0 ? 0 : map[*winner];
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_regions *r = &s->regions;
    const size_t plane = (size_t)r->height * (size_t)r->width;
    const size_t count = qf_blob_count(layer->top[0]);
    const float *rows, *x;
    float *y;
    if (!qf_grow(&s->winner, &s->capacity, count, sizeof *s->winner))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu maxima", count);
    QF_TRY(qf_regions_read(layer, r, &rows));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static)
    for (size_t n = 0; n < r->count; n++) {
        const qf_region region = qf_region_at(rows, n);
        const float *image = x + region.image * (size_t)r->channels * plane;
        for (int h = 0; h < s->pooled[0]; h++)
            for (int w = 0; w < s->pooled[1]; w++) {
                int rows_of_bin[2], columns[2];
                bin(s, 0, region.y1, region.y2, h, rows_of_bin);
                bin(s, 1, region.x1, region.x2, w, columns);
                for (size_t c = 0; c < (size_t)r->channels; c++) {
                    const size_t at =
                        ((n * (size_t)r->channels + c) * (size_t)s->pooled[0] + (size_t)h) *
                            (size_t)s->pooled[1] +
                        (size_t)w;
                    pool(s, image + c * plane, rows_of_bin, columns, &y[at], &s->winner[at]);
                }
            }
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_regions *r = &s->regions;
    const size_t plane = (size_t)r->height * (size_t)r->width;
    const size_t bins = (size_t)s->pooled[0] * (size_t)s->pooled[1];
    const float *rows, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor_set_zero(layer->bottom[0]->diff);
    QF_TRY(qf_regions_read(layer, r, &rows));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_update(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    for (size_t at = 0; at < r->count * (size_t)r->channels * bins; at++) {
        const size_t n = at / bins / (size_t)r->channels, c = at / bins % (size_t)r->channels;
        const size_t image = qf_region_at(rows, n).image;
        if (s->winner[at] >= 0)
            dx[(image * (size_t)r->channels + c) * plane + (size_t)s->winner[at]] += dy[at];
    }
    return QF_OK;
}

const qf_layer_type qf_roi_pooling_layer = {
    .name = "ROIPooling",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = 3, /* Ascend: the number of regions, which the second bottom shows anyway */
    .min_tops = 1,
    .max_tops = 1,
    .no_gradient_bottoms = 1u << 1 | 1u << 2,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
