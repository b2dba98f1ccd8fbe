/* Fields of messages by description: what the text format and the upgrades share. */
#ifndef QF_MODEL_FIELD_H
#define QF_MODEL_FIELD_H

#include "model/model.h"

/* Bytes of one element of a field in its C struct. */
size_t qf_field_element_size(const ProtobufCFieldDescriptor *field);
/* Is the field present? Repeated: not empty. Required scalars have no flag: always. */
bool qf_field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Mark a scalar field that was just stored as present. */
void qf_field_mark(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
size_t *qf_field_count(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
static inline void *qf_field_address(ProtobufCMessage *message,
                                     const ProtobufCFieldDescriptor *field)
{
    return (char *)message + field->offset;
}

/* Take the value of one field over into another of the same type (or from a single value into a
 * repeated field, which it is appended to). The source is left unset. A string or message that is
 * there already is replaced. */
qf_status qf_field_move(qf_context *context, ProtobufCMessage *from,
                        const ProtobufCFieldDescriptor *from_field, ProtobufCMessage *to,
                        const ProtobufCFieldDescriptor *to_field);
/* Free what the field holds and leave it unset. */
void qf_field_clear(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

#endif
