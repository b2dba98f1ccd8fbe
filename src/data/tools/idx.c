/* MNIST's idx files: big-endian magic, sizes, bytes. */
#include "base/buffer.h"
#include "base/memory.h"
#include "data/stores/sample_store.h"
#include "model/file_type.h"
#include "model/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* The whole file, unpacked if it is .gz. */
static qf_status load(qf_context *context, const char *path, qf_buffer *out)
{
    enum { CHUNK = 1 << 16 };
    static const char advice[] = "expected one of MNIST's files, plain or .gz";
    errno = ENOMEM; /* what it fails for without setting errno */
    gzFile file = gzopen(path, "rb");
    if (!file)
        return errno == ENOMEM ? qf_fail(context, QF_E_MEMORY, "no memory to read %s", path)
                               : qf_fail(context, QF_E_IO, "cannot read %s: %s; %s", path,
                                         strerror(errno), advice);
    uint8_t *chunk = qf_alloc_raw(CHUNK, 1);
    qf_status status = QF_OK;
    int got = 0;
    while (status == QF_OK && chunk && (got = gzread(file, chunk, CHUNK)) > 0) {
        qf_buffer_append(out, chunk, (size_t)got);
        status = qf_check_limit(context, QF_LIMIT_FILE_BYTES, out->size, "%s has", path);
    }
    int error;
    (void)gzerror(file, &error);
    const bool damaged = (gzclose(file) != Z_OK) | (got < 0);
    if (status == QF_OK && (!chunk || out->failed || (damaged && error == Z_MEM_ERROR)))
        status = qf_fail(context, QF_E_MEMORY, "no memory for the contents of %s", path);
    if (status == QF_OK && damaged)
        status = qf_fail(context, QF_E_IO, "%s is damaged; %s", path, advice);
    qf_free(chunk);
    return qf_wrong_file(context, status, path, QF_FILE_IDX);
}

