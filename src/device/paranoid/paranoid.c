/*
 * A device that finds what would go wrong on one with a memory of its own. Its memory is the
 * host's, protected against every access except, inside its own operations (the reference
 * families), those to the arrays that the operation asked for, and to those read it may not write.
 * A layer that reaches for the device's memory, an array that was not brought over, a pointer kept
 * for too long: a fault at the place, in a debugger's hands, instead of a wrong number elsewhere.
 */
#include "device/reference/reference.h"
#include "tensor/forms.h"

#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

static void *take(size_t size)
{
    void *slab = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return slab == MAP_FAILED ? NULL : slab;
}

static void give_back(void *slab, size_t size)
{
    munmap(slab, size);
}

static qf_status copy(qf_context *context, void *to, const void *from, size_t size)
{
    (void)context;
    memcpy(to, from, size);
    return QF_OK;
}

static qf_status clear(qf_context *context, void *to, size_t size)
{
    (void)context;
    memset(to, 0, size);
    return QF_OK;
}

static qf_status to_float(qf_context *context, const qf_tensor *tensor, int form, const void *from,
                          float *to)
{
    (void)context;
    qf_form_to_float(tensor, (qf_form)form, from, to);
    return QF_OK;
}

static qf_status exchange(qf_context *context, const float *from, float *to, size_t batch,
                          size_t rows, size_t columns)
{
    (void)context;
    qf_exchange_orders(from, to, batch, rows, columns);
    return QF_OK;
}

/* Protection of pages that are mapped fails only where the kernel has no memory for its lists: the
 * next access then ends the process, as it would for a mistake. */
static void open_pages(void *bytes, size_t size, bool writes)
{
    mprotect(bytes, size, writes ? PROT_READ | PROT_WRITE : PROT_READ);
}

static void close_pages(void *bytes, size_t size)
{
    mprotect(bytes, size, PROT_NONE);
}

static const qf_memory memory = {
    .alignment = PAGE,
    .take = take,
    .give_back = give_back,
    .upload = copy,
    .download = copy,
    .copy = copy,
    .clear = clear,
    .to_float = to_float,
    .exchange = exchange,
    .open = open_pages,
    .close = close_pages,
};

const qf_device qf_paranoid = {
    .name = "paranoid",
    .description = "the reference's loops in memory that nobody else may touch; for tests",
    .memory = &memory,
    /* clang-format off */
    QF_REFERENCE_FAMILIES
    /* clang-format on */
};
