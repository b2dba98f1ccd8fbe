/* EuclideanLoss and SmoothL1Loss (Fast R-CNN, SSD): Σ f(a − b) / num. The third bottom of the
 * second is the weights of differences, the fourth those of terms; 1 where a bottom is absent.
 * R-FCN divides by what loss_param.normalization says, in SmoothL1LossOHEM by the positions if it
 * says nothing, and puts out the loss of each of those as second top, through which no gradient
 * comes. */
#include "layers/loss/loss.h"

extern const qf_layer_type qf_euclidean_loss_layer, qf_smooth_l1_loss_ohem_layer;

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
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    if (layer->top_count == 1)
        return QF_OK;
    qf_shape losses = *a; /* of four axes, as those of SoftmaxWithLoss beside R-FCN's labels */
    if (losses.axes > 1)
        losses.dim[1] = 1;
    while (losses.axes < 4)
        losses.dim[losses.axes++] = 1;
    return qf_blob_reshape_to(layer->top[1], &losses);
}

/* Of (num, channels, height, width), num · height · width. */
static size_t positions(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_loss_batch(layer) *
           (shape->axes > 2 ? qf_shape_count_range(shape, 2, shape->axes) : 1);
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    const Caffe__LossParameter *p = QF_LAYER_PARAM(layer, loss_param, LOSS_, Loss);
    const bool ohem = layer->type == &qf_smooth_l1_loss_ohem_layer;
    const qf_loss_counts counts = {positions(layer), positions(layer), qf_loss_batch(layer)};
    (void)index;
    if (top > 0 || layer->type == &qf_euclidean_loss_layer || (!ohem && !p->has_normalization))
        return QF_MEAN_OF_BATCH;
    return qf_loss_items(layer, CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__VALID, &counts);
}

static float divisor(const qf_layer *layer)
{
    const double items = mean_over(layer, 0, 0);
    return qf_loss_divisor(items == QF_MEAN_OF_BATCH ? (double)qf_loss_batch(layer) : items);
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

/* Summed over channels. */
static qf_status put_losses(qf_layer *layer, const qf_value_loss *loss)
{
    const float *x, *target, *inside = NULL;
    float *losses;
    const size_t inner = positions(layer) / (qf_loss_batch(layer) ? qf_loss_batch(layer) : 1);
    const size_t items = qf_blob_count(layer->top[1]);
    const size_t channels = items ? qf_blob_count(layer->bottom[0]) / items : 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &target));
    if (layer->bottom_count > 2)
        QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &inside));
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &losses));
    for (size_t item = 0; item < items; item++) {
        double sum = 0;
        for (size_t c = 0; c < channels; c++) {
            const size_t i = (item / inner * channels + c) * inner + item % inner;
            sum += qf_loss_term(loss, x[i], target[i], inside ? inside[i] : 1);
        }
        losses[item] = (float)sum;
    }
    return QF_OK;
}

static qf_status smooth_l1_forward(qf_layer *layer)
{
    const qf_value_loss loss = {.kind = QF_SMOOTH_L1, .sigma = sigma_of(layer)};
    QF_TRY(forward(layer, &loss));
    return layer->top_count > 1 ? put_losses(layer, &loss) : QF_OK;
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

#define SMOOTH_L1_LAYER(stem, type)                                                                \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type,                                                                              \
        QF_BOTTOMS(2, 4),                                                                          \
        QF_TOPS(1, 2),                                                                             \
        .loss = true,                                                                              \
        .no_gradient_bottoms = 1u << 2 | 1u << 3,                                                  \
        .ignores_tops = true,                                                                      \
        .setup = smooth_l1_setup,                                                                  \
        .reshape = reshape,                                                                        \
        .mean_over = mean_over,                                                                    \
        .forward = smooth_l1_forward,                                                              \
        .backward = smooth_l1_backward,                                                            \
    }

SMOOTH_L1_LAYER(smooth_l1_loss, "SmoothL1Loss");
SMOOTH_L1_LAYER(smooth_l1_loss_ohem, "SmoothL1LossOHEM");
