/* Messages as protobuf's text. */
#include "base/file.h"
#include "model/field.h"
#include "model/kept_text.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* protobuf's shortest-of-two rule: 6 (15) digits if that reads back, else 9 (17). */
static void print_number(qf_buffer *out, double number, bool single)
{
    char text[32];
    if (isnan(number)) {
        qf_buffer_print(out, "nan");
        return;
    }
    if (isinf(number)) {
        qf_buffer_print(out, number < 0 ? "-inf" : "inf");
        return;
    }
    snprintf(text, sizeof text, "%.*g", single ? 6 : 15, number);
    if (single ? strtof(text, NULL) != (float)number : strtod(text, NULL) != number)
        snprintf(text, sizeof text, "%.*g", single ? 9 : 17, number);
    qf_buffer_print(out, "%s", text);
}

static void print_quoted(qf_buffer *out, const uint8_t *bytes, size_t size)
{
    static const char *const escapes[256] = {['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t",
                                             ['"'] = "\\\"", ['\''] = "\\'", ['\\'] = "\\\\"};
    qf_buffer_append(out, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        if (escapes[bytes[i]])
            qf_buffer_print(out, "%s", escapes[bytes[i]]);
        else if (bytes[i] < 0x20 || bytes[i] >= 0x7f)
            qf_buffer_print(out, "\\%03o", bytes[i]);
        else
            qf_buffer_append(out, &bytes[i], 1);
    }
    qf_buffer_append(out, "\"", 1);
}

static void print_scalar(qf_buffer *out, const ProtobufCFieldDescriptor *field, const void *element)
{
    const ProtobufCEnumValue *named;
    const ProtobufCBinaryData *bytes = element;
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        qf_buffer_print(out, "%" PRIu32, *(const uint32_t *)element);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        qf_buffer_print(out, "%" PRId64, *(const int64_t *)element);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        qf_buffer_print(out, "%" PRIu64, *(const uint64_t *)element);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        print_number(out, (double)*(const float *)element, true);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        print_number(out, *(const double *)element, false);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        qf_buffer_print(out, *(const protobuf_c_boolean *)element ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        named = protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)element);
        if (named)
            qf_buffer_print(out, "%s", named->name);
        else
            qf_buffer_print(out, "%d", *(const int *)element);
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)element;
        print_quoted(out, (const uint8_t *)text, strlen(text));
        break;
    }
    case PROTOBUF_C_TYPE_BYTES:
        print_quoted(out, bytes->data, bytes->len);
        break;
    default:
        qf_buffer_print(out, "%" PRId32, *(const int32_t *)element);
    }
}

static void print_fields(qf_buffer *out, const ProtobufCMessage *message, int indent)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (!qf_field_is_set(message, field))
            continue;
        const char *element = (const char *)message + field->offset;
        size_t count = 1, size = qf_field_element_size(field);
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(const size_t *)((const char *)message + field->quantifier_offset);
            element = *(const char *const *)element;
        }
        for (size_t k = 0; k < count; k++, element += size) {
            qf_buffer_print(out, "%*s%s", 2 * indent, "", field->name);
            if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
                qf_buffer_append(out, " {\n", 3);
                print_fields(out, *(ProtobufCMessage *const *)element, indent + 1);
                qf_buffer_print(out, "%*s}\n", 2 * indent, "");
            } else {
                qf_buffer_append(out, ": ", 2);
                print_scalar(out, field, element);
                qf_buffer_append(out, "\n", 1);
            }
        }
    }
    qf_kept_print(out, message, indent);
}

void qf_text_print(const void *message, qf_buffer *out)
{
    /* Numbers have a point whatever the user's locale says. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) {
        out->failed = true;
        return;
    }
    locale_t before = uselocale(plain);
    print_fields(out, message, 0);
    uselocale(before);
    freelocale(plain);
}

qf_status qf_text_write(qf_context *context, const char *path, const void *message, unsigned mode)
{
    qf_buffer text = {0};
    qf_text_print(message, &text);
    qf_status status = text.failed
                           ? qf_fail(context, QF_E_MEMORY, "no memory to write %s", path)
                           : qf_file_write(context, path, qf_buffer_text(&text), text.size, mode);
    qf_buffer_release(&text);
    return status;
}
