/* Tokens of protobuf's text format, with their places. */
#ifndef QF_MODEL_TEXT_LEXER_H
#define QF_MODEL_TEXT_LEXER_H

#include "base/context.h"

typedef enum qf_token_kind {
    QF_TOKEN_END,
    QF_TOKEN_IDENTIFIER,
    QF_TOKEN_INTEGER, /* decimal, 0x… or 0… */
    QF_TOKEN_FLOAT,
    QF_TOKEN_STRING, /* one quoted piece, quotes included */
    QF_TOKEN_SYMBOL  /* one character */
} qf_token_kind;

typedef struct qf_token {
    qf_token_kind kind;
    const char *text; /* in the input */
    size_t size;
    int line, column; /* of its first byte, from 1; a tab advances to the next multiple of 8 */
} qf_token;

typedef struct qf_lexer {
    qf_context *context;
    const char *name; /* of the file, for messages */
    const char *cursor, *end;
    int line, column;
    qf_token token; /* the current one */
} qf_lexer;

/* Start at the first token. */
qf_status qf_lexer_start(qf_lexer *lexer, qf_context *context, const char *name, const char *text,
                         size_t size);
qf_status qf_lexer_next(qf_lexer *lexer);
/* QF_E_FORMAT with "name:line:column: " in front. */
qf_status qf_lexer_fail(const qf_lexer *lexer, int line, int column, const char *format, ...)
    QF_PRINTF(4, 5);

#endif
