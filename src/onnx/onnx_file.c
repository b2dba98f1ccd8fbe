/* Reading and writing ONNX models, whose large tensors may lie in a file beside them. */
#include "onnx/onnx_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SMALLEST_OUTSIDE = 1024, /* bytes; smaller tensors stay in the model */
    PAGE = 4096,             /* tensors begin at pages, so that readers may map them */
    MODE = 0644,
};

/* ---- reading ---- */

static const char *property(const Onnx__Tensor *tensor, const char *key)
{
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const Onnx__Property *p = tensor->external_data[i];
        if (p->key && p->value && strcmp(p->key, key) == 0)
            return p->value;
    }
    return NULL;
}

/* False where the text is no number of bytes. */
static bool read_bytes(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = text ? strtoull(text, &end, 10) : 0;
    return text && *text >= '0' && *text <= '9' && !*end && !errno;
}

/* A model must not reach files outside its folder. */
static bool stays_beside(const char *location)
{
    if (location[0] == '/' || !location[0])
        return false;
    for (const char *part = location; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strcmp(part, "..") == 0 || strncmp(part, "../", 3) == 0)
            return false;
    }
    return true;
}

static qf_status read_range(qf_context *context, int fd, const char *file, Onnx__Tensor *tensor)
{
    struct stat info;
    uint64_t offset = 0, length = 0;
    const char *offset_text = property(tensor, "offset"), *length_text = property(tensor, "length");
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return qf_fail(context, QF_E_IO, "%s is no file", file);
    const uint64_t size = (uint64_t)info.st_size;
    if ((offset_text && !read_bytes(offset_text, &offset)) ||
        (length_text && !read_bytes(length_text, &length)))
        return qf_fail(context, QF_E_FORMAT, "its offset or length in %s is no number", file);
    if (!length_text)
        length = offset < size ? size - offset : 0;
    if (offset > size || length > size - offset)
        return qf_fail(context, QF_E_FORMAT,
                       "%s has %" PRIu64 " bytes, but bytes %" PRIu64 " to %" PRIu64
                       " are wanted; fetch both files again",
                       file, size, offset, offset + length);
    QF_TRY(qf_check_limit(context, QF_LIMIT_FILE_BYTES, length, "its values in %s take", file));
    uint8_t *bytes = malloc(length ? (size_t)length : 1);
    if (!bytes)
        return qf_fail(context, QF_E_MEMORY, "no memory for %" PRIu64 " bytes of %s", length, file);
    for (uint64_t have = 0; have < length;) {
        const ssize_t got =
            pread(fd, bytes + have, (size_t)(length - have), (off_t)(offset + have));
        if (got > 0) {
            have += (uint64_t)got;
        } else if (got == 0 || errno != EINTR) {
            free(bytes);
            return qf_fail(context, QF_E_IO, "cannot read %s: %s", file,
                           got ? strerror(errno) : "it became shorter");
        }
    }
    free(tensor->raw_data.data);
    tensor->raw_data = (ProtobufCBinaryData){(size_t)length, bytes};
    tensor->has_raw_data = true;
    tensor->data_location = ONNX__TENSOR__LOCATION__IN_MODEL;
    return QF_OK;
}

static qf_status read_outside(qf_context *context, const char *path, Onnx__Tensor *tensor)
{
    const char *location = property(tensor, "location");
    if (!location || !stays_beside(location))
        return qf_fail(context, QF_E_FORMAT,
                       "%s: values of %s lie in \"%s\", which is no file beside the model", path,
                       tensor->name ? tensor->name : "a tensor", location ? location : "");
    const char *slash = strrchr(path, '/');
    qf_buffer file = {0};
    qf_buffer_print(&file, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, location);
    qf_status status = qf_buffer_whole(context, &file);
    const int fd = status == QF_OK ? open(file.data, O_RDONLY | O_CLOEXEC) : -1;
    if (status == QF_OK && fd < 0)
        status = qf_fail(context, QF_E_IO, "cannot open %s: %s", file.data, strerror(errno));
    if (status == QF_OK)
        status = read_range(context, fd, file.data, tensor);
    if (fd >= 0)
        close(fd);
    qf_buffer_release(&file);
    return qf_within(context, status, "%s: tensor %s", path, tensor->name ? tensor->name : "");
}

static qf_status read_all_outside(qf_context *context, const char *path, const Onnx__Graph *graph)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (graph->initializer[i]->data_location == ONNX__TENSOR__LOCATION__EXTERNAL)
            QF_TRY(read_outside(context, path, graph->initializer[i]));
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t a = 0; a < graph->node[n]->n_attribute; a++) {
            Onnx__Tensor *t = graph->node[n]->attribute[a]->t;
            if (t && t->data_location == ONNX__TENSOR__LOCATION__EXTERNAL)
                QF_TRY(read_outside(context, path, t));
        }
    return QF_OK;
}

