/* Stochastic pooling: draws in TRAIN, their expectation in TEST. */
#include "layers/pooling/pooling.h"

/* The draws, in the order of the outputs. */
static qf_status draw_shares(qf_layer *layer, qf_stochastic_pooling *draws)
{
    qf_context *context = layer->context;
    const qf_shape one_each = {1, {(int)qf_blob_count(layer->top[0])}};
    float *share;
    if (!draws->chosen)
        QF_TRY(qf_tensor_create(context, &draws->chosen));
    if (!draws->share)
        QF_TRY(qf_tensor_create(context, &draws->share));
    QF_TRY(qf_tensor_reshape(context, draws->chosen, &one_each));
    QF_TRY(qf_tensor_reshape(context, draws->share, &one_each));
    QF_TRY(qf_write(context, draws->share, QF_PLAIN, &share));
    for (int i = 0; i < one_each.dim[0]; i++)
        share[i] = qf_random_uniform(&context->random, 0, 1);
    return QF_OK;
}

qf_status qf_stochastic_pooling_forward(qf_layer *layer, const qf_pooling_shape *shape,
                                        qf_stochastic_pooling *draws)
{
    const qf_resample_family *resample = layer->device->resample;
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    if (layer->phase != QF_TRAIN)
        return resample->expect(layer->context, shape, x, y);
    QF_TRY(draw_shares(layer, draws));
    QF_TRY(resample->draw(layer->context, shape, x, draws->share, y, draws->chosen));
    qf_tensor_forget(draws->share); /* chosen says it all */
    return QF_OK;
}

qf_status qf_stochastic_pooling_backward(qf_layer *layer, const qf_pooling_shape *shape,
                                         const qf_stochastic_pooling *draws)
{
    const qf_resample_family *resample = layer->device->resample;
    qf_tensor *x = layer->bottom[0]->data;
    qf_tensor *dy = layer->top[0]->diff, *dx = layer->bottom[0]->diff;
    if (layer->phase != QF_TRAIN)
        return resample->expect_backward(layer->context, shape, x, dy, dx);
    return resample->draw_backward(layer->context, shape, draws->chosen, dy, dx);
}

void qf_stochastic_pooling_destroy(qf_stochastic_pooling *draws)
{
    qf_tensor_release(draws->share);
    qf_tensor_release(draws->chosen);
}
