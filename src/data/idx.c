/* MNIST's idx files: big-endian magic, sizes, bytes. */
#include "base/buffer.h"
#include "base/memory.h"
#include "data/sample_store.h"
#include "model/model.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define IDX_BYTES_MAX ((size_t)1 << 31)

/* The whole file, unpacked if it is .gz. */
static qf_status load(qf_context *context, const char *path, qf_buffer *out)
{
    enum { CHUNK = 1 << 16 };
    static const char advice[] = "expected one of MNIST's files, plain or .gz";
    gzFile file = gzopen(path, "rb");
    if (!file)
        return qf_fail(context, QF_E_IO, "cannot read %s; %s", path, advice);
    uint8_t *chunk = qf_alloc_raw(CHUNK, 1);
    int got = 0;
    while (chunk && (got = gzread(file, chunk, CHUNK)) > 0 && out->size <= IDX_BYTES_MAX)
        qf_buffer_append(out, chunk, (size_t)got);
    int closed = gzclose(file);
    bool failed = !chunk || got < 0 || closed != Z_OK || out->failed || out->size > IDX_BYTES_MAX;
    qf_free(chunk);
    return failed ? qf_fail(context, QF_E_IO, "%s is damaged or too large; %s", path, advice)
                  : QF_OK;
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
    size_t header = 4 + 4 * (size_t)axes, expected = 1;
    if (file->size < header || big_endian(file->data) != 0x800u + (unsigned)axes)
        return qf_fail(context, QF_E_FORMAT, "%s is not an idx file of %d-dimensional bytes", path,
                       axes);
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

static qf_status put_all(qf_context *context, qf_sample_writer *writer, const qf_buffer *images,
                         const qf_buffer *labels, const uint32_t *sizes)
{
    size_t pixels = (size_t)sizes[1] * sizes[2];
    qf_status status = QF_OK;
    for (uint32_t i = 0; i < sizes[0] && status == QF_OK; i++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        char key[16];
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = 1;
        datum.height = (int32_t)sizes[1];
        datum.width = (int32_t)sizes[2];
        datum.label = (uint8_t)labels->data[8 + i];
        datum.data.data = (uint8_t *)images->data + 16 + i * pixels;
        datum.data.len = pixels;
        snprintf(key, sizeof key, "%08u", i);
        status = qf_sample_writer_put_datum(context, writer, key, &datum);
    }
    return status;
}

qf_status qf_convert_idx(qf_context *context, const char *images, const char *labels,
                         const char *lmdb)
{
    qf_buffer image_file = {0}, label_file = {0};
    uint32_t sizes[3] = {0}, count[1] = {0};
    qf_sample_writer *writer = NULL;
    qf_status status = load(context, images, &image_file);
    if (status == QF_OK)
        status = load(context, labels, &label_file);
    if (status == QF_OK)
        status = check(context, images, &image_file, 3, sizes);
    if (status == QF_OK)
        status = check(context, labels, &label_file, 1, count);
    if (status == QF_OK && sizes[0] != count[0])
        status = qf_fail(context, QF_E_MISMATCH, "%s has %u images, but %s has %u labels", images,
                         sizes[0], labels, count[0]);
    if (status == QF_OK)
        status = qf_sample_writer_create(context, lmdb, QF_STORE_LMDB, &writer);
    if (status == QF_OK) {
        status = put_all(context, writer, &image_file, &label_file, sizes);
        qf_status finished = qf_sample_writer_finish(context, writer, status == QF_OK);
        status = status == QF_OK ? finished : status;
    }
    qf_buffer_release(&image_file);
    qf_buffer_release(&label_file);
    return status;
}
