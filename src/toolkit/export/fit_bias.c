/* Biases whose integers no int32 holds, or that vanish between two of them. Both happen to channels
 * that have no weight, or next to none: the scale of their weights says nothing about their bias,
 * so it is chosen for the bias, and the layer's output is what the bias says. */
#include "base/amct_log.h"
#include "base/memory.h"
#include "toolkit/export/fold.h"
#include "toolkit/export/quantised.h"

#include <float.h>
#include <math.h>

/* Integers of a bias, at most: with weights beside it their sum has room below 2^31, alone it is
 * exact in float. */
#define LARGEST_WITH_WEIGHTS 0x1p30f
#define LARGEST_ALONE 0x1p23f

size_t qf_quantised_scale_of(const qf_quantised *q, const Caffe__LayerParameter *layer, size_t code)
{
    if (q->scales == 1)
        return 0;
    if (!qf_layer_is(layer, "Deconvolution"))
        return code / (q->code_count / q->scales);
    return code / qf_kernel_size(layer) % q->scales;
}

/* What the weights of each scale can add to a sum of products, in integers. 0: there are none. */
static void find_reach(const qf_quantised *q, const Caffe__LayerParameter *layer, double *reach)
{
    for (size_t s = 0; s < q->scales; s++)
        reach[s] = 0;
    for (size_t i = 0; i < q->code_count; i++)
        reach[qf_quantised_scale_of(q, layer, i)] += 255.0 * fabs((double)q->codes[i]);
}

static float largest_bias(const qf_quantised *q, const Caffe__BlobProto *bias, size_t scale)
{
    float largest = 0;
    for (size_t c = 0; c < bias->n_data; c++)
        if (q->scales == 1 || c == scale)
            largest = fmaxf(largest, fabsf(bias->data[c]));
    return largest;
}

static void rescale_codes(qf_quantised *q, const Caffe__LayerParameter *layer, size_t scale,
                          float ratio)
{
    for (size_t i = 0; i < q->code_count; i++)
        if (q->codes[i] && qf_quantised_scale_of(q, layer, i) == scale)
            q->codes[i] = (int8_t)qf_arq_code((float)q->codes[i] * ratio, 1, q->weight_bits);
}

/* The shift was searched for other steps: the least that keeps the sums within 16 bits. */
static int shift_for(double largest)
{
    int shift = 1;
    while (shift < 16 && largest > 32767.0 * (1 << shift))
        shift++;
    return shift;
}

/* False: the bias fits. */
static bool fit_scale(qf_context *context, qf_quantised *q, const Caffe__LayerParameter *layer,
                      size_t scale, double reach)
{
    const float largest = largest_bias(q, layer->blobs[1], scale);
    const float integers = largest / (q->scale_d * q->scale[scale]);
    if (!(largest > 0) || !isfinite(largest) || (reach > 0 && integers < 2147483648.0f))
        return false;
    const float room = reach > 0 ? LARGEST_WITH_WEIGHTS : LARGEST_ALONE;
    const float fitting = fminf(fmaxf(largest / q->scale_d / room, FLT_EPSILON), 1 / FLT_EPSILON);
    const float ratio = q->scale[scale] / fitting;
    rescale_codes(q, layer, scale, ratio);
    q->scale[scale] = fitting;
    if (q->shift)
        q->shift[scale] =
            shift_for((double)(largest / (q->scale_d * fitting)) + reach * (double)ratio);
    qf_amct_say(context, QF_DEBUG, "Save",
                "Layer %s, channel %zu: %s; scale_w is set to %g, so that int32 holds its bias %g",
                q->name, scale,
                reach > 0 ? "its weights are next to nothing beside its bias" : "it has no weight",
                (double)fitting, (double)largest);
    return true;
}

qf_status qf_fit_biases(qf_context *context, const Caffe__LayerParameter *layer, qf_quantised *q)
{
    if (!q->has_weights || layer->n_blobs < 2)
        return QF_OK;
    double *reach = qf_alloc(q->scales, sizeof *reach);
    if (!reach)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu channels", q->scales);
    find_reach(q, layer, reach);
    size_t fitted = 0, first = 0;
    for (size_t s = 0; s < q->scales; s++)
        if (fit_scale(context, q, layer, s, reach[s]) && !fitted++)
            first = s;
    qf_free(reach);
    if (fitted)
        qf_amct_say(context, QF_WARNING, "Save",
                    "Layer %s: %zu of %zu channels, the first is %zu, have no weight or next to "
                    "none beside their bias; other scale_w are taken for them, so that int32 holds "
                    "the biases",
                    q->name, fitted, q->scales, first);
    return QF_OK;
}
