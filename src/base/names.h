/* A table from names to numbers, for graphs of thousands of layers. */
#ifndef QF_BASE_NAMES_H
#define QF_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Start from zero. */
typedef struct qf_names {
    struct qf_name *slots; /* a power of two of them; those without a name are free */
    size_t capacity, count;
} qf_names;

/* The number of a name from now on; one that it had before is forgotten. The name is borrowed and
 * must stay. False: no memory, and nothing has changed. */
bool qf_names_set(qf_names *names, const char *name, int number);
/* -1: the name has none. */
int qf_names_get(const qf_names *names, const char *name);
void qf_names_release(qf_names *names);

#endif
