/* Grey, blurred, equalised, compressed, eroded, posterised, inverted, with salt and pepper. */
#include "data/images/image_noise.h"

#include "base/memory.h"
#include "data/images/image_codecs.h"
#include "data/images/image_distort.h"
#include "data/images/image_encode.h"

#include <math.h>
#include <string.h>

typedef Caffe__NoiseParameter noise;

qf_status qf_noise_check(qf_context *context, const noise *p)
{
    const Caffe__SaltPepperParameter *grains = p->saltpepper_param;
    if (p->convert_to_lab)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "noise_param: convert_to_lab is not supported; it makes floats, which SSD "
                       "then reads as bytes");
    if (!(p->jpeg <= 100))
        return qf_fail(context, QF_E_VALUE, "noise_param: jpeg is a quality up to 100, not %g",
                       (double)p->jpeg);
    if (p->saltpepper &&
        !(grains && grains->n_value && grains->fraction >= 0 && grains->fraction <= 1))
        return qf_fail(
            context, QF_E_VALUE,
            "noise_param: saltpepper needs saltpepper_param with a fraction, 0 to 1, and "
            "a value");
    return QF_OK;
}

static size_t pixels_of(const qf_image *image)
{
    return (size_t)image->height * (size_t)image->width;
}

static void decolorize(qf_image *image)
{
    for (uint8_t *p = image->pixels; p < image->pixels + qf_image_bytes(image); p += 3) {
        qf_pixels_to_gray(p, 1, 3, p);
        p[1] = p[2] = p[0];
    }
}

/* Each pixel by its neighbours within `reach`, weighted in rows and columns. */
static qf_status blur(qf_context *context, qf_image *image)
{
    enum { REACH = 3 };
    const double deviation = 1.5;
    float weight[2 * REACH + 1], sum = 0;
    const size_t channels = (size_t)image->channels, row = image->row_step;
    float *across = qf_alloc_raw(qf_image_bytes(image), sizeof *across);
    if (!across)
        return qf_fail(context, QF_E_MEMORY, "no memory to blur an image");
    for (int k = -REACH; k <= REACH; k++)
        sum += weight[k + REACH] = (float)exp(-k * k / (2 * deviation * deviation));
    for (int h = 0; h < image->height; h++)
        for (int w = 0; w < image->width; w++)
            for (size_t c = 0; c < channels; c++) {
                float value = 0;
                for (int k = -REACH; k <= REACH; k++) {
                    const size_t from =
                        (size_t)qf_border_index(QF_BORDER_MIRRORED, w + k, image->width);
                    value += weight[k + REACH] / sum *
                             (float)image->pixels[(size_t)h * row + from * channels + c];
                }
                across[(size_t)h * row + (size_t)w * channels + c] = value;
            }
    for (int h = 0; h < image->height; h++)
        for (size_t i = 0; i < row; i++) {
            float value = 0;
            for (int k = -REACH; k <= REACH; k++)
                value +=
                    weight[k + REACH] / sum *
                    across[(size_t)qf_border_index(QF_BORDER_MIRRORED, h + k, image->height) * row +
                           i];
            image->pixels[(size_t)h * row + i] = qf_to_byte(value);
        }
    qf_free(across);
    return QF_OK;
}

/* The brightness equalised; the differences of colours to it stay (YCrCb). */
static qf_status equalize(qf_context *context, qf_image *image, bool tiles)
{
    const size_t count = pixels_of(image), channels = (size_t)image->channels;
    uint8_t *plane = qf_alloc_raw(2 * count, 1);
    if (!plane)
        return qf_fail(context, QF_E_MEMORY, "no memory to equalise an image");
    uint8_t *before = plane + count;
    if (channels == 3)
        qf_pixels_to_gray(image->pixels, count, 3, plane);
    else
        for (size_t i = 0; i < count; i++)
            plane[i] = image->pixels[i * channels];
    memcpy(before, plane, count);
    qf_status status = QF_OK;
    if (tiles)
        status = qf_equalize_tiles(context, plane, image->height, image->width);
    else
        qf_equalize(plane, image->height, image->width);
    for (size_t i = 0; status == QF_OK && i < count * channels; i++)
        image->pixels[i] =
            channels == 3
                ? qf_to_byte((float)image->pixels[i] + (float)plane[i / 3] - (float)before[i / 3])
                : plane[i / channels];
    qf_free(plane);
    return status;
}

