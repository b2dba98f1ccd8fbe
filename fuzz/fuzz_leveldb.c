/* A LevelDB one file of which is the input: its first byte says which, in the order of names. */
#include "base/file.h"
#include "data/stores/sample_store.h"
#include "fuzz.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 8 };

static struct {
    char path[300];
    qf_buffer content;
} files[FILES_MAX];
static int file_count;

static void make_database(void)
{
    qf_context *context = fuzz_context();
    struct dirent **entries;
    fuzz_enter_folder();
    fuzz_make_leveldb(context, "db");
    const int found = scandir("db", &entries, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        const char *name = entries[i]->d_name;
        if (name[0] != '.' && strncmp(name, "LO", 2) != 0) { /* no LOCK, no LOG */
            fuzz_require(file_count < FILES_MAX, "too many files");
            snprintf(files[file_count].path, sizeof files->path, "db/%.200s", name);
            fuzz_require(
                qf_file_read(context, files[file_count].path, &files[file_count].content) == QF_OK,
                qf_error_text(context));
            file_count++;
        }
        free(entries[i]);
    }
    fuzz_require(file_count > 0, "no database");
    free(entries);
    qf_context_destroy(context);
}

static void put_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    fuzz_require(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!file_count)
        make_database();
    if (size == 0)
        return 0;
    qf_context *context = fuzz_context();
    qf_sample_store *store;
    qf_sample sample;
    const int which = data[0] % file_count;
    put_file(files[which].path, data + 1, size - 1);
    if (qf_sample_store_open(context, "db", &store) == QF_OK) {
        for (int i = 0; i < 30 && qf_sample_store_next(context, store, &sample) == QF_OK; i++)
            ;
        qf_sample_store_close(store);
    }
    put_file(files[which].path, files[which].content.data, files[which].content.size);
    qf_context_destroy(context);
    return 0;
}
