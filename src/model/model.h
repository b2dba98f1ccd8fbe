/*
 * Caffe's and AMCT's messages as files: text format, wire format, upgrade of old nets, phase rules.
 * Messages are protobuf-c structs (model/caffe.pb-c.h, model/amct.pb-c.h), allocated with malloc so
 * that protobuf-c can free them: qf_message_free().
 */
#ifndef QF_MODEL_MODEL_H
#define QF_MODEL_MODEL_H

#include "base/buffer.h"
#include "model/amct.pb-c.h"
#include "model/caffe.pb-c.h"

void qf_message_free(void *message); /* any message; NULL is a no-op */
/* A deep copy, unknown fields included. */
qf_status qf_message_copy(qf_context *context, const void *message, void *out);

/* ---- text format (text_reader.c, text_writer.c) ---- */

/* Parse `size` bytes; `name` is the file's name in messages "name:line:column: …". *out is a
 * message of the type described (pass the address of a typed pointer). */
qf_status qf_text_parse(qf_context *context, const char *name, const char *text, size_t size,
                        const ProtobufCMessageDescriptor *type, void *out);
qf_status qf_text_read(qf_context *context, const char *path,
                       const ProtobufCMessageDescriptor *type, void *out);
/* Append the canonical form that protobuf prints (2 spaces a level, floats that read back). */
void qf_text_print(const void *message, qf_buffer *out);
qf_status qf_text_write(qf_context *context, const char *path, const void *message, unsigned mode);

/* ---- wire format (wire.c) ---- */

qf_status qf_wire_parse(qf_context *context, const char *name, const void *bytes, size_t size,
                        const ProtobufCMessageDescriptor *type, void *out);
qf_status qf_wire_read(qf_context *context, const char *path,
                       const ProtobufCMessageDescriptor *type, void *out);
/* The same of bytes that are in memory; `name` stands for the file in messages. */
qf_status qf_wire_read_bytes(qf_context *context, const char *name, const void *bytes, size_t size,
                             const ProtobufCMessageDescriptor *type, void *out);
/* To memory, which is to be freed with qf_free(). */
qf_status qf_wire_pack(qf_context *context, const char *name, const void *message, void **bytes,
                       size_t *size);
qf_status qf_wire_write(qf_context *context, const char *path, const void *message, unsigned mode);

/* ---- nets and solvers, as Caffe reads them: parsed, then upgraded ---- */

qf_status qf_net_param_read(qf_context *context, const char *prototxt, Caffe__NetParameter **out);
qf_status qf_net_param_read_binary(qf_context *context, const char *caffemodel,
                                   Caffe__NetParameter **out);
/* From bytes that are in memory; `name` stands for the file in messages. */
qf_status qf_net_param_parse_binary(qf_context *context, const char *name, const void *bytes,
                                    size_t size, Caffe__NetParameter **out);
/* The same, with what files are given besides: forks, what is no net. */
qf_status qf_net_param_read_bytes(qf_context *context, const char *name, const void *bytes,
                                  size_t size, Caffe__NetParameter **out);
qf_status qf_net_param_read_text(qf_context *context, const char *name, const char *text,
                                 size_t size, Caffe__NetParameter **out);
qf_status qf_solver_param_read(qf_context *context, const char *path, Caffe__SolverParameter **out);
/* In part: some fields of the old format have no equal and were dropped; the log names them. */
typedef enum qf_upgrade { QF_UP_TO_DATE, QF_UPGRADED, QF_UPGRADED_IN_PART } qf_upgrade;
/* In place. Warnings go to the log, as Caffe's do. */
qf_status qf_net_param_upgrade(qf_context *context, const char *name, Caffe__NetParameter *net,
                               qf_upgrade *out);
qf_status qf_solver_param_upgrade(qf_context *context, const char *name,
                                  Caffe__SolverParameter *solver, bool *changed);

/* A .caffemodel whose large arrays of floats lie in `file`, not in messages of their own: to be
 * read, not to be changed or taken apart (weights.c). */
typedef struct qf_weights {
    Caffe__NetParameter *net;
    qf_buffer file;
    Caffe__BlobProto **borrowing; /* blobs whose data lie in `file` */
    size_t borrowers;
} qf_weights;
qf_status qf_weights_read(qf_context *context, const char *path, qf_weights *out);
void qf_weights_release(qf_weights *weights); /* harmless after a failure */

/* Gives every layer a name and a type, if only "", so that nobody needs to ask. */
qf_status qf_net_param_fill_names(qf_context *context, Caffe__NetParameter *net);
/* A copy, names filled, with only the layers that the phase, level and stages in net->state
 * include. */
qf_status qf_net_param_filter(qf_context *context, const Caffe__NetParameter *net,
                              Caffe__NetParameter **out);

/* ---- editing: strings and repeated fields of messages (edit.c) ---- */

qf_status qf_set_string(qf_context *context, char **field, const char *value);
/* Append to a repeated field, given the addresses of its count and array. `element` is copied
 * byte-wise (a pointer for messages and strings, which then belong to the message). */
qf_status qf_append(qf_context *context, size_t *count, void *array, const void *element,
                    size_t element_size);
qf_status qf_append_string(qf_context *context, size_t *count, char ***array, const char *value);
/* A new message with its defaults, to be filled and attached. */
qf_status qf_message_new(qf_context *context, const ProtobufCMessageDescriptor *type, void *out);
/* The settings of parameter `index` of a layer, with those before it made where there are none. */
qf_status qf_param_spec_at(qf_context *context, Caffe__LayerParameter *layer, size_t index,
                           Caffe__ParamSpec **out);
/* A stored blob of floats; NULL after a failure. */
qf_status qf_blob_proto_new(qf_context *context, const int *dimensions, int axes,
                            const float *values, Caffe__BlobProto **out);
Caffe__LayerParameter *qf_find_layer(const Caffe__NetParameter *net, const char *name);

/* Shape of a stored blob: `shape` if present, else num/channels/height/width. *axes ≤ 32 and every
 * dimension ≥ 0, or it fails. `legacy` (may be NULL): the old four fields were used. */
qf_status qf_blob_proto_shape(qf_context *context, const Caffe__BlobProto *blob, int *dimensions,
                              int *axes, bool *legacy);

#endif
