/* EuclideanLoss and SmoothL1Loss (Fast R-CNN, SSD): Σ f(a − b) / num. The third bottom of the
 * second is the weights of differences, the fourth those of terms; 1 where a bottom is absent. */
#include "layers/loss/loss.h"

static float sigma_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, smooth_l1_loss_param, SMOOTH_L1_LOSS_, SmoothL1Loss)->sigma;
}

static qf_status smooth_l1_setup(qf_layer *layer)
{
    const float sigma = sigma_of(layer);
    if (!(sigma > 0 && isfinite(sigma)))
        return qf_fail(layer->context, QF_E_VALUE,
                       "smooth_l1_loss_param: sigma must be greater than 0, is %g", (double)sigma);
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape scalar = {0};
    const qf_shape *a = qf_blob_shape(layer->bottom[0]);
    char first[256], second[256];
    for (int i = 1; i < layer->bottom_count; i++) {
        const qf_shape *b = qf_blob_shape(layer->bottom[i]);
        if (qf_shape_count(a) != qf_shape_count(b) ||
            (a->axes && b->axes && a->dim[0] != b->dim[0]))
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' of shape %s and '%s' of shape %s do not match",
                           layer->bottom[0]->name, qf_shape_text(a, first, sizeof first),
                           layer->bottom[i]->name, qf_shape_text(b, second, sizeof second));
    }
    return qf_blob_reshape_to(layer->top[0], &scalar);
}

static float divisor(const qf_layer *layer)
{
    const size_t batch = qf_loss_batch(layer);
    return batch ? (float)batch : 1;
}

static qf_status forward(qf_layer *layer, const qf_value_loss *loss)
{
    return qf_loss_forward(layer, loss, divisor(layer));
}

static qf_status backward(qf_layer *layer, const qf_value_loss *loss)
{
    QF_TRY(qf_loss_backward(layer, loss, divisor(layer), 0));
    return qf_loss_backward(layer, loss, divisor(layer), 1);
}

static const qf_value_loss euclidean = {.kind = QF_SQUARED_DISTANCE};

static qf_status euclidean_forward(qf_layer *layer)
{
    return forward(layer, &euclidean);
}

static qf_status euclidean_backward(qf_layer *layer)
{
    return backward(layer, &euclidean);
}

static qf_status smooth_l1_forward(qf_layer *layer)
{
    const qf_value_loss loss = {.kind = QF_SMOOTH_L1, .sigma = sigma_of(layer)};
    return forward(layer, &loss);
}

static qf_status smooth_l1_backward(qf_layer *layer)
{
    const qf_value_loss loss = {.kind = QF_SMOOTH_L1, .sigma = sigma_of(layer)};
    return backward(layer, &loss);
}

const qf_layer_type qf_euclidean_loss_layer = {
    .name = "EuclideanLoss",
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .loss = true,
    .reshape = reshape,
    .forward = euclidean_forward,
    .backward = euclidean_backward,
};

const qf_layer_type qf_smooth_l1_loss_layer = {
    .name = "SmoothL1Loss",
    QF_BOTTOMS(2, 4),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 2 | 1u << 3,
    .ignores_tops = true,
    .setup = smooth_l1_setup,
    .reshape = reshape,
    .forward = smooth_l1_forward,
    .backward = smooth_l1_backward,
};
