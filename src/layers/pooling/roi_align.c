/*
 * ROIAlign (He et al., Mask R-CNN, section 3; borders as in Detectron): each region cut into
 * pooled_h × pooled_w bins, the mean of points spread evenly over each bin, each point interpolated
 * between its four neighbours. A point more than a pixel outside counts as 0.
 */
#include "layers/pooling/regions.h"

#include <math.h>

enum { MOST_SAMPLES = 1000 };

typedef struct state {
    qf_regions regions;
    int pooled[2]; /* height, width */
    int samples;   /* a side of a bin; 0: one for each pixel of the map */
    bool end_inside;
    double scale;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__ROIAlignParameter *p = QF_LAYER_PARAM(layer, roi_align_param, ROIALIGN_, ROIAlign);
    state *s = layer->state;
    if (p->pooled_h < 1 || p->pooled_w < 1 || p->pooled_h > INT32_MAX || p->pooled_w > INT32_MAX)
        return qf_fail(layer->context, QF_E_VALUE,
                       "roi_align_param needs pooled_h and pooled_w of at least 1, found %u and %u",
                       p->pooled_h, p->pooled_w);
    if (p->sampling_ratio > MOST_SAMPLES)
        return qf_fail(layer->context, QF_E_VALUE, "roi_align_param: sampling_ratio %d is above %d",
                       p->sampling_ratio, MOST_SAMPLES);
    if (p->roi_end_mode != 0 && p->roi_end_mode != 1)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "roi_align_param: roi_end_mode must be 0 or 1, is %d", p->roi_end_mode);
    if (!(p->spatial_scale > 0 && p->spatial_scale <= 1e6f))
        return qf_fail(layer->context, QF_E_VALUE,
                       "roi_align_param: spatial_scale must be above 0 and at most 1e6, is %g",
                       (double)p->spatial_scale);
    *s = (state){.pooled = {(int)p->pooled_h, (int)p->pooled_w},
                 .samples = p->sampling_ratio > 0 ? p->sampling_ratio : 0,
                 .end_inside = p->roi_end_mode == 1,
                 .scale = (double)p->spatial_scale};
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_regions_make(layer, &s->regions));
    return qf_regions_top(layer, &s->regions, s->regions.channels, s->pooled[0], s->pooled[1]);
}

/* The points of one bin along one axis: point i lies at first + i · step; from … to are those that
 * can count. */
typedef struct points {
    double first, step;
    double count;
    int64_t from, to;
} points;

static points points_of(const state *s, int axis, double begin, double end, int index)
{
    const int size = axis == 0 ? s->regions.height : s->regions.width;
    const double first = begin * s->scale;
    const double length = fmax((end + (s->end_inside ? 1 : 0)) * s->scale - first, 1);
    const double bin = length / s->pooled[axis];
    const double count = s->samples ? s->samples : ceil(bin);
    points p = {.step = bin / count, .count = count};
    p.first = first + index * bin + p.step / 2;
    p.from = (int64_t)fmin(fmax(ceil((-1 - p.first) / p.step), 0), count);
    p.to = (int64_t)fmin(fmax(floor((size - p.first) / p.step) + 1, 0), count);
    return p;
}

/* Between which two indices a coordinate lies, and how near to the second. */
typedef struct between {
    int low, high;
    double high_share;
} between;

static between neighbours(double at, int size)
{
    const double inside = fmax(at, 0);
    const int low = (int)fmin(floor(inside), size - 1);
    if (low >= size - 1)
        return (between){size - 1, size - 1, 0};
    return (between){low, low + 1, inside - low};
}

/* The four values of a plane that a point lies between. */
typedef struct corners {
    size_t at[4];
    double share[4];
} corners;

static corners corners_of(const state *s, const points *rows, int64_t i, const points *columns,
                          int64_t j)
{
    const between y = neighbours(rows->first + (double)i * rows->step, s->regions.height);
    const between x = neighbours(columns->first + (double)j * columns->step, s->regions.width);
    const size_t width = (size_t)s->regions.width;
    return (corners){
        {(size_t)y.low * width + (size_t)x.low, (size_t)y.low * width + (size_t)x.high,
         (size_t)y.high * width + (size_t)x.low, (size_t)y.high * width + (size_t)x.high},
        {(1 - y.high_share) * (1 - x.high_share), (1 - y.high_share) * x.high_share,
         y.high_share * (1 - x.high_share), y.high_share * x.high_share},
    };
}

static float mean(const state *s, const points *rows, const points *columns, const float *plane)
{
    double sum = 0;
    for (int64_t i = rows->from; i < rows->to; i++)
        for (int64_t j = columns->from; j < columns->to; j++) {
            const corners c = corners_of(s, rows, i, columns, j);
            for (int k = 0; k < 4; k++)
                sum += c.share[k] * (double)plane[c.at[k]];
        }
    return (float)(sum / (rows->count * columns->count));
}

static void spread(const state *s, const points *rows, const points *columns, float gradient,
                   float *plane)
{
    const double part = (double)gradient / (rows->count * columns->count);
    for (int64_t i = rows->from; i < rows->to; i++)
        for (int64_t j = columns->from; j < columns->to; j++) {
            const corners c = corners_of(s, rows, i, columns, j);
            for (int k = 0; k < 4; k++)
                plane[c.at[k]] += (float)(c.share[k] * part);
        }
}

/* Value `at` of the top: its points, and the offset of its plane in the map. */
static size_t points_at(const state *s, const float *regions, size_t at, points *rows,
                        points *columns)
{
    const qf_regions *r = &s->regions;
    const size_t bins = (size_t)s->pooled[0] * (size_t)s->pooled[1];
    const size_t channels = (size_t)r->channels, bin = at % bins;
    const qf_region region = qf_region_at(regions, at / bins / channels);
    *rows =
        points_of(s, 0, (double)region.y1, (double)region.y2, (int)(bin / (size_t)s->pooled[1]));
    *columns =
        points_of(s, 1, (double)region.x1, (double)region.x2, (int)(bin % (size_t)s->pooled[1]));
    return (region.image * channels + at / bins % channels) * (size_t)r->height * (size_t)r->width;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t count = qf_blob_count(layer->top[0]);
    const float *regions, *x;
    float *y;
    QF_TRY(qf_regions_read(layer, &s->regions, &regions));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < count; at++) {
        points rows, columns;
        const size_t plane = points_at(s, regions, at, &rows, &columns);
        y[at] = mean(s, &rows, &columns, x + plane);
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t count = qf_blob_count(layer->top[0]);
    const float *regions, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor_set_zero(layer->bottom[0]->diff);
    QF_TRY(qf_regions_read(layer, &s->regions, &regions));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_update(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    for (size_t at = 0; at < count; at++) {
        points rows, columns;
        const size_t plane = points_at(s, regions, at, &rows, &columns);
        spread(s, &rows, &columns, dy[at], dx + plane);
    }
    return QF_OK;
}

const qf_layer_type qf_roi_align_layer = {
    .name = "ROIAlign",
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
