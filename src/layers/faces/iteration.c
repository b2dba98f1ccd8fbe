/* The count of passes of a layer whose margin changes on the way. */
#include "layers/faces/iteration.h"

qf_status qf_iteration_create(qf_layer *layer, qf_iteration *iteration)
{
    const qf_shape one = qf_shape_make(1, (int[]){1});
    QF_TRY(qf_blob_create(layer->context, "passes", &iteration->passes));
    return qf_blob_reshape_to(iteration->passes, &one);
}

void qf_iteration_release(qf_iteration *iteration)
{
    qf_blob_release(iteration->passes);
}

qf_status qf_iteration_advance(qf_layer *layer, qf_iteration *iteration)
{
    float *passes;
    if (layer->phase != QF_TRAIN)
        return QF_OK;
    QF_TRY(qf_update(layer->context, iteration->passes->data, QF_PLAIN, &passes));
    passes[0]++; /* a float counts to 2^24, where no schedule changes any more */
    return QF_OK;
}

qf_status qf_iteration_passes(const qf_layer *layer, const qf_iteration *iteration, double *out)
{
    const float *passes;
    QF_TRY(qf_read(layer->context, iteration->passes->data, QF_PLAIN, &passes));
    *out = (double)passes[0];
    return QF_OK;
}
