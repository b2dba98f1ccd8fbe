/* Concat, Split, Slice and Gather: blobs put together and taken apart. */
#include "onnx/import/operators.h"

qf_status qf_import_concat(qf_importer *im, int detail)
{
    (void)detail;
    Caffe__LayerParameter *layer;
    qf_import_blob blob;
    qf_shape top;
    int axis;
    if (!im->input_count)
        return qf_import_damaged(im, "it has no inputs");
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    top = blob.shape;
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 1), top.axes, &axis));
    if (im->input_count == 1)
        return qf_import_alias(im, 0, im->inputs[0]);
    for (size_t i = 1; i < im->input_count; i++) { /* known elements become layers before it */
        QF_TRY(qf_import_blob_input(im, i, &blob));
        qf_shape rest = blob.shape;
        if (rest.axes != top.axes)
            return qf_import_damaged(im, "its inputs have %d and %d axes", top.axes, rest.axes);
        const int64_t whole = (int64_t)top.dim[axis] + rest.dim[axis];
        rest.dim[axis] = top.dim[axis];
        if (!qf_shape_equal(&rest, &top) || whole > INT32_MAX)
            return qf_import_damaged(im, "its inputs do not fit each other beside axis %d", axis);
        top.dim[axis] = (int)whole;
    }
    QF_TRY(qf_import_add_layer(im, "Concat", "", &layer));
    for (size_t i = 0; i < im->input_count; i++) {
        QF_TRY(qf_import_blob_input(im, i, &blob));
        QF_TRY(qf_import_add_bottom(im, layer, &blob));
    }
    QF_TRY(qf_import_add_top(im, layer, &top, &blob));
    if (axis != 1) {
        QF_TRY(qf_message_new(im->context, &caffe__concat_parameter__descriptor,
                              &layer->concat_param));
        QF_SET(layer->concat_param, axis, axis);
    }
    return qf_import_define(im, 0, &blob);
}

/* ---- Split ---- */

/* How many elements output `index` has; by default all equal, a shorter last one. */
qf_status qf_import_part(qf_importer *im, int whole, size_t index, int *size)
{
    qf_import_list sizes;
    const int64_t parts = (int64_t)im->node->n_output;
    QF_TRY(qf_import_list_of(im, "split", 1, &sizes));
    if (sizes.values && sizes.count != (size_t)parts)
        return qf_import_damaged(im, "it names %zu parts for %lld outputs", sizes.count,
                                 (long long)parts);
    const int64_t each = (whole + parts - 1) / parts, rest = whole - each * (int64_t)index;
    const int64_t part = sizes.values ? sizes.values[index] : rest < each ? rest : each;
    if (part < 0 || part > whole)
        return qf_import_damaged(im, "part %zu of %d elements has %lld", index, whole,
                                 (long long)part);
    *size = (int)part;
    return QF_OK;
}

qf_status qf_import_split(qf_importer *im, int detail)
{
    (void)detail;
    Caffe__LayerParameter *layer;
    qf_import_blob blob, part;
    int axis, at = 0, size;
    const size_t parts = im->node->n_output;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 0), blob.shape.axes, &axis));
    if (parts == 1)
        return qf_import_alias(im, 0, im->inputs[0]);
    QF_TRY(qf_import_add_layer(im, "Slice", "", &layer));
    QF_TRY(qf_import_add_bottom(im, layer, &blob));
    QF_TRY(qf_message_new(im->context, &caffe__slice_parameter__descriptor, &layer->slice_param));
    QF_SET(layer->slice_param, axis, axis);
    for (size_t i = 0; i < parts; i++) {
        qf_shape shape = blob.shape;
        QF_TRY(qf_import_part(im, blob.shape.dim[axis], i, &size));
        if (!size || size > blob.shape.dim[axis] - at)
            return qf_import_refuse(im, "part %zu of axis %d has %d elements of %d", i, axis, size,
                                    blob.shape.dim[axis] - at);
        const uint32_t point = (uint32_t)(at += size);
        shape.dim[axis] = size;
        if (i + 1 < parts)
            QF_TRY(qf_append(im->context, &layer->slice_param->n_slice_point,
                             &layer->slice_param->slice_point, &point, sizeof point));
        QF_TRY(qf_import_add_top(im, layer, &shape, &part));
        QF_TRY(qf_import_define(im, i, &part));
    }
    return at == blob.shape.dim[axis]
               ? QF_OK
               : qf_import_damaged(im, "its parts have %d elements, axis %d has %d", at, axis,
                                   blob.shape.dim[axis]);
}

