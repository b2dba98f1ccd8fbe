/* Layers that change each value by itself: the map family's functions (device/families/map_math.h),
 * and what their constants are made of. */
#include "layers/layer.h"

#include <math.h>

/* What backward reads of the input and of the output. */
typedef enum reads { INPUT = 1, OUTPUT = 2 } reads;

typedef struct state {
    qf_function f;
    reads wanted;
    bool keep; /* the input, where the layer works in place */
    qf_tensor *kept, *input;
} state;

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    s->input = layer->bottom[0]->data;
    if (s->keep)
        QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    return layer->device->map->apply(layer->context, s->f, s->input, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->map->apply_backward(layer->context, s->f,
                                              s->wanted & INPUT ? s->input : NULL,
                                              s->wanted & OUTPUT ? layer->top[0]->data : NULL,
                                              layer->top[0]->diff, layer->bottom[0]->diff);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->kept);
}

/* ---- constants ---- */

static qf_status no_constants(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

static void set(qf_layer *layer, float a, float b, float c)
{
    qf_function *f = &((state *)layer->state)->f;
    f->a = a;
    f->b = b;
    f->c = c;
}

static qf_status relu_setup(qf_layer *layer)
{
    set(layer, QF_LAYER_PARAM(layer, relu_param, RE_LU, ReLU)->negative_slope, 0, 0);
    return QF_OK;
}

static bool relu_keeps_signs(const qf_layer *layer)
{
    return ((const state *)layer->state)->f.a >= 0;
}

static void relu_stage(qf_layer *layer, qf_stage *out)
{
    out->kind = QF_STAGE_RECTIFY;
    out->rectify.slope = QF_LAYER_PARAM(layer, relu_param, RE_LU, ReLU)->negative_slope;
}

static void relu6_stage(qf_layer *layer, qf_stage *out)
{
    (void)layer;
    out->kind = QF_STAGE_RECTIFY;
    out->rectify.limit = 6;
}

static qf_status elu_setup(qf_layer *layer)
{
    set(layer, QF_LAYER_PARAM(layer, elu_param, ELU, ELU)->alpha, 0, 0);
    return QF_OK;
}

static qf_status power_setup(qf_layer *layer)
{
    const Caffe__PowerParameter *p = QF_LAYER_PARAM(layer, power_param, POWER_, Power);
    set(layer, p->shift, p->scale, p->power);
    return QF_OK;
}

static qf_status clip_setup(qf_layer *layer)
{
    const Caffe__ClipParameter *p = layer->param->clip_param; /* its fields are required */
    if (!p || !(p->min <= p->max))
        return qf_fail(layer->context, QF_E_VALUE,
                       "a Clip layer needs clip_param with min and max, min not above max");
    set(layer, p->min, p->max, 0);
    return QF_OK;
}

/* The logarithm of a base; -1, the default, stands for e. */
static qf_status log_base(const qf_layer *layer, const char *field, float base, float *out)
{
    *out = base == -1 ? 1 : base > 0 ? logf(base) : NAN;
    if (isfinite(*out))
        return QF_OK;
    return qf_fail(layer->context, QF_E_VALUE,
                   "%s.base is %g, expected a positive number, or -1 for e", field, (double)base);
}

static qf_status exp_setup(qf_layer *layer)
{
    const Caffe__ExpParameter *p = QF_LAYER_PARAM(layer, exp_param, EXP_, Exp);
    float log;
    QF_TRY(log_base(layer, "exp_param", p->base, &log));
    set(layer, log * p->scale, expf(log * p->shift), 0);
    return QF_OK;
}

static qf_status log_setup(qf_layer *layer)
{
    const Caffe__LogParameter *p = QF_LAYER_PARAM(layer, log_param, LOG_, Log);
    float log;
    QF_TRY(log_base(layer, "log_param", p->base, &log));
    if (log == 0)
        return qf_fail(layer->context, QF_E_VALUE, "log_param.base must not be 1");
    set(layer, p->scale, p->shift, 1 / log);
    return QF_OK;
}

static qf_status swish_setup(qf_layer *layer)
{
    set(layer, QF_LAYER_PARAM(layer, swish_param, SWISH_, Swish)->beta, 0, 0);
    return QF_OK;
}

static qf_status selu_setup(qf_layer *layer)
{
    const Caffe__SELUParameter *p = QF_LAYER_PARAM(layer, selu_param, SELU, SELU);
    set(layer, p->has_lambda ? p->lambda : 1.050700987f, p->has_alpha ? p->alpha : 1.67326324f, 0);
    return QF_OK;
}

static qf_status hard_sigmoid_setup(qf_layer *layer)
{
    const Caffe__HardSigmoidParameter *p =
        QF_LAYER_PARAM(layer, hard_sigmoid_param, HARD_SIGMOID_, HardSigmoid);
    set(layer, p->alpha, p->beta, 0);
    return QF_OK;
}

/* ---- types ---- */

static qf_status threshold_setup(qf_layer *layer)
{
    state *s = layer->state;
    s->f.kind = QF_FUNCTION_threshold;
    s->f.a = QF_LAYER_PARAM(layer, threshold_param, THRESHOLD_, Threshold)->threshold;
    return QF_OK;
}

const qf_layer_type qf_threshold_layer = {
    .name = "Threshold",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .no_backward = true,
    .setup = threshold_setup,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = forward,
};

/* `keep_input`: whether it is kept where the layer works in place. More fields may follow. */
#define LAYER(stem, type_name, set_constants, keep_input, reads_of, ...)                           \
    static qf_status stem##_layer_setup(qf_layer *layer)                                           \
    {                                                                                              \
        state *s = layer->state;                                                                   \
        s->f.kind = QF_FUNCTION_##stem;                                                            \
        s->wanted = reads_of;                                                                      \
        QF_TRY(set_constants(layer));                                                              \
        s->keep = keep_input;                                                                      \
        return QF_OK;                                                                              \
    }                                                                                              \
    const qf_layer_type qf_##stem##_layer = {.name = type_name,                                    \
                                             .state_size = sizeof(state),                          \
                                             QF_BOTTOMS(1, 1),                                     \
                                             QF_TOPS(1, 1),                                        \
                                             .in_place = true,                                     \
                                             .setup = stem##_layer_setup,                          \
                                             .reshape = qf_layer_reshape_like_bottom,              \
                                             .forward = forward,                                   \
                                             .backward = backward,                                 \
                                             .destroy = destroy,                                   \
                                             .ignores_bottoms = !((reads_of)&INPUT),               \
                                             .ignores_tops = !((reads_of)&OUTPUT),                 \
                                             __VA_ARGS__};

