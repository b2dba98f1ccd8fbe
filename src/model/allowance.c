/* How much memory a message may take, by the size of its file. */
#include "model/allowance.h"

#include "base/limits.h"
#include "base/memory.h"

#include <inttypes.h>

size_t qf_message_allowance(const qf_context *context, size_t file_size)
{
    size_t bytes;
    if (!qf_multiply(file_size, (size_t)context->limits[QF_LIMIT_MESSAGE_GROWTH], &bytes) ||
        !qf_add(bytes, QF_ALLOWANCE_BASE, &bytes))
        return SIZE_MAX;
    return bytes;
}

qf_status qf_message_exceeds(qf_context *context, const char *name, size_t file_size,
                             const ProtobufCMessageDescriptor *type)
{
    const uint64_t limit = context->limits[QF_LIMIT_MESSAGE_GROWTH];
    return qf_fail(context, QF_E_FORMAT,
                   "%s: a file of %zu bytes asks for more memory than any real %s needs: the limit "
                   "message_growth is %" PRIu64 " bytes for each of its bytes (if the file is "
                   "right, raise it with --limit message_growth=%" PRIu64 " or QAFFE_LIMITS)",
                   name, file_size, type->short_name, limit, 4 * limit);
}
