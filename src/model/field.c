/* Fields by protobuf-c's descriptors: sizes, presence, clearing, moving. */
#include "model/field.h"

#include <stdlib.h>
#include <string.h>

size_t qf_field_element_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

size_t *qf_field_count(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (size_t *)((char *)message + field->quantifier_offset);
}

static bool is_pointer(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING;
}

bool qf_field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(base + field->quantifier_offset) != 0;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    if (is_pointer(field)) {
        const void *pointer = *(void *const *)(base + field->offset);
        return pointer && pointer != field->default_value;
    }
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL)
        return *(const protobuf_c_boolean *)(base + field->quantifier_offset);
    return true;
}

void qf_field_mark(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)((char *)message + field->quantifier_offset) = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !is_pointer(field))
        *(protobuf_c_boolean *)((char *)message + field->quantifier_offset) = 1;
}

static void free_element(const ProtobufCFieldDescriptor *field, void *element)
{
    if (field->type == PROTOBUF_C_TYPE_STRING)
        free(*(char **)element);
    else if (field->type == PROTOBUF_C_TYPE_BYTES)
        free(((ProtobufCBinaryData *)element)->data);
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        qf_message_free(*(void **)element);
}

/* The value now belongs to somebody else, or is freed. */
static void forget(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *address = qf_field_address(message, field);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        *(void **)address = NULL;
        *qf_field_count(message, field) = 0;
        return;
    }
    size_t size = qf_field_element_size(field);
    if (field->type == PROTOBUF_C_TYPE_STRING)
        *(const void **)address = field->default_value;
    else if (field->default_value && !is_pointer(field))
        memcpy(address, field->default_value, size);
    else
        memset(address, 0, size);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)((char *)message + field->quantifier_offset) = 0;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !is_pointer(field))
        *(protobuf_c_boolean *)((char *)message + field->quantifier_offset) = 0;
}

void qf_field_clear(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (!qf_field_is_set(message, field))
        return;
    char *address = qf_field_address(message, field);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        char *array = *(char **)address;
        for (size_t i = 0; i < *qf_field_count(message, field); i++)
            free_element(field, array + i * qf_field_element_size(field));
        free(array);
    } else {
        free_element(field, address);
    }
    forget(message, field);
}

qf_status qf_field_move(qf_context *context, ProtobufCMessage *from,
                        const ProtobufCFieldDescriptor *from_field, ProtobufCMessage *to,
                        const ProtobufCFieldDescriptor *to_field)
{
    if (!qf_field_is_set(from, from_field))
        return QF_OK;
    void *source = qf_field_address(from, from_field);
    void *target = qf_field_address(to, to_field);
    if (to_field->label == PROTOBUF_C_LABEL_REPEATED &&
        from_field->label != PROTOBUF_C_LABEL_REPEATED) {
        QF_TRY(qf_append(context, qf_field_count(to, to_field), target, source,
                         qf_field_element_size(to_field)));
    } else if (to_field->label == PROTOBUF_C_LABEL_REPEATED) {
        qf_field_clear(to, to_field);
        memcpy(target, source, sizeof(void *));
        *qf_field_count(to, to_field) = *qf_field_count(from, from_field);
    } else {
        qf_field_clear(to, to_field);
        memcpy(target, source, qf_field_element_size(to_field));
        qf_field_mark(to, to_field);
    }
    forget(from, from_field);
    return QF_OK;
}
