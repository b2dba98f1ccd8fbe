/* MaxPool, AveragePool, the global ones, and what else makes one number of many. */
#include "onnx/import/operators.h"
#include "onnx/import/window.h"

#include <string.h>

#define POOL(name) CAFFE__POOLING_PARAMETER__POOL_METHOD__##name

/* Pooling needs images: rows become images of height 1. */
static qf_status lift(qf_importer *im, qf_import_blob *blob)
{
    qf_shape shape = {4, {0}};
    if (blob->shape.axes == 4)
        return QF_OK;
    if (blob->shape.axes != 3)
        return qf_import_refuse(im, "Caffe pools images; the input has %d axes, not 4",
                                blob->shape.axes);
    memcpy(shape.dim, (int[]){blob->shape.dim[0], blob->shape.dim[1], 1, blob->shape.dim[2]},
           4 * sizeof(int));
    return qf_import_reshape(im, "as_image", blob, &shape, blob);
}

static qf_status lower(qf_importer *im, int axes, qf_import_blob *blob)
{
    const qf_shape shape = {3, {blob->shape.dim[0], blob->shape.dim[1], blob->shape.dim[3]}};
    return axes == 4 ? QF_OK : qf_import_reshape(im, "as_row", blob, &shape, blob);
}

/* ---- a window ---- */

static qf_status read_window(qf_importer *im, qf_import_window *w)
{
    const qf_import_value *image = qf_import_input(im, 0);
    if (!image || image->shape.axes < 3 || image->shape.axes > 4)
        return qf_import_refuse(im, "Caffe pools images; the input has %d axes, not 4",
                                image ? image->shape.axes : 0);
    w->axes = image->shape.axes - 2;
    if (!qf_import_attribute(im, "kernel_shape"))
        return qf_import_damaged(im, "it has no kernel_shape");
    QF_TRY(qf_import_sizes(im, "kernel_shape", w->axes, 1, 1, w->kernel));
    QF_TRY(qf_import_read_window(im, &image->shape, w));
    for (int i = 0; i < w->axes; i++)
        if (w->dilation[i] != 1 && w->kernel[i] != 1)
            return qf_import_refuse(
                im, "its window is dilated (%d), which Caffe's Pooling cannot say", w->dilation[i]);
    return QF_OK;
}

/* How many windows there are along an axis; Caffe counts alike, or it is refused. */
static qf_status count_windows(qf_importer *im, const qf_import_window *w, int axis, int in,
                               bool up, int *out)
{
    const int64_t span = (int64_t)in + w->begin[axis] + w->end[axis] - w->kernel[axis];
    const int64_t stride = w->stride[axis];
    if (span < 0)
        return qf_import_damaged(im, "its window is larger than the padded image along axis %d",
                                 2 + axis);
    int64_t count = (up ? (span + stride - 1) / stride : span / stride) + 1;
    const bool beyond = (count - 1) * stride >= in + w->begin[axis]; /* begins behind the image */
    bool padded = false;
    for (int i = 0; i < w->axes; i++)
        padded = padded || w->begin[i] || w->end[i];
    if (beyond && (!padded || w->begin[axis] >= w->kernel[axis] || !up))
        return qf_import_refuse(im, "its last window along axis %d begins behind the image",
                                2 + axis);
    *out = (int)(beyond ? count - 1 : count);
    for (int i = 0; i < w->axes; i++)
        if (w->begin[i] >= w->kernel[i] || w->end[i] >= w->kernel[i])
            return qf_import_refuse(im, "padding of %d is not smaller than its window of %d",
                                    w->begin[i] > w->end[i] ? w->begin[i] : w->end[i],
                                    w->kernel[i]);
    return QF_OK;
}

static void say_pair(const int *sizes, protobuf_c_boolean *has, uint32_t *both,
                     protobuf_c_boolean *has_h, uint32_t *h, protobuf_c_boolean *has_w, uint32_t *w)
{
    if (sizes[0] == sizes[1]) {
        *has = true;
        *both = (uint32_t)sizes[0];
        return;
    }
    *has_h = *has_w = true;
    *h = (uint32_t)sizes[0];
    *w = (uint32_t)sizes[1];
}

