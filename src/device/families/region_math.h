/* Pooling of regions of interest, bin by bin; C and CUDA compile it alike. */
#ifndef QF_DEVICE_FAMILIES_REGION_MATH_H
#define QF_DEVICE_FAMILIES_REGION_MATH_H

#include "quant/quant_math.h"

#include <stddef.h>

typedef enum qf_region_kind {
    QF_REGION_MAX, /* ROIPooling (Fast R-CNN): the largest value of each bin, 0 where it is empty */
    QF_REGION_MEAN,  /* PSROIPooling (R-FCN): the mean of each bin, which looks at its own channels:
                      * channel (output · height + h) · width + w of the map */
    QF_REGION_POINTS /* ROIAlign (He et al., Mask R-CNN, section 3; borders as in Detectron): the
                      * mean of points spread evenly over each bin, each interpolated between its
                      * four neighbours; one more than a pixel outside counts as 0 */
} qf_region_kind;

typedef struct qf_region_pooling {
    qf_region_kind kind;
    int channels, height, width; /* of the map */
    int outputs;                 /* channels of the result */
    int pooled[2];               /* bins: rows, columns */
    float scale[2];              /* of the map against the image: height, width */
    int samples;                 /* points a side of a bin; 0: one for each pixel of the map */
    bool end_inside;             /* of points: x2 and y2 are the last pixels of the region */
    bool at_corners; /* of points: one at each corner of a bin (MS-CNN's ROIAlign), and so one more
                        of them than bins a side; pixels are their middles, and what lies more than
                        half a pixel outside counts as 0 */
    float pad;       /* so much of its size is added to each side of a region (MS-CNN) */
} qf_region_pooling;

enum { QF_REGION_NUMBERS = 5 }; /* of a region: image of the batch, x1, y1, x2, y2 */
#define QF_REGION_FAR 1e8f /* coordinates are limited to it: products with a scale are finite */

/* One axis of a bin: the pixels or points from … to − 1. Point i lies at first + i · step. */
typedef struct qf_region_axis {
    int64_t from, to;
    double first, step;
    double count; /* of points, with those that do not count */
} qf_region_axis;

typedef struct qf_region_bin {
    qf_region_axis rows, columns;
} qf_region_bin;

/* A whole coordinate of the map, limited to 0 … end. */
QF_HOST_DEVICE int qf_region_limit(float at, int end)
{
    return (int)fminf(fmaxf(at, 0), (float)end);
}

/* In float, like the originals: in double a bin could end one pixel elsewhere. */
QF_HOST_DEVICE qf_region_axis qf_region_pixels(const qf_region_pooling *s, int axis, float begin,
                                               float end, int index)
{
    const int size = axis == 0 ? s->height : s->width;
    const bool maximum = s->kind == QF_REGION_MAX;
    const float scale = s->scale[axis];
    const float first = maximum ? roundf(begin * scale) : roundf(begin) * scale;
    const float last = maximum ? roundf(end * scale) : (roundf(end) + 1) * scale;
    const float length = maximum ? fmaxf(last - first + 1, 1) : fmaxf(last - first, 0.1f);
    const float bin = length / (float)s->pooled[axis];
    const float from = (float)index * bin, to = (float)(index + 1) * bin;
    qf_region_axis pixels = {0, 0, 0, 0, 0};
    pixels.from = qf_region_limit(maximum ? floorf(from) + first : floorf(from + first), size);
    pixels.to = qf_region_limit(maximum ? ceilf(to) + first : ceilf(to + first), size);
    return pixels;
}

QF_HOST_DEVICE qf_region_axis qf_region_points(const qf_region_pooling *s, int axis, double begin,
                                               double end, int index)
{
    const int size = axis == 0 ? s->height : s->width;
    const double scale = (double)s->scale[axis], start = begin * scale;
    const double length = fmax((end + (s->end_inside ? 1 : 0)) * scale - start, 1.0);
    const double bin = length / s->pooled[axis];
    const double count = s->samples ? s->samples : ceil(bin);
    const double step = bin / count, first = start + index * bin + step / 2;
    qf_region_axis points = {0, 0, first, step, count};
    points.from = (int64_t)fmin(fmax(ceil((-1 - first) / step), 0.0), count);
    points.to = (int64_t)fmin(fmax(floor((size - first) / step) + 1, 0.0), count);
    return points;
}

