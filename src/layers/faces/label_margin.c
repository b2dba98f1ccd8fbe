/*
 * Margins on the cosine of an item's own class, the other cosines stay as they are:
 *  - LabelSpecificAdd (AM-Softmax): x + bias where that is above 0, bias being negative; with
 *    bias_base it changes from pass to pass: bias_base + (1 + bias_gamma i)^bias_power − 1, from
 *    bias_min to bias_max;
 *  - CosinAddm (ArcFace): cos(θ + m), and x − m sin m where θ + m would be beyond π;
 *  - CombinedMargin (InsightFace): cos(m1 θ + m2) − m3.
 * Bottoms: cosines, labels (negative: none). In TEST only with transform_test. A second top of
 * LabelSpecificAdd is the bias.
 */
#include "layers/faces/iteration.h"
#include "layers/loss/loss.h"

#include <math.h>

typedef struct margin {
    float value, slope;
} margin;

typedef struct state {
    qf_iteration iteration;
    bool in_test;
    qf_tensor *slopes; /* of the own classes' cosines, where in TRAIN one is not 1 */
} state;

static qf_status setup(qf_layer *layer, bool in_test)
{
    state *s = layer->state;
    s->in_test = in_test;
    QF_TRY(qf_iteration_create(layer, &s->iteration));
    return qf_tensor_create(layer->context, &s->slopes);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_iteration_release(&s->iteration);
    qf_tensor_release(s->slopes);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *cosines = qf_blob_shape(layer->bottom[0]);
    const qf_shape one = qf_shape_make(1, (int[]){1}), labels = qf_shape_make(1, cosines->dim);
    if (cosines->axes < 2 || qf_blob_count(layer->bottom[1]) != (size_t)cosines->dim[0])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must be items times classes, and '%s' a label for each item",
                       layer->bottom[0]->name, layer->bottom[1]->name);
    QF_TRY(qf_tensor_reshape(layer->context, s->slopes, &labels));
    QF_TRY(qf_blob_reshape_like(layer->top[0], layer->bottom[0]));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], &one) : QF_OK;
}

static bool acts(const qf_layer *layer)
{
    return layer->phase == QF_TRAIN || ((const state *)layer->state)->in_test;
}

/* The margin on each item's own cosine. */
static qf_status put_margins(qf_layer *layer, margin (*of)(const qf_layer *, float x, float bias),
                             float bias)
{
    const size_t items = qf_blob_count(layer->bottom[1]);
    const size_t classes = items ? qf_blob_count(layer->bottom[0]) / items : 0;
    const float *labels;
    float *y, *slopes;
    if (layer->top[0] != layer->bottom[0])
        QF_TRY(qf_tensor_copy(layer->context, layer->top[0]->data, layer->bottom[0]->data));
    if (!acts(layer))
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_update(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    QF_TRY(qf_write(layer->context, ((state *)layer->state)->slopes, QF_PLAIN, &slopes));
    for (size_t item = 0; item < items; item++) {
        slopes[item] = 1;
        if (labels[item] < 0)
            continue;
        QF_TRY(qf_loss_check_label(layer, labels[item], item, classes));
        float *own = y + item * classes + (size_t)labels[item];
        const margin m = of(layer, *own, bias);
        *own = m.value;
        slopes[item] = m.slope;
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const size_t items = qf_blob_count(layer->bottom[1]);
    const size_t classes = items ? qf_blob_count(layer->bottom[0]) / items : 0;
    const float *labels, *slopes;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    if (layer->top[0] != layer->bottom[0])
        QF_TRY(qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff));
    if (!acts(layer))
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_read(layer->context, ((state *)layer->state)->slopes, QF_PLAIN, &slopes));
    QF_TRY(qf_update(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    for (size_t item = 0; item < items; item++)
        if (labels[item] >= 0)
            dx[item * classes + (size_t)labels[item]] *= slopes[item];
    return QF_OK;
}

/* ---- LabelSpecificAdd ---- */

static const Caffe__LabelSpecificAddParameter *add_param(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, label_specific_add_param, LABEL_SPECIFIC_ADD_, LabelSpecificAdd);
}

static qf_status add_setup(qf_layer *layer)
{
    return setup(layer, add_param(layer)->transform_test);
}

static qf_status add_prepare(qf_layer *layer)
{
    return qf_iteration_advance(layer, &((state *)layer->state)->iteration);
}

static margin add(const qf_layer *layer, float x, float bias)
{
    (void)layer;
    return (margin){x > -bias ? x + bias : x, 1};
}

static qf_status find_bias(const qf_layer *layer, float *out)
{
    const Caffe__LabelSpecificAddParameter *p = add_param(layer);
    double passes;
    *out = p->bias;
    if (!p->has_bias_base)
        return QF_OK;
    QF_TRY(qf_iteration_passes(layer, &((state *)layer->state)->iteration, &passes));
    const double before = (double)p->iteration + (passes > 0 ? passes - 1 : 0);
    const double bias =
        (double)p->bias_base + pow(1 + (double)p->bias_gamma * before, (double)p->bias_power) - 1;
    *out = fminf(fmaxf((float)bias, p->bias_min), p->bias_max);
    return QF_OK;
}

static qf_status add_forward(qf_layer *layer)
{
    float bias, *top;
    QF_TRY(find_bias(layer, &bias));
    QF_TRY(put_margins(layer, add, bias));
    if (layer->top_count == 1)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &top));
    top[0] = bias;
    return QF_OK;
}

