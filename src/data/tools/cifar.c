/* CIFAR-10's binary batches as databases, as Caffe's convert_cifar_data. */
#include "base/file.h"
#include "base/output.h"
#include "data/stores/sample_store.h"
#include "model/file_type.h"
#include "model/model.h"

#include <stdio.h>

enum { SIDE = 32, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS, RECORD = 1 + IMAGE };

/* Appends the records of one file; *count numbers them over all files. */
static qf_status put_file(qf_context *context, const char *path, qf_sample_writer *writer,
                          int *count)
{
    qf_buffer file = {0};
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK && (file.size == 0 || file.size % RECORD != 0))
        status = qf_fail(context, QF_E_FORMAT,
                         "%s has %zu bytes, expected a multiple of %d: a label and a picture of "
                         "%d x %d x %d each",
                         path, file.size, RECORD, CHANNELS, SIDE, SIDE);
    for (size_t at = 0; at < file.size && status == QF_OK; at += RECORD) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        char key[16];
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = CHANNELS;
        datum.height = datum.width = SIDE;
        datum.label = (uint8_t)file.data[at];
        datum.data.data = (uint8_t *)file.data + at + 1;
        datum.data.len = IMAGE;
        snprintf(key, sizeof key, "%05d", (*count)++);
        status = qf_sample_writer_put_message(context, writer, key, &datum.base);
    }
    qf_buffer_release(&file);
    return qf_wrong_file(context, status, path, QF_FILE_CIFAR);
}

/* data_batch_1.bin … data_batch_<batches>.bin, or test_batch.bin for none. */
static qf_status convert(qf_context *context, const char *input, const char *output,
                         const char *which, qf_store_format format, int batches)
{
    qf_buffer path = {0}, database = {0};
    qf_sample_writer *writer = NULL;
    int count = 0;
    qf_buffer_print(&database, "%s/cifar10_%s_%s", output, which, qf_store_format_name(format));
    qf_status status = qf_buffer_whole(context, &database);
    if (status == QF_OK)
        status = qf_sample_writer_create(context, qf_buffer_text(&database), format, &writer);
    for (int i = 1; i <= (batches ? batches : 1) && status == QF_OK; i++) {
        path.size = 0;
        if (batches) {
            qf_info(context, "Training Batch %d", i);
            qf_buffer_print(&path, "%s/data_batch_%d.bin", input, i);
        } else {
            qf_buffer_print(&path, "%s/test_batch.bin", input);
        }
        status = qf_buffer_whole(context, &path);
        if (status == QF_OK)
            status = put_file(context, path.data, writer, &count);
    }
    qf_status finished = qf_sample_writer_finish(context, writer, status == QF_OK);
    qf_buffer_release(&path);
    qf_buffer_release(&database);
    return status == QF_OK ? finished : status;
}

qf_status qf_convert_cifar(qf_context *context, const char *input_folder, const char *output_folder,
                           const char *backend)
{
    qf_store_format format;
    QF_TRY(qf_store_format_find(context, backend, &format));
    const size_t mark = qf_outputs_begin(context);
    qf_info(context, "Writing Training data");
    qf_status status = convert(context, input_folder, output_folder, "train", format, 5);
    if (status == QF_OK) {
        qf_info(context, "Writing Testing data");
        status = convert(context, input_folder, output_folder, "test", format, 0);
    }
    return qf_outputs_end(context, mark, status);
}
