/* Names and numbers in JSON, HTML and command lines. */
#include "toolkit/report/put.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* The length of the character that `text` begins with; 0: it is no UTF-8. */
static size_t character_length(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const size_t length = c[0] < 0x80   ? 1
                          : c[0] < 0xC2 ? 0
                          : c[0] < 0xE0 ? 2
                          : c[0] < 0xF0 ? 3
                          : c[0] < 0xF5 ? 4
                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xC0) != 0x80)
            return 0;
    const bool overlong = (c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xF0 && c[1] < 0x90);
    const bool beyond = (c[0] == 0xED && c[1] > 0x9F) || (c[0] == 0xF4 && c[1] > 0x8F);
    return overlong || beyond ? 0 : length;
}

/* Every character by itself, to be put in the way of a format. */
static void put_characters(qf_buffer *out, const char *text, void (*put)(qf_buffer *, char))
{
    for (size_t length; *text; text += length) {
        length = character_length(text);
        if (length == 1)
            put(out, *text);
        else if (length)
            qf_buffer_append(out, text, length);
        else
            qf_buffer_append(out, replacement, sizeof replacement - 1), length = 1;
    }
}

static void put_json_character(qf_buffer *out, char c)
{
    if (c == '"' || c == '\\')
        qf_buffer_print(out, "\\%c", c);
    else if ((unsigned char)c < 0x20 || c == 0x7F)
        qf_buffer_print(out, "\\u%04x", (unsigned)(unsigned char)c);
    else
        qf_buffer_append(out, &c, 1);
}

void qf_put_json_text(qf_buffer *out, const char *text)
{
    qf_buffer_append(out, "\"", 1);
    put_characters(out, text, put_json_character);
    qf_buffer_append(out, "\"", 1);
}

static void put_html_character(qf_buffer *out, char c)
{
    if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
        qf_buffer_print(out, "&#%d;", c);
    else if (((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
        qf_buffer_append(out, replacement, sizeof replacement - 1);
    else
        qf_buffer_append(out, &c, 1);
}

void qf_put_html(qf_buffer *out, const char *text)
{
    put_characters(out, text, put_html_character);
}

/* printf writes a comma where the user's language has one. */
static void put_with_point(qf_buffer *out, char *text)
{
    for (char *c = text; *c; c++)
        if (!isdigit((unsigned char)*c) && !strchr("+-e", *c))
            *c = '.';
    qf_buffer_append(out, text, strlen(text));
}

void qf_put_digits(qf_buffer *out, double value, int digits)
{
    char text[40];
    snprintf(text, sizeof text, "%.*g", digits, value + 0.0); /* 0, not -0 */
    put_with_point(out, text);
}

void qf_put_number(qf_buffer *out, double value)
{
    qf_put_digits(out, value, 7);
}

void qf_put_fixed(qf_buffer *out, double value, int decimals)
{
    char text[400];
    snprintf(text, sizeof text, "%.*f", decimals, value);
    put_with_point(out, text);
}

void qf_put_argument(qf_buffer *out, const char *text)
{
    bool plain = *text != '\0';
    for (const char *c = text; *c; c++)
        plain = plain && (isalnum((unsigned char)*c) || strchr("_./-=:,+@%", *c));
    if (plain) {
        qf_buffer_append(out, text, strlen(text));
        return;
    }
    qf_buffer_append(out, "'", 1);
    for (const char *c = text; *c; c++)
        qf_buffer_append(out, *c == '\'' ? "'\\''" : c, *c == '\'' ? 4 : 1);
    qf_buffer_append(out, "'", 1);
}
