/* SmoothL1Loss (Fast R-CNN, SSD): Σ outside · f(inside · (a − b)) / num. The third bottom is the
 * weights inside, the fourth those outside; 1 where a bottom is absent. */
#include "layers/layer.h"
#include "layers/loss/smooth_l1.h"

static qf_status setup(qf_layer *layer)
{
    const float sigma =
        QF_LAYER_PARAM(layer, smooth_l1_loss_param, SMOOTH_L1_LOSS_, SmoothL1Loss)->sigma;
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

typedef struct arrays {
    const float *a, *b, *inside, *outside; /* the last two may be NULL */
    size_t count;
    float sigma, batch;
} arrays;

static qf_status read(qf_layer *layer, arrays *out)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const float **values[] = {&out->a, &out->b, &out->inside, &out->outside};
    *out = (arrays){
        .count = qf_shape_count(shape),
        .sigma = QF_LAYER_PARAM(layer, smooth_l1_loss_param, SMOOTH_L1_LOSS_, SmoothL1Loss)->sigma,
        .batch = (float)(shape->axes && shape->dim[0] ? shape->dim[0] : 1)};
    for (int i = 0; i < layer->bottom_count; i++)
        QF_TRY(qf_read(layer->context, layer->bottom[i]->data, QF_PLAIN, values[i]));
    return QF_OK;
}

static float difference(const arrays *v, size_t i)
{
    return (v->inside ? v->inside[i] : 1) * (v->a[i] - v->b[i]);
}

static qf_status forward(qf_layer *layer)
{
    arrays v;
    float *loss;
    double sum = 0;
    QF_TRY(read(layer, &v));
    for (size_t i = 0; i < v.count; i++)
        sum += (double)((v.outside ? v.outside[i] : 1) * qf_smooth_l1(difference(&v, i), v.sigma));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)v.batch);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    arrays v;
    const float *weight;
    QF_TRY(read(layer, &v));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    for (int b = 0; b < 2; b++) {
        float *dx;
        if (!layer->propagate_down[b])
            continue;
        const float scale = (b == 0 ? weight[0] : -weight[0]) / v.batch;
        QF_TRY(qf_write(layer->context, layer->bottom[b]->diff, QF_PLAIN, &dx));
        for (size_t i = 0; i < v.count; i++)
            dx[i] = scale * (v.inside ? v.inside[i] : 1) * (v.outside ? v.outside[i] : 1) *
                    qf_smooth_l1_slope(difference(&v, i), v.sigma);
    }
    return QF_OK;
}

const qf_layer_type qf_smooth_l1_loss_layer = {
    .name = "SmoothL1Loss",
    .min_bottoms = 2,
    .max_bottoms = 4,
    .min_tops = 1,
    .max_tops = 1,
    .loss = true,
    .automatic_tops = 1,
    .no_gradient_bottoms = 1u << 2 | 1u << 3,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
