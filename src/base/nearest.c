/* Which known words are nearest to one that was typed. */
#include "base/nearest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

size_t qf_word_distance(const char *typed, size_t typed_size, const char *known)
{
    size_t row[QF_WORD_FAR], size = strlen(known);
    if (size >= QF_WORD_FAR || typed_size > QF_WORD_FAR)
        return QF_WORD_FAR;
    for (size_t j = 0; j <= size; j++)
        row[j] = j;
    for (size_t i = 1; i <= typed_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= size; j++) {
            const size_t above = row[j];
            size_t best = diagonal + (tolower((unsigned char)typed[i - 1]) !=
                                      tolower((unsigned char)known[j - 1]));
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[size];
}

const char *qf_nearest_three_of(char *out, size_t size, const char *typed,
                                const char *(*word)(const void *list, int index), const void *list)
{
    enum { SHOWN = 3 };
    struct {
        const char *word;
        size_t distance;
    } best[SHOWN] = {{NULL, 0}};
    int count = 0;
    const char *known;
    for (int i = 0; (known = word(list, i)); i++) {
        const size_t distance = qf_word_distance(typed, strlen(typed), known);
        int at = count;
        while (at > 0 && best[at - 1].distance > distance)
            at--;
        if (at == SHOWN)
            continue;
        count += count < SHOWN;
        memmove(&best[at + 1], &best[at], (size_t)(count - at - 1) * sizeof *best);
        best[at].word = known;
        best[at].distance = distance;
    }
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s",
                                 i == 0           ? ""
                                 : i == count - 1 ? " or "
                                                  : ", ",
                                 best[i].word);
    return out;
}

static const char *word_of_table(const void *table, int index)
{
    const char *(*const *word)(int) = table;
    return (*word)(index);
}

const char *qf_nearest_three(char *out, size_t size, const char *typed,
                             const char *(*word)(int index))
{
    return qf_nearest_three_of(out, size, typed, word_of_table, &word);
}
