/* PSROIPooling (R-FCN): each region cut into group_size² bins, the mean of each bin; every bin
 * looks at its own channels of the map. */
#include "layers/pooling/regions.h"

#include <math.h>

typedef struct state {
    qf_regions regions;
    int outputs, groups; /* channels of the top; bins a side */
    float scale;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__PSROIPoolingParameter *p =
        QF_LAYER_PARAM(layer, psroi_pooling_param, PSROIPOOLING_, PSROIPooling);
    state *s = layer->state;
    if (p->output_dim < 1 || p->group_size < 1 || p->group_size > 1 << 15)
        return qf_fail(
            layer->context, QF_E_VALUE,
            "psroi_pooling_param needs output_dim and group_size of at least 1, found %d "
            "and %d",
            p->output_dim, p->group_size);
    if (!(p->spatial_scale > 0 && p->spatial_scale <= 1e6f))
        return qf_fail(layer->context, QF_E_VALUE,
                       "psroi_pooling_param: spatial_scale must be above 0 and at most 1e6, is %g",
                       (double)p->spatial_scale);
    s->outputs = p->output_dim;
    s->groups = p->group_size;
    s->scale = p->spatial_scale;
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_regions_make(layer, &s->regions));
    const int64_t channels = (int64_t)s->outputs * s->groups * s->groups;
    if (s->regions.channels != channels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %d channels, expected output_dim %d times group_size² %d",
                       layer->bottom[0]->name, s->regions.channels, s->outputs,
                       s->groups * s->groups);
    return qf_regions_top(layer, &s->regions, s->outputs, s->groups, s->groups);
}

/* Where a bin begins and ends on one axis of the map; in float, like the original. */
static void bin(const state *s, float from, float to, int index, int end, int range[2])
{
    const float first = roundf(from) * s->scale, last = (roundf(to) + 1) * s->scale;
    const float size = fmaxf(last - first, 0.1f) / (float)s->groups;
    range[0] = qf_region_limit(floorf((float)index * size + first), end);
    range[1] = qf_region_limit(ceilf((float)(index + 1) * size + first), end);
}

/* What one value of the top is the mean of. */
typedef struct window {
    size_t plane; /* offset of its channel in the map */
    int rows[2], columns[2], area;
} window;

static window window_of(const state *s, const qf_region *region, int output, int h, int w)
{
    const qf_regions *r = &s->regions;
    const size_t groups = (size_t)s->groups;
    const size_t channel = ((size_t)output * groups + (size_t)h) * groups + (size_t)w;
    window it = {.plane = (region->image * (size_t)r->channels + channel) * (size_t)r->height *
                          (size_t)r->width};
    bin(s, region->y1, region->y2, h, r->height, it.rows);
    bin(s, region->x1, region->x2, w, r->width, it.columns);
    if (it.rows[1] > it.rows[0] && it.columns[1] > it.columns[0])
        it.area = (it.rows[1] - it.rows[0]) * (it.columns[1] - it.columns[0]);
    return it;
}

static float mean(const state *s, const window *it, const float *map)
{
    double sum = 0;
    for (int y = it->rows[0]; y < it->rows[1]; y++)
        for (int x = it->columns[0]; x < it->columns[1]; x++)
            sum += (double)map[it->plane + (size_t)y * (size_t)s->regions.width + (size_t)x];
    return it->area ? (float)(sum / it->area) : 0;
}

static void spread(const state *s, const window *it, float gradient, float *map)
{
    for (int y = it->rows[0]; y < it->rows[1]; y++)
        for (int x = it->columns[0]; x < it->columns[1]; x++)
            map[it->plane + (size_t)y * (size_t)s->regions.width + (size_t)x] +=
                gradient / (float)it->area;
}

/* The bins of the top, in its order. */
static window window_at(const state *s, const float *rows, size_t at)
{
    const size_t groups = (size_t)s->groups, w = at % groups, h = at / groups % groups;
    const size_t output = at / groups / groups % (size_t)s->outputs;
    const qf_region region = qf_region_at(rows, at / groups / groups / (size_t)s->outputs);
    return window_of(s, &region, (int)output, (int)h, (int)w);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t count = qf_blob_count(layer->top[0]);
    const float *rows, *x;
    float *y;
    QF_TRY(qf_regions_read(layer, &s->regions, &rows));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < count; at++) {
        const window it = window_at(s, rows, at);
        y[at] = mean(s, &it, x);
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t count = qf_blob_count(layer->top[0]);
    const float *rows, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor_set_zero(layer->bottom[0]->diff);
    QF_TRY(qf_regions_read(layer, &s->regions, &rows));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_update(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    for (size_t at = 0; at < count; at++) {
        const window it = window_at(s, rows, at);
        spread(s, &it, dy[at], dx);
    }
    return QF_OK;
}

const qf_layer_type qf_ps_roi_pooling_layer = {
    .name = "PSROIPooling",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
