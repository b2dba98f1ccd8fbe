/* The param_str of layers in Python: settings in YAML, or the inside of a dictionary. */
#ifndef QF_NET_PARAM_STR_H
#define QF_NET_PARAM_STR_H

#include "model/model.h"

/* What a key of a param_str is called as a field, where that is another name. Ends with NULL. */
typedef struct qf_param_str_name {
    const char *key, *field;
} qf_param_str_name;

/* A new message of the type with what `text` sets:
 *     'feat_stride': 16, 'scales': !!python/tuple [8, 16, 32]
 * and its like, also in braces, each key in a line of its own, lists as lines of "- 8". Keys are
 * names of fields, but for `names` (may be NULL). A key that is no field is warned of, once for
 * each layer; values that do not fit are QF_E_FORMAT. */
qf_status qf_param_str_read(qf_context *context, const char *layer, const char *text,
                            const qf_param_str_name *names, const ProtobufCMessageDescriptor *type,
                            void *out);

#endif
