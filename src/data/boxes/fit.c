/* WARP stretches; FIT_SMALL_SIZE keeps the aspect, so that one side is as asked and the other at
 * least; FIT_LARGE_SIZE_AND_PAD keeps it within the size and fills up. */
#include "data/boxes/fit.h"

#include "data/images/image_codecs.h"

#include <math.h>

static const Caffe__ResizeParameter__ResizeMode
    FIT_SMALL = CAFFE__RESIZE_PARAMETER__RESIZE_MODE__FIT_SMALL_SIZE,
    FIT_PAD = CAFFE__RESIZE_PARAMETER__RESIZE_MODE__FIT_LARGE_SIZE_AND_PAD;

enum { SIDE_MAX = 1 << 16, CHANNELS_MAX = 4 };

typedef Caffe__ResizeParameter resize;

qf_status qf_fit_check(qf_context *context, const resize *p)
{
    if (p->height < 1 || p->width < 1 || p->height > SIDE_MAX || p->width > SIDE_MAX)
        return qf_fail(context, QF_E_VALUE,
                       "resize_param: height is %u and width %u; expected 1 to %d", p->height,
                       p->width, SIDE_MAX);
    return QF_OK;
}

static float aspect(float width, float height)
{
    return width / height;
}

static bool is_wider(const resize *p, int height, int width)
{
    return aspect((float)width, (float)height) > aspect((float)p->width, (float)p->height);
}

void qf_fit_size(const resize *p, int height, int width, int *new_height, int *new_width)
{
    const float own = aspect((float)width, (float)height);
    *new_height = (int)p->height;
    *new_width = (int)p->width;
    if (p->resize_mode != FIT_SMALL)
        return;
    if (own < aspect((float)p->width, (float)p->height))
        *new_height = (int)fminf((float)p->width / own, (float)INT32_MAX / 2);
    else
        *new_width = (int)fminf(own * (float)p->height, (float)INT32_MAX / 2);
}

/* ---- the image ---- */

qf_interpolation qf_fit_interpolation(const resize *p, qf_random *random)
{
    static const qf_interpolation ways[] = {
        [CAFFE__RESIZE_PARAMETER__INTERP_MODE__LINEAR] = QF_INTERPOLATE_LINEAR,
        [CAFFE__RESIZE_PARAMETER__INTERP_MODE__AREA] = QF_INTERPOLATE_AREA,
        [CAFFE__RESIZE_PARAMETER__INTERP_MODE__NEAREST] = QF_INTERPOLATE_NEAREST,
        [CAFFE__RESIZE_PARAMETER__INTERP_MODE__CUBIC] = QF_INTERPOLATE_CUBIC,
        [CAFFE__RESIZE_PARAMETER__INTERP_MODE__LANCZOS4] = QF_INTERPOLATE_LANCZOS,
    };
    if (!p || p->n_interp_mode == 0)
        return QF_INTERPOLATE_LINEAR;
    return ways[p->interp_mode[qf_random_below(random, (uint32_t)p->n_interp_mode)]];
}

static qf_border border(const resize *p)
{
    return p->pad_mode == CAFFE__RESIZE_PARAMETER__PAD_MODE__MIRRORED         ? QF_BORDER_MIRRORED
           : p->pad_mode == CAFFE__RESIZE_PARAMETER__PAD_MODE__REPEAT_NEAREST ? QF_BORDER_REPEATED
                                                                              : QF_BORDER_CONSTANT;
}

static qf_status fill_up(qf_context *context, const resize *p, qf_image *image)
{
    const int missing_rows = (int)p->height - image->height,
              missing_columns = (int)p->width - image->width;
    const qf_padding padding = {missing_rows / 2, missing_rows - missing_rows / 2,
                                missing_columns / 2, missing_columns - missing_columns / 2};
    uint8_t value[CHANNELS_MAX] = {0};
    if (p->n_pad_value > 1 && p->n_pad_value != (size_t)image->channels)
        return qf_fail(context, QF_E_SHAPE,
                       "resize_param has %zu pad_value for images of %d channels; give 1 or %d",
                       p->n_pad_value, image->channels, image->channels);
    for (int c = 0; c < image->channels && c < CHANNELS_MAX && p->n_pad_value; c++)
        value[c] = qf_to_byte(p->pad_value[p->n_pad_value == 1 ? 0 : c]);
    return qf_image_pad(context, image, &padding, border(p), value);
}

