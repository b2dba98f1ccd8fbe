/* A hash table from names to numbers. */
#include "base/names.h"

#include "base/memory.h"

#include <stdint.h>
#include <string.h>

struct qf_name {
    const char *name;
    int number;
};

/* FNV-1a, 64 bits. */
static uint64_t hash(const char *name)
{
    uint64_t value = 0xcbf29ce484222325u;
    for (; *name; name++)
        value = (value ^ (unsigned char)*name) * 0x100000001b3u;
    return value;
}

/* The slot that has the name, or the free one where it belongs. */
static struct qf_name *find(const qf_names *names, const char *name)
{
    size_t at = hash(name) & (names->capacity - 1);
    while (names->slots[at].name && strcmp(names->slots[at].name, name) != 0)
        at = (at + 1) & (names->capacity - 1);
    return &names->slots[at];
}

/* At most half of the slots are taken, so that runs of taken ones stay short. */
static bool grow(qf_names *names)
{
    qf_names larger = {.capacity = names->capacity ? 2 * names->capacity : 64,
                       .count = names->count};
    larger.slots = qf_alloc(larger.capacity, sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i].name)
            *find(&larger, names->slots[i].name) = names->slots[i];
    qf_free(names->slots);
    *names = larger;
    return true;
}

bool qf_names_set(qf_names *names, const char *name, int number)
{
    if (2 * (names->count + 1) > names->capacity && !grow(names))
        return false;
    struct qf_name *slot = find(names, name);
    names->count += !slot->name;
    *slot = (struct qf_name){name, number};
    return true;
}

int qf_names_get(const qf_names *names, const char *name)
{
    const struct qf_name *slot = names->capacity ? find(names, name) : NULL;
    return slot && slot->name ? slot->number : -1;
}

void qf_names_release(qf_names *names)
{
    qf_free(names->slots);
    *names = (qf_names){0};
}
