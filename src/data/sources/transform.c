/* Crop, mirror, mean and scale of one image. */
#include "data/sources/transform.h"

#include "base/memory.h"

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

qf_status qf_transform_setup(qf_context *context, const Caffe__TransformationParameter *param,
                             bool train, qf_transform *out)
{
    *out = (qf_transform){.param = param, .train = train};
    if (!param)
        return QF_OK;
    if (param->mean_file && param->n_mean_value)
        return qf_fail(context, QF_E_FORMAT,
                       "transform_param has mean_file and mean_value; give one");
    if (param->force_color && param->force_gray)
        return qf_fail(context, QF_E_FORMAT,
                       "transform_param has force_color and force_gray; give one");
    out->color = param->force_color  ? QF_COLOR_FORCED
                 : param->force_gray ? QF_GRAY_FORCED
                                     : QF_COLOR_AS_STORED;
    return param->mean_file ? load_mean(context, param->mean_file, out) : QF_OK;
}

void qf_transform_release(qf_transform *transform)
{
    qf_free(transform->mean);
    *transform = (qf_transform){0};
}

qf_status qf_transform_shape(qf_context *context, const qf_transform *t, const qf_image *image,
                             int *height, int *width)
{
    int crop = t->param ? (int)t->param->crop_size : 0;
    size_t means = t->param ? t->param->n_mean_value : 0;
    *height = crop ? crop : image->height;
    *width = crop ? crop : image->width;
    if (crop < 0 || crop > image->height || crop > image->width)
        return qf_fail(context, QF_E_SHAPE,
                       "crop_size %d is larger than an image of %d x %d (height x "
                       "width)",
                       crop, image->height, image->width);
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

void qf_transform_apply(const qf_transform *t, const qf_image *image, qf_random *random, float *out)
{
    static const Caffe__TransformationParameter defaults = CAFFE__TRANSFORMATION_PARAMETER__INIT;
    const Caffe__TransformationParameter *p = t->param ? t->param : &defaults;
    const int crop = (int)p->crop_size, height = crop ? crop : image->height,
              width = crop ? crop : image->width;
    const bool mirror = p->mirror && qf_random_below(random, 2);
    int top = (image->height - height) / 2, left = (image->width - width) / 2;
    if (crop && t->train) {
        top = (int)qf_random_below(random, (uint32_t)(image->height - height + 1));
        left = (int)qf_random_below(random, (uint32_t)(image->width - width + 1));
    }
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++) {
            int target = mirror ? width - 1 - w : w;
            float *to =
                out + ((size_t)h * (size_t)width + (size_t)target) * (size_t)image->channels;
            for (int c = 0; c < image->channels; c++) {
                size_t row = (size_t)(h + top), column = (size_t)(w + left);
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
