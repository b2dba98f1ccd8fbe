/* Reading the text of a list, and splitting it into lines. */
#include "data/sources/list_text.h"

#include "base/file.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool ends_line(const char *at, const char *end)
{
    while (at < end && *at == '\r')
        at++;
    return at == end || *at == '\n';
}

qf_status qf_list_text_read(qf_context *context, const char *path, qf_buffer *out)
{
    QF_TRY(qf_file_read_text(context, path, out));
    char *to = out->data;
    const char *end = out->data + out->size;
    int line = 1;
    for (const char *at = out->data; at < end; at++) {
        if (!*at)
            return qf_fail(context, QF_E_FORMAT,
                           "%s:%d: there is a zero byte, but a list is expected, a text", path,
                           line);
        if (*at == '\r' && !ends_line(at, end))
            return qf_fail(context, QF_E_FORMAT,
                           "%s:%d: there is a carriage return within the line; save the list with "
                           "the line ends of Unix or Windows",
                           path, line);
        line += *at == '\n';
        if (*at != '\r')
            *to++ = *at;
    }
    if (out->data)
        *to = '\0';
    out->size = out->data ? (size_t)(to - out->data) : 0;
    return QF_OK;
}

char *qf_list_next_word(qf_list_words *words)
{
    static const char blanks[] = " \t\v\f\n";
    if (!words->at)
        return NULL;
    words->line += words->cut;
    words->cut = false;
    for (; *words->at && strchr(blanks, *words->at); words->at++)
        words->line += *words->at == '\n';
    char *word = words->at;
    words->at += strcspn(words->at, blanks);
    if (*words->at) {
        words->cut = *words->at == '\n';
        *words->at++ = '\0';
    }
    return *word ? word : NULL;
}

bool qf_list_number(const char *word, double *out)
{
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain)
        return false;
    char *end = NULL;
    *out = strtod_l(word, &end, plain);
    freelocale(plain);
    return word[strspn(word, "+-.0123456789eE")] == '\0' && end != word && !*end && isfinite(*out);
}

bool qf_list_integer(const char *word, double low, double high, int *out)
{
    double value;
    if (strpbrk(word, "eE") || !qf_list_number(word, &value) || value != floor(value) ||
        value < low || value > high)
        return false;
    *out = (int)value;
    return true;
}

qf_status qf_list_take_integer(qf_context *context, const char *path, qf_list_words *words,
                               const char *what, int low, int high, int *out)
{
    const char *word = qf_list_next_word(words);
    if (word && qf_list_integer(word, low, high, out))
        return QF_OK;
    return qf_fail(context, QF_E_FORMAT, "%s:%d: expected %s, found '%.80s'", path, words->line,
                   what, word ? word : "the end of the file");
}
