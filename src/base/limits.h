/* Limits on what files may ask for: named, with defaults far beyond real use, and each can be
 * changed (docs/limits.md). They are there so that a damaged or hostile file costs a sentence, not
 * all memory or an afternoon. */
#ifndef QF_BASE_LIMITS_H
#define QF_BASE_LIMITS_H

#include "qaffe/qaffe.h"

/* Constant, name, default (0: the machine's memory), highest possible value, what is counted. */
#define QF_LIMIT_MAP(X)                                                                            \
    X(QF_LIMIT_FILE_BYTES, "file_bytes", INT32_MAX, INT32_MAX, "bytes")                            \
    X(QF_LIMIT_MESSAGE_NESTING, "message_nesting", 100, 1000, "messages within messages")          \
    X(QF_LIMIT_MESSAGE_GROWTH, "message_growth", 24, 1 << 20, "bytes for each byte of a file")     \
    X(QF_LIMIT_TENSOR_ELEMENTS, "tensor_elements", INT32_MAX, INT32_MAX, "elements")               \
    X(QF_LIMIT_NET_BYTES, "net_bytes", 0, INT64_MAX, "bytes of blobs")                             \
    X(QF_LIMIT_NET_LAYERS, "net_layers", 100000, INT32_MAX, "layers")                              \
    X(QF_LIMIT_TIME_STEPS, "time_steps", 4096, 1 << 20, "time steps")                              \
    X(QF_LIMIT_DATUM_CHANNELS, "datum_channels", 1 << 20, INT32_MAX, "channels")                   \
    X(QF_LIMIT_DATUM_VALUES, "datum_values", 1 << 28, INT32_MAX, "values")                         \
    X(QF_LIMIT_IMAGE_PIXELS, "image_pixels", 1 << 27, INT32_MAX, "pixels")                         \
    X(QF_LIMIT_LIST_LINES, "list_lines", 1 << 26, INT32_MAX, "lines")

typedef enum qf_limit {
#define X(constant, name, initial, highest, unit) constant,
    QF_LIMIT_MAP(X)
#undef X
        QF_LIMIT_COUNT
} qf_limit;

void qf_limits_reset(struct qf_context *context);

/* Fails, naming the limit and how to raise it, where `value` is larger than the limit. The format
 * says what is too large: "image.png has", "layer conv1's weights have". */
qf_status qf_check_limit(qf_context *context, qf_limit limit, uint64_t value, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

#endif
