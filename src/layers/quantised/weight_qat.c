/* WeightQAT: fake quantisation of the weights of the layer behind it (specification, G.2). It owns
 * the quantised blob, which that layer shares by name, and the float master, which learns. The data
 * pass through unchanged: the top shares the bottom's arrays. */
#include "layers/quantised/weight_codes.h"

#include "base/memory.h"

#include <string.h>

enum { QUANTISED, MASTER };

typedef struct state {
    qf_weight_layout layout;
    float *scale; /* of each channel */
    int bits;
    bool deconvolution;
    bool quantised;                             /* the scales are there */
    uint64_t master_version, quantised_version; /* when they last agreed */
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__RetrainWeightQuantParameter *p = QF_LAYER_PARAM(
        layer, retrain_weight_quant_param, RETRAIN_WEIGHT_QUANT_, RetrainWeightQuant);
    state *s = layer->state;
    const int dims[] = {(int)p->cout, (int)p->cin, (int)p->h, (int)p->w};
    const qf_shape shape = qf_shape_make(p->has_h && p->has_w ? 4 : 2, dims);
    if (p->with_offset)
        return qf_fail(
            layer->context, QF_E_UNSUPPORTED,
            "retrain_weight_quant_param.with_offset is not possible: weights are quantised "
            "without offset");
    if (p->num_bits < QF_BITS_MIN || p->num_bits > QF_BITS_CODE)
        return qf_fail(layer->context, QF_E_VALUE,
                       "retrain_weight_quant_param.num_bits is %u, expected %d to %d", p->num_bits,
                       QF_BITS_MIN, QF_BITS_CODE);
    s->bits = (int)p->num_bits;
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_layer_add_param(layer, &shape, NULL));
    s->deconvolution = p->layer_type && strcmp(p->layer_type, "Deconvolution") == 0;
    s->layout = qf_weight_layout_of(&shape, s->deconvolution, p->channel_wise);
    s->scale = qf_alloc(s->layout.channels, sizeof *s->scale);
    return s->scale ? QF_OK : qf_fail(layer->context, QF_E_MEMORY, "no memory for scales");
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->scale);
}

static qf_status reshape(qf_layer *layer)
{
    qf_blob_share_data(layer->top[0], layer->bottom[0]);
    qf_blob_share_diff(layer->top[0], layer->bottom[0]);
    return QF_OK;
}

static qf_status quantise(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *quantised = layer->params[QUANTISED].blob->data;
    qf_tensor *master = layer->params[MASTER].blob->data;
    s->quantised = true; /* also where this fails: then for what the scales are */
    QF_TRY(layer->device->quantise->weights(layer->context, master, s->layout, s->bits, s->scale,
                                            quantised));
    qf_tensor_trim(quantised); /* floats from a file */
    return qf_tensor_set_weight_scale(layer->context, quantised, s->scale, (int)s->layout.channels,
                                      s->deconvolution && s->layout.channels > 1 ? 1 : 0);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *quantised = layer->params[QUANTISED].blob->data;
    qf_tensor *master = layer->params[MASTER].blob->data;
    /* Weights that come without a float master (a float caffemodel loaded by name) are the master.
     */
    if (qf_tensor_is_zero(master) && !qf_tensor_is_zero(quantised))
        QF_TRY(qf_tensor_copy(layer->context, master, quantised));
    if (master->version == s->master_version && quantised->version == s->quantised_version)
        return QF_OK;
    QF_TRY(quantise(layer));
    s->master_version = master->version;
    s->quantised_version = quantised->version;
    return QF_OK;
}

/* Straight through: the gradient of the quantised weights is the master's. The data's gradient is
 * the same array above and below. */
static qf_status backward(qf_layer *layer)
{
    qf_tensor *quantised = layer->params[QUANTISED].blob->diff;
    qf_tensor *master = layer->params[MASTER].blob->diff;
    if (!layer->params[MASTER].propagate || qf_tensor_is_zero(quantised))
        return QF_OK;
    if (qf_tensor_is_zero(master)) {
        QF_TRY(qf_tensor_swap(layer->context, master, quantised));
    } else {
        QF_TRY(layer->device->map->weighted_sum(layer->context, 1, quantised, 1, master, master));
    }
    qf_tensor_forget(quantised);
    return QF_OK;
}

/* The largest scale; one that says that a channel has no weights (qf_process_scale) is none. */
static qf_status range(qf_layer *layer, double *out)
{
    const state *s = layer->state;
    float largest = s->quantised ? 0 : -1;
    for (size_t c = 0; s->quantised && c < s->layout.channels; c++)
        if (s->scale[c] != 1 && !(s->scale[c] <= largest)) /* NaN too */
            largest = s->scale[c];
    *out = (double)largest;
    return QF_OK;
}

const qf_layer_type qf_weight_qat_layer = {
    .name = "WeightQAT",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .quantised = true,
    .range = range,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
