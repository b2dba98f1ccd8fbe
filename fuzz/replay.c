/* Runs a fuzz target without libFuzzer: every seed as it is, cut off, and with random changes, the
 * same ones each time.  replay ROUNDS FOLDER */
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One to eight bytes become others, or a piece is taken from somewhere else. */
static void change(qf_random *random, uint8_t *bytes, size_t size)
{
    static const uint8_t usual[] = {0, 1, 0x7f, 0x80, 0xff};
    const uint32_t changes = 1 + qf_random_below(random, 8);
    for (uint32_t i = 0; i < changes && size; i++) {
        uint8_t *at = &bytes[qf_random_below(random, (uint32_t)size)];
        switch (qf_random_below(random, 3)) {
        case 0:
            *at ^= (uint8_t)(1u << qf_random_below(random, 8));
            break;
        case 1:
            *at = usual[qf_random_below(random, sizeof usual)];
            break;
        default:
            *at = bytes[qf_random_below(random, (uint32_t)size)];
        }
    }
}

/* Inputs lie in arrays of exactly their size, so that a sanitizer sees one byte too many read. */
static void run(const char *bytes, size_t size, qf_random *random)
{
    uint8_t *copy = malloc(size ? size : 1);
    fuzz_require(copy, "no memory");
    if (size)
        memcpy(copy, bytes, size);
    if (random)
        change(random, copy, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void replay(const char *path, int rounds)
{
    qf_context *context;
    qf_buffer seed = {0};
    qf_random random;
    qf_random_seed(&random, 1);
    fuzz_require(
        qf_context_create(&context) == QF_OK && qf_file_read(context, path, &seed) == QF_OK, path);
    run(seed.data, seed.size, NULL);
    for (int i = 0; i < rounds; i++) {
        run(seed.data, seed.size * (size_t)i / (size_t)rounds, NULL);
        run(seed.data, seed.size, &random);
    }
    qf_buffer_release(&seed);
    qf_context_destroy(context);
}

int main(int count, char **arguments)
{
    fuzz_require(count == 3, "usage: replay ROUNDS FOLDER");
    char *seeds = realpath(arguments[2], NULL);
    struct dirent **entries;
    int found = seeds ? scandir(seeds, &entries, NULL, alphasort) : -1, replayed = 0;
    fuzz_require(found >= 0, "no folder of seeds");
    for (int i = 0; i < found; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", seeds, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            replay(path, atoi(arguments[1]));
            replayed++;
        }
        free(entries[i]);
    }
    free(entries);
    free(seeds);
    fuzz_require(replayed > 0, "no seeds");
    printf("%d seeds, %d changes of each\n", replayed, 2 * atoi(arguments[1]));
    return 0;
}
