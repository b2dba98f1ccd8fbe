/* DeQuant (specification, G.5 and I.5). In a fake-quant model it has three float blobs and only
 * does what the shift to 16 bits loses; in a deploy model it has one blob of packed words and turns
 * accumulators into floats. */
#include "layers/quantised/quant_layers.h"
#include "layers/quantised/weight_codes.h"

#include <string.h>

typedef struct state {
    qf_layer *object;      /* the layer whose values it turns back; NULL: none of that name */
    const qf_layer *quant; /* in front of that, where a fake-quant model has one */
    qf_tensor *kept;
    qf_tensor *deq, *shift; /* of each channel, unpacked from the words of this version */
    size_t channels;
    uint64_t version;
    bool shifted, regular;
} state;

static bool is_channel_wise(const qf_layer *layer)
{
    const Caffe__DeQuantParameter *p = layer->param->dequant_param;
    return p && p->channel_wise && qf_blob_shape(layer->bottom[0])->axes == 4;
}

static qf_status setup(qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_shape shape = qf_shape_make(1, (int[]){is_channel_wise(layer) ? bottom->dim[1] : 1});
    for (int i = 0; i < 3;
         i++) /* deq_scale, shift_bit, offset_w; or the packed words in the first */
        QF_TRY(qf_layer_add_param(layer, &shape, NULL));
    state *s = layer->state;
    QF_TRY(qf_tensor_create(layer->context, &s->deq));
    return qf_tensor_create(layer->context, &s->shift);
}

static qf_status connect(qf_layer *layer, const qf_neighbours *around)
{
    state *s = layer->state;
    const Caffe__DeQuantParameter *p = layer->param->dequant_param;
    s->object = p && p->object_layer ? around->find(around->net, p->object_layer) : NULL;
    if (!s->object)
        return QF_OK;
    if (!s->object->dequant)
        s->object->dequant = layer;
    const qf_layer *quant = s->object->bottom_count
                                ? around->producer(around->net, s->object->bottom[0], s->object)
                                : NULL;
    if (quant && strcmp(quant->type->name, "Quant") == 0 && quant->param->quant_param)
        s->quant = quant;
    return QF_OK;
}

/* Weights of a fake-quant model get their codes when they are there. */
static qf_status begin_pass(qf_layer *layer)
{
    const state *s = layer->state;
    qf_layer *object = s->object;
    if (!object || !s->quant || !object->param_count || qf_layer_is_deployed(object))
        return QF_OK;
    const qf_tensor *weights = object->params[0].blob->data;
    if (qf_tensor_is_zero(weights) || qf_tensor_has(weights, QF_WEIGHT_CODES) ||
        qf_tensor_is_zero(layer->params[0].blob->data))
        return QF_OK;
    return qf_within(layer->context,
                     qf_attach_weight_codes(object, layer, 1 / s->quant->param->quant_param->scale),
                     "weights of layer %s", object->name);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor_release(s->kept);
    qf_tensor_release(s->deq);
    qf_tensor_release(s->shift);
}

/* Shifts of a fake-quant model: *shifted is false if there are none. */
static qf_status check_shifts(qf_layer *layer, bool *shifted)
{
    const float *deq, *shift;
    QF_TRY(qf_read(layer->context, layer->params[0].blob->data, QF_PLAIN, &deq));
    QF_TRY(qf_read(layer->context, layer->params[1].blob->data, QF_PLAIN, &shift));
    size_t count = qf_blob_count(layer->params[1].blob), zeros = 0;
    for (size_t c = 0; c < count; c++) {
        zeros += shift[c] == 0;
        if (shift[c] != 0 && !(shift[c] >= 1 && shift[c] <= QF_SHIFT_MAX))
            return qf_fail(layer->context, QF_E_VALUE, "shift_bit %zu is %g, expected 0 or 1 to %d",
                           c, (double)shift[c], QF_SHIFT_MAX);
        if (shift[c] != 0 && !(deq[c] > 0))
            return qf_fail(layer->context, QF_E_VALUE,
                           "deq_scale %zu is %g, expected a positive number", c, (double)deq[c]);
    }
    if (zeros && zeros != count)
        return qf_fail(layer->context, QF_E_VALUE,
                       "shift_bit is zero for %zu of %zu channels; it must be zero for all or none",
                       zeros, count);
    *shifted = zeros != count;
    return QF_OK;
}

static qf_status forward_fake(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *input, *y = layer->top[0]->data;
    bool shifted = false;
    QF_TRY(check_shifts(layer, &shifted));
    if (!shifted)
        return layer->top[0] == layer->bottom[0]
                   ? QF_OK
                   : qf_tensor_copy(layer->context, y, layer->bottom[0]->data);
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &input));
    return layer->device->quantise->dequantise_fake(
        layer->context, input, layer->params[0].blob->data, layer->params[1].blob->data, y);
}

