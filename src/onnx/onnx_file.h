/* ONNX models as files (model/onnx.proto), free with qf_message_free(). Where a model would be
 * larger than a file may be, the values of its tensors lie in a second file beside it. */
#ifndef QF_ONNX_ONNX_FILE_H
#define QF_ONNX_ONNX_FILE_H

#include "model/model.h"
#include "model/onnx.pb-c.h"

/* What lies beside the model is brought into raw_data of its tensors. */
qf_status qf_onnx_read(qf_context *context, const char *path, Onnx__Model **out);

/* Above the limit file_bytes the raw_data of initialisers go to "<path>.data". Both files appear
 * together. The model is unchanged afterwards. */
qf_status qf_onnx_write(qf_context *context, const char *path, Onnx__Model *model);

#endif
