/* Values of protobuf's text format: numbers, words, strings. */
#include "base/nearest.h"
#include "model/text_parser.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tokens ---- */

bool qf_text_is_symbol(const qf_text_parser *p, char symbol)
{
    return p->lexer.token.kind == QF_TOKEN_SYMBOL && *p->lexer.token.text == symbol;
}

static bool is_word(const qf_token *token, const char *word)
{
    return token->size == strlen(word) && strncasecmp(token->text, word, token->size) == 0;
}

qf_status qf_text_unexpected(const qf_text_parser *p, const char *expected)
{
    const qf_token *token = &p->lexer.token;
    if (token->kind == QF_TOKEN_END)
        return qf_lexer_fail(&p->lexer, token->line, token->column,
                             "expected %s, but the file ends", expected);
    return qf_lexer_fail(&p->lexer, token->line, token->column, "expected %s, found '%.*s'",
                         expected, (int)(token->size < QF_TEXT_SHOWN ? token->size : QF_TEXT_SHOWN),
                         token->text);
}

qf_status qf_text_try_symbol(qf_text_parser *p, char symbol, bool *found)
{
    *found = qf_text_is_symbol(p, symbol);
    return *found ? qf_lexer_next(&p->lexer) : QF_OK;
}

qf_status qf_text_expect_symbol(qf_text_parser *p, char symbol)
{
    if (!qf_text_is_symbol(p, symbol))
        return qf_text_unexpected(p, (char[]){'\'', symbol, '\'', '\0'});
    return qf_lexer_next(&p->lexer);
}

/* ---- suggestions ---- */

/* The candidate nearest to what was typed, if near enough to be a slip. */
typedef struct suggestion {
    const char *name;
    size_t distance;
} suggestion;

static void consider(suggestion *best, const qf_token *typed, const char *candidate)
{
    size_t distance = qf_word_distance(typed->text, typed->size, candidate);
    if (distance < best->distance) {
        best->distance = distance;
        best->name = candidate;
    }
}

/* "_param" at the end of both makes no words alike. */
static const char *nearest(const suggestion *best, const qf_token *typed)
{
    enum { ENDING = 6 };
    size_t size = typed->size;
    if (size > ENDING && memcmp(typed->text + size - ENDING, "_param", ENDING) == 0)
        size -= ENDING;
    return best->distance <= 1 + size / 3 ? best->name : NULL;
}

const char *qf_text_nearest_field(const ProtobufCMessageDescriptor *type, const qf_token *typed)
{
    suggestion best = {.distance = QF_WORD_FAR};
    for (unsigned i = 0; i < type->n_fields; i++)
        consider(&best, typed, type->fields[i].name);
    return nearest(&best, typed);
}

/* ---- scalars ---- */

static qf_status read_unsigned(qf_text_parser *p, uint64_t limit, uint64_t *out)
{
    const qf_token token = p->lexer.token;
    if (token.kind != QF_TOKEN_INTEGER)
        return qf_text_unexpected(p, "an integer");
    errno = 0;
    *out = strtoull(token.text, NULL, 0);
    if (errno == ERANGE || *out > limit)
        return qf_lexer_fail(&p->lexer, token.line, token.column,
                             "the integer %.*s is out of range (at most %llu)",
                             (int)(token.size < QF_TEXT_SHOWN ? token.size : QF_TEXT_SHOWN),
                             token.text, (unsigned long long)limit);
    return qf_lexer_next(&p->lexer);
}

static qf_status read_signed(qf_text_parser *p, uint64_t limit, int64_t *out)
{
    bool negative;
    uint64_t magnitude = 0;
    QF_TRY(qf_text_try_symbol(p, '-', &negative));
    QF_TRY(read_unsigned(p, limit + negative, &magnitude));
    *out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return QF_OK;
}

static qf_status read_double(qf_text_parser *p, double *out)
{
    bool negative;
    QF_TRY(qf_text_try_symbol(p, '-', &negative));
    const qf_token token = p->lexer.token;
    if (token.kind == QF_TOKEN_FLOAT || token.kind == QF_TOKEN_INTEGER) {
        if (token.kind == QF_TOKEN_INTEGER && token.size > 1 && *token.text == '0')
            return qf_text_unexpected(p, "a decimal number");
        *out = strtod_l(token.text, NULL, p->locale);
    } else if (token.kind == QF_TOKEN_IDENTIFIER &&
               (is_word(&token, "inf") || is_word(&token, "infinity"))) {
        *out = INFINITY;
    } else if (token.kind == QF_TOKEN_IDENTIFIER && is_word(&token, "nan")) {
        *out = NAN;
    } else {
        return qf_text_unexpected(p, "a number");
    }
    if (negative)
        *out = -*out;
    return qf_lexer_next(&p->lexer);
}

