/*
 * Random sizes. Intel's Caffe draws how long the shorter side becomes, or cuts out a part with a
 * random share of the area and a random ratio of sides, which becomes crop_size x crop_size.
 * NVIDIA's draws the shorter side, the ratio of the longer to it, and a stretch of each side, and
 * makes nothing larger unless allow_upscale says so, nor smaller than the crop.
 */
#include "data/sources/random_size.h"

#include "data/boxes/fit.h"

#include <math.h>

enum { SIDE_MAX = 1 << 16 };

typedef Caffe__TransformationParameter transformation;

/* ---- what is asked for ---- */

static bool draws_nvidia_size(const transformation *p)
{
    return p->img_rand_resize_lower || p->img_rand_resize_upper || p->has_rand_resize_ratio_lower ||
           p->has_rand_resize_ratio_upper || p->has_vertical_stretch_lower ||
           p->has_vertical_stretch_upper || p->has_horizontal_stretch_lower ||
           p->has_horizontal_stretch_upper;
}

bool qf_random_size_asked(const transformation *p)
{
    return p->random_resize_param || p->random_aspect_ratio_param || draws_nvidia_size(p);
}

/* "lower" to "upper", both finite and from `least` on. */
static qf_status check_range(qf_context *context, const char *name, double lower, double upper,
                             double least, double most)
{
    return lower >= least && upper >= lower && upper <= most
               ? QF_OK
               : qf_fail(context, QF_E_VALUE,
                         "transform_param: %s goes from %g to %g; expected values from %g to %g, "
                         "the smaller first",
                         name, lower, upper, least, most);
}

static qf_status check_intel(qf_context *context, const transformation *p)
{
    const Caffe__RandomResizeParameter *size = p->random_resize_param;
    const Caffe__RandomAspectRatioParameter *part = p->random_aspect_ratio_param;
    if ((size || part) && !p->crop_size)
        return qf_fail(context, QF_E_VALUE,
                       "transform_param: %s needs a crop_size, as images become of several sizes",
                       size ? "random_resize_param" : "random_aspect_ratio_param");
    if (size && size->max_size)
        QF_TRY(check_range(context, "the size of random_resize_param", size->min_size,
                           size->max_size, 0, SIDE_MAX));
    if (!part)
        return QF_OK;
    QF_TRY(check_range(context, "the share of the area of random_aspect_ratio_param",
                       (double)part->min_area_ratio, (double)part->max_area_ratio, 1e-6, 1));
    return check_range(context, "the change of random_aspect_ratio_param",
                       (double)part->aspect_ratio_change, 1 / (double)part->aspect_ratio_change,
                       1e-3, 1e3);
}

qf_status qf_random_size_check(qf_context *context, const transformation *p)
{
    QF_TRY(check_intel(context, p));
    QF_TRY(check_range(context, "img_rand_resize", p->img_rand_resize_lower,
                       p->img_rand_resize_upper, 0, SIDE_MAX));
    QF_TRY(check_range(context, "rand_resize_ratio", (double)p->rand_resize_ratio_lower,
                       (double)p->rand_resize_ratio_upper, 0, 1e3));
    QF_TRY(check_range(context, "vertical_stretch", (double)p->vertical_stretch_lower,
                       (double)p->vertical_stretch_upper, 0, 1e3));
    return check_range(context, "horizontal_stretch", (double)p->horizontal_stretch_lower,
                       (double)p->horizontal_stretch_upper, 0, 1e3);
}

/* ---- Intel's ---- */

static int drawn(qf_random *random, int low, int high)
{
    return low + (int)qf_random_below(random, (uint32_t)(high - low + 1));
}

static int shorter_side(const qf_image *image)
{
    return image->height < image->width ? image->height : image->width;
}

/* The shorter side becomes `size`, and the ratio of the sides stays. */
static qf_status resize_shorter(qf_context *context, int size, qf_interpolation how,
                                qf_image *image)
{
    const float scale = (float)size / (float)shorter_side(image);
    const bool upright = image->height >= image->width;
    const int longer =
        (int)fminf((float)(upright ? image->height : image->width) * scale, (float)INT32_MAX / 2);
    return qf_image_interpolate(context, image, upright ? longer : size, upright ? size : longer,
                                how);
}

static qf_status resize_randomly(qf_context *context, const Caffe__RandomResizeParameter *p,
                                 qf_random *random, qf_image *image)
{
    const int shorter = shorter_side(image), longer = image->height + image->width - shorter;
    const int low = p->min_size ? (int)p->min_size : shorter;
    const int high = p->max_size ? (int)p->max_size : longer;
    if (high < low)
        return qf_fail(context, QF_E_VALUE,
                       "random_resize_param asks for a side of %d to %d of an image of %d x %d "
                       "(height x width)",
                       low, high, image->height, image->width);
    return resize_shorter(context, drawn(random, low, high),
                          qf_fit_interpolation(p->resize_param, random), image);
}

