/* Whole files piece by piece. */
#include "base/file_writer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static qf_status write_bytes(const qf_file_writer *w, const char *bytes, size_t size)
{
    for (size_t written = 0; written < size;) {
        ssize_t step = write(w->output.fd, bytes + written, size - written);
        if (step < 0 && errno == EINTR)
            continue;
        if (step < 0) {
            const int error = errno;
            if (w->output.temporary)
                (void)!ftruncate(w->output.fd, 0); /* so that what is free can be told */
            return qf_fail_writing(w->context, w->output.path, error, w->size);
        }
        written += (size_t)step;
    }
    return QF_OK;
}

qf_status qf_file_writer_open(qf_context *context, const char *path, size_t size, unsigned mode,
                              qf_file_writer *out)
{
    out->context = context;
    out->size = size;
    out->held = 0;
    out->status = QF_OK;
    QF_TRY(qf_output_open(context, path, false, (mode_t)mode, &out->output));
    out->guard = qf_size_guard_begin();
    return QF_OK;
}

static void send_small(qf_file_writer *w)
{
    if (w->status == QF_OK)
        w->status = write_bytes(w, w->small, w->held);
    w->held = 0;
}

void qf_file_writer_put(qf_file_writer *w, const void *bytes, size_t size)
{
    if (w->held + size > sizeof w->small)
        send_small(w);
    if (size > sizeof w->small) {
        if (w->status == QF_OK)
            w->status = write_bytes(w, bytes, size);
        return;
    }
    memcpy(w->small + w->held, bytes, size);
    w->held += size;
}

qf_status qf_file_writer_finish(qf_file_writer *w)
{
    send_small(w);
    qf_size_guard_end(&w->guard);
    return qf_output_finish(w->context, &w->output, w->status);
}
