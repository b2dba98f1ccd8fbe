/* Flatten, Reshape, Squeeze and ExpandDimsND: the same elements in C order, another shape. */
#include "layers/layer.h"

static qf_status flatten_reshape(qf_layer *layer)
{
    const Caffe__FlattenParameter *p = QF_LAYER_PARAM(layer, flatten_param, FLATTEN_, Flatten);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int first, last;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &first));
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->end_axis, &last));
    qf_shape top = {0};
    for (int i = 0; i < first; i++)
        top.dim[top.axes++] = bottom->dim[i];
    top.dim[top.axes++] = (int)qf_shape_count_range(bottom, first, last + 1);
    for (int i = last + 1; i < bottom->axes; i++)
        top.dim[top.axes++] = bottom->dim[i];
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* The dimensions that reshape_param names; 0 copies one, −1 is what is left. */
static qf_status named_dimensions(qf_layer *layer, const Caffe__BlobShape *named, int first,
                                  size_t replaced, qf_shape *top)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int inferred = -1;
    size_t known = 1;
    for (size_t i = 0; named && i < named->n_dim; i++) {
        int64_t dim = named->dim[i];
        if (top->axes == QF_MAX_AXES || dim < -1 || dim > INT32_MAX)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "reshape_param: dimension %zu (%lld) is not "
                           "possible",
                           i, (long long)dim);
        if (dim == 0) {
            if (first + (int)i >= bottom->axes)
                return qf_fail(
                    layer->context, QF_E_SHAPE,
                    "reshape_param: dimension %zu is 0 (copy), but the bottom has only %d "
                    "axes",
                    i, bottom->axes);
            dim = bottom->dim[first + (int)i];
        } else if (dim == -1) {
            if (inferred >= 0)
                return qf_fail(layer->context, QF_E_SHAPE,
                               "reshape_param: only one dimension can be -1");
            inferred = top->axes;
        }
        if (dim >= 0)
            known *= (size_t)dim;
        top->dim[top->axes++] = (int)dim;
    }
    if (inferred < 0)
        return QF_OK;
    if (known == 0 || replaced % known)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "reshape_param: %zu elements cannot be divided into rows of %zu", replaced,
                       known);
    top->dim[inferred] = (int)(replaced / known);
    return QF_OK;
}

static qf_status reshape_reshape(qf_layer *layer)
{
    const Caffe__ReshapeParameter *p = QF_LAYER_PARAM(layer, reshape_param, RESHAPE_, Reshape);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    /* −1 means behind the last axis. */
    int first = p->axis >= 0 ? p->axis : bottom->axes + p->axis + 1;
    int end = p->num_axes == -1 ? bottom->axes : first + p->num_axes;
    char before[256], after[256];
    if (first < 0 || first > bottom->axes || p->num_axes < -1 || end > bottom->axes)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "reshape_param: axis %d and num_axes %d do not fit a "
                       "bottom of %d axes",
                       p->axis, p->num_axes, bottom->axes);
    qf_shape top = {0};
    for (int i = 0; i < first; i++)
        top.dim[top.axes++] = bottom->dim[i];
    QF_TRY(
        named_dimensions(layer, p->shape, first, qf_shape_count_range(bottom, first, end), &top));
    for (int i = end; i < bottom->axes; i++) {
        if (top.axes == QF_MAX_AXES)
            return qf_fail(layer->context, QF_E_SHAPE, "reshape_param gives more than %d axes",
                           QF_MAX_AXES);
        top.dim[top.axes++] = bottom->dim[i];
    }
    QF_TRY(qf_blob_reshape_to(layer->top[0], &top));
    if (qf_shape_count(&top) != qf_shape_count(bottom))
        return qf_fail(layer->context, QF_E_SHAPE, "the shape %s cannot become %s",
                       qf_shape_text(bottom, before, sizeof before),
                       qf_shape_text(&top, after, sizeof after));
    return QF_OK;
}

/* ---- axes of length 1 (synopsys-caffe) ---- */

static qf_status squeeze_reshape(qf_layer *layer)
{
    const Caffe__SqueezeParameter *p = QF_LAYER_PARAM(layer, squeeze_param, SQUEEZE_, Squeeze);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    bool goes[QF_MAX_AXES] = {false};
    char shape[256];
    for (size_t i = 0; i < p->n_axis; i++) {
        int axis;
        QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis[i], &axis));
        if (bottom->dim[axis] != 1)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "squeeze_param: axis %d of '%s' has length %d, only those of length 1 "
                           "can go; its shape is %s",
                           axis, layer->bottom[0]->name, bottom->dim[axis],
                           qf_shape_text(bottom, shape, sizeof shape));
        goes[axis] = true;
    }
    qf_shape top = {0};
    for (int i = 0; i < bottom->axes; i++)
        if (p->n_axis ? !goes[i] : bottom->dim[i] != 1)
            top.dim[top.axes++] = bottom->dim[i];
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* One after the other, each further back by those before it, as there; a negative axis counts from
 * behind the last. */
static qf_status expand_dims_nd_reshape(qf_layer *layer)
{
    const Caffe__ExpandDimsNDParameter *p =
        QF_LAYER_PARAM(layer, expand_dims_nd_param, EXPAND_DIMS_ND, ExpandDimsND);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = *bottom;
    for (size_t i = 0; i < p->n_axis; i++) {
        const int64_t axis = p->axis[i] < 0 ? (int64_t)p->axis[i] + bottom->axes + 1 : p->axis[i];
        const int64_t at = axis + (int64_t)i;
        if (axis < 0 || at > top.axes || top.axes == QF_MAX_AXES)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "expand_dims_nd_param: an axis cannot be put at %d, '%s' has %d axes",
                           p->axis[i], layer->bottom[0]->name, bottom->axes);
        for (int k = top.axes++; k > at; k--)
            top.dim[k] = top.dim[k - 1];
        top.dim[at] = 1;
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status forward(qf_layer *layer)
{
    return qf_tensor_copy_elements(layer->context, layer->top[0]->data, layer->bottom[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0]
               ? qf_tensor_copy_elements(layer->context, layer->bottom[0]->diff,
                                         layer->top[0]->diff)
               : QF_OK;
}

#define LAYER(stem, type_name)                                                                     \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        QF_ONE_TO_ONE,                                                                             \
        QF_IGNORES_VALUES,                                                                         \
        .reshape = stem##_reshape,                                                                 \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
    };

LAYER(flatten, "Flatten")
LAYER(reshape, "Reshape")
LAYER(squeeze, "Squeeze")
LAYER(expand_dims_nd, "ExpandDimsND")