static qf_status compress(qf_context *context, qf_image *image, int quality)
{
    qf_buffer file = {0};
    qf_image again = {0};
    qf_status status = qf_image_encode_jpeg(context, image, quality, &file);
    if (status == QF_OK)
        status = qf_buffer_whole(context, &file);
    if (status == QF_OK)
        status = qf_image_decode(context, file.data, file.size,
                                 image->channels == 3 ? QF_COLOR_FORCED : QF_GRAY_FORCED, &again);
    qf_buffer_release(&file);
    QF_TRY(status);
    again.label = image->label;
    qf_image_release(image);
    *image = again;
    return QF_OK;
}

/* The least of a pixel and its four neighbours; those outside do not count. */
static qf_status erode(qf_context *context, qf_image *image)
{
    const size_t channels = (size_t)image->channels, row = image->row_step;
    uint8_t *from = qf_alloc_raw(qf_image_bytes(image), 1);
    if (!from)
        return qf_fail(context, QF_E_MEMORY, "no memory to erode an image");
    memcpy(from, image->pixels, qf_image_bytes(image));
    for (size_t h = 0; h < (size_t)image->height; h++)
        for (size_t i = 0; i < row; i++) {
            const uint8_t *p = from + h * row + i;
            uint8_t least = *p;
            if (h > 0 && p[-(ptrdiff_t)row] < least)
                least = p[-(ptrdiff_t)row];
            if (h + 1 < (size_t)image->height && p[row] < least)
                least = p[row];
            if (i >= channels && p[-(ptrdiff_t)channels] < least)
                least = p[-(ptrdiff_t)channels];
            if (i + channels < row && p[channels] < least)
                least = p[channels];
            image->pixels[h * row + i] = least;
        }
    qf_free(from);
    return QF_OK;
}

static void posterize(qf_image *image)
{
    enum { STEP = 64 };
    for (size_t i = 0; i < qf_image_bytes(image); i++)
        image->pixels[i] = (uint8_t)(image->pixels[i] / STEP * STEP + STEP / 2);
}

static void invert(qf_image *image)
{
    for (size_t i = 0; i < qf_image_bytes(image); i++)
        image->pixels[i] = (uint8_t)(255 - image->pixels[i]);
}

static qf_status strew(qf_context *context, const Caffe__SaltPepperParameter *p, qf_random *random,
                       qf_image *image)
{
    const size_t channels = (size_t)image->channels;
    const size_t grains = (size_t)floorf(p->fraction * (float)pixels_of(image));
    if (p->n_value != 1 && p->n_value != channels)
        return qf_fail(context, QF_E_SHAPE,
                       "saltpepper_param has %zu values for images of %d channels; give 1 or %d",
                       p->n_value, image->channels, image->channels);
    for (size_t k = 0; k < grains; k++) {
        const size_t x = qf_random_below(random, (uint32_t)image->width),
                     y = qf_random_below(random, (uint32_t)image->height);
        for (size_t c = 0; c < channels; c++)
            image->pixels[y * image->row_step + x * channels + c] =
                qf_to_byte(p->value[p->n_value == 1 ? 0 : c]);
    }
    return QF_OK;
}

static void convert_to_hsv(qf_image *image)
{
    for (uint8_t *p = image->pixels; p < image->pixels + qf_image_bytes(image); p += 3) {
        uint8_t hsv[3];
        qf_pixel_to_hsv(p, hsv);
        memcpy(p, hsv, sizeof hsv);
    }
}

qf_status qf_image_add_noise(qf_context *context, const noise *p, qf_random *random,
                             qf_image *image)
{
    const bool colour = image->channels == 3;
    if (p->decolorize && colour)
        decolorize(image);
    if (p->gauss_blur)
        QF_TRY(blur(context, image));
    if (p->hist_eq)
        QF_TRY(equalize(context, image, false));
    if (p->clahe)
        QF_TRY(equalize(context, image, true));
    if (p->jpeg >= 1 && (colour || image->channels == 1))
        QF_TRY(compress(context, image, (int)p->jpeg));
    if (p->erode)
        QF_TRY(erode(context, image));
    if (p->posterize)
        posterize(image);
    if (p->inverse)
        invert(image);
    if (p->saltpepper)
        QF_TRY(strew(context, p->saltpepper_param, random, image));
    if (p->convert_to_hsv && colour)
        convert_to_hsv(image);
    return QF_OK;
}