qf_status qf_fit_image(qf_context *context, const resize *p, qf_random *random, qf_image *image)
{
    const qf_interpolation how = qf_fit_interpolation(p, random);
    const float own = aspect((float)image->width, (float)image->height);
    int height = (int)p->height, width = (int)p->width;
    if (p->resize_mode != FIT_PAD) {
        qf_fit_size(p, image->height, image->width, &height, &width);
        return qf_image_interpolate(context, image, height, width, how);
    }
    if (is_wider(p, image->height, image->width))
        height = (int)fmaxf(1, floorf((float)width / own));
    else
        width = (int)fmaxf(1, floorf(own * (float)height));
    QF_TRY(qf_image_interpolate(context, image, height, width, how));
    return fill_up(context, p, image);
}

/* ---- its boxes ---- */

/* Where the whole image lies on the fitted one. */
static qf_box frame_of(const resize *p, int height, int width)
{
    const float own = aspect((float)width, (float)height);
    qf_box frame = {0, 0, 1, 1};
    if (p->resize_mode != FIT_PAD)
        return frame;
    if (is_wider(p, height, width)) {
        const float padding = ((float)p->height - (float)p->width / own) / 2 / (float)p->height;
        frame.y1 = padding;
        frame.y2 = 1 - padding;
    } else {
        const float padding = ((float)p->width - (float)p->height * own) / 2 / (float)p->width;
        frame.x1 = padding;
        frame.x2 = 1 - padding;
    }
    return frame;
}

qf_box qf_fit_box(const resize *p, int height, int width, const qf_box *box)
{
    const qf_box frame = frame_of(p, height, width);
    const float across = frame.x2 - frame.x1, down = frame.y2 - frame.y1;
    /* Cut to the image by the sides that it begins and ends at, as SSD does. */
    return (qf_box){frame.x1 + across * fmaxf(0, box->x1), frame.y1 + down * fmaxf(0, box->y1),
                    frame.x1 + across * fminf(1, box->x2), frame.y1 + down * fminf(1, box->y2)};
}

qf_box qf_fit_rescale(const resize *p, int height, int width, const qf_box *crop, const qf_box *box)
{
    float fitted_height = (float)p->height, fitted_width = (float)p->width;
    const float own = aspect((float)width, (float)height);
    if (p->resize_mode != FIT_SMALL || !p->height_scale || !p->width_scale)
        return *box;
    if (own < aspect(fitted_width, fitted_height))
        fitted_height = fitted_width / own;
    else
        fitted_width = fitted_height * own;
    const float across = fitted_width * (crop->x2 - crop->x1) / (float)p->width_scale;
    const float down = fitted_height * (crop->y2 - crop->y1) / (float)p->height_scale;
    return (qf_box){box->x1 * across, box->y1 * down, box->x2 * across, box->y2 * down};
}

static qf_box scaled(const qf_box *box, float width, float height)
{
    return (qf_box){box->x1 * width, box->y1 * height, box->x2 * width, box->y2 * height};
}

qf_box qf_fit_back(const resize *p, int height, int width, const qf_box *box)
{
    qf_box found = *box;
    if (p && p->resize_mode == FIT_SMALL && p->height_scale && p->width_scale) {
        found = scaled(box, (float)p->width_scale, (float)p->height_scale);
        return qf_box_clip(&found, (float)width, (float)height);
    }
    if (p && p->resize_mode == FIT_PAD) {
        const qf_box frame = frame_of(p, height, width);
        if (!qf_box_project(&frame, box, &found))
            found = (qf_box){0};
    }
    found = qf_box_clip(&found, 1, 1);
    return scaled(&found, (float)width, (float)height);
}

bool qf_box_project(const qf_box *frame, const qf_box *box, qf_box *out)
{
    const float width = frame->x2 - frame->x1, height = frame->y2 - frame->y1;
    if (!(box->x1 < frame->x2 && box->x2 > frame->x1 && box->y1 < frame->y2 && box->y2 > frame->y1))
        return false;
    *out = (qf_box){(box->x1 - frame->x1) / width, (box->y1 - frame->y1) / height,
                    (box->x2 - frame->x1) / width, (box->y2 - frame->y1) / height};
    *out = qf_box_clip(out, 1, 1);
    return qf_box_area(out, QF_BOX_BORDERS) > 0;
}
