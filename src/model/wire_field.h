/* One field of a message in wire format, in the bytes themselves. */
#ifndef QF_MODEL_WIRE_FIELD_H
#define QF_MODEL_WIRE_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct qf_wire_field {
    size_t start, value, end; /* offsets: of the tag, of the value (behind a length), behind all */
    uint64_t number;
    int type;
} qf_wire_field;

/* False: the field at `start` is damaged or cut off. */
bool qf_wire_read_field(const uint8_t *bytes, size_t size, size_t start, qf_wire_field *out);

#endif
