/*
 * Normalize (SSD; from ParseNet): y = scale · x / sqrt(Σ x² + eps), the sum over the channels of a
 * pixel or over the whole image; scale is learned, one for all or one for each channel. NormFace's,
 * of the channels of a pixel and without a scale, has the same name: what has a normalize_param, or
 * neither parameters nor pixels. GRN (training_toolbox_caffe) is NormFace's with an eps of its own,
 * `bias`.
 */
#include "layers/layer.h"

#include <string.h>

typedef struct state {
    bool across_spatial, shared;
    bool scaled; /* SSD's: parameter 0 is the scale */
    float eps;
    qf_tensor *one;        /* the scale of NormFace's */
    qf_tensor *reciprocal; /* r of each image, or of each pixel */
    qf_tensor *kept, *input;
} state;

/* Of the channels of a pixel, without a scale. */
static qf_status setup_plain(qf_layer *layer, float eps)
{
    state *s = layer->state;
    const qf_shape scalar = {0};
    float *one;
    s->eps = eps;
    s->shared = true;
    QF_TRY(qf_tensor_create(layer->context, &s->reciprocal));
    QF_TRY(qf_tensor_create(layer->context, &s->one));
    QF_TRY(qf_tensor_reshape(layer->context, s->one, &scalar));
    QF_TRY(qf_write(layer->context, s->one, QF_PLAIN, &one));
    one[0] = 1;
    return QF_OK;
}

/* bp_norm is about the gradient of a second top, the lengths, which the layer does not have here.
 */
static qf_status setup_of_face(qf_layer *layer)
{
    const Caffe__FaceNormalizeParameter *p = layer->param->normalize_param;
    if (p && strcmp(p->normalize_type, "L2") != 0)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "normalize_param.normalize_type is '%s', only 'L2' is known",
                       p->normalize_type);
    return setup_plain(layer, 1e-6f);
}

static qf_status setup_grn(qf_layer *layer)
{
    const Caffe__GRNParameter *p = QF_LAYER_PARAM(layer, grn_param, GRN, GRN);
    if (qf_blob_shape(layer->bottom[0])->axes < 2)
        return qf_fail(layer->context, QF_E_SHAPE, "GRN needs channels on axis 1, '%s' has %d axes",
                       layer->bottom[0]->name, qf_blob_shape(layer->bottom[0])->axes);
    if (!(p->bias >= 0))
        return qf_fail(layer->context, QF_E_VALUE, "grn_param: bias must not be negative, is %g",
                       (double)p->bias);
    if (p->dummy_backward)
        return qf_fail(
            layer->context, QF_E_UNSUPPORTED,
            "grn_param.dummy_backward hands gradients down as if nothing had been "
            "normalised, which is not done here; remove it to train with the derivative");
    return setup_plain(layer, p->bias);
}

static bool is_of_face(const qf_layer *layer)
{
    return !layer->param->norm_param &&
           (layer->param->normalize_param || qf_blob_shape(layer->bottom[0])->axes == 2);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__NormalizeParameter *p = QF_LAYER_PARAM(layer, norm_param, NORMALIZE_, Normalize);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    Caffe__FillerParameter one = CAFFE__FILLER_PARAMETER__INIT;
    state *s = layer->state;
    one.has_value = true;
    one.value = 1;
    if (bottom->axes < 2)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "Normalize needs channels on axis 1, '%s' has %d axes",
                       layer->bottom[0]->name, bottom->axes);
    if (is_of_face(layer))
        return setup_of_face(layer);
    s->scaled = true;
    if (!(p->eps >= 0))
        return qf_fail(layer->context, QF_E_VALUE, "norm_param: eps must not be negative, is %g",
                       (double)p->eps);
    s->across_spatial = p->across_spatial;
    s->shared = p->channel_shared;
    s->eps = p->eps;
    QF_TRY(qf_tensor_create(layer->context, &s->reciprocal));
    const qf_shape shape = qf_shape_make(s->shared ? 0 : 1, bottom->dim + 1);
    return qf_layer_add_param(layer, &shape, p->scale_filler ? p->scale_filler : &one);
}

static void destroy(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor_release(s->reciprocal);
    qf_tensor_release(s->kept);
    qf_tensor_release(s->one);
}

static qf_tensor *scale_of(const qf_layer *layer)
{
    const state *s = layer->state;
    return s->scaled ? layer->params[0].blob->data : s->one;
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->bottom[0]));
    const size_t scales = qf_shape_count(&scale_of(layer)->shape);
    if (!s->shared && scales != e.channels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %zu channels, but there are %zu scales", layer->bottom[0]->name,
                       e.channels, scales);
    const int rows = (int)(e.batch * (s->across_spatial ? 1 : e.inner));
    const qf_shape shape = qf_shape_make(1, &rows);
    QF_TRY(qf_tensor_reshape(layer->context, s->reciprocal, &shape));
    return qf_layer_reshape_like_bottom(layer);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    return layer->device->normalise->unit_length(layer->context, s->eps, s->input, scale_of(layer),
                                                 s->reciprocal, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_normalise_family *run = layer->device->normalise;
    qf_tensor *dy = layer->top[0]->diff;
    if (s->scaled && layer->params[0].propagate)
        QF_TRY(run->unit_length_backward_scale(layer->context, s->input, s->reciprocal, dy,
                                               layer->params[0].blob->diff));
    if (!layer->propagate_down[0])
        return QF_OK;
    return run->unit_length_backward(layer->context, s->input, scale_of(layer), s->reciprocal, dy,
                                     layer->bottom[0]->diff);
}

#define NORMALIZE_LAYER(stem, type, make)                                                          \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type,                                                                              \
        .state_size = sizeof(state),                                                               \
        QF_ONE_TO_ONE,                                                                             \
        .in_place = true,                                                                          \
        .ignores_tops = true,                                                                      \
        .setup = make,                                                                             \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .destroy = destroy,                                                                        \
    }

NORMALIZE_LAYER(grn, "GRN", setup_grn);
NORMALIZE_LAYER(normalize, "Normalize", setup);
