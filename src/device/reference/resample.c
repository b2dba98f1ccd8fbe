/* The reference's resampling: value by value, in the order of the result. */
#include "device/reference/reference.h"

#include <string.h>

/* The arrays between which an operation goes. */
static qf_status fetch(qf_context *context, qf_form form, qf_tensor *from, const float **x,
                       qf_tensor *to, float **y)
{
    QF_TRY(qf_device_read(context, from, form, x));
    return qf_device_write(context, to, form, y);
}

static void clear(const qf_tensor *tensor, float *values)
{
    memset(values, 0, qf_shape_count(&tensor->shape) * sizeof *values);
}

/* ---- between pixels ---- */

/* For a value of the result, in NHWC order: the four of the image that it lies between. */
typedef struct four {
    size_t above_left, above_right, below_left, below_right;
    float down, right;
} four;

static four four_of(const qf_stretch stretch[2], const qf_shape *image, size_t at)
{
    const size_t channels = (size_t)image->dim[1], width = (size_t)image->dim[3];
    const size_t columns = (size_t)stretch[1].out, rows = (size_t)stretch[0].out;
    const size_t channel = at % channels, pixel = at / channels;
    const qf_tap h = qf_tap_at(stretch[1], (int)(pixel % columns));
    const qf_tap v = qf_tap_at(stretch[0], (int)(pixel / columns % rows));
    const size_t first = pixel / columns / rows * (size_t)image->dim[2];
    const size_t above = (first + (size_t)v.low) * width, below = (first + (size_t)v.high) * width;
    return (four){(above + (size_t)h.low) * channels + channel,
                  (above + (size_t)h.high) * channels + channel,
                  (below + (size_t)h.low) * channels + channel,
                  (below + (size_t)h.high) * channels + channel,
                  v.share,
                  h.share};
}

static qf_status interpolate(qf_context *context, const qf_stretch stretch[2], qf_tensor *x,
                             qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const float *from;
    float *to;
    QF_TRY(fetch(context, QF_NHWC, x, &from, y, &to));
    for (size_t at = 0; at < qf_shape_count(&y->shape); at++) {
        const four f = four_of(stretch, &x->shape, at);
        to[at] = qf_between_four(from[f.above_left], from[f.above_right], from[f.below_left],
                                 from[f.below_right], f.down, f.right);
    }
    return QF_OK;
}

static qf_status interpolate_backward(qf_context *context, const qf_stretch stretch[2],
                                      qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const float *from;
    float *to;
    QF_TRY(fetch(context, QF_NHWC, dy, &from, dx, &to));
    clear(dx, to);
    for (size_t at = 0; at < qf_shape_count(&dy->shape); at++) {
        const four f = four_of(stretch, &dx->shape, at);
        const qf_quarters q = qf_quarters_of(from[at], f.down, f.right);
        to[f.above_left] += q.above_left; /* some of the four may be one */
        to[f.above_right] += q.above_right;
        to[f.below_left] += q.below_left;
        to[f.below_right] += q.below_right;
    }
    return QF_OK;
}

/* ---- regions ---- */

/* For a value of the result, in C order: its bin, and where its channel of the map begins. */
static size_t locate(const qf_region_pooling *s, const float *rows, size_t at, qf_region_bin *bin)
{
    const size_t height = (size_t)s->pooled[0], width = (size_t)s->pooled[1];
    const int h = (int)(at / width % height), w = (int)(at % width);
    const int output = (int)(at / width / height % (size_t)s->outputs);
    const float *row = rows + at / width / height / (size_t)s->outputs * QF_REGION_NUMBERS;
    *bin = qf_region_bin_of(s, row, h, w);
    return qf_region_plane(s, row, output, h, w);
}

static qf_status regions(qf_context *context, const qf_region_pooling *s, qf_tensor *x,
                         qf_tensor *list, qf_tensor *y, qf_tensor *winner)
{
    QF_ON_DEVICE(context);
    const float *from, *rows;
    float *to;
    int32_t *winners = NULL;
    QF_TRY(qf_device_read(context, list, QF_PLAIN, &rows));
    QF_TRY(fetch(context, QF_PLAIN, x, &from, y, &to));
    if (winner)
        QF_TRY(qf_device_write(context, winner, QF_INTEGERS, &winners));
    for (size_t at = 0; at < qf_shape_count(&y->shape); at++) {
        qf_region_bin bin;
        const size_t plane = locate(s, rows, at, &bin);
        to[at] = qf_region_value(s, &bin, from + plane, winners ? &winners[at] : NULL);
    }
    return QF_OK;
}

