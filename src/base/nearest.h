/* Which known words are nearest to one that was typed. */
#ifndef QF_BASE_NEAREST_H
#define QF_BASE_NEAREST_H

#include <stddef.h>

enum { QF_WORD_FAR = 64 }; /* more than any distance; also that of words too long to compare */

/* Editing steps between two words, letter case aside. */
size_t qf_word_distance(const char *typed, size_t typed_size, const char *known);

/* The three nearest of the words that `word(0…)` gives until NULL, as "A, B or C", into `out`. With
 * less than three words: all. Returns out. */
const char *qf_nearest_three(char *out, size_t size, const char *typed,
                             const char *(*word)(int index));
/* The same of words that belong to a list. */
const char *qf_nearest_three_of(char *out, size_t size, const char *typed,
                                const char *(*word)(const void *list, int index), const void *list);

#endif