static qf_status read_bool(qf_text_parser *p, const char *field, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"True", true},   {"t", true},
                 {"false", false}, {"False", false}, {"f", false}};
    const qf_token token = p->lexer.token;
    if (token.kind == QF_TOKEN_INTEGER) {
        uint64_t value;
        QF_TRY(read_unsigned(p, 1, &value));
        *out = value != 0;
        return QF_OK;
    }
    if (token.kind != QF_TOKEN_IDENTIFIER)
        return qf_text_unexpected(p, "true or false");
    QF_TRY(qf_lexer_next(&p->lexer));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (token.size == strlen(words[i].word) &&
            memcmp(token.text, words[i].word, token.size) == 0) {
            *out = words[i].value;
            return QF_OK;
        }
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "the field '%s' is true or false, not '%.*s'", field,
                         (int)(token.size < QF_TEXT_SHOWN ? token.size : QF_TEXT_SHOWN),
                         token.text);
}

static qf_status unknown_enum(qf_text_parser *p, const ProtobufCFieldDescriptor *field,
                              const qf_token *token)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    suggestion best = {.distance = QF_WORD_FAR};
    for (unsigned i = 0; i < type->n_value_names; i++)
        consider(&best, token, type->values_by_name[i].name);
    const char *near = nearest(&best, token);
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "the field '%s' has no value '%.*s'; %s '%s'%s", field->name,
                         (int)(token->size < QF_TEXT_SHOWN ? token->size : QF_TEXT_SHOWN),
                         token->text, near ? "did you mean" : "the nearest is",
                         near        ? near
                         : best.name ? best.name
                                     : type->values_by_name[0].name,
                         near ? "?" : "");
}

bool qf_text_enum_has(const ProtobufCFieldDescriptor *field, const qf_token *word)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    for (unsigned i = 0; i < type->n_value_names; i++)
        if (strlen(type->values_by_name[i].name) == word->size &&
            memcmp(type->values_by_name[i].name, word->text, word->size) == 0)
            return true;
    return false;
}

static qf_status read_enum(qf_text_parser *p, const ProtobufCFieldDescriptor *field, int *out)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    qf_token token = p->lexer.token;
    if (token.kind == QF_TOKEN_IDENTIFIER) {
        QF_TRY(qf_lexer_next(&p->lexer));
        for (unsigned i = 0; i < type->n_value_names; i++) { /* a value may have several names */
            const ProtobufCEnumValueIndex *named = &type->values_by_name[i];
            if (strlen(named->name) == token.size &&
                memcmp(named->name, token.text, token.size) == 0) {
                *out = type->values[named->index].value;
                return QF_OK;
            }
        }
        return unknown_enum(p, field, &token);
    }
    if (token.kind != QF_TOKEN_INTEGER && !qf_text_is_symbol(p, '-'))
        return qf_text_unexpected(p, "the name or number of a value");
    int64_t value;
    QF_TRY(read_signed(p, INT32_MAX, &value));
    if (!protobuf_c_enum_descriptor_get_value(type, (int)value))
        return unknown_enum(p, field, &token);
    *out = (int)value;
    return QF_OK;
}

/* ---- strings ---- */

