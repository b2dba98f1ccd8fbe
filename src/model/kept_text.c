/* Fields that Caffe's messages do not have, as text. */
#include "model/kept_text.h"

#include "model/allowance.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT_NUMBER = 536870911 }; /* the largest there is */

static void append_token(qf_buffer *out, const qf_token *token)
{
    const bool colon = token->kind == QF_TOKEN_SYMBOL && *token->text == ':';
    if (out->size && !colon)
        qf_buffer_append(out, " ", 1);
    qf_buffer_append(out, token->text, token->size);
}

static bool opens(const qf_text_parser *p)
{
    return qf_text_is_symbol(p, '{') || qf_text_is_symbol(p, '<') || qf_text_is_symbol(p, '[');
}

static bool closes(const qf_text_parser *p)
{
    return qf_text_is_symbol(p, '}') || qf_text_is_symbol(p, '>') || qf_text_is_symbol(p, ']');
}

static qf_status take(qf_text_parser *p, qf_buffer *out)
{
    append_token(out, &p->lexer.token);
    return qf_lexer_next(&p->lexer);
}

/* From an opening bracket to its closing one. */
static qf_status take_brackets(qf_text_parser *p, qf_buffer *out)
{
    const qf_token open = p->lexer.token;
    int depth = 0;
    do {
        depth += opens(p) ? 1 : closes(p) ? -1 : 0;
        if (p->lexer.token.kind == QF_TOKEN_END)
            return qf_lexer_fail(&p->lexer, open.line, open.column, "the '%c' here is never closed",
                                 *open.text);
        QF_TRY(take(p, out));
    } while (depth > 0);
    return QF_OK;
}

static qf_status take_value(qf_text_parser *p, qf_buffer *out)
{
    bool colon = qf_text_is_symbol(p, ':');
    if (colon)
        QF_TRY(take(p, out));
    if (opens(p))
        return take_brackets(p, out);
    if (!colon)
        return qf_text_unexpected(p, "':' or '{'");
    if (qf_text_is_symbol(p, '-'))
        QF_TRY(take(p, out));
    if (p->lexer.token.kind == QF_TOKEN_END || p->lexer.token.kind == QF_TOKEN_SYMBOL)
        return qf_text_unexpected(p, "a value");
    const bool string = p->lexer.token.kind == QF_TOKEN_STRING;
    do
        QF_TRY(take(p, out));
    while (string && p->lexer.token.kind == QF_TOKEN_STRING); /* pieces are one */
    return QF_OK;
}

/* As an unknown field of the message: a length, then the text. */
static qf_status attach(qf_text_parser *p, ProtobufCMessage *message, const qf_buffer *text)
{
    qf_context *context = p->lexer.context;
    const size_t taken = text->size + sizeof(ProtobufCMessageUnknownField);
    if (taken > p->allowance)
        return qf_message_exceeds(context, p->lexer.name, p->size, message->descriptor);
    p->allowance -= taken;
    uint8_t *data = malloc(text->size + 10);
    const size_t count = message->n_unknown_fields;
    ProtobufCMessageUnknownField *fields =
        data ? realloc(message->unknown_fields, (count + 1) * sizeof *fields) : NULL;
    if (!fields) {
        free(data);
        return qf_fail(context, QF_E_MEMORY, "no memory to read %s", p->lexer.name);
    }
    size_t at = 0, rest = text->size;
    for (; rest >= 0x80; rest >>= 7)
        data[at++] = (uint8_t)(rest | 0x80);
    data[at++] = (uint8_t)rest;
    memcpy(data + at, text->data, text->size);
    fields[count] =
        (ProtobufCMessageUnknownField){.tag = KEPT_NUMBER,
                                       .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                       .len = at + text->size,
                                       .data = data};
    message->unknown_fields = fields;
    message->n_unknown_fields = (unsigned)count + 1;
    return QF_OK;
}

qf_status qf_kept_read(qf_text_parser *p, ProtobufCMessage *message, const qf_token *name)
{
    qf_buffer text = {0};
    append_token(&text, name);
    qf_status status = take_value(p, &text);
    if (status == QF_OK)
        status = qf_buffer_whole(p->lexer.context, &text);
    if (status == QF_OK)
        status = attach(p, message, &text);
    qf_buffer_release(&text);
    return status;
}

static bool is_kept(const ProtobufCMessageUnknownField *field)
{
    return field->tag == KEPT_NUMBER && field->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

qf_status qf_kept_move(qf_context *context, ProtobufCMessage *from, ProtobufCMessage *to)
{
    const size_t all = (size_t)from->n_unknown_fields + to->n_unknown_fields;
    if (!from->n_unknown_fields)
        return QF_OK;
    ProtobufCMessageUnknownField *fields = realloc(to->unknown_fields, all * sizeof *fields);
    if (!fields)
        return qf_fail(context, QF_E_MEMORY, "no memory for fields that are kept");
    unsigned stay = 0;
    to->unknown_fields = fields;
    for (unsigned i = 0; i < from->n_unknown_fields; i++) {
        ProtobufCMessageUnknownField *field = &from->unknown_fields[i];
        if (is_kept(field))
            fields[to->n_unknown_fields++] = *field;
        else
            from->unknown_fields[stay++] = *field;
    }
    from->n_unknown_fields = stay;
    return QF_OK;
}

void qf_kept_print(qf_buffer *out, const ProtobufCMessage *message, int indent)
{
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
        size_t length = 0;
        if (!is_kept(field))
            continue;
        while (length < field->len && field->data[length] & 0x80)
            length++;
        length = length < field->len ? length + 1 : length;
        qf_buffer_print(out, "%*s%.*s\n", 2 * indent, "", (int)(field->len - length),
                        (const char *)field->data + length);
    }
}
