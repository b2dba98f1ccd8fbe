/* NAME.sha256: what is beside a file may be anything. */
#include "base/checksum.h"
#include "base/file.h"
#include "fuzz.h"

#include <stdio.h>

static void put_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    fuzz_require(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool found;
    fuzz_enter_folder();
    qf_context *context = fuzz_context();
    put_file("file", "abc", 3);
    put_file("file.sha256", data, size);
    (void)qf_checksum_check(context, "file", &found);
    fuzz_require(found, "the checksum was not looked at");
    qf_context_destroy(context);
    return 0;
}