QF_HOST_DEVICE qf_region_axis qf_region_corner(const qf_region_pooling *s, int axis, double begin,
                                               double end, int index)
{
    const int size = axis == 0 ? s->height : s->width;
    const double scale = (double)s->scale[axis], length = (end - begin) * scale;
    const int bins = s->pooled[axis] - 1;
    const double at = begin * scale - 0.5 + index * length / (bins > 0 ? bins : 1);
    qf_region_axis point = {0, 0, at, 0, 1};
    point.to = length > 0 && at >= -0.5 && at <= size - 0.5;
    return point;
}

QF_HOST_DEVICE qf_region_axis qf_region_axis_of(const qf_region_pooling *s, int axis, float begin,
                                                float end, int index)
{
    float low = fminf(fmaxf(begin, -QF_REGION_FAR), QF_REGION_FAR);
    float high = fminf(fmaxf(end, -QF_REGION_FAR), QF_REGION_FAR);
    const float pad = s->pad > 0 ? (high - low + 1) * s->pad : 0;
    low -= pad;
    high += pad;
    if (s->at_corners)
        return qf_region_corner(s, axis, (double)low, (double)high, index);
    return s->kind == QF_REGION_POINTS ? qf_region_points(s, axis, (double)low, (double)high, index)
                                       : qf_region_pixels(s, axis, low, high, index);
}

/* Bin (h, w) of a region, of which `row` holds the numbers. */
QF_HOST_DEVICE qf_region_bin qf_region_bin_of(const qf_region_pooling *s, const float *row, int h,
                                              int w)
{
    const qf_region_bin bin = {qf_region_axis_of(s, 0, row[2], row[4], h),
                               qf_region_axis_of(s, 1, row[1], row[3], w)};
    return bin;
}

/* Where the channel of the map begins that a bin looks at for output `c`. */
QF_HOST_DEVICE size_t qf_region_plane(const qf_region_pooling *s, const float *row, int c, int h,
                                      int w)
{
    const size_t bins = (size_t)s->pooled[0] * (size_t)s->pooled[1];
    const size_t bin = (size_t)h * (size_t)s->pooled[1] + (size_t)w;
    const size_t channel = s->kind == QF_REGION_MEAN ? (size_t)c * bins + bin : (size_t)c;
    return ((size_t)row[0] * (size_t)s->channels + channel) * (size_t)s->height * (size_t)s->width;
}

/* ---- points ---- */

/* Between which two indices a coordinate lies, and how near to the second. */
typedef struct qf_between {
    int low, high;
    double share;
} qf_between;

QF_HOST_DEVICE qf_between qf_point_between(const qf_region_axis *points, int64_t i, int size)
{
    const double inside = fmax(points->first + (double)i * points->step, 0.0);
    const int low = (int)fmin(floor(inside), (double)(size - 1));
    const qf_between end = {size - 1, size - 1, 0}, between = {low, low + 1, inside - low};
    return low >= size - 1 ? end : between;
}

/* The four values of a plane that a point lies between. */
typedef struct qf_corners {
    size_t at[4];
    double share[4];
} qf_corners;

QF_HOST_DEVICE qf_corners qf_corners_of(qf_between y, qf_between x, int width)
{
    const size_t low = (size_t)y.low * (size_t)width, high = (size_t)y.high * (size_t)width;
    const qf_corners corners = {
        {low + (size_t)x.low, low + (size_t)x.high, high + (size_t)x.low, high + (size_t)x.high},
        {(1 - y.share) * (1 - x.share), (1 - y.share) * x.share, y.share * (1 - x.share),
         y.share * x.share}};
    return corners;
}

