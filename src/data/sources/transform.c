/* Resizing, crop, mirror, mean and scale of one image. */
#include "data/sources/transform.h"

#include "base/memory.h"
#include "data/boxes/fit.h"
#include "data/images/image_noise.h"
#include "data/sources/random_size.h"

#include <math.h>
#include <string.h>

static qf_status load_mean(qf_context *context, const char *path, qf_transform *out)
{
    Caffe__BlobProto *blob;
    int dims[32], axes;
    QF_TRY(qf_wire_read(context, path, &caffe__blob_proto__descriptor, &blob));
    qf_status status =
        qf_within(context, qf_blob_proto_shape(context, blob, dims, &axes, NULL), "%s", path);
    size_t count = 1;
    for (int i = 0; status == QF_OK && i < axes; i++)
        if (!qf_multiply(count, (size_t)dims[i], &count))
            count = SIZE_MAX;
    if (status == QF_OK && (axes < 3 || axes > 4 || (axes == 4 && dims[0] != 1) || count == 0 ||
                            count != blob->n_data))
        status = qf_fail(context, QF_E_FORMAT,
                         "%s is not a mean file: expected a blob of 1 x channels x height x width",
                         path);
    if (status == QF_OK) {
        out->mean = qf_alloc_raw(count, sizeof *out->mean);
        if (!out->mean)
            status = qf_fail(context, QF_E_MEMORY, "no memory for the mean");
    }
    if (status == QF_OK) {
        memcpy(out->mean, blob->data, count * sizeof *out->mean);
        out->mean_channels = dims[axes - 3];
        out->mean_height = dims[axes - 2];
        out->mean_width = dims[axes - 1];
    }
    qf_message_free(blob);
    return status;
}

/* Of several, probabilities are those of the choice between them; what thirds and sixths lose in
 * decimal digits is the last one's. */
static qf_status check_resizing(qf_context *context, const Caffe__TransformationParameter *param)
{
    double sum = 0;
    for (size_t i = 0; i < param->n_resize_param; i++) {
        const float prob = param->resize_param[i]->prob;
        QF_TRY(qf_fit_check(context, param->resize_param[i]));
        if (!(prob >= 0 && prob <= 1))
            return qf_fail(context, QF_E_VALUE, "resize_param: prob is %g, expected 0 to 1",
                           (double)prob);
        sum += (double)prob;
    }
    if (param->n_resize_param > 1 && !(fabs(sum - 1) < 0.01))
        return qf_fail(context, QF_E_VALUE, "the prob of %zu resize_param add up to %g, expected 1",
                       param->n_resize_param, sum);
    return QF_OK;
}

qf_status qf_transform_setup(qf_context *context, const Caffe__TransformationParameter *param,
                             bool train, qf_transform *out)
{
    *out = (qf_transform){.param = param, .train = train};
    if (!param)
        return QF_OK;
    if (param->n_scale_factors || param->crop_width || param->crop_height)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "transform_param.scale_factors, crop_width and crop_height are of layers "
                       "with a label for each pixel (ImageSegData); leave them out");
    if (param->mean_file && param->n_mean_value)
        return qf_fail(context, QF_E_FORMAT,
                       "transform_param has mean_file and mean_value; give one");
    if (param->force_color && param->force_gray)
        return qf_fail(context, QF_E_FORMAT,
                       "transform_param has force_color and force_gray; give one");
    out->color = param->force_color  ? QF_COLOR_FORCED
                 : param->force_gray ? QF_GRAY_FORCED
                                     : QF_COLOR_AS_STORED;
    if (!param->crop_h != !param->crop_w || (param->crop_size && param->crop_h))
        return qf_fail(context, QF_E_FORMAT,
                       "transform_param: give crop_size, or crop_h and crop_w");
    QF_TRY(check_resizing(context, param));
    QF_TRY(qf_random_size_check(context, param));
    out->resize = param->n_resize_param ? param->resize_param[0] : NULL;
    if (param->noise_param)
        QF_TRY(qf_noise_check(context, param->noise_param));
    return param->mean_file ? load_mean(context, param->mean_file, out) : QF_OK;
}

void qf_transform_release(qf_transform *transform)
{
    qf_free(transform->mean);
    *transform = (qf_transform){0};
}

void qf_transform_begin_batch(qf_transform *transform, qf_random *random)
{
    const Caffe__TransformationParameter *p = transform->param;
    if (!p || p->n_resize_param < 2)
        return;
    float rest = qf_random_uniform(random, 0, 1);
    size_t chosen = 0;
    while (chosen + 1 < p->n_resize_param && rest >= p->resize_param[chosen]->prob)
        rest -= p->resize_param[chosen++]->prob;
    transform->resize = p->resize_param[chosen];
}

