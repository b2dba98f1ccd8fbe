#include "data/sample_store.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "data/store_type.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct qf_sample_writer {
    const qf_store_type *type;
    void *state;
    char *path, *temporary;
    qf_buffer packed;
};

void qf_remove_flat_folder(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    (void)rmdir(path);
}

static qf_status within(qf_context *context, const qf_sample_writer *writer, qf_status status)
{
    return qf_within(context, status, "the %s '%s'", writer->type->title, writer->path);
}

static qf_status make(qf_context *context, qf_sample_writer *writer, const char *path)
{
    qf_buffer temporary = {0};
    qf_buffer_print(&temporary, "%s.%ld.partial", path, (long)getpid());
    writer->path = qf_strdup(path);
    writer->temporary = temporary.failed ? NULL : qf_strdup(temporary.data);
    qf_buffer_release(&temporary);
    if (!writer->path || !writer->temporary)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    if (mkdir(writer->temporary, 0755) != 0)
        return qf_fail(context, QF_E_IO, "cannot create the folder %s: %s", writer->temporary,
                       strerror(errno));
    return within(context, writer,
                  writer->type->create(context, writer->temporary, &writer->state));
}

qf_status qf_sample_writer_create(qf_context *context, const char *path, qf_store_format format,
                                  qf_sample_writer **out)
{
    *out = NULL;
    if (qf_file_exists(path))
        return qf_fail(context, QF_E_IO, "'%s' exists already; remove it or choose another name",
                       path);
    QF_TRY(qf_file_probe(context, path));
    qf_sample_writer *writer = qf_alloc(1, sizeof *writer);
    if (!writer)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    writer->type = qf_store_types[format];
    qf_status status = make(context, writer, path);
    if (status == QF_OK)
        *out = writer;
    else
        (void)qf_sample_writer_finish(context, writer, false);
    return status;
}

qf_status qf_sample_writer_put(qf_context *context, qf_sample_writer *writer, const char *key,
                               const void *value, size_t size)
{
    const qf_sample sample = {key, value, strlen(key), size};
    return within(context, writer, writer->type->put(context, writer->state, &sample));
}

qf_status qf_sample_writer_put_datum(qf_context *context, qf_sample_writer *writer, const char *key,
                                     const Caffe__Datum *datum)
{
    const size_t size = caffe__datum__get_packed_size(datum);
    if (!qf_grow(&writer->packed.data, &writer->packed.capacity, size + 1, 1))
        return qf_fail(context, QF_E_MEMORY, "no memory for a datum of %zu bytes", size);
    caffe__datum__pack(datum, (uint8_t *)writer->packed.data);
    return qf_sample_writer_put(context, writer, key, writer->packed.data, size);
}

qf_status qf_sample_writer_finish(qf_context *context, qf_sample_writer *writer, bool keep)
{
    if (!writer)
        return QF_OK;
    qf_status status = QF_OK;
    if (writer->state)
        status = within(context, writer, writer->type->finish(context, writer->state, keep));
    if (keep && status == QF_OK && rename(writer->temporary, writer->path) != 0)
        status = qf_fail(context, QF_E_IO, "cannot write the database '%s': %s", writer->path,
                         strerror(errno));
    if ((!keep || status != QF_OK) && writer->temporary)
        qf_remove_flat_folder(writer->temporary);
    qf_free(writer->path);
    qf_free(writer->temporary);
    qf_buffer_release(&writer->packed);
    qf_free(writer);
    return status;
}
