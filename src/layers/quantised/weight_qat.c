/* WeightQAT: fake quantisation of the weights of the layer behind it (specification, G.2). It owns
 * the quantised blob, which that layer shares by name, and the float master, which learns. The data
 * pass through unchanged: the top shares the bottom's arrays. */
#include "layers/quantised/range_learning.h"
#include "layers/quantised/weight_codes.h"

#include "base/memory.h"

#include <string.h>

enum { QUANTISED, MASTER, STEPS }; /* STEPS: only where they learn */

typedef struct state {
    qf_weight_layout layout;
    float *scale; /* of each channel */
    int bits;
    qf_range_learning learning;
    uint64_t steps_version;
    double *d_step;  /* of each channel, in one pass */
    qf_blob *memory; /* qf_gradient_memory of each channel, for snapshots */
    bool unusable_warned;
    bool deconvolution;
    bool quantised;                             /* the scales are there */
    uint64_t master_version, quantised_version; /* when they last agreed */
} state;

static bool learns(const qf_layer *layer)
{
    return qf_range_learns(((const state *)layer->state)->learning);
}

static qf_status set_up_learning(qf_layer *layer, const Caffe__RetrainWeightQuantParameter *p)
{
    state *s = layer->state;
    const qf_shape steps = qf_shape_make(1, (int[]){(int)s->layout.channels}),
                   memory = qf_shape_make(1, (int[]){2 * (int)s->layout.channels});
    s->learning = p->range_learning;
    if (!learns(layer))
        return QF_OK;
    if (!qf_range_learns_weights(s->learning))
        return qf_fail(layer->context, QF_E_VALUE,
                       "range_learning %s is for activations; weights have AMCT, LSQ or TQT",
                       qf_range_learning_name(s->learning));
    QF_TRY(qf_layer_add_param(layer, &steps, NULL)); /* 0: begins with ARQ's */
    s->d_step = qf_alloc(s->layout.channels, sizeof *s->d_step);
    if (!s->d_step)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for gradients of steps");
    QF_TRY(qf_blob_create(layer->context, "memory", &s->memory));
    return qf_blob_reshape_to(s->memory, &memory);
}

/* What gradients were so far cannot be known from the weights. */
static int carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX])
{
    blobs[0] = ((const state *)layer->state)->memory;
    return blobs[0] ? 1 : 0;
}

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
    return s->scale ? set_up_learning(layer, p)
                    : qf_fail(layer->context, QF_E_MEMORY, "no memory for scales");
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->scale);
    qf_free(s->d_step);
    qf_blob_release(s->memory);
}

static qf_status reshape(qf_layer *layer)
{
    qf_blob_share_data(layer->top[0], layer->bottom[0]);
    qf_blob_share_diff(layer->top[0], layer->bottom[0]);
    return QF_OK;
}

/* Steps that are not usable, of a beginning or of an update that went too far, become ARQ's. */
static qf_status mend_steps(qf_layer *layer, const float *steps)
{
    state *s = layer->state;
    size_t unusable = 0;
    for (size_t c = 0; c < s->layout.channels; c++)
        unusable += !qf_step_is_usable(steps[c]);
    if (unusable == 0)
        return QF_OK;
    float *step;
    QF_TRY(layer->device->quantise->weights(layer->context, layer->params[MASTER].blob->data,
                                            s->layout, s->bits, s->scale, NULL));
    if (s->quantised && !s->unusable_warned) {
        qf_warning(layer->context,
                   "Layer %s: %zu learned scales are not usable and begin anew with those of its "
                   "weights; is the learning rate too large?",
                   layer->name, unusable);
        s->unusable_warned = true;
    }
    QF_TRY(qf_update(layer->context, layer->params[STEPS].blob->data, QF_PLAIN, &step));
    for (size_t c = 0; c < s->layout.channels; c++)
        if (!qf_step_is_usable(step[c]))
            step[c] = s->scale[c];
    return QF_OK;
}

static qf_status learned_codes(qf_layer *layer)
{
    state *s = layer->state;
    const float *steps;
    QF_TRY(qf_read(layer->context, layer->params[STEPS].blob->data, QF_PLAIN, &steps));
    QF_TRY(mend_steps(layer, steps));
    QF_TRY(qf_read(layer->context, layer->params[STEPS].blob->data, QF_PLAIN, &steps));
    s->quantised = true;
    memcpy(s->scale, steps, s->layout.channels * sizeof *s->scale);
    s->steps_version = layer->params[STEPS].blob->data->version;
    return layer->device->quantise->weights_by_steps(
        layer->context, layer->params[MASTER].blob->data, s->layout, s->bits, s->scale,
        layer->params[QUANTISED].blob->data);
}

static qf_status arq_codes(qf_layer *layer)
{
    state *s = layer->state;
    s->quantised = true; /* also where this fails: then for what the scales are */
    return layer->device->quantise->weights(layer->context, layer->params[MASTER].blob->data,
                                            s->layout, s->bits, s->scale,
                                            layer->params[QUANTISED].blob->data);
}

static qf_status quantise(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *quantised = layer->params[QUANTISED].blob->data;
    QF_TRY(learns(layer) ? learned_codes(layer) : arq_codes(layer));
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
    const bool same_steps =
        !learns(layer) || layer->params[STEPS].blob->data->version == s->steps_version;
    if (master->version == s->master_version && quantised->version == s->quantised_version &&
        same_steps)
        return QF_OK;
    QF_TRY(quantise(layer));
    s->master_version = master->version;
    s->quantised_version = quantised->version;
    return QF_OK;
}

/* Of each channel's step, from the gradient of the quantised weights, which loses what lies beyond
 * the codes. */
static qf_status step_gradients(qf_layer *layer, qf_tensor *d_quantised)
{
    state *s = layer->state;
    const double values = (double)(s->layout.outer * s->layout.inner);
    qf_tensor *const to = qf_layer_param_gradient(layer, STEPS);
    float *memory, *gradient;
    QF_TRY(layer->device->quantise->steps_backward(layer->context, layer->params[MASTER].blob->data,
                                                   s->layout, s->bits, s->scale, d_quantised,
                                                   s->d_step));
    if (!to)
        return QF_OK;
    QF_TRY(qf_update(layer->context, to, QF_PLAIN, &gradient));
    QF_TRY(qf_update(layer->context, s->memory->data, QF_PLAIN, &memory));
    for (size_t c = 0; c < s->layout.channels; c++) {
        qf_gradient_memory before = {memory[2 * c], memory[2 * c + 1]};
        gradient[c] +=
            qf_step_gradient(s->learning, s->scale[c], s->bits, values, s->d_step[c], &before);
        memory[2 * c] = before.square;
        memory[2 * c + 1] = before.count;
    }
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
    if (learns(layer))
        QF_TRY(step_gradients(layer, quantised));
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
    .carried = carried,
    .packed_params = STEPS, /* weights that come without steps */
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
