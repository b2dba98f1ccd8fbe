/* The mean image of a database, as Caffe's compute_image_mean. */
#include "base/memory.h"
#include "data/stores/datum.h"
#include "data/stores/sample_store.h"
#include "model/model.h"

typedef struct mean {
    int channels, height, width;
    size_t size;
    double *sums; /* C order: channel, row, column */
    uint64_t count;
} mean;

static qf_status start(qf_context *context, const qf_image *first, mean *out)
{
    out->channels = first->channels;
    out->height = first->height;
    out->width = first->width;
    out->size = (size_t)first->channels * (size_t)first->height * (size_t)first->width;
    out->sums = qf_alloc(out->size, sizeof *out->sums);
    if (first->pixels)
        qf_info(context, "Decoding Datum");
    qf_info(context, "Starting iteration");
    return out->sums ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for the mean image");
}

static qf_status add(qf_context *context, const qf_image *image, mean *sum)
{
    size_t size = (size_t)image->channels * (size_t)image->height * (size_t)image->width, at = 0;
    if (size != sum->size)
        return qf_fail(
            context, QF_E_SHAPE,
            "Incorrect data field size %zu: the image has %d x %d x %d values (channels, "
            "height, width), the first one %d x %d x %d; a mean needs equal sizes",
            size, image->channels, image->height, image->width, sum->channels, sum->height,
            sum->width);
    for (int c = 0; c < image->channels; c++)
        for (int y = 0; y < image->height; y++)
            for (int x = 0; x < image->width; x++, at++) {
                size_t from = (size_t)c * image->channel_step + (size_t)y * image->row_step +
                              (size_t)x * image->pixel_step;
                sum->sums[at] +=
                    image->bytes ? (double)image->bytes[from] : (double)image->floats[from];
            }
    sum->count++;
    return QF_OK;
}

static qf_status add_all(qf_context *context, qf_sample_store *store, mean *sum)
{
    enum { REPORT = 10000 };
    uint64_t count;
    QF_TRY(qf_sample_store_count(context, store, &count));
    for (uint64_t i = 0; i < count; i++) {
        qf_sample sample;
        qf_image image;
        QF_TRY(qf_sample_store_next(context, store, &sample));
        qf_status status =
            qf_datum_decode(context, sample.value, sample.value_size, QF_COLOR_AS_STORED, &image);
        if (status == QF_OK) {
            status = i == 0 ? start(context, &image, sum) : QF_OK;
            if (status == QF_OK)
                status = add(context, &image, sum);
            qf_image_release(&image);
        }
        QF_TRY(qf_within(context, status, "item %llu", (unsigned long long)i));
        if (sum->count % REPORT == 0)
            qf_info(context, "Processed %llu files.", (unsigned long long)sum->count);
    }
    if (sum->count % REPORT != 0)
        qf_info(context, "Processed %llu files.", (unsigned long long)sum->count);
    return QF_OK;
}

static qf_status write_mean(qf_context *context, const mean *sum, const char *path)
{
    Caffe__BlobProto blob = CAFFE__BLOB_PROTO__INIT;
    float *values = qf_alloc(sum->size, sizeof *values);
    if (!values)
        return qf_fail(context, QF_E_MEMORY, "no memory for the mean image");
    for (size_t i = 0; i < sum->size; i++)
        values[i] = (float)(sum->sums[i] / (double)sum->count);
    blob.has_num = blob.has_channels = blob.has_height = blob.has_width = true;
    blob.num = 1;
    blob.channels = sum->channels;
    blob.height = sum->height;
    blob.width = sum->width;
    blob.n_data = sum->size;
    blob.data = values;
    qf_info(context, "Write to %s", path);
    qf_status status = qf_wire_write(context, path, &blob, 0644);
    qf_free(values);
    return status;
}

static void log_channels(qf_context *context, const mean *sum)
{
    size_t plane = sum->size / (size_t)sum->channels;
    qf_info(context, "Number of channels: %d", sum->channels);
    for (int c = 0; c < sum->channels; c++) {
        double total = 0;
        for (size_t i = 0; i < plane; i++)
            total += sum->sums[(size_t)c * plane + i] / (double)sum->count;
        qf_info(context, "mean_value channel [%d]: %g", c, total / (double)plane);
    }
}

qf_status qf_compute_image_mean(qf_context *context, const char *database, const char *output)
{
    qf_sample_store *store;
    mean sum = {0};
    QF_TRY(qf_sample_store_open(context, database, &store));
    qf_info(context, "Opened %s %s", qf_store_format_name(qf_sample_store_format(store)), database);
    qf_status status = qf_within(context, add_all(context, store, &sum), "%s", database);
    if (status == QF_OK && output)
        status = write_mean(context, &sum, output);
    if (status == QF_OK)
        log_channels(context, &sum);
    qf_free(sum.sums);
    qf_sample_store_close(store);
    return status;
}
