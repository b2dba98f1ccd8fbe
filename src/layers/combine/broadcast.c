/* Which axes of a blob a factor or summand goes along. */
#include "layers/combine/broadcast.h"

qf_status qf_broadcast_axes(const qf_layer *layer, const qf_blob *blob, int axis,
                            const qf_shape *factor, qf_axes *out)
{
    const qf_shape *shape = qf_blob_shape(blob);
    char whole[256], part[256];
    int first = factor->axes == 0 ? 0 : qf_shape_axis(shape, axis);
    bool fits = first >= 0 && first + factor->axes <= shape->axes;
    for (int i = 0; fits && i < factor->axes; i++)
        fits = factor->dim[i] == shape->dim[first + i];
    if (!fits)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "factors of shape %s do not fit '%s' of shape %s from axis %d on",
                       qf_shape_text(factor, part, sizeof part), blob->name,
                       qf_shape_text(shape, whole, sizeof whole), axis);
    *out = (qf_axes){first, factor->axes};
    return QF_OK;
}

qf_status qf_broadcast_param_shape(const qf_layer *layer, int axis, int num_axes, qf_shape *out)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int first;
    *out = (qf_shape){0};
    if (num_axes < -1)
        return qf_fail(layer->context, QF_E_VALUE, "num_axes is %d, expected -1 or more", num_axes);
    if (num_axes == 0)
        return QF_OK;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], axis, &first));
    int end = num_axes == -1 ? bottom->axes : first + num_axes;
    if (end > bottom->axes)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "%d axes from axis %d on are more than '%s' has (%d)", num_axes, first,
                       layer->bottom[0]->name, bottom->axes);
    *out = qf_shape_make(end - first, bottom->dim + first);
    return QF_OK;
}