qf_status qf_onnx_read(qf_context *context, const char *path, Onnx__Model **out)
{
    Onnx__Model *model;
    *out = NULL;
    QF_TRY(qf_wire_read(context, path, &onnx__model__descriptor, &model));
    const qf_status status =
        model->graph ? read_all_outside(context, path, model->graph)
                     : qf_fail(context, QF_E_FORMAT, "%s: an ONNX model without a graph", path);
    if (status == QF_OK)
        *out = model;
    else
        qf_message_free(model);
    return status;
}

/* ---- writing ---- */

static bool goes_outside(const Onnx__Tensor *tensor)
{
    return tensor->raw_data.len >= SMALLEST_OUTSIDE;
}

static qf_status add_property(qf_context *context, Onnx__Tensor *tensor, const char *key,
                              const char *value)
{
    Onnx__Property *p;
    QF_TRY(qf_message_new(context, &onnx__property__descriptor, &p));
    qf_status status = qf_set_string(context, &p->key, key);
    if (status == QF_OK)
        status = qf_set_string(context, &p->value, value);
    if (status == QF_OK)
        status = qf_append(context, &tensor->n_external_data, &tensor->external_data, &p, sizeof p);
    if (status != QF_OK)
        qf_message_free(p);
    return status;
}

static qf_status write_bytes(qf_context *context, const qf_output *file, const void *bytes,
                             size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t wrote = write(file->fd, (const char *)bytes + done, size - done);
        if (wrote >= 0)
            done += (size_t)wrote;
        else if (errno != EINTR)
            return qf_fail(context, QF_E_IO, "cannot write %s: %s", file->path, strerror(errno));
    }
    return QF_OK;
}

/* Writes the values of one tensor and notes in it where they are. */
static qf_status move_outside(qf_context *context, const qf_output *file, uint64_t *offset,
                              Onnx__Tensor *tensor)
{
    static const uint8_t zeros[PAGE];
    const size_t gap = (PAGE - *offset % PAGE) % PAGE;
    const char *slash = strrchr(file->path, '/');
    char number[32];
    QF_TRY(write_bytes(context, file, zeros, gap));
    QF_TRY(write_bytes(context, file, tensor->raw_data.data, tensor->raw_data.len));
    *offset += gap;
    QF_TRY(add_property(context, tensor, "location", slash ? slash + 1 : file->path));
    snprintf(number, sizeof number, "%" PRIu64, *offset);
    QF_TRY(add_property(context, tensor, "offset", number));
    snprintf(number, sizeof number, "%zu", tensor->raw_data.len);
    QF_TRY(add_property(context, tensor, "length", number));
    *offset += tensor->raw_data.len;
    return QF_OK;
}

static void hide_values(Onnx__Tensor *tensor)
{
    tensor->has_raw_data = false;
    tensor->has_data_location = true;
    tensor->data_location = ONNX__TENSOR__LOCATION__EXTERNAL;
}

static void show_values(Onnx__Tensor *tensor)
{
    for (size_t i = 0; i < tensor->n_external_data; i++)
        qf_message_free(tensor->external_data[i]);
    free(tensor->external_data);
    tensor->external_data = NULL;
    tensor->n_external_data = 0;
    tensor->has_raw_data = true;
    tensor->has_data_location = false;
    tensor->data_location = ONNX__TENSOR__LOCATION__IN_MODEL;
}

static qf_status write_data(qf_context *context, const char *path, Onnx__Graph *graph)
{
    qf_output file;
    uint64_t offset = 0;
    QF_TRY(qf_output_open(context, path, false, MODE, &file));
    qf_status status = QF_OK;
    for (size_t i = 0; i < graph->n_initializer && status == QF_OK; i++)
        if (goes_outside(graph->initializer[i]))
            status = move_outside(context, &file, &offset, graph->initializer[i]);
    return qf_output_finish(context, &file, status);
}

static qf_status write_in_two(qf_context *context, const char *path, Onnx__Model *model)
{
    Onnx__Graph *graph = model->graph;
    qf_buffer data = {0};
    qf_buffer_print(&data, "%s.data", path);
    const size_t mark = qf_outputs_begin(context);
    qf_status status = qf_buffer_whole(context, &data);
    if (status == QF_OK)
        status = write_data(context, data.data, graph);
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (goes_outside(graph->initializer[i]))
            hide_values(graph->initializer[i]);
    if (status == QF_OK)
        status = qf_wire_write(context, path, model, MODE);
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (goes_outside(graph->initializer[i]))
            show_values(graph->initializer[i]);
    status = qf_outputs_end(context, mark, status);
    qf_buffer_release(&data);
    return status;
}

qf_status qf_onnx_write(qf_context *context, const char *path, Onnx__Model *model)
{
    const size_t size = protobuf_c_message_get_packed_size(&model->base);
    if (size <= context->limits[QF_LIMIT_FILE_BYTES])
        return qf_wire_write(context, path, model, MODE);
    return write_in_two(context, path, model);
}