/* ---- Slice ---- */

qf_status qf_import_ranges(qf_importer *im, const qf_shape *in, qf_import_range *ranges)
{
    qf_import_list starts, ends, axes, steps;
    QF_TRY(qf_import_list_of(im, "starts", 1, &starts));
    QF_TRY(qf_import_list_of(im, "ends", 2, &ends));
    QF_TRY(qf_import_list_of(im, "axes", 3, &axes));
    QF_TRY(qf_import_list_of(im, "steps", 4, &steps));
    if (!starts.values || starts.count != ends.count ||
        (axes.values && axes.count != starts.count) ||
        (steps.values && steps.count != starts.count) ||
        (!axes.values && starts.count > (size_t)in->axes))
        return qf_import_damaged(im, "it has %zu starts and %zu ends", starts.count, ends.count);
    for (int i = 0; i < in->axes; i++)
        ranges[i] = (qf_import_range){0, 1, in->dim[i]};
    for (size_t i = 0; i < starts.count; i++) {
        int axis = (int)i;
        if (axes.values)
            QF_TRY(qf_import_axis(im, axes.values[i], in->axes, &axis));
        const int64_t step = steps.values ? steps.values[i] : 1, dim = in->dim[axis];
        if (!step || step > INT32_MAX || step < -INT32_MAX)
            return qf_import_damaged(im, "a step is %lld", (long long)step);
        int64_t from = starts.values[i], to = ends.values[i];
        from += from < 0 ? dim : 0;
        to += to < 0 ? dim : 0;
        const int64_t lowest = step < 0 ? -1 : 0, highest = step < 0 ? dim - 1 : dim;
        from = from < (step < 0 ? -1 : 0) ? lowest : from > highest ? highest : from;
        to = to < lowest ? lowest : to > highest ? highest : to;
        const int64_t span = step < 0 ? from - to : to - from, stride = step < 0 ? -step : step;
        ranges[axis] = (qf_import_range){(int)from, (int)step,
                                         span > 0 ? (int)((span + stride - 1) / stride) : 0};
    }
    return QF_OK;
}

/* Every n-th element, from the first on: of images a pooling of single pixels takes them. */
static qf_status every_nth(qf_importer *im, const int *steps, qf_import_blob *blob)
{
    Caffe__LayerParameter *layer;
    qf_shape top = blob->shape;
    bool any = false;
    for (int i = 0; i < blob->shape.axes; i++) {
        any = any || steps[i] > 1;
        if (steps[i] > 1 && (blob->shape.axes != 4 || i < 2))
            return qf_import_refuse(im, "it takes every %d-th element of axis %d", steps[i], i);
        top.dim[i] = (top.dim[i] - 1) / steps[i] + 1;
    }
    if (!any)
        return QF_OK;
    QF_TRY(qf_import_chain(im, "Pooling", "", blob, &top, blob, &layer));
    QF_TRY(
        qf_message_new(im->context, &caffe__pooling_parameter__descriptor, &layer->pooling_param));
    Caffe__PoolingParameter *p = layer->pooling_param;
    QF_SET(p, pool, CAFFE__POOLING_PARAMETER__POOL_METHOD__MAX);
    QF_SET(p, kernel_size, 1);
    QF_SET(p, stride_h, (uint32_t)steps[2]);
    QF_SET(p, stride_w, (uint32_t)steps[3]);
    QF_SET(p, round_mode, CAFFE__POOLING_PARAMETER__ROUND_MODE__FLOOR);
    return QF_OK;
}