static void say_window(const qf_import_window *w, Caffe__PoolingParameter *p)
{
    say_pair(w->kernel, &p->has_kernel_size, &p->kernel_size, &p->has_kernel_h, &p->kernel_h,
             &p->has_kernel_w, &p->kernel_w);
    say_pair(w->stride, &p->has_stride, &p->stride, &p->has_stride_h, &p->stride_h,
             &p->has_stride_w, &p->stride_w);
    if (!qf_import_is_symmetric(w)) {
        QF_SET(p, pad_t, (uint32_t)w->begin[0]);
        QF_SET(p, pad_l, (uint32_t)w->begin[1]);
        QF_SET(p, pad_b, (uint32_t)w->end[0]);
        QF_SET(p, pad_r, (uint32_t)w->end[1]);
    } else if (w->begin[0] || w->begin[1]) {
        say_pair(w->begin, &p->has_pad, &p->pad, &p->has_pad_h, &p->pad_h, &p->has_pad_w,
                 &p->pad_w);
    }
}

/* Axis 0 of the window, where the image is a row, is the height that lift() gives it. */
static void lift_window(qf_import_window *w)
{
    if (w->axes == 2)
        return;
    w->axes = 2;
    w->kernel[1] = w->kernel[0];
    w->stride[1] = w->stride[0];
    w->begin[1] = w->begin[0];
    w->end[1] = w->end[0];
    w->kernel[0] = w->stride[0] = 1;
    w->begin[0] = w->end[0] = 0;
}

static qf_status add_pooling(qf_importer *im, Caffe__PoolingParameter__PoolMethod method,
                             const qf_import_blob *in, const qf_shape *top, qf_import_blob *out,
                             Caffe__LayerParameter **layer)
{
    QF_TRY(qf_import_chain(im, "Pooling", "", in, top, out, layer));
    QF_TRY(qf_message_new(im->context, &caffe__pooling_parameter__descriptor,
                          &(*layer)->pooling_param));
    QF_SET((*layer)->pooling_param, pool, method);
    return QF_OK;
}

static qf_status pool(qf_importer *im, Caffe__PoolingParameter__PoolMethod method,
                      qf_import_window *w, qf_import_blob *in)
{
    const bool up = qf_import_int(im, "ceil_mode", 0);
    const int axes = in->shape.axes;
    Caffe__LayerParameter *layer;
    QF_TRY(lift(im, in));
    lift_window(w);
    qf_shape top = in->shape;
    for (int i = 0; i < 2; i++)
        QF_TRY(count_windows(im, w, i, in->shape.dim[2 + i], up, &top.dim[2 + i]));
    QF_TRY(add_pooling(im, method, in, &top, in, &layer));
    say_window(w, layer->pooling_param);
    if (!up)
        QF_SET(layer->pooling_param, round_mode, CAFFE__POOLING_PARAMETER__ROUND_MODE__FLOOR);
    QF_TRY(qf_import_note_ranges(im, layer, QF_NO_LAYER));
    QF_TRY(lower(im, axes, in));
    return qf_import_define(im, 0, in);
}

qf_status qf_import_max_pool(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_window w = {0};
    qf_import_blob in;
    if (im->node->n_output > 1 && *im->node->output[1])
        return qf_import_refuse(im, "its second output, where the maxima stood, has no equal");
    QF_TRY(read_window(im, &w));
    QF_TRY(qf_import_blob_input(im, 0, &in));
    return pool(im, POOL(MAX), &w, &in);
}

qf_status qf_import_average_pool(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_window w = {0};
    qf_import_blob in;
    bool padded = false;
    QF_TRY(read_window(im, &w));
    for (int i = 0; i < w.axes; i++)
        padded = padded || w.begin[i] || w.end[i];
    const bool excludes = padded && !qf_import_int(im, "count_include_pad", 0);
    if (excludes)
        QF_TRY(qf_import_blob_input(im, 0, &in));
    else
        QF_TRY(qf_import_take_padding(im, 0, &w, &in));
    return pool(im, excludes ? POOL(AVE_EXC_PAD) : POOL(AVE), &w, &in);
}

