#include "fuzz.h"

#include "data/stores/sample_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "the fuzz target cannot work: %s\n", what);
    exit(1);
}

qf_context *fuzz_context(void)
{
    qf_context *context;
    fuzz_require(qf_context_create(&context) == QF_OK, "no context");
    fuzz_require(qf_context_set_limits(context, "tensor_elements=1M,net_bytes=64M,datum_values=1M,"
                                                "image_pixels=256K,file_bytes=4M") == QF_OK,
                 qf_error_text(context));
    return context;
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0)
        fd = memfd_create("input", 0);
    fuzz_require(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size,
                 "no file in memory");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static char folder[128];

static void leave_folder(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (chdir("/") != 0 || system(command) != 0)
        fprintf(stderr, "%s stays behind\n", folder);
}

void fuzz_enter_folder(void)
{
    if (*folder)
        return;
    const char *place = getenv("TMPDIR"); /* in memory, it is many times faster */
    snprintf(folder, sizeof folder, "%.80s/qaffe-fuzz-XXXXXX", place ? place : "/tmp");
    fuzz_require(mkdtemp(folder) && chdir(folder) == 0, "no folder");
    atexit(leave_folder);
}

void fuzz_make_leveldb(qf_context *context, const char *path)
{
    qf_sample_writer *writer;
    bool good = qf_sample_writer_create(context, path, QF_STORE_LEVELDB, &writer) == QF_OK;
    for (char key[] = "a"; good && *key <= 'z'; ++*key)
        good = qf_sample_writer_put(context, writer, key, "value", 5) == QF_OK;
    fuzz_require(good && qf_sample_writer_finish(context, writer, true) == QF_OK,
                 qf_error_text(context));
}