qf_status qf_import_slice(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_range ranges[QF_MAX_AXES];
    int steps[QF_MAX_AXES];
    qf_import_blob blob;
    bool changes = false;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_ranges(im, &blob.shape, ranges));
    for (int i = 0; i < blob.shape.axes; i++) {
        const qf_import_range r = ranges[i];
        if (r.step < 0 && !(r.step == -1 && r.count == blob.shape.dim[i]))
            return qf_import_refuse(im,
                                    "it goes backwards along axis %d (step %d); Caffe turns "
                                    "whole axes only",
                                    i, r.step);
        changes = changes || r.step != 1 || r.count != blob.shape.dim[i];
    }
    if (!changes)
        return qf_import_alias(im, 0, im->inputs[0]);
    for (int i = 0; i < blob.shape.axes; i++) {
        const qf_import_range r = ranges[i];
        steps[i] = r.step < 1 ? 1 : r.step;
        if (r.step == -1) {
            Caffe__LayerParameter *layer;
            const qf_shape shape = blob.shape;
            QF_TRY(qf_import_chain(im, "Reverse", "", &blob, &shape, &blob, &layer));
            QF_TRY(qf_message_new(im->context, &caffe__reverse_parameter__descriptor,
                                  &layer->reverse_param));
            QF_TRY(qf_append(im->context, &layer->reverse_param->n_axis,
                             &layer->reverse_param->axis, &i, sizeof i));
            continue;
        }
        const int64_t to = r.from + (int64_t)(r.count - 1) * r.step + 1;
        QF_TRY(qf_import_cut(im, "", &blob, i, r.from, r.count ? (int)to : r.from, &blob));
    }
    QF_TRY(every_nth(im, steps, &blob));
    return qf_import_define(im, 0, &blob);
}

/* ---- Gather ---- */

qf_status qf_import_gather(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    qf_import_list indices;
    int axis;
    const qf_import_value *which = qf_import_input(im, 1);
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 0), blob.shape.axes, &axis));
    QF_TRY(qf_import_list_of(im, "", 1, &indices));
    const int whole = blob.shape.dim[axis];
    if (!indices.count)
        return qf_import_refuse(im, "it takes nothing");
    const int64_t first = indices.values[0] + (indices.values[0] < 0 ? whole : 0);
    for (size_t i = 0; i < indices.count; i++) {
        const int64_t at = indices.values[i] + (indices.values[i] < 0 ? whole : 0);
        if (at < 0 || at >= whole)
            return qf_import_damaged(im, "index %lld is outside of axis %d", (long long)at, axis);
        if (at != first + (int64_t)i)
            return qf_import_refuse(im, "it takes elements of axis %d out of their order", axis);
    }
    qf_shape shape = {0};
    if (blob.shape.axes - 1 + which->shape.axes > QF_MAX_AXES)
        return qf_import_refuse(im, "it makes more than %d axes", QF_MAX_AXES);
    for (int i = 0; i < axis; i++)
        shape.dim[shape.axes++] = blob.shape.dim[i];
    for (int i = 0; i < which->shape.axes; i++)
        shape.dim[shape.axes++] = which->shape.dim[i];
    for (int i = axis + 1; i < blob.shape.axes; i++)
        shape.dim[shape.axes++] = blob.shape.dim[i];
    QF_TRY(qf_import_cut(im, "", &blob, axis, (int)first, (int)first + (int)indices.count, &blob));
    QF_TRY(qf_import_reshape(im, "shaped", &blob, &shape, &blob));
    return qf_import_define(im, 0, &blob);
}
