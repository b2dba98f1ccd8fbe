/* The text of a list: of images, of windows, of HDF5 files. */
#ifndef QF_DATA_SOURCES_LIST_TEXT_H
#define QF_DATA_SOURCES_LIST_TEXT_H

#include "base/buffer.h"
#include "base/context.h"

/* The file, whose lines end in \n afterwards, also where it has \r\n, and without a byte order
 * mark. What would cut a line short is refused with its place: a zero byte, a \r that ends no line.
 */
qf_status qf_list_text_read(qf_context *context, const char *path, qf_buffer *out);

/* Words between blanks, tabs and line ends, one after the other, as C++ streams read them. */
typedef struct qf_list_words {
    char *at; /* in a text, which is written to; NULL: an empty one */
    int line; /* of the last word; start with 1 */
    bool cut; /* the last word ended where its line did */
} qf_list_words;

/* The next word, or NULL at the end. */
char *qf_list_next_word(qf_list_words *words);

/* The whole word as a number in decimal digits, whatever the locale; false: it is none. */
bool qf_list_number(const char *word, double *out);
/* The same where it has no fraction but zeros and lies from `low` to `high`. */
bool qf_list_integer(const char *word, double low, double high, int *out);

/* The next word of the list `path`, which must be such a number: `what`, for the sentence. */
qf_status qf_list_take_integer(qf_context *context, const char *path, qf_list_words *words,
                               const char *what, int low, int high, int *out);

#endif
