/* Brightness, contrast, saturation, hue and the order of channels, each at random (distort_param).
 */
#include "data/images/image_distort.h"

#include "data/images/image_codecs.h"

#include <math.h>

typedef Caffe__DistortionParameter distortion;

static qf_status refuse_range(qf_context *context, const char *what, float lower, float upper)
{
    return qf_fail(
        context, QF_E_VALUE,
        "distort_param: %s_lower is %g and %s_upper %g; expected 0 or more, in that order", what,
        (double)lower, what, (double)upper);
}

static bool is_range(float lower, float upper)
{
    return lower >= 0 && upper >= lower && isfinite(upper);
}

qf_status qf_distort_check(qf_context *context, const distortion *p)
{
    if (!(p->brightness_delta >= 0 && isfinite(p->brightness_delta) && p->hue_delta >= 0 &&
          isfinite(p->hue_delta)))
        return qf_fail(context, QF_E_VALUE,
                       "distort_param: brightness_delta is %g and hue_delta %g; expected 0 or more",
                       (double)p->brightness_delta, (double)p->hue_delta);
    if (!is_range(p->contrast_lower, p->contrast_upper))
        return refuse_range(context, "contrast", p->contrast_lower, p->contrast_upper);
    if (!is_range(p->saturation_lower, p->saturation_upper))
        return refuse_range(context, "saturation", p->saturation_lower, p->saturation_upper);
    return QF_OK;
}

void qf_pixel_to_hsv(const uint8_t bgr[3], uint8_t hsv[3])
{
    const int b = bgr[0], g = bgr[1], r = bgr[2];
    const int most = b > g ? (b > r ? b : r) : (g > r ? g : r);
    const int least = b < g ? (b < r ? b : r) : (g < r ? g : r);
    const float range = (float)(most - least);
    float hue = 0;
    if (most == least)
        hue = 0;
    else if (most == r)
        hue = 30 * (float)(g - b) / range;
    else if (most == g)
        hue = 60 + 30 * (float)(b - r) / range;
    else
        hue = 120 + 30 * (float)(r - g) / range;
    hsv[0] = (uint8_t)(lrintf(hue < 0 ? hue + 180 : hue) % 180);
    hsv[1] = most ? qf_to_byte(255 * range / (float)most) : 0;
    hsv[2] = (uint8_t)most;
}

void qf_pixel_from_hsv(const uint8_t hsv[3], uint8_t bgr[3])
{
    const float hue = fmodf((float)hsv[0] / 30, 6), saturation = (float)hsv[1] / 255;
    const float value = hsv[2], part = hue - floorf(hue);
    const float low = value * (1 - saturation), falling = value * (1 - saturation * part),
                rising = value * (1 - saturation * (1 - part));
    const float rgb[6][3] = {{value, rising, low},  {falling, value, low}, {low, value, rising},
                             {low, falling, value}, {rising, low, value},  {value, low, falling}};
    const float *colour = rgb[(int)hue];
    for (int c = 0; c < 3; c++)
        bgr[c] = qf_to_byte(colour[2 - c]);
}

static void add_and_multiply(qf_image *image, float factor, float delta)
{
    uint8_t *pixels = image->pixels;
    for (size_t i = 0; i < qf_image_bytes(image); i++)
        pixels[i] = qf_to_byte((float)pixels[i] * factor + delta);
}

/* One of hue, saturation, value of each pixel. */
static void change_hsv(qf_image *image, int which, float factor, float delta)
{
    for (uint8_t *p = image->pixels; p < image->pixels + qf_image_bytes(image); p += 3) {
        uint8_t hsv[3];
        qf_pixel_to_hsv(p, hsv);
        hsv[which] = qf_to_byte((float)hsv[which] * factor + delta);
        qf_pixel_from_hsv(hsv, p);
    }
}

static bool happens(qf_random *random, float probability)
{
    return qf_random_uniform(random, 0, 1) < probability;
}

static void brightness(const distortion *p, qf_random *random, qf_image *image)
{
    if (happens(random, p->brightness_prob))
        add_and_multiply(image, 1,
                         qf_random_uniform(random, -p->brightness_delta, p->brightness_delta));
}

static void contrast(const distortion *p, qf_random *random, qf_image *image)
{
    if (happens(random, p->contrast_prob))
        add_and_multiply(image, qf_random_uniform(random, p->contrast_lower, p->contrast_upper), 0);
}

static void saturation(const distortion *p, qf_random *random, qf_image *image)
{
    if (happens(random, p->saturation_prob) && image->channels == 3)
        change_hsv(image, 1, qf_random_uniform(random, p->saturation_lower, p->saturation_upper),
                   0);
}

static void hue(const distortion *p, qf_random *random, qf_image *image)
{
    if (happens(random, p->hue_prob) && image->channels == 3)
        change_hsv(image, 0, 1, qf_random_uniform(random, -p->hue_delta, p->hue_delta));
}

static void order_of_channels(const distortion *p, qf_random *random, qf_image *image)
{
    if (!happens(random, p->random_order_prob) || image->channels != 3)
        return;
    int order[3] = {0, 1, 2};
    for (int i = 3; i > 1; i--) {
        const int other = (int)qf_random_below(random, (uint32_t)i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    for (uint8_t *pixel = image->pixels; pixel < image->pixels + qf_image_bytes(image);
         pixel += 3) {
        const uint8_t from[3] = {pixel[order[0]], pixel[order[1]], pixel[order[2]]};
        for (int c = 0; c < 3; c++)
            pixel[c] = from[c];
    }
}

/* Contrast comes second or, in the other half of the cases, fourth. */
void qf_image_distort(const distortion *p, qf_random *random, qf_image *image)
{
    const bool early = happens(random, 0.5f);
    brightness(p, random, image);
    if (early)
        contrast(p, random, image);
    saturation(p, random, image);
    hue(p, random, image);
    if (!early)
        contrast(p, random, image);
    order_of_channels(p, random, image);
}
