/* A blob: Caffe's named pair of a value and its gradient. */
#ifndef QF_TENSOR_BLOB_H
#define QF_TENSOR_BLOB_H

#include "model/model.h"
#include "tensor/tensor.h"

struct qf_blob {
    qf_context *context;
    char *name;
    qf_tensor *data, *diff; /* data may be shared with other blobs (Split); same shape */
    int references;         /* parameters are shared between layers and nets */
    int index;              /* of a layer's top: among its net's blobs */
};

qf_status qf_blob_create(qf_context *context, const char *name, qf_blob **out);
static inline const qf_shape *qf_blob_shape(const qf_blob *blob)
{
    return &blob->data->shape;
}
qf_status qf_blob_reshape_to(qf_blob *blob, const qf_shape *shape);
qf_status qf_blob_reshape_like(qf_blob *blob, const qf_blob *other);
/* blob->data becomes other's tensor itself (Split). */
void qf_blob_share_data(qf_blob *blob, qf_blob *other);
void qf_blob_share_diff(qf_blob *blob, qf_blob *other);

/* Could the stored blob be taken? Caffe's rules on shapes (`reshape`: any shape will do), as many
 * values as the shape says, no NaN. */
qf_status qf_blob_check_proto(qf_blob *blob, const Caffe__BlobProto *proto, bool reshape);
/* Stored form → value; checks first. */
qf_status qf_blob_from_proto(qf_blob *blob, const Caffe__BlobProto *proto, bool reshape);
/* The value in its native form: float data, int8_data, int32_data or uint64_data. */
qf_status qf_blob_to_proto(qf_blob *blob, bool with_diff, Caffe__BlobProto **out);

/* Fill per FillerParameter (constant, uniform, gaussian, positive_unitball, xavier, msra,
 * bilinear), drawing from the context's random numbers. NULL: constant 0. */
qf_status qf_fill(qf_blob *blob, const Caffe__FillerParameter *filler);

#endif
