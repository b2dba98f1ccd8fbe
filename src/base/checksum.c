/* NAME.sha256 beside a file: computed with nettle, written, read and compared. */
#include "base/checksum.h"

#include "base/buffer.h"
#include "base/ending.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char ending[] = ".sha256";
enum { DIGITS = QF_DIGEST_TEXT - 1 };

char *qf_checksum_name(const char *file)
{
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s%s", file, ending);
    return name.failed ? (qf_buffer_release(&name), NULL) : name.data;
}

bool qf_is_checksum(const char *file)
{
    return qf_find_ending(file, ending) != NULL;
}

qf_status qf_digest(qf_context *context, const char *path, int fd, char out[QF_DIGEST_TEXT])
{
    enum { PIECE = 1 << 17 }; /* stays in the cache */
    struct sha256_ctx state;
    uint8_t digest[SHA256_DIGEST_SIZE], *piece = qf_alloc_raw(PIECE, 1);
    ssize_t got = 1;
    if (!piece)
        return qf_fail(context, QF_E_MEMORY, "no memory to read %s", path);
    sha256_init(&state);
    for (off_t at = 0; got != 0; at += got > 0 ? got : 0) {
        got = pread(fd, piece, PIECE, at);
        if (got < 0 && errno != EINTR)
            break;
        if (got > 0)
            sha256_update(&state, (size_t)got, piece);
    }
    const int error = errno;
    qf_free(piece);
    if (got < 0)
        return qf_fail(context, QF_E_IO, "cannot read %s: %s", path, strerror(error));
    sha256_digest(&state, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return QF_OK;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* As sha256sum does: a line that begins with a backslash has some in the name for what would end
 * the line. */
static void put_line(qf_buffer *out, const char *digest, const char *name)
{
    const bool escapes = strpbrk(name, "\\\n\r");
    qf_buffer_print(out, "%s%s  ", escapes ? "\\" : "", digest);
    for (; *name; name++)
        qf_buffer_print(out, "%.*s", *name == '\\' || *name == '\n' || *name == '\r' ? 2 : 1,
                        *name == '\\'   ? "\\\\"
                        : *name == '\n' ? "\\n"
                        : *name == '\r' ? "\\r"
                                        : name);
    qf_buffer_append(out, "\n", 1);
}

qf_status qf_checksum_write(qf_context *context, const char *file,
                            const char digest[QF_DIGEST_TEXT])
{
    enum { MODE = 0644 };
    char *name = qf_checksum_name(file);
    qf_buffer line = {0};
    put_line(&line, digest, base_of(file));
    qf_status status = name && !line.failed
                           ? qf_file_write(context, name, line.data, line.size, MODE)
                           : qf_fail(context, QF_E_MEMORY, "no memory for a checksum");
    qf_buffer_release(&line);
    qf_free(name);
    return status;
}

/* ---- reading ---- */

static bool is_digest(const char *text)
{
    size_t count = 0;
    while (isxdigit((unsigned char)text[count]))
        count++;
    return count == DIGITS;
}

/* The digest in a line: in front of the name, or, as `sha256sum --tag` has it, behind it. *name is
 * the last part of the name and whatever follows; NULL: the line has none. */
static const char *digest_in(const char *line, const char **name)
{
    static const char tag[] = "SHA256 (";
    const char *digest = line + (*line == '\\');
    *name = NULL;
    if (strncmp(digest, tag, sizeof tag - 1) == 0) {
        const char *close = strrchr(digest, ')');
        *name = base_of(digest + sizeof tag - 1);
        digest = close ? close + 1 + strspn(close + 1, " =") : "";
    } else if (is_digest(digest) && digest[DIGITS] && digest[DIGITS + 1]) {
        *name = base_of(digest + DIGITS + 2); /* two blanks, or one and an asterisk */
    }
    return is_digest(digest) ? digest : NULL;
}

static bool names(const char *name, const char *file)
{
    const char *base = base_of(file);
    const size_t length = strlen(base);
    return strncmp(name, base, length) == 0 && (!name[length] || name[length] == ')');
}

/* The digest that a list has for `file`: that of its line, or of the only one, since files are
 * renamed together with what lies beside them. NULL: none. */
static const char *find_digest(char *list, const char *file)
{
    const char *only = NULL, *name;
    int lines = 0;
    for (char *line, *rest = list; (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = '\0';
        const char *digest = digest_in(line, &name);
        if (!digest)
            continue;
        if (name && names(name, file))
            return digest;
        only = digest;
        lines++;
    }
    return lines == 1 ? only : NULL;
}

static qf_status compare(qf_context *context, const char *file, int fd, const char *checksum,
                         const char *wanted)
{
    char found[QF_DIGEST_TEXT];
    QF_TRY(qf_digest(context, file, fd, found));
    return strncasecmp(found, wanted, DIGITS) == 0
               ? QF_OK
               : qf_fail(context, QF_E_MISMATCH,
                         "%s does not agree with its checksum: its SHA-256 is %.12s..., %s says "
                         "%.12s...; it was changed or damaged since: restore it, or delete %s if "
                         "the change was meant",
                         file, found, checksum, wanted, checksum);
}

static qf_status check_against(qf_context *context, const char *file, int fd, const char *checksum)
{
    qf_buffer list = {0};
    qf_status status = qf_file_read(context, checksum, &list);
    const char *wanted = status == QF_OK && list.size ? find_digest(list.data, file) : NULL;
    if (status == QF_OK)
        status = wanted ? compare(context, file, fd, checksum, wanted)
                        : qf_fail(context, QF_E_FORMAT,
                                  "%s has no checksum of %s as sha256sum writes it; write it again "
                                  "(sha256sum %s), or delete it",
                                  checksum, file, base_of(file));
    qf_buffer_release(&list);
    return status;
}

static bool is_file(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* The checksum's file, or NULL in *out: there is none. */
static qf_status find_checksum(qf_context *context, const char *file, char **out)
{
    char *real = NULL;
    *out = qf_checksum_name(file);
    if (*out && !is_file(*out) && (real = realpath(file, NULL))) {
        qf_free(*out);
        *out = qf_checksum_name(real);
    }
    free(real);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    if (!is_file(*out)) {
        qf_free(*out);
        *out = NULL;
    }
    return QF_OK;
}

/* Has the file got another in its place, or its checksum gone? */
static bool was_replaced(const char *file, int fd, const char *checksum)
{
    struct stat then, now;
    return fstat(fd, &then) == 0 && stat(file, &now) == 0 &&
           (then.st_ino != now.st_ino || then.st_dev != now.st_dev || !is_file(checksum));
}

/* The file is opened before its checksum is read: writers remove the old checksum first, so one
 * that does not agree is no damage only where the file was replaced since. */
static qf_status check_once(qf_context *context, const char *file, bool *found, bool *again)
{
    char *checksum;
    *again = false;
    QF_TRY(find_checksum(context, file, &checksum));
    *found = checksum;
    if (!checksum)
        return QF_OK;
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    qf_status status = fd >= 0
                           ? check_against(context, file, fd, checksum)
                           : qf_fail(context, QF_E_IO, "cannot open %s: %s", file, strerror(errno));
    *again = status != QF_OK && fd >= 0 && was_replaced(file, fd, checksum);
    if (fd >= 0)
        close(fd);
    qf_free(checksum);
    return status;
}

qf_status qf_checksum_check(qf_context *context, const char *file, bool *found)
{
    enum { TRIES = 10 };
    bool there = false, again = true;
    qf_status status = QF_OK;
    if (qf_outputs_readable(context, file) != file) /* written a moment ago */
        again = false;
    for (int i = 0; i < TRIES && again; i++)
        status = check_once(context, file, &there, &again);
    if (found)
        *found = there;
    return status;
}