/* ReLU and ELU in place: the output has the input's signs unless the slope is negative. */
LAYER(relu, "ReLU", relu_setup, s->f.a < 0, INPUT | OUTPUT, .reads_signs = true,
      .keeps_signs = relu_keeps_signs, .stage = relu_stage)
LAYER(sigmoid, "Sigmoid", no_constants, false, OUTPUT)
LAYER(tan_h, "TanH", no_constants, false, OUTPUT)
LAYER(elu, "ELU", elu_setup, s->f.a < 0, INPUT | OUTPUT)
LAYER(power, "Power", power_setup, true, INPUT)
LAYER(abs_val, "AbsVal", no_constants, true, INPUT)
LAYER(bnll, "BNLL", no_constants, true, INPUT)
LAYER(clip, "Clip", clip_setup, true, INPUT)
LAYER(exp, "Exp", exp_setup, false, OUTPUT)
LAYER(log, "Log", log_setup, true, INPUT)
LAYER(swish, "Swish", swish_setup, true, INPUT | OUTPUT)
LAYER(relu6, "ReLU6", no_constants, false, INPUT | OUTPUT, .stage = relu6_stage)
LAYER(hswish, "Hswish", no_constants, true, INPUT)
LAYER(mish, "Mish", no_constants, true, INPUT)
LAYER(selu, "SELU", selu_setup, !(s->f.a > 0 && s->f.b > 0), INPUT | OUTPUT)
LAYER(hard_sigmoid, "HardSigmoid", hard_sigmoid_setup, true, INPUT)