static void append_utf8(qf_buffer *out, uint32_t code)
{
    unsigned char bytes[4];
    size_t size;
    if (code < 0x80) {
        bytes[0] = (unsigned char)code;
        size = 1;
    } else if (code < 0x800) {
        bytes[0] = (unsigned char)(0xc0 | code >> 6);
        bytes[1] = (unsigned char)(0x80 | (code & 0x3f));
        size = 2;
    } else if (code < 0x10000) {
        bytes[0] = (unsigned char)(0xe0 | code >> 12);
        bytes[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        bytes[2] = (unsigned char)(0x80 | (code & 0x3f));
        size = 3;
    } else {
        bytes[0] = (unsigned char)(0xf0 | (code >> 18 & 7));
        bytes[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
        bytes[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        bytes[3] = (unsigned char)(0x80 | (code & 0x3f));
        size = 4;
    }
    qf_buffer_append(out, bytes, size);
}

/* Up to `most` digits of the base at *cursor. */
static uint32_t digits(const char **cursor, int base, int most)
{
    uint32_t value = 0;
    for (int i = 0; i < most; i++, ++*cursor) {
        unsigned char c = (unsigned char)**cursor;
        int digit = c >= '0' && c <= '9' ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : 99;
        if (digit >= base)
            break;
        value = value * (uint32_t)base + (uint32_t)digit;
    }
    return value;
}

static void append_unescaped(qf_buffer *out, const qf_token *token)
{
    static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
    const char *cursor = token->text + 1, *end = token->text + token->size - 1;
    while (cursor < end) {
        if (*cursor != '\\') {
            qf_buffer_append(out, cursor++, 1);
            continue;
        }
        char kind = *++cursor;
        const char *known = strchr(from, kind);
        if (kind >= '0' && kind <= '7') {
            char byte = (char)digits(&cursor, 8, 3);
            qf_buffer_append(out, &byte, 1);
        } else if (kind == 'x' || kind == 'X') {
            cursor++;
            char byte = (char)digits(&cursor, 16, 2);
            qf_buffer_append(out, &byte, 1);
        } else if (kind == 'u' || kind == 'U') {
            cursor++;
            append_utf8(out, digits(&cursor, 16, kind == 'u' ? 4 : 8));
        } else {
            qf_buffer_append(out, known ? &to[known - from] : cursor, 1);
            cursor++;
        }
    }
}

static qf_status read_string(qf_text_parser *p, ProtobufCBinaryData *out)
{
    qf_buffer value = {0};
    qf_status status = QF_OK;
    if (p->lexer.token.kind != QF_TOKEN_STRING)
        return qf_text_unexpected(p, "a string in quotes");
    while (status == QF_OK && p->lexer.token.kind == QF_TOKEN_STRING) {
        append_unescaped(&value, &p->lexer.token);
        status = qf_lexer_next(&p->lexer);
    }
    if (status == QF_OK) {
        out->len = value.size;
        out->data = malloc(value.size + 1);
        if (value.failed || !out->data)
            status = qf_fail(p->lexer.context, QF_E_MEMORY, "no memory for a string");
        else {
            memcpy(out->data, qf_buffer_text(&value), value.size);
            out->data[value.size] = '\0';
        }
    }
    qf_buffer_release(&value);
    return status;
}

/* ---- any of them ---- */

/* protobuf-c keeps C strings. */
static qf_status read_text(qf_text_parser *p, const char *field, char **out)
{
    const qf_token place = p->lexer.token;
    ProtobufCBinaryData text;
    QF_TRY(read_string(p, &text));
    if (memchr(text.data, 0, text.len)) {
        free(text.data);
        return qf_lexer_fail(
            &p->lexer, place.line, place.column,
            "the string of '%s' contains a NUL byte (\\0), which no name or path can hold", field);
    }
    *out = (char *)text.data;
    return QF_OK;
}

qf_status qf_text_read_scalar(qf_text_parser *p, const ProtobufCFieldDescriptor *field,
                              qf_text_value *out)
{
    int64_t integer;
    uint64_t natural;
    double number;
    bool flag = false;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        QF_TRY(read_signed(p, INT32_MAX, &integer));
        out->i32 = (int32_t)integer;
        return QF_OK;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_signed(p, INT64_MAX, &out->i64);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        QF_TRY(read_unsigned(p, UINT32_MAX, &natural));
        out->u32 = (uint32_t)natural;
        return QF_OK;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_unsigned(p, UINT64_MAX, &out->u64);
    case PROTOBUF_C_TYPE_FLOAT:
        QF_TRY(read_double(p, &number));
        out->f = (float)number;
        return QF_OK;
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(p, &out->d);
    case PROTOBUF_C_TYPE_BOOL:
        QF_TRY(read_bool(p, field->name, &flag));
        out->b = flag;
        return QF_OK;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(p, field, &out->i32);
    case PROTOBUF_C_TYPE_STRING:
        return read_text(p, field->name, &out->string);
    case PROTOBUF_C_TYPE_BYTES:
        return read_string(p, &out->bytes);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return qf_fail(p->lexer.context, QF_E_UNSUPPORTED, "the field '%s' has an unknown type",
                   field->name);
}