bool qf_dequant_is_deployed(const qf_layer *dequant)
{
    return qf_tensor_has(dequant->params[0].blob->data, QF_WORDS);
}

bool qf_layer_is_deployed(const qf_layer *layer)
{
    return layer->dequant && qf_dequant_is_deployed(layer->dequant);
}

static qf_status unpack(qf_layer *layer, size_t channels)
{
    state *s = layer->state;
    qf_tensor *packed = layer->params[0].blob->data;
    const size_t step = qf_shape_count(&packed->shape) > 1 ? 1 : 0;
    const uint64_t *words;
    QF_TRY(qf_tensor_read(layer->context, packed, QF_WORDS, &words));
    const qf_shape shape = qf_shape_make(1, (int[]){(int)channels});
    float *deq;
    int32_t *shifts;
    s->version = 0;
    QF_TRY(qf_tensor_reshape(layer->context, s->deq, &shape));
    QF_TRY(qf_tensor_reshape(layer->context, s->shift, &shape));
    QF_TRY(qf_write(layer->context, s->deq, QF_PLAIN, &deq));
    QF_TRY(qf_tensor_write(layer->context, s->shift, QF_INTEGERS, &shifts));
    s->shifted = false;
    s->regular = true;
    for (size_t c = 0; c < channels; c++) {
        int shift, offset;
        qf_unpack_dequant(words[c * step], &deq[c], &shift, &offset);
        if (shift > QF_SHIFT_MAX)
            return qf_fail(layer->context, QF_E_VALUE,
                           "the shift of channel %zu is %d, expected 0 to %d", c, shift,
                           QF_SHIFT_MAX);
        shifts[c] = shift;
        s->shifted |= shift != 0;
        s->regular &= deq[c] >= 1 / QF_REGULAR_DEQ && deq[c] <= QF_REGULAR_DEQ;
    }
    s->channels = channels;
    s->version = packed->version;
    return QF_OK;
}

/* The words of a deployed model are unpacked when they change. */
static qf_status prepare(qf_layer *layer)
{
    const state *s = layer->state;
    const size_t channels = qf_tensor_extent(qf_blob_shape(layer->bottom[0])).channels;
    if (!qf_dequant_is_deployed(layer) ||
        (s->version == layer->params[0].blob->data->version && s->channels == channels))
        return QF_OK;
    return unpack(layer, channels);
}

static qf_requantisation factors_of(const qf_layer *layer)
{
    const state *s = layer->state;
    return (qf_requantisation){.channels = s->channels,
                               .deq = s->deq,
                               .shift = s->shift,
                               .shifted = s->shifted,
                               .regular = s->regular};
}

static void stage(qf_layer *layer, qf_stage *out)
{
    out->kind = QF_STAGE_DEQUANTISE;
    out->dequantise.deployed = qf_dequant_is_deployed(layer);
    out->dequantise.factors = factors_of(layer);
}

/* AVE Pooling hands over mean codes, which are not integers. */
static qf_status scale_means(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_axes channels =
        qf_blob_shape(layer->bottom[0])->axes > 1 ? (qf_axes){1, 1} : (qf_axes){0, 0};
    return layer->device->map->scale(layer->context, channels, layer->bottom[0]->data, s->deq, NULL,
                                     layer->top[0]->data);
}

/* In place too: integers have an array of their own. */
static qf_status forward_deploy(qf_layer *layer)
{
    const qf_requantisation r = factors_of(layer);
    if (!qf_tensor_has(layer->bottom[0]->data, QF_INTEGERS))
        return scale_means(layer);
    return layer->device->sweep->requantise(layer->context, &r, layer->bottom[0]->data, NULL,
                                            layer->top[0]->data, NULL);
}

static qf_status forward(qf_layer *layer)
{
    return qf_dequant_is_deployed(layer) ? forward_deploy(layer) : forward_fake(layer);
}

static qf_status backward(qf_layer *layer)
{
    if (layer->top[0] == layer->bottom[0] || !layer->propagate_down[0])
        return QF_OK;
    return qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff);
}

const qf_layer_type qf_de_quant_layer = {
    .name = "DeQuant",
    .logs_data = true,
    .quantised = true,
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .packed_params = 1,
    .setup = setup,
    .connect = connect,
    .begin_pass = begin_pass,
    .reshape = qf_layer_reshape_like_bottom,
    .prepare = prepare,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
