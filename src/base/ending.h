/* How names end. */
#ifndef QF_BASE_ENDING_H
#define QF_BASE_ENDING_H

#include <stddef.h>
#include <string.h>

/* Where `ending` begins in a text that ends so; NULL: it does not. */
static inline const char *qf_find_ending(const char *text, const char *ending)
{
    const size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0 ? text + length - tail
                                                                       : NULL;
}

#endif