static qf_status regions_backward(qf_context *context, const qf_region_pooling *s, qf_tensor *list,
                                  qf_tensor *winner, qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const float *from, *rows;
    float *to;
    const int32_t *winners = NULL;
    QF_TRY(qf_device_read(context, list, QF_PLAIN, &rows));
    if (winner)
        QF_TRY(qf_device_read(context, winner, QF_INTEGERS, &winners));
    QF_TRY(fetch(context, QF_PLAIN, dy, &from, dx, &to));
    clear(dx, to);
    for (size_t at = 0; at < qf_shape_count(&dy->shape); at++) {
        qf_region_bin bin;
        const size_t plane = locate(s, rows, at, &bin);
        qf_region_spread(s, &bin, winners ? &winners[at] : NULL, from[at], to + plane);
    }
    return QF_OK;
}

/* ---- drawing ---- */

/* For a value of the result, in C order: its window, and where its channel begins. */
static size_t window_of(const qf_pooling_shape *s, size_t at, qf_drawing_window *window)
{
    const size_t outputs = (size_t)s->out[0] * (size_t)s->out[1];
    *window = qf_drawing_window_at(s, at % outputs);
    return at / outputs * (size_t)s->in[0] * (size_t)s->in[1];
}

static qf_status draw(qf_context *context, const qf_pooling_shape *s, qf_tensor *x,
                      qf_tensor *share, qf_tensor *y, qf_tensor *chosen)
{
    QF_ON_DEVICE(context);
    const float *from, *shares;
    float *to;
    int32_t *pixel;
    QF_TRY(qf_device_read(context, share, QF_PLAIN, &shares));
    QF_TRY(qf_device_write(context, chosen, QF_INTEGERS, &pixel));
    QF_TRY(fetch(context, QF_PLAIN, x, &from, y, &to));
    for (size_t at = 0; at < qf_shape_count(&y->shape); at++) {
        qf_drawing_window w;
        const size_t channel = window_of(s, at, &w);
        pixel[at] = qf_draw_pixel(&w, from + channel, shares[at]);
        to[at] = pixel[at] < 0 ? 0 : from[channel + (size_t)pixel[at]];
    }
    return QF_OK;
}

static qf_status draw_backward(qf_context *context, const qf_pooling_shape *s, qf_tensor *chosen,
                               qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const int32_t *pixel;
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, chosen, QF_INTEGERS, &pixel));
    QF_TRY(fetch(context, QF_PLAIN, dy, &from, dx, &to));
    clear(dx, to);
    for (size_t at = 0; at < qf_shape_count(&dy->shape); at++) {
        qf_drawing_window w;
        const size_t channel = window_of(s, at, &w);
        if (pixel[at] >= 0)
            to[channel + (size_t)pixel[at]] += from[at];
    }
    return QF_OK;
}

static qf_status expect(qf_context *context, const qf_pooling_shape *s, qf_tensor *x, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const float *from;
    float *to;
    QF_TRY(fetch(context, QF_PLAIN, x, &from, y, &to));
    for (size_t at = 0; at < qf_shape_count(&y->shape); at++) {
        qf_drawing_window w;
        const size_t channel = window_of(s, at, &w);
        to[at] = qf_weighted_mean(&w, from + channel);
    }
    return QF_OK;
}

static qf_status expect_backward(qf_context *context, const qf_pooling_shape *s, qf_tensor *x,
                                 qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const float *values, *from;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &values));
    QF_TRY(fetch(context, QF_PLAIN, dy, &from, dx, &to));
    clear(dx, to);
    for (size_t at = 0; at < qf_shape_count(&dy->shape); at++) {
        qf_drawing_window w;
        const size_t channel = window_of(s, at, &w);
        qf_spread_weighted_mean(&w, values + channel, from[at], to + channel);
    }
    return QF_OK;
}

const qf_resample_family qf_reference_resample = {
    .interpolate = interpolate,
    .interpolate_backward = interpolate_backward,
    .regions = regions,
    .regions_backward = regions_backward,
    .draw = draw,
    .draw_backward = draw_backward,
    .expect = expect,
    .expect_backward = expect_backward,
};
