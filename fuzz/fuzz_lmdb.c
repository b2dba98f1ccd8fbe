/* The pages of an LMDB file. */
#include "base/memory.h"
#include "data/stores/lmdb_pages.h"
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

/* A tree whose branches share children has more items than any file could name. */
enum { ITEMS = 1000 };

static volatile uint8_t seen;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qf_context *context = fuzz_context();
    qf_lmdb_pages pages;
    qf_sample sample;
    bool found = true;
    const int file = memfd_create("lmdb", MFD_CLOEXEC);
    fuzz_require(file >= 0 && write(file, data, size) == (ssize_t)size, "no file in memory");
    const bool opened = qf_lmdb_pages_open(context, file, 0, &pages) == QF_OK;
    if (opened)
        for (int i = 0; i < ITEMS && found; i++) {
            if (qf_lmdb_pages_next(context, &pages, i == 0, &sample, &found) != QF_OK)
                break;
            for (size_t k = 0; found && k < sample.key_size; k++)
                seen ^= ((const uint8_t *)sample.key)[k];
            for (size_t k = 0; found && k < sample.value_size; k++)
                seen ^= ((const uint8_t *)sample.value)[k];
        }
    uint64_t *places;
    if (opened && qf_lmdb_pages_places(context, &pages, &places) == QF_OK) {
        for (uint64_t i = 0; i < ITEMS && i < pages.entries; i++)
            (void)qf_lmdb_pages_at(context, &pages, places[i], &sample);
        qf_free(places);
    }
    qf_lmdb_pages_close(&pages);
    close(file);
    qf_context_destroy(context);
    return 0;
}