/* A part that fits into the image; false: max_attempt draws have found none. */
static bool draw_part(const Caffe__RandomAspectRatioParameter *p, qf_random *random,
                      const qf_image *image, int *height, int *width)
{
    const float area = (float)image->height * (float)image->width;
    for (uint32_t i = 0; i < p->max_attempt; i++) {
        const float share = qf_random_uniform(random, p->min_area_ratio, p->max_area_ratio);
        const float change =
            qf_random_uniform(random, p->aspect_ratio_change, 1 / p->aspect_ratio_change);
        const int one = (int)(sqrtf(share * area) * change),
                  other = (int)(sqrtf(share * area) / change);
        const bool turned = qf_random_below(random, 2);
        *height = turned ? other : one;
        *width = turned ? one : other;
        if (*height >= 1 && *width >= 1 && *height <= image->height && *width <= image->width)
            return true;
    }
    return false;
}

static qf_status cut_randomly(qf_context *context, const transformation *transform,
                              qf_random *random, qf_image *image)
{
    const Caffe__RandomAspectRatioParameter *p = transform->random_aspect_ratio_param;
    const int crop = (int)transform->crop_size;
    int height, width;
    if (!draw_part(p, random, image, &height, &width))
        return resize_shorter(context, crop, qf_fit_interpolation(p->resize_param, random), image);
    const int top = drawn(random, 0, image->height - height);
    const int left = drawn(random, 0, image->width - width);
    QF_TRY(qf_image_cut(context, image, top, left, height, width));
    return qf_image_interpolate(context, image, crop, crop,
                                qf_fit_interpolation(p->resize_param, random));
}

/* ---- NVIDIA's ---- */

static int bounded_side(const transformation *p, float side, int own)
{
    int wanted = (int)lroundf(fminf(side, (float)SIDE_MAX));
    if (wanted < (int)p->crop_size)
        wanted = (int)p->crop_size;
    return wanted < 1 ? 1 : wanted > own && !p->allow_upscale ? own : wanted;
}

static void draw_sides(const transformation *p, qf_random *random, const qf_image *image,
                       int *height, int *width)
{
    int shorter = shorter_side(image);
    if (p->img_rand_resize_lower && p->img_rand_resize_upper)
        shorter = drawn(random, (int)p->img_rand_resize_lower, (int)p->img_rand_resize_upper);
    const float scale = (float)shorter / (float)shorter_side(image);
    float rows = scale * (float)image->height, columns = scale * (float)image->width;
    if (p->rand_resize_ratio_lower >= 1 && p->rand_resize_ratio_upper > 1) {
        const float ratio =
            qf_random_uniform(random, p->rand_resize_ratio_lower, p->rand_resize_ratio_upper);
        if (columns > rows || (columns == rows && qf_random_below(random, 2)))
            columns = rows * ratio;
        else
            rows = columns * ratio;
    }
    if (p->vertical_stretch_lower > 0)
        rows *= qf_random_uniform(random, p->vertical_stretch_lower, p->vertical_stretch_upper);
    if (p->horizontal_stretch_lower > 0)
        columns *=
            qf_random_uniform(random, p->horizontal_stretch_lower, p->horizontal_stretch_upper);
    *height = bounded_side(p, rows, image->height);
    *width = bounded_side(p, columns, image->width);
}

static qf_status stretch_randomly(qf_context *context, const transformation *p, qf_random *random,
                                  qf_image *image)
{
    static const qf_interpolation ways[] = {
        [CAFFE__TRANSFORMATION_PARAMETER__INTERPOLATION_ALGO__INTER_NEAREST] =
            QF_INTERPOLATE_NEAREST,
        [CAFFE__TRANSFORMATION_PARAMETER__INTERPOLATION_ALGO__INTER_LINEAR] = QF_INTERPOLATE_LINEAR,
        [CAFFE__TRANSFORMATION_PARAMETER__INTERPOLATION_ALGO__INTER_CUBIC] = QF_INTERPOLATE_CUBIC,
        [CAFFE__TRANSFORMATION_PARAMETER__INTERPOLATION_ALGO__INTER_AREA] = QF_INTERPOLATE_AREA,
    };
    int height, width;
    draw_sides(p, random, image, &height, &width);
    if (height == image->height && width == image->width)
        return QF_OK;
    const bool down = height <= image->height && width <= image->width;
    return qf_image_interpolate(context, image, height, width,
                                ways[down ? p->interpolation_algo_down : p->interpolation_algo_up]);
}

qf_status qf_random_size_apply(qf_context *context, const transformation *p, qf_random *random,
                               qf_image *image)
{
    if (p->random_resize_param)
        QF_TRY(resize_randomly(context, p->random_resize_param, random, image));
    if (p->random_aspect_ratio_param)
        QF_TRY(cut_randomly(context, p, random, image));
    return draws_nvidia_size(p) ? stretch_randomly(context, p, random, image) : QF_OK;
}
