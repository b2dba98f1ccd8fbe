/* Reading the text format: what reading single values (text_scalar.c) and reading messages
 * (text_reader.c) share. */
#ifndef QF_MODEL_TEXT_PARSER_H
#define QF_MODEL_TEXT_PARSER_H

#include "base/buffer.h"
#include "model/text_lexer.h"

#include <locale.h>
#include <protobuf-c/protobuf-c.h>

enum { QF_TEXT_SHOWN = 60 }; /* bytes of a token in a message */

typedef struct qf_text_parser {
    qf_lexer lexer;
    locale_t locale; /* "C": numbers have a point whatever the user's language */
    int depth;
    size_t size, allowance;       /* of the text; bytes that messages may still take */
    struct qf_kept_summary *kept; /* fields without effect so far */
} qf_text_parser;

bool qf_text_is_symbol(const qf_text_parser *p, char symbol);
qf_status qf_text_unexpected(const qf_text_parser *p, const char *expected);
/* Step over the symbol, if it is there; or fail. */
qf_status qf_text_try_symbol(qf_text_parser *p, char symbol, bool *found);
qf_status qf_text_expect_symbol(qf_text_parser *p, char symbol);
/* The field of this type whose name is nearest to what was typed, if that looks like a slip; or
 * NULL. */
const char *qf_text_nearest_field(const ProtobufCMessageDescriptor *type, const qf_token *typed);

/* Has the enum of this field a value of this name? */
bool qf_text_enum_has(const ProtobufCFieldDescriptor *field, const qf_token *word);

/* A value in the form that protobuf-c stores for the field's type. */
typedef union qf_text_value {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    float f;
    double d;
    protobuf_c_boolean b;
    char *string;
    ProtobufCBinaryData bytes;
    ProtobufCMessage *message;
} qf_text_value;

/* The value of a field that is no message; strings and bytes are allocated with malloc. */
qf_status qf_text_read_scalar(qf_text_parser *p, const ProtobufCFieldDescriptor *field,
                              qf_text_value *out);

#endif