/* ---- everything ---- */

static qf_status pool_all(qf_importer *im, int method, qf_import_blob *blob)
{
    Caffe__LayerParameter *layer;
    QF_TRY(lift(im, blob));
    qf_shape top = blob->shape;
    top.dim[2] = top.dim[3] = 1;
    QF_TRY(add_pooling(im, method, blob, &top, blob, &layer));
    QF_SET(layer->pooling_param, global_pooling, true);
    return QF_OK;
}

qf_status qf_import_global_pool(qf_importer *im, int method)
{
    qf_import_blob blob;
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    const int axes = blob.shape.axes;
    QF_TRY(pool_all(im, method, &blob));
    QF_TRY(lower(im, axes, &blob));
    return qf_import_define(im, 0, &blob);
}

typedef struct reduction {
    bool gone[QF_MAX_AXES];
    int count;
    qf_shape top; /* as the node has it */
} reduction;

static qf_status read_reduction(qf_importer *im, const qf_shape *in, reduction *r)
{
    qf_import_list axes;
    const bool keeps = qf_import_int(im, "keepdims", 1);
    QF_TRY(qf_import_list_of(im, "axes", 1, &axes));
    for (size_t i = 0; i < axes.count; i++) {
        int axis;
        QF_TRY(qf_import_axis(im, axes.values[i], in->axes, &axis));
        r->gone[axis] = true;
    }
    for (int i = 0; i < in->axes; i++) {
        if (!axes.count && !qf_import_int(im, "noop_with_empty_axes", 0))
            r->gone[i] = true;
        r->count += r->gone[i];
        if (!r->gone[i] || keeps)
            r->top.dim[r->top.axes++] = r->gone[i] ? 1 : in->dim[i];
    }
    return QF_OK;
}

static bool is_image(const reduction *r, const qf_shape *in)
{
    return in->axes == 4 && r->count == 2 && r->gone[2] && r->gone[3];
}

/* The axes that go are brought to the end. */
static qf_status add_reduction(qf_importer *im, int operation, const reduction *r,
                               qf_import_blob *blob)
{
    int order[QF_MAX_AXES], count = 0;
    Caffe__LayerParameter *layer;
    for (int i = 0; i < blob->shape.axes; i++)
        if (!r->gone[i])
            order[count++] = i;
    const int kept = count;
    for (int i = 0; i < blob->shape.axes; i++)
        if (r->gone[i])
            order[count++] = i;
    QF_TRY(qf_import_permute(im, "permuted", blob, order, blob));
    qf_shape top = blob->shape;
    top.axes = kept;
    QF_TRY(qf_import_chain(im, "Reduction", "", blob, &top, blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__reduction_parameter__descriptor,
                          &layer->reduction_param));
    QF_SET(layer->reduction_param, operation, operation);
    if (kept)
        QF_SET(layer->reduction_param, axis, kept);
    return QF_OK;
}