static uint32_t big_endian(const char *bytes)
{
    const uint8_t *b = (const uint8_t *)bytes;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Checks magic and size; sizes[] receives `axes` numbers. */
static qf_status check(qf_context *context, const char *path, const qf_buffer *file, int axes,
                       uint32_t *sizes)
{
    static const uint32_t bytes = 0x800; /* and the number of axes */
    size_t header = 4 + 4 * (size_t)axes, expected = 1;
    const uint32_t magic = file->size >= 4 ? big_endian(file->data) : 0;
    if (magic == bytes + (axes == 1 ? 3 : 1))
        return qf_fail(context, QF_E_FORMAT,
                       "%s holds %s, but %s are expected; were the two files exchanged?", path,
                       axes == 1 ? "images" : "labels", axes == 1 ? "labels" : "images");
    if (file->size < header || magic != bytes + (uint32_t)axes)
        return qf_wrong_file(context,
                             qf_fail(context, QF_E_FORMAT,
                                     "%s is not an idx file of %d-dimensional bytes", path, axes),
                             path, QF_FILE_IDX);
    for (int i = 0; i < axes; i++) {
        sizes[i] = big_endian(file->data + 4 + 4 * i);
        if (!qf_multiply(expected, sizes[i], &expected))
            return qf_fail(context, QF_E_FORMAT, "%s has impossible sizes", path);
    }
    if (file->size - header != expected || expected == 0)
        return qf_fail(context, QF_E_FORMAT, "%s is cut off: %zu bytes of data, expected %zu", path,
                       file->size - header, expected);
    return QF_OK;
}

typedef struct mnist {
    qf_buffer images, labels;
    uint32_t count, rows, columns;
    size_t pixels; /* of one image */
} mnist;

static const uint8_t *image_at(const mnist *data, uint32_t index)
{
    return (const uint8_t *)data->images.data + 16 + index * data->pixels;
}

static int label_at(const mnist *data, uint32_t index)
{
    return (uint8_t)data->labels.data[8 + index];
}

static qf_status read_mnist(qf_context *context, const char *images, const char *labels, mnist *out)
{
    uint32_t sizes[3] = {0}, count = 0;
    QF_TRY(load(context, images, &out->images));
    QF_TRY(load(context, labels, &out->labels));
    QF_TRY(check(context, images, &out->images, 3, sizes));
    QF_TRY(check(context, labels, &out->labels, 1, &count));
    if (sizes[0] != count)
        return qf_fail(context, QF_E_MISMATCH, "%s has %u images, but %s has %u labels", images,
                       sizes[0], labels, count);
    out->count = count;
    out->rows = sizes[1];
    out->columns = sizes[2];
    out->pixels = (size_t)sizes[1] * sizes[2];
    qf_info(context, "A total of %u items.", count);
    qf_info(context, "Rows: %u Cols: %u", out->rows, out->columns);
    return QF_OK;
}

static qf_status put(qf_context *context, qf_sample_writer *writer, const mnist *data,
                     uint32_t index, int channels, const void *pixels, int label)
{
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    char key[16];
    datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
    datum.has_data = true;
    datum.channels = channels;
    datum.height = (int32_t)data->rows;
    datum.width = (int32_t)data->columns;
    datum.label = label;
    datum.data.data = (uint8_t *)pixels; /* only read */
    datum.data.len = (size_t)channels * data->pixels;
    snprintf(key, sizeof key, "%08u", index);
    return qf_sample_writer_put_message(context, writer, key, &datum.base);
}

static qf_status put_images(qf_context *context, qf_sample_writer *writer, const mnist *data)
{
    for (uint32_t i = 0; i < data->count; i++)
        QF_TRY(put(context, writer, data, i, 1, image_at(data, i), label_at(data, i)));
    return QF_OK;
}

/* As many pairs as there are images, drawn at random: a channel each; label 1 where both show the
 * same digit. */
static qf_status put_pairs(qf_context *context, qf_sample_writer *writer, const mnist *data)
{
    uint8_t *pixels = qf_alloc_raw(2, data->pixels);
    if (!pixels)
        return qf_fail(context, QF_E_MEMORY, "no memory for a pair of images");
    qf_status status = QF_OK;
    for (uint32_t i = 0; i < data->count && status == QF_OK; i++) {
        uint32_t one = qf_random_below(&context->random, data->count);
        uint32_t other = qf_random_below(&context->random, data->count);
        memcpy(pixels, image_at(data, one), data->pixels);
        memcpy(pixels + data->pixels, image_at(data, other), data->pixels);
        status =
            put(context, writer, data, i, 2, pixels, label_at(data, one) == label_at(data, other));
    }
    qf_free(pixels);
    return status;
}

static qf_status convert(qf_context *context, const char *images, const char *labels,
                         const char *database, const char *backend,
                         qf_status (*put_all)(qf_context *, qf_sample_writer *, const mnist *))
{
    mnist data = {0};
    qf_store_format format;
    qf_sample_writer *writer = NULL;
    qf_status status = qf_store_format_find(context, backend, &format);
    if (status == QF_OK)
        status = read_mnist(context, images, labels, &data);
    if (status == QF_OK)
        status = qf_sample_writer_create(context, database, format, &writer);
    if (status == QF_OK) {
        status = put_all(context, writer, &data);
        qf_status finished = qf_sample_writer_finish(context, writer, status == QF_OK);
        status = status == QF_OK ? finished : status;
    }
    if (status == QF_OK)
        qf_info(context, "Processed %u files.", data.count);
    qf_buffer_release(&data.images);
    qf_buffer_release(&data.labels);
    return status;
}

qf_status qf_convert_mnist(qf_context *context, const char *images, const char *labels,
                           const char *database, const char *backend)
{
    return convert(context, images, labels, database, backend, put_images);
}

qf_status qf_convert_mnist_pairs(qf_context *context, const char *images, const char *labels,
                                 const char *database, const char *backend)
{
    return convert(context, images, labels, database, backend, put_pairs);
}

qf_status qf_convert_idx(qf_context *context, const char *images, const char *labels,
                         const char *lmdb)
{
    return qf_convert_mnist(context, images, labels, lmdb, qf_store_format_name(QF_STORE_LMDB));
}