qf_status qf_transform_prepare(qf_context *context, const qf_transform *t, qf_random *random,
                               qf_image *image)
{
    const Caffe__TransformationParameter *p = t->param;
    if (!p || !(t->resize || p->noise_param || qf_random_size_asked(p)))
        return QF_OK;
    QF_TRY(qf_image_interleave(context, image));
    QF_TRY(qf_random_size_apply(context, p, random, image));
    if (t->resize)
        QF_TRY(qf_fit_image(context, t->resize, random, image));
    return p->noise_param ? qf_image_add_noise(context, p->noise_param, random, image) : QF_OK;
}

/* Height and width to be cut out; 0: all of it. */
static void crop_of(const qf_transform *t, int64_t *height, int64_t *width)
{
    const Caffe__TransformationParameter *p = t->param;
    *height = !p ? 0 : p->crop_size ? p->crop_size : p->crop_h;
    *width = !p ? 0 : p->crop_size ? p->crop_size : p->crop_w;
}

qf_status qf_transform_shape(qf_context *context, const qf_transform *t, const qf_image *image,
                             int *height, int *width)
{
    size_t means = t->param ? t->param->n_mean_value : 0;
    int64_t crop_height, crop_width;
    crop_of(t, &crop_height, &crop_width);
    if (crop_height > image->height || crop_width > image->width)
        return t->param->crop_size
                   ? qf_fail(context, QF_E_SHAPE,
                             "crop_size %u is larger than an image of %d x %d (height x width)",
                             t->param->crop_size, image->height, image->width)
                   : qf_fail(context, QF_E_SHAPE,
                             "crop_h %u and crop_w %u are larger than an image of %d x %d (height "
                             "x width)",
                             t->param->crop_h, t->param->crop_w, image->height, image->width);
    *height = crop_height ? (int)crop_height : image->height;
    *width = crop_width ? (int)crop_width : image->width;
    if (means > 1 && means != (size_t)image->channels)
        return qf_fail(context, QF_E_SHAPE,
                       "transform_param has %zu mean_value for images of %d channels; give 1 or %d",
                       means, image->channels, image->channels);
    if (t->mean && (t->mean_channels != image->channels || t->mean_height != image->height ||
                    t->mean_width != image->width))
        return qf_fail(
            context, QF_E_SHAPE,
            "the mean file %s is of %d x %d x %d, an image of %d x %d x %d (channels x height x "
            "width)",
            t->param->mean_file, t->mean_channels, t->mean_height, t->mean_width, image->channels,
            image->height, image->width);
    return QF_OK;
}

static float pixel(const qf_image *image, size_t at)
{
    return image->bytes ? (float)image->bytes[at] : image->floats[at];
}

qf_placement qf_transform_place(const qf_transform *t, const qf_image *image, qf_random *random)
{
    int64_t height, width;
    crop_of(t, &height, &width);
    qf_placement place = {.height = height ? (int)height : image->height,
                          .width = width ? (int)width : image->width};
    place.mirror = t->param && t->param->mirror && qf_random_below(random, 2);
    const int rows = image->height - place.height, columns = image->width - place.width;
    place.top = rows / 2;
    place.left = columns / 2;
    if (height && t->train) {
        place.top = (int)qf_random_below(random, (uint32_t)(rows + 1));
        place.left = (int)qf_random_below(random, (uint32_t)(columns + 1));
    }
    return place;
}

void qf_transform_write(const qf_transform *t, const qf_image *image, const qf_placement *place,
                        float *out)
{
    static const Caffe__TransformationParameter defaults = CAFFE__TRANSFORMATION_PARAMETER__INIT;
    const Caffe__TransformationParameter *p = t->param ? t->param : &defaults;
    const int height = place->height, width = place->width;
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++) {
            int target = place->mirror ? width - 1 - w : w;
            float *to =
                out + ((size_t)h * (size_t)width + (size_t)target) * (size_t)image->channels;
            for (int c = 0; c < image->channels; c++) {
                size_t row = (size_t)(h + place->top), column = (size_t)(w + place->left);
                float value = pixel(image, (size_t)c * image->channel_step + row * image->row_step +
                                               column * image->pixel_step);
                if (t->mean)
                    value -=
                        t->mean[((size_t)c * (size_t)image->height + row) * (size_t)image->width +
                                column];
                else if (p->n_mean_value)
                    value -= p->mean_value[p->n_mean_value == 1 ? 0 : c];
                to[c] = value * p->scale;
            }
        }
}
