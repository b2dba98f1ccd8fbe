/*
 * Stands between a program and the C library's allocator. Variables, where it is loaded in front:
 *
 *   FAULT_NUMBER=N       the N-th allocation after the start of main() fails
 *   FAULT_ALL_AFTER=1    and all behind it
 *   FAULT_BUDGET=BYTES   what would hold more bytes than these fails
 *   FAULT_SPARE=NAMES    calls from these libraries always succeed, "libgomp libhdf5"
 *   FAULT_REPORT=FILE    gets the number of allocations and the most bytes held
 *   FAULT_SHOW=1         the first failure's place goes to standard error
 */
#include "faults/allocations.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static fault_plan plan;
static atomic_bool counting; /* false until a plan is made */
static atomic_size_t counted;
static atomic_ptrdiff_t held, peak; /* negative: what was there before is freed */
static atomic_bool shown;

typedef struct range {
    uintptr_t start, end;
} range;
static range spared[16];
static size_t spared_count;

/* The basename of a library up to its first '.', is it a word of the list? */
static bool is_spared(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t length = strcspn(name, ".");
    for (const char *at = plan.spare; at && length && (at = strstr(at, "lib")); at += 3) {
        const size_t word = strcspn(at, " ");
        if (word <= length && strncmp(at, name, word) == 0)
            return true;
    }
    return false;
}

static int add_spared(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size, (void)unused;
    for (int i = 0; is_spared(object->dlpi_name) && i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_X &&
            spared_count < sizeof spared / sizeof *spared) {
            const uintptr_t start = object->dlpi_addr + part->p_vaddr;
            spared[spared_count++] = (range){start, start + part->p_memsz};
        }
    }
    return 0;
}

static bool may_fail(const void *caller)
{
    const uintptr_t place = (uintptr_t)caller;
    for (size_t i = 0; i < spared_count; i++)
        if (place >= spared[i].start && place < spared[i].end)
            return false;
    return true;
}

static void show_place(void)
{
    void *frames[48];
    if (!plan.show || atomic_exchange(&shown, true))
        return;
    atomic_store(&counting, false);
    backtrace_symbols_fd(frames, backtrace(frames, 48), STDERR_FILENO);
    atomic_store(&counting, true);
}

/* Is it this one's turn to fail? */
static bool fails(size_t size, const void *caller)
{
    if (!atomic_load(&counting) || !may_fail(caller))
        return false;
    const size_t number = atomic_fetch_add(&counted, 1) + 1;
    const bool failing =
        (plan.number && (number == plan.number || (plan.all_after && number > plan.number))) ||
        (plan.budget && (ptrdiff_t)size > (ptrdiff_t)plan.budget - atomic_load(&held));
    if (failing)
        show_place();
    return failing;
}

static void hold(size_t size)
{
    const ptrdiff_t now = atomic_fetch_add(&held, (ptrdiff_t)size) + (ptrdiff_t)size;
    ptrdiff_t most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now))
        ;
}

static void *note(void *pointer)
{
    if (pointer && atomic_load(&counting))
        hold(malloc_usable_size(pointer));
    return pointer;
}

static void forget(size_t size)
{
    if (atomic_load(&counting))
        atomic_fetch_sub(&held, (ptrdiff_t)size);
}

void fault_begin(const fault_plan *wanted)
{
    plan = *wanted;
    spared_count = 0;
    dl_iterate_phdr(add_spared, NULL);
    if (plan.show) /* it loads a library at its first call */
        (void)backtrace((void *[1]){NULL}, 1);
    atomic_store(&shown, false);
    atomic_store(&counted, 0);
    atomic_store(&held, 0);
    atomic_store(&peak, 0);
    atomic_store(&counting, true);
}

size_t fault_end(size_t *most)
{
    atomic_store(&counting, false);
    if (most)
        *most = (size_t)atomic_load(&peak);
    return atomic_load(&counted);
}

/* ---- the C library's functions ---- */

/* `function`: the next definition of a name, the C library's or a sanitizer's. */
#define NEXT(result, name, types)                                                                  \
    static result(*_Atomic next) types;                                                            \
    result(*function) types = next;                                                                \
    if (!function) {                                                                               \
        void *found = dlsym(RTLD_NEXT, name);                                                      \
        memcpy(&function, &found, sizeof found);                                                   \
        next = function;                                                                           \
    }

#define CALLER __builtin_return_address(0)

static void *refuse(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size)
{
    NEXT(void *, "malloc", (size_t));
    return fails(size, CALLER) ? refuse() : note(function(size));
}

void *calloc(size_t count, size_t size)
{
    NEXT(void *, "calloc", (size_t, size_t));
    return fails(count * size, CALLER) ? refuse() : note(function(count, size));
}

void *realloc(void *old, size_t size)
{
    NEXT(void *, "realloc", (void *, size_t));
    const size_t before = old ? malloc_usable_size(old) : 0;
    if (fails(size > before ? size - before : 0, CALLER))
        return refuse();
    void *moved = note(function(old, size));
    if (moved || size == 0)
        forget(before);
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    NEXT(void *, "aligned_alloc", (size_t, size_t));
    return fails(size, CALLER) ? refuse() : note(function(alignment, size));
}

void *memalign(size_t alignment, size_t size)
{
    NEXT(void *, "memalign", (size_t, size_t));
    return fails(size, CALLER) ? refuse() : note(function(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    NEXT(int, "posix_memalign", (void **, size_t, size_t));
    if (fails(size, CALLER))
        return ENOMEM;
    const int error = function(out, alignment, size);
    if (!error)
        (void)note(*out);
    return error;
}

void free(void *pointer)
{
    NEXT(void, "free", (void *));
    if (pointer && atomic_load(&counting))
        forget(malloc_usable_size(pointer));
    function(pointer);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    NEXT(void *, "mmap", (void *, size_t, int, int, int, off_t));
    if (fails(size, CALLER)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = function(address, size, protection, flags, fd, offset);
    if (memory != MAP_FAILED && atomic_load(&counting) && may_fail(CALLER))
        hold(size);
    return memory;
}

int munmap(void *address, size_t size)
{
    NEXT(int, "munmap", (void *, size_t));
    const int error = function(address, size);
    if (!error && may_fail(CALLER))
        forget(size);
    return error;
}

/* ---- in front of a program ---- */

static int (*program)(int, char **, char **);

static size_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void report(void)
{
    size_t most;
    const size_t count = fault_end(&most);
    const char *path = getenv("FAULT_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%zu %zu\n", count, most);
        fclose(file);
    }
}

static int counted_main(int argc, char **argv, char **environment)
{
    atexit(report);
    fault_begin(&(fault_plan){
        .number = number_of("FAULT_NUMBER"),
        .all_after = number_of("FAULT_ALL_AFTER") > 0,
        .budget = number_of("FAULT_BUDGET"),
        .spare = getenv("FAULT_SPARE"),
        .show = number_of("FAULT_SHOW") > 0,
    });
    return program(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*loader)(void), void *stack);

/* The first step of a program calls this with its main(). What is allocated before, by the loader
 * and by constructors of libraries, always succeeds. */
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*loader)(void), void *stack)
{
    NEXT(int, "__libc_start_main",
         (int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
          void (*)(void), void *));
    program = main;
    return function(getenv("FAULT_REPORT") ? counted_main : main, argc, argv, init, fini, loader,
                    stack);
}
