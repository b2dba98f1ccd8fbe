/* What reading a message may allocate: an empty layer takes 2 bytes in a file (7 in a text) and a
 * thousand in memory, so a small hostile file could ask for everything. Real files need little more
 * than their size. */
#ifndef QF_MODEL_ALLOWANCE_H
#define QF_MODEL_ALLOWANCE_H

#include "base/context.h"

#include <protobuf-c/protobuf-c.h>

enum { QF_ALLOWANCE_BASE = 64 << 20 };

/* Bytes for a file of this size: the limit message_growth for each of its bytes, and the base. */
size_t qf_message_allowance(const qf_context *context, size_t file_size);
/* The failure when they do not suffice. */
qf_status qf_message_exceeds(qf_context *context, const char *name, size_t file_size,
                             const ProtobufCMessageDescriptor *type);

#endif
