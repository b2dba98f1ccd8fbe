/* Outputs are complete or absent, and those of one step appear together or not at all: each is
 * written beside its target under a name of its own, brought to the disk, and renamed at the end.
 * An old checksum (base/checksum.h) goes before its file is replaced, a new one comes after it: one
 * that is there is always that of the file beside it.
 */
#ifndef QF_BASE_OUTPUT_H
#define QF_BASE_OUTPUT_H

#include "base/context.h"

#include <stddef.h>
#include <sys/types.h>

typedef struct qf_output {
    char *path;            /* as the caller named it */
    char *target;          /* where it will be: links are followed */
    const char *temporary; /* where it is; NULL: a device or a pipe, written to directly */
    char *before;          /* second name of the file that is there, while a group is renamed */
    struct qf_unfinished *unfinished; /* note of `temporary` */
    int fd;                           /* open for writing; -1: a folder */
    bool folder;
    bool replaces; /* a file that is there, whose mode and owner it takes */
    bool removes;  /* no output: what is at the target goes when the step's files get names */
    bool done;
} qf_output;

/* Makes "<target>.<digits>.partial", an empty file (or a folder, which must not be there yet), with
 * `mode` as far as the umask lets it. Missing parent folders are created with mode 750. What
 * processes that are gone left of this target is removed. */
qf_status qf_output_open(qf_context *context, const char *path, bool folder, mode_t mode,
                         qf_output *out);
/* Gives it its name, or keeps it for the end of the step; removes it unless `status`, that of the
 * writing, is QF_OK. Frees what is in `out` in any case. */
qf_status qf_output_finish(qf_context *context, qf_output *out, qf_status status);
/* Fails now if writing a file `path` later could not succeed, as far as one can tell. Creates
 * missing parent folders; leaves nothing else behind. */
qf_status qf_output_probe(qf_context *context, const char *path);

/* One step: what is written between these two through the same context is renamed by
 * qf_outputs_end(), in the order in which it was finished, if `status` is QF_OK; else all of it is
 * removed. Where a name cannot be given, those before it are taken back. Steps may lie in others:
 * the outermost renames. `mark` is what qf_outputs_begin() gave. */
size_t qf_outputs_begin(qf_context *context);
qf_status qf_outputs_end(qf_context *context, size_t mark, qf_status status);
/* A step's other way with a file: what is at `path` goes when the files of the step get their
 * names, and stays where it fails. */
qf_status qf_output_remove(qf_context *context, const char *path);
/* The file to read for `path`: within a step, what the step wrote. */
const char *qf_outputs_readable(const qf_context *context, const char *path);

#endif
