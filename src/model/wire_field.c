/* Reading one field of the wire format after another. */
#include "model/wire_field.h"

static bool read_varint(const uint8_t *bytes, size_t have, size_t *at, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; *at < have && shift <= 63; shift += 7) {
        *out |= (uint64_t)(bytes[*at] & 0x7f) << shift;
        if (!(bytes[(*at)++] & 0x80))
            return true;
    }
    return false;
}

bool qf_wire_field_read(const uint8_t *bytes, size_t have, size_t size, size_t start,
                        qf_wire_field *out)
{
    size_t at = start;
    uint64_t tag, number = 0;
    if (!read_varint(bytes, have, &at, &tag))
        return false;
    const int type = (int)(tag & 7);
    if ((type == QF_WIRE_VARINT || type == QF_WIRE_BYTES) &&
        !read_varint(bytes, have, &at, &number))
        return false;
    const uint64_t skip = type == QF_WIRE_FIXED64   ? 8
                          : type == QF_WIRE_FIXED32 ? 4
                          : type == QF_WIRE_BYTES   ? number
                                                    : 0;
    const bool known = type == QF_WIRE_VARINT || type == QF_WIRE_FIXED64 || type == QF_WIRE_BYTES ||
                       type == QF_WIRE_FIXED32; /* groups are not Caffe's */
    if (!known || skip > size - at)
        return false;
    *out = (qf_wire_field){start, at, at + (size_t)skip, tag >> 3, type};
    return true;
}