qf_status qf_import_reduce(qf_importer *im, int operation)
{
    qf_import_blob blob;
    reduction r = {0};
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(read_reduction(im, &blob.shape, &r));
    if (!r.count)
        return qf_import_define(im, 0, &blob);
    if (operation == CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__MEAN && is_image(&r, &blob.shape))
        QF_TRY(pool_all(im, POOL(AVE), &blob));
    else
        QF_TRY(add_reduction(im, operation, &r, &blob));
    QF_TRY(qf_import_reshape(im, "shaped", &blob, &r.top, &blob));
    if (strcmp(im->node->op_type, "ReduceL2") == 0)
        QF_TRY(qf_import_power(im, "root", &blob, 0.5, 1, 0, &blob));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_reduce_max(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    reduction r = {0};
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(read_reduction(im, &blob.shape, &r));
    if (!is_image(&r, &blob.shape))
        return qf_import_refuse(im, "Caffe takes the maximum of whole images (axes 2 and 3) only");
    QF_TRY(pool_all(im, POOL(MAX), &blob));
    QF_TRY(qf_import_reshape(im, "shaped", &blob, &r.top, &blob));
    return qf_import_define(im, 0, &blob);
}

/* The largest values along an axis, or where they stand. */
static qf_status add_arg_max(qf_importer *im, const qf_import_blob *in, int axis, int count,
                             bool values, qf_import_blob *out)
{
    Caffe__LayerParameter *layer;
    qf_shape top = in->shape;
    top.dim[axis] = count;
    QF_TRY(qf_import_chain(im, "ArgMax", values ? "values" : "", in, &top, out, &layer));
    QF_TRY(
        qf_message_new(im->context, &caffe__arg_max_parameter__descriptor, &layer->argmax_param));
    QF_SET(layer->argmax_param, axis, axis);
    if (values)
        QF_SET(layer->argmax_param, out_max_val, true);
    if (count != 1)
        QF_SET(layer->argmax_param, top_k, (uint32_t)count);
    return QF_OK;
}

/* Output `index`, whose values are whole numbers. */
static qf_status define_whole(qf_importer *im, size_t index, const qf_import_blob *blob)
{
    QF_TRY(qf_import_define(im, index, blob));
    qf_import_value *value = qf_import_find(im, im->node->output[index]);
    if (value)
        value->whole = true;
    return QF_OK;
}

qf_status qf_import_arg_max(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    qf_shape shape = {0};
    int axis;
    if (qf_import_int(im, "select_last_index", 0))
        return qf_import_refuse(im, "of equal values it takes the last, Caffe the first");
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", 0), blob.shape.axes, &axis));
    QF_TRY(add_arg_max(im, &blob, axis, 1, false, &blob));
    for (int i = 0; i < blob.shape.axes; i++)
        if (i != axis || qf_import_int(im, "keepdims", 1))
            shape.dim[shape.axes++] = blob.shape.dim[i];
    QF_TRY(qf_import_reshape(im, "shaped", &blob, &shape, &blob));
    return define_whole(im, 0, &blob);
}

qf_status qf_import_top_k(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob in, values, places;
    double count;
    int axis;
    QF_TRY(qf_import_blob_input(im, 0, &in));
    QF_TRY(qf_import_axis(im, qf_import_int(im, "axis", -1), in.shape.axes, &axis));
    QF_TRY(qf_import_scalar(im, 1, (double)qf_import_int(im, "k", 0), &count));
    if (!(count >= 1 && count <= in.shape.dim[axis]) || !qf_import_int(im, "largest", 1))
        return qf_import_refuse(im, "Caffe takes the largest values of an axis, as many as there "
                                    "are at most");
    QF_TRY(add_arg_max(im, &in, axis, (int)count, true, &values));
    QF_TRY(qf_import_define(im, 0, &values));
    if (im->node->n_output < 2)
        return QF_OK;
    QF_TRY(add_arg_max(im, &in, axis, (int)count, false, &places));
    return define_whole(im, 1, &places);
}

/* Above one number: 1, else 0. */
qf_status qf_import_threshold(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    Caffe__LayerParameter *layer;
    double bound;
    if (!qf_import_input(im, 1))
        return qf_import_damaged(im, "it needs two inputs");
    QF_TRY(qf_import_scalar(im, 1, 0, &bound));
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    const qf_shape shape = blob.shape;
    if (qf_import_input(im, 1)->shape.axes > shape.axes)
        return qf_import_refuse(im, "it makes axes of its input");
    QF_TRY(qf_import_chain(im, "Threshold", "", &blob, &shape, &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__threshold_parameter__descriptor,
                          &layer->threshold_param));
    QF_SET(layer->threshold_param, threshold, (float)bound);
    return define_whole(im, 0, &blob);
}