static int carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX])
{
    blobs[0] = ((const state *)layer->state)->iteration.passes;
    return 1;
}

/* ---- CosinAddm ---- */

static const Caffe__CosinAddmParameter *angle_param(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, cosin_add_m_param, COSIN_ADDM_, CosinAddm);
}

static qf_status angle_setup(qf_layer *layer)
{
    return setup(layer, angle_param(layer)->transform_test);
}

static float sine_of(float cosine)
{
    return sqrtf(fmaxf(0, 1 - cosine * cosine));
}

static margin add_angle(const qf_layer *layer, float x, float bias)
{
    const float m = angle_param(layer)->m, c = fminf(x, 1), sine = sine_of(c);
    (void)bias;
    if (c <= -cosf(m))
        return (margin){c - m * sinf(m), 1};
    return (margin){c * cosf(m) - sine * sinf(m), sine > 0 ? cosf(m) + sinf(m) * c / sine : 1};
}

static qf_status angle_forward(qf_layer *layer)
{
    return put_margins(layer, add_angle, 0);
}

/* ---- CombinedMargin ---- */

static const Caffe__CombinedMarginParameter *combined_param(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, combined_margin_param, COMBINED_MARGIN_, CombinedMargin);
}

static qf_status combined_setup(qf_layer *layer)
{
    return setup(layer, combined_param(layer)->transform_test);
}

static margin combine(const qf_layer *layer, float x, float bias)
{
    const Caffe__CombinedMarginParameter *p = combined_param(layer);
    const float c = fmaxf(-1, fminf(1, x)), sine = sine_of(c);
    const float angle = p->m1 * acosf(c) + p->m2;
    (void)bias;
    return (margin){cosf(angle) - p->m3, sine > 0 ? p->m1 * sinf(angle) / sine : 1};
}

static qf_status combined_forward(qf_layer *layer)
{
    return put_margins(layer, combine, 0);
}

/* Backward reads the labels, which are a bottom. */
#define MARGIN_TYPE                                                                                \
    .state_size = sizeof(state), QF_BOTTOMS(2, 2), .in_place = true, .ignores_tops = true,         \
    .reshape = reshape, .backward = backward, .destroy = destroy, .no_gradient_bottoms = 1u << 1

const qf_layer_type qf_label_specific_add_layer = {
    .name = "LabelSpecificAdd",
    QF_TOPS(1, 2),
    MARGIN_TYPE,
    .carried = carried,
    .setup = add_setup,
    .prepare = add_prepare,
    .forward = add_forward,
};

const qf_layer_type qf_cosin_addm_layer = {
    .name = "CosinAddm",
    QF_TOPS(1, 1),
    MARGIN_TYPE,
    .setup = angle_setup,
    .forward = angle_forward,
};

const qf_layer_type qf_combined_margin_layer = {
    .name = "CombinedMargin",
    QF_TOPS(1, 1),
    MARGIN_TYPE,
    .setup = combined_setup,
    .forward = combined_forward,
};