QF_HOST_DEVICE float qf_points_mean(const qf_region_pooling *s, const qf_region_bin *bin,
                                    const float *plane)
{
    double sum = 0;
    for (int64_t i = bin->rows.from; i < bin->rows.to; i++) {
        const qf_between y = qf_point_between(&bin->rows, i, s->height);
        for (int64_t j = bin->columns.from; j < bin->columns.to; j++) {
            const qf_corners c =
                qf_corners_of(y, qf_point_between(&bin->columns, j, s->width), s->width);
            for (int k = 0; k < 4; k++)
                sum += c.share[k] * (double)plane[c.at[k]];
        }
    }
    return (float)(sum / (bin->rows.count * bin->columns.count));
}

QF_HOST_DEVICE void qf_points_spread(const qf_region_pooling *s, const qf_region_bin *bin,
                                     float gradient, float *plane)
{
    const double part = (double)gradient / (bin->rows.count * bin->columns.count);
    for (int64_t i = bin->rows.from; i < bin->rows.to; i++) {
        const qf_between y = qf_point_between(&bin->rows, i, s->height);
        for (int64_t j = bin->columns.from; j < bin->columns.to; j++) {
            const qf_corners c =
                qf_corners_of(y, qf_point_between(&bin->columns, j, s->width), s->width);
            for (int k = 0; k < 4; k++)
                plane[c.at[k]] += (float)(c.share[k] * part);
        }
    }
}

/* ---- pixels ---- */

QF_HOST_DEVICE int qf_bin_area(const qf_region_bin *bin)
{
    const int64_t height = bin->rows.to - bin->rows.from;
    const int64_t width = bin->columns.to - bin->columns.from;
    return height > 0 && width > 0 ? (int)(height * width) : 0;
}

QF_HOST_DEVICE float qf_bin_mean(const qf_region_pooling *s, const qf_region_bin *bin,
                                 const float *plane)
{
    const int area = qf_bin_area(bin);
    double sum = 0;
    for (int64_t y = bin->rows.from; y < bin->rows.to; y++)
        for (int64_t x = bin->columns.from; x < bin->columns.to; x++)
            sum += (double)plane[y * s->width + x];
    return area ? (float)(sum / area) : 0;
}

QF_HOST_DEVICE void qf_bin_spread(const qf_region_pooling *s, const qf_region_bin *bin,
                                  float gradient, float *plane)
{
    const int area = qf_bin_area(bin);
    for (int64_t y = bin->rows.from; y < bin->rows.to; y++)
        for (int64_t x = bin->columns.from; x < bin->columns.to; x++)
            plane[y * s->width + x] += gradient / (float)area;
}

/* The first of the largest values; −1: the bin is empty. */
QF_HOST_DEVICE int32_t qf_bin_winner(const qf_region_pooling *s, const qf_region_bin *bin,
                                     const float *plane)
{
    int32_t winner = -1;
    for (int64_t y = bin->rows.from; y < bin->rows.to; y++)
        for (int64_t x = bin->columns.from; x < bin->columns.to; x++) {
            const int32_t at = (int32_t)(y * s->width + x);
            if (winner < 0 || plane[at] > plane[winner])
                winner = at;
        }
    return winner;
}

/* ---- any kind ---- */

/* *winner, of maxima: where in the plane; −1: nowhere. */
QF_HOST_DEVICE float qf_region_value(const qf_region_pooling *s, const qf_region_bin *bin,
                                     const float *plane, int32_t *winner)
{
    if (s->kind == QF_REGION_POINTS)
        return qf_points_mean(s, bin, plane);
    if (s->kind == QF_REGION_MEAN)
        return qf_bin_mean(s, bin, plane);
    *winner = qf_bin_winner(s, bin, plane);
    return *winner < 0 ? 0 : plane[*winner];
}

/* Adds to the plane what the gradient of a bin's value gives. */
QF_HOST_DEVICE void qf_region_spread(const qf_region_pooling *s, const qf_region_bin *bin,
                                     const int32_t *winner, float gradient, float *plane)
{
    if (s->kind == QF_REGION_POINTS)
        qf_points_spread(s, bin, gradient, plane);
    else if (s->kind == QF_REGION_MEAN)
        qf_bin_spread(s, bin, gradient, plane);
    else if (*winner >= 0)
        plane[*winner] += gradient;
}

#endif
