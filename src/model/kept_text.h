/*
 * Fields that Caffe's messages do not have, kept as text so that they are written again.
 *
 * They lie in the message as one of protobuf's unknown fields, under a number that nobody else
 * uses; so copies have them too, and in binary files they are what every reader skips.
 */
#ifndef QF_MODEL_KEPT_TEXT_H
#define QF_MODEL_KEPT_TEXT_H

#include "model/model.h"
#include "model/text_parser.h"

enum { QF_KEPT_FIELDS = 16 }; /* names that are told apart in the summary */

/* What was kept of a file. */
typedef struct qf_kept_summary {
    struct {
        char name[48];
        int count;
    } fields[QF_KEPT_FIELDS];
    int names, others;
} qf_kept_summary;

/* Keep the field whose name was just read; the lexer stands behind the name. */
qf_status qf_kept_read(qf_text_parser *p, ProtobufCMessage *message, const qf_token *name);
/* Give what a message keeps to the one that takes its place. Fields of numbers unknown here stay:
 * there they may be others. */
qf_status qf_kept_move(qf_context *context, ProtobufCMessage *from, ProtobufCMessage *to);
/* Print what a message keeps, each field in a line of its own. */
void qf_kept_print(qf_buffer *out, const ProtobufCMessage *message, int indent);

/* Does a field of a fork change nothing here? `value` is its text. */
bool qf_fork_field_is_idle(const ProtobufCMessageDescriptor *type, const qf_token *name,
                           const qf_token *value);
/* The beginning of a refusal, where a field of a fork has another value than that, or is known for
 * what it does; false: it is neither. */
bool qf_fork_field_refusal(const ProtobufCMessageDescriptor *type, const qf_token *name,
                           qf_buffer *out);
/* Do forks give this field several times, where Caffe has one, and nothing here reads it? */
bool qf_fork_field_is_repeated(const ProtobufCMessageDescriptor *type, const char *name);

void qf_kept_count(qf_kept_summary *summary, const char *name, size_t size);
/* One line for the file, once for each file that is read again and again. */
void qf_kept_report(qf_context *context, const char *file, const qf_kept_summary *summary);

#endif
