/* Fields of protobuf's wire format, one after another, without unpacking what is in them. */
#ifndef QF_MODEL_WIRE_FIELD_H
#define QF_MODEL_WIRE_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QF_WIRE_VARINT = 0, QF_WIRE_FIXED64 = 1, QF_WIRE_BYTES = 2, QF_WIRE_FIXED32 = 5 };

typedef struct qf_wire_field {
    size_t start, value, end; /* offsets: of the tag, of the value (behind a length), behind all */
    uint64_t number;
    int type;
} qf_wire_field;

/* The field at `start` of a message of `size` bytes, of which the first `have` are in memory; its
 * end may lie behind those. False: it is damaged, cut off, or its tag is not in memory. */
bool qf_wire_field_read(const uint8_t *bytes, size_t have, size_t size, size_t start,
                        qf_wire_field *out);

#endif
