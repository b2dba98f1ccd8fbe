/* Splitting protobuf's text format into tokens. */
#include "model/text_lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

qf_status qf_lexer_fail(const qf_lexer *lexer, int line, int column, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return qf_fail(lexer->context, QF_E_FORMAT, "%s:%d:%d: %s", lexer->name, line, column,
                   sentence);
}

static qf_status fail_here(const qf_lexer *lexer, const char *sentence)
{
    return qf_lexer_fail(lexer, lexer->line, lexer->column, "%s", sentence);
}

/* The byte at the cursor; 0 at the end (a real NUL is caught as a control character). */
static unsigned char peek(const qf_lexer *lexer)
{
    return lexer->cursor < lexer->end ? (unsigned char)*lexer->cursor : 0;
}

static void advance(qf_lexer *lexer)
{
    switch (*lexer->cursor++) {
    case '\n':
        lexer->line++;
        lexer->column = 1;
        break;
    case '\t':
        lexer->column += 8 - (lexer->column - 1) % 8;
        break;
    default:
        lexer->column++;
    }
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_octal(unsigned char c)
{
    return c >= '0' && c <= '7';
}

static bool is_hex(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void skip_digits(qf_lexer *lexer, bool (*accept)(unsigned char))
{
    while (accept(peek(lexer)))
        advance(lexer);
}

static void skip_blanks_and_comments(qf_lexer *lexer)
{
    while (lexer->cursor < lexer->end) {
        unsigned char c = peek(lexer);
        if (c == '#')
            while (lexer->cursor < lexer->end && peek(lexer) != '\n')
                advance(lexer);
        else if (c == ' ' || (c >= '\t' && c <= '\r'))
            advance(lexer);
        else
            return;
    }
}

static qf_status lex_escape(qf_lexer *lexer)
{
    unsigned char c = peek(lexer);
    if (c == 'x') {
        advance(lexer);
        if (!is_hex(peek(lexer)))
            return fail_here(lexer, "\\x must be followed by hexadecimal digits");
        return QF_OK;
    }
    if (c == 'u' || c == 'U') {
        int digits = c == 'u' ? 4 : 8;
        advance(lexer);
        for (int i = 0; i < digits; i++, advance(lexer))
            if (!is_hex(peek(lexer)))
                return qf_lexer_fail(lexer, lexer->line, lexer->column,
                                     "\\%c must be followed by %d hexadecimal digits", c, digits);
        return QF_OK;
    }
    if (!c || (!is_octal(c) && !strchr("abfnrtv\\?'\"X", c)))
        return fail_here(lexer, "unknown escape sequence in a string");
    advance(lexer);
    return QF_OK;
}

static qf_status lex_string(qf_lexer *lexer)
{
    unsigned char quote = peek(lexer);
    advance(lexer);
    for (;;) {
        unsigned char c = peek(lexer);
        if (c == 0)
            return fail_here(lexer,
                             lexer->cursor < lexer->end
                                 ? "a string contains a NUL byte; write \\0"
                                 : "the file ends inside a string; a closing quote is missing");
        if (c == '\n')
            return fail_here(lexer, "the line ends inside a string; a closing quote is missing");
        advance(lexer);
        if (c == quote)
            return QF_OK;
        if (c == '\\')
            QF_TRY(lex_escape(lexer));
    }
}

static qf_status lex_decimal(qf_lexer *lexer, bool *is_float)
{
    skip_digits(lexer, is_digit);
    if (peek(lexer) == '.') {
        *is_float = true;
        advance(lexer);
        skip_digits(lexer, is_digit);
    }
    if (peek(lexer) == 'e' || peek(lexer) == 'E') {
        *is_float = true;
        advance(lexer);
        if (peek(lexer) == '-' || peek(lexer) == '+')
            advance(lexer);
        if (!is_digit(peek(lexer)))
            return fail_here(lexer, "an exponent needs digits");
        skip_digits(lexer, is_digit);
    }
    if (peek(lexer) == 'f' || peek(lexer) == 'F') {
        *is_float = true;
        advance(lexer);
    }
    return QF_OK;
}

static qf_status lex_number(qf_lexer *lexer, bool *is_float)
{
    const char *start = lexer->cursor;
    bool decimal = false;
    if (peek(lexer) == '0' && lexer->cursor + 1 < lexer->end &&
        (start[1] == 'x' || start[1] == 'X')) {
        advance(lexer);
        advance(lexer);
        if (!is_hex(peek(lexer)))
            return fail_here(lexer, "0x must be followed by hexadecimal digits");
        skip_digits(lexer, is_hex);
    } else if (peek(lexer) == '0' && lexer->cursor + 1 < lexer->end &&
               is_digit((unsigned char)start[1])) {
        skip_digits(lexer, is_octal);
        if (is_digit(peek(lexer)))
            return fail_here(lexer,
                             "a number with a leading zero is octal and has no digits 8 and 9");
    } else {
        decimal = true;
        QF_TRY(lex_decimal(lexer, is_float));
    }
    if (is_letter(peek(lexer)))
        return fail_here(lexer, "a number and a name need a space between them");
    if (peek(lexer) == '.')
        return fail_here(lexer, decimal ? "a number has only one decimal point, before its exponent"
                                        : "hexadecimal and octal numbers must be integers");
    return QF_OK;
}

qf_status qf_lexer_next(qf_lexer *lexer)
{
    skip_blanks_and_comments(lexer);
    qf_token *token = &lexer->token;
    unsigned char c = peek(lexer);
    *token = (qf_token){QF_TOKEN_END, lexer->cursor, 0, lexer->line, lexer->column};
    if (lexer->cursor == lexer->end)
        return QF_OK;
    qf_status status = QF_OK;
    if (c < ' ' || c == 127)
        return fail_here(lexer, "a control character stands outside of a string");
    if (c >= 128)
        return fail_here(lexer,
                         "a character that is not ASCII stands outside of a string (is the file "
                         "saved with a byte order mark?)");
    if (is_letter(c)) {
        token->kind = QF_TOKEN_IDENTIFIER;
        while (is_letter(peek(lexer)) || is_digit(peek(lexer)))
            advance(lexer);
    } else if (is_digit(c) || (c == '.' && lexer->cursor + 1 < lexer->end &&
                               is_digit((unsigned char)lexer->cursor[1]))) {
        bool is_float = false;
        status = lex_number(lexer, &is_float);
        token->kind = is_float ? QF_TOKEN_FLOAT : QF_TOKEN_INTEGER;
    } else if (c == '"' || c == '\'') {
        token->kind = QF_TOKEN_STRING;
        status = lex_string(lexer);
    } else {
        token->kind = QF_TOKEN_SYMBOL;
        advance(lexer);
    }
    token->size = (size_t)(lexer->cursor - token->text);
    return status;
}

qf_status qf_lexer_start(qf_lexer *lexer, qf_context *context, const char *name, const char *text,
                         size_t size)
{
    *lexer = (qf_lexer){.context = context,
                        .name = name,
                        .cursor = text,
                        .end = text + size,
                        .line = 1,
                        .column = 1};
    return qf_lexer_next(lexer);
}
