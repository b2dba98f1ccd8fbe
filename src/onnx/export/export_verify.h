/* What an exported file means, beside the model it was made of. */
#ifndef QF_ONNX_EXPORT_EXPORT_VERIFY_H
#define QF_ONNX_EXPORT_EXPORT_VERIFY_H

#include "model/onnx.pb-c.h"
#include "qaffe/qaffe.h"

typedef struct qf_onnx_verify_run {
    qf_action_function action;
    qf_progress_function progress;
    void *user;
    bool written; /* the file is there */
    qf_onnx_result *result;
} qf_onnx_verify_run;

/* Runs both on verify_batches batches; the counts go to run->result. */
qf_status qf_onnx_verify(qf_context *context, const char *model_file, const char *weights_file,
                         const Onnx__Graph *graph, const qf_onnx_options *options,
                         qf_onnx_verify_run *run);

#endif
