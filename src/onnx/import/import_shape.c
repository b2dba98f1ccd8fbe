/* Nodes that give elements another shape or order. */
#include "onnx/import/operators.h"

#include <string.h>

/* ---- another shape ---- */

/* The dimensions that Reshape's second input names: 0 copies one, -1 is what is left. Of elements
 * that are known as of a blob. */
qf_status qf_import_target_shape(qf_importer *im, const qf_shape *in, qf_shape *out)
{
    qf_import_list named;
    int64_t dims[QF_MAX_AXES], known = 1;
    int left = -1;
    QF_TRY(qf_import_list_of(im, "shape", 1, &named));
    if (!named.values || named.count > QF_MAX_AXES)
        return qf_import_damaged(im, "its shape has %zu axes", named.count);
    for (size_t i = 0; i < named.count; i++) {
        dims[i] = named.values[i];
        if (dims[i] == 0 && !qf_import_int(im, "allowzero", 0))
            dims[i] = (int)i < in->axes ? in->dim[i] : 0;
        if (dims[i] == -1 && left < 0)
            left = (int)i;
        else if (dims[i] < 0 || dims[i] > INT32_MAX || known > INT32_MAX)
            return qf_import_damaged(im, "dimension %zu of its shape is %lld", i,
                                     (long long)dims[i]);
        else
            known *= dims[i];
    }
    const int64_t count = (int64_t)qf_shape_count(in);
    if (left >= 0)
        dims[left] = known ? count / known : 0;
    QF_TRY(qf_import_shape(im, dims, named.count, out));
    if (qf_shape_count(out) != (size_t)count)
        return qf_import_damaged(im,
                                 "%lld elements cannot have the shape that it asks for (%zu); does "
                                 "the model fix its batch?",
                                 (long long)count, qf_shape_count(out));
    return QF_OK;
}

static qf_status to_shape(qf_importer *im, const qf_shape *shape)
{
    qf_import_blob blob;
    qf_import_value *value = qf_import_input(im, 0);
    if (qf_shape_equal(shape, &value->shape))
        return qf_import_alias(im, 0, value);
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_reshape(im, "", &blob, shape, &blob));
    QF_TRY(qf_import_define(im, 0, &blob));
    qf_import_value *out = qf_import_find(im, im->node->output[0]);
    if (out && value->scale && qf_shape_count(&value->scale->shape) == 1) { /* its range stays */
        out->scale = value->scale;
        out->zero = value->zero;
        out->code_type = value->code_type;
    }
    return QF_OK;
}

static qf_status need_input(qf_importer *im, qf_shape *out)
{
    const qf_import_value *value = qf_import_input(im, 0);
    if (!value)
        return qf_import_damaged(im, "input 0 is missing");
    *out = value->shape;
    return QF_OK;
}

/* (n, c, h, w) → (n, g, c/g, h, w) → (n, c/g, g, h, w) → (n, c, h, w), by Reshape, Transpose and
 * this node, is ShuffleChannel: the blob that it shuffles, or NULL. */
static const char *shuffled(const qf_importer *im, const qf_shape *out)
{
    static const uint32_t order[] = {0, 2, 1, 3, 4};
    const qf_import_value *value = qf_import_input(im, 0);
    const Caffe__LayerParameter *permute = qf_import_own_layer(im, value, "Permute");
    if (!permute || value->layer < 1 || permute->permute_param->n_order != 5 ||
        memcmp(permute->permute_param->order, order, sizeof order) != 0)
        return NULL;
    const Caffe__LayerParameter *apart = im->net->layer[value->layer - 1];
    const qf_shape *s = &value->shape;
    const bool whole = out->axes == 4 && out->dim[0] == s->dim[0] &&
                       out->dim[1] == s->dim[1] * s->dim[2] && out->dim[2] == s->dim[3] &&
                       out->dim[3] == s->dim[4];
    return whole && strcmp(apart->type, "Reshape") == 0 &&
                   strcmp(apart->top[0], permute->bottom[0]) == 0
               ? apart->bottom[0]
               : NULL;
}

qf_status qf_import_reshape_node(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0}, out;
    Caffe__LayerParameter *layer;
    QF_TRY(need_input(im, &in));
    QF_TRY(qf_import_target_shape(im, &in, &out));
    qf_import_blob blob = {.name = shuffled(im, &out)};
    if (!blob.name)
        return to_shape(im, &out);
    QF_TRY(qf_import_chain(im, "ShuffleChannel", "", &blob, &out, &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__shuffle_channel_parameter__descriptor,
                          &layer->shuffle_channel_param));
    QF_SET(layer->shuffle_channel_param, group, (uint32_t)in.dim[2]);
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_flatten(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in, out = {2, {0}};
    QF_TRY(need_input(im, &in));
    int64_t axis = qf_import_int(im, "axis", 1);
    axis += axis < 0 ? in.axes : 0;
    if (axis < 0 || axis > in.axes)
        return qf_import_damaged(im, "axis %lld does not exist", (long long)axis);
    out.dim[0] = (int)qf_shape_count_range(&in, 0, (int)axis);
    out.dim[1] = (int)qf_shape_count_range(&in, (int)axis, in.axes);
    return to_shape(im, &out);
}

qf_status qf_import_squeezed_shape(qf_importer *im, const qf_shape *in, qf_shape *out)
{
    qf_import_list axes;
    bool gone[QF_MAX_AXES] = {false};
    QF_TRY(qf_import_list_of(im, "axes", 1, &axes));
    for (size_t i = 0; i < axes.count; i++) {
        int axis;
        QF_TRY(qf_import_axis(im, axes.values[i], in->axes, &axis));
        if (in->dim[axis] != 1)
            return qf_import_damaged(im, "axis %d has %d elements, so it cannot go", axis,
                                     in->dim[axis]);
        gone[axis] = true;
    }
    *out = (qf_shape){0};
    for (int i = 0; i < in->axes; i++)
        if (!(axes.count ? gone[i] : in->dim[i] == 1))
            out->dim[out->axes++] = in->dim[i];
    return QF_OK;
}

qf_status qf_import_unsqueezed_shape(qf_importer *im, const qf_shape *in, qf_shape *out)
{
    qf_import_list axes;
    bool made[QF_MAX_AXES] = {false};
    int from = 0;
    QF_TRY(qf_import_list_of(im, "axes", 1, &axes));
    const size_t count = (size_t)in->axes + axes.count;
    if (!axes.values || axes.count > QF_MAX_AXES || count > QF_MAX_AXES)
        return qf_import_damaged(im, "it makes %zu axes of %d", count, in->axes);
    *out = (qf_shape){.axes = (int)count};
    for (size_t i = 0; i < axes.count; i++) {
        int axis;
        QF_TRY(qf_import_axis(im, axes.values[i], (int)count, &axis));
        if (made[axis])
            return qf_import_damaged(im, "it names axis %d twice", axis);
        made[axis] = true;
    }
    for (int i = 0; i < out->axes; i++)
        out->dim[i] = made[i] ? 1 : in->dim[from++];
    return QF_OK;
}

qf_status qf_import_squeeze(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0}, out;
    QF_TRY(need_input(im, &in));
    QF_TRY(qf_import_squeezed_shape(im, &in, &out));
    return to_shape(im, &out);
}

qf_status qf_import_unsqueeze(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0}, out;
    QF_TRY(need_input(im, &in));
    QF_TRY(qf_import_unsqueezed_shape(im, &in, &out));
    return to_shape(im, &out);
}

/* ---- another order ---- */

qf_status qf_import_order(qf_importer *im, int axes, int *order)
{
    qf_import_list given;
    bool used[QF_MAX_AXES] = {false};
    QF_TRY(qf_import_list_of(im, "perm", -1, &given));
    if (given.values && given.count != (size_t)axes)
        return qf_import_damaged(im, "perm names %zu axes of %d", given.count, axes);
    for (int i = 0; i < axes; i++) {
        order[i] = axes - 1 - i;
        if (given.values)
            QF_TRY(qf_import_axis(im, given.values[i], axes, &order[i]));
        if (used[order[i]])
            return qf_import_damaged(im, "perm names axis %d twice", order[i]);
        used[order[i]] = true;
    }
    return QF_OK;
}

qf_status qf_import_transpose(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_blob blob;
    int order[QF_MAX_AXES];
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    QF_TRY(qf_import_order(im, blob.shape.axes, order));
    QF_TRY(qf_import_permute(im, "", &blob, order, &blob));
    return qf_import_define(im, 0, &blob);
}

static qf_status blocks_of(qf_importer *im, qf_import_blob *blob, int *size)
{
    const int64_t given = qf_import_int(im, "blocksize", 0);
    QF_TRY(qf_import_blob_input(im, 0, blob));
    if (blob->shape.axes != 4 || given < 1 || given > 1 << 10)
        return qf_import_damaged(im, "blocks of %lld do not fit an input of %d axes",
                                 (long long)given, blob->shape.axes);
    *size = (int)given;
    return QF_OK;
}

qf_status qf_import_depth_to_space(qf_importer *im, int detail)
{
    (void)detail;
    Caffe__LayerParameter *layer;
    const bool shuffles = qf_import_says(im, "mode", "CRD");
    qf_import_blob blob;
    int b = 1;
    QF_TRY(blocks_of(im, &blob, &b));
    const int64_t dims[] = {blob.shape.dim[0], blob.shape.dim[1] / (b * b),
                            (int64_t)blob.shape.dim[2] * b, (int64_t)blob.shape.dim[3] * b};
    qf_shape top;
    if (blob.shape.dim[1] % (b * b))
        return qf_import_damaged(im, "%d channels are no blocks of %d x %d", blob.shape.dim[1], b,
                                 b);
    QF_TRY(qf_import_shape(im, dims, 4, &top));
    QF_TRY(qf_import_chain(im, shuffles ? "PixelShuffle" : "DepthToSpace", "", &blob, &top, &blob,
                           &layer));
    if (shuffles) {
        QF_TRY(qf_message_new(im->context, &caffe__pixel_shuffle_parameter__descriptor,
                              &layer->pixel_shuffle_param));
        QF_SET(layer->pixel_shuffle_param, upscale_factor, (uint32_t)b);
        return qf_import_define(im, 0, &blob);
    }
    QF_TRY(qf_message_new(im->context, &caffe__depth_to_space_parameter__descriptor,
                          &layer->depth_to_space_param));
    layer->depth_to_space_param->block_size = b;
    QF_TRY(qf_import_set_text(im, &layer->depth_to_space_param->data_format, "NCHW"));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_space_to_depth(qf_importer *im, int detail)
{
    (void)detail;
    Caffe__LayerParameter *layer;
    qf_import_blob blob;
    int b = 1;
    QF_TRY(blocks_of(im, &blob, &b));
    const int64_t dims[] = {blob.shape.dim[0], (int64_t)blob.shape.dim[1] * b * b,
                            blob.shape.dim[2] / b, blob.shape.dim[3] / b};
    qf_shape top;
    if (blob.shape.dim[2] % b || blob.shape.dim[3] % b)
        return qf_import_damaged(im, "%d x %d pixels are no blocks of %d x %d", blob.shape.dim[2],
                                 blob.shape.dim[3], b, b);
    QF_TRY(qf_import_shape(im, dims, 4, &top));
    QF_TRY(qf_import_chain(im, "SpaceToDepth", "", &blob, &top, &blob, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__space_to_depth_parameter__descriptor,
                          &layer->space_to_depth_param));
    layer->space_to_depth_param->block_size = b;
    QF_TRY(qf_import_set_text(im, &layer->space_to_depth_param->data_format, "NCHW"));
    return qf_import_define(im, 0, &blob);
}

/* ---- more elements ---- */

/* What Expand makes of a shape: as large as both. */
qf_status qf_import_expanded_shape(qf_importer *im, const qf_shape *in, qf_shape *out)
{
    qf_import_list wanted;
    int64_t dims[QF_MAX_AXES];
    QF_TRY(qf_import_list_of(im, "shape", 1, &wanted));
    if (!wanted.values || wanted.count > QF_MAX_AXES)
        return qf_import_damaged(im, "its shape has %zu axes", wanted.count);
    const int axes = in->axes > (int)wanted.count ? in->axes : (int)wanted.count;
    for (int i = 0; i < axes; i++) {
        const int have = i - (axes - in->axes), want = i - (axes - (int)wanted.count);
        const int64_t a = have < 0 ? 1 : in->dim[have], b = want < 0 ? 1 : wanted.values[want];
        if (a != b && a != 1 && b != 1)
            return qf_import_damaged(im, "axis %d has %lld elements, it asks for %lld", i,
                                     (long long)a, (long long)b);
        dims[i] = a == 1 ? b : a;
    }
    return qf_import_shape(im, dims, (size_t)axes, out);
}

static qf_status repeat_to(qf_importer *im, const qf_shape *shape)
{
    qf_import_blob blob;
    qf_shape wide = {.axes = shape->axes};
    QF_TRY(qf_import_blob_input(im, 0, &blob));
    const int more = shape->axes - blob.shape.axes;
    for (int i = 0; i < shape->axes; i++)
        wide.dim[i] = i < more ? 1 : blob.shape.dim[i - more];
    QF_TRY(qf_import_reshape(im, "wide", &blob, &wide, &blob));
    for (int i = 0; i < shape->axes; i++)
        if (wide.dim[i] && shape->dim[i] != wide.dim[i])
            QF_TRY(qf_import_tile(im, "", &blob, i, shape->dim[i] / wide.dim[i], &blob));
    return qf_import_define(im, 0, &blob);
}

qf_status qf_import_expand(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0}, out;
    QF_TRY(need_input(im, &in));
    QF_TRY(qf_import_expanded_shape(im, &in, &out));
    return repeat_to(im, &out);
}

qf_status qf_import_tile_node(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0}, out;
    qf_import_list times;
    int64_t dims[QF_MAX_AXES];
    QF_TRY(need_input(im, &in));
    QF_TRY(qf_import_list_of(im, "repeats", 1, &times));
    if (times.count != (size_t)in.axes)
        return qf_import_damaged(im, "it repeats %zu axes of %d", times.count, in.axes);
    for (int i = 0; i < in.axes; i++) {
        if (times.values[i] < 1 || times.values[i] > INT32_MAX)
            return qf_import_refuse(im, "it repeats axis %d %lld times", i,
                                    (long long)times.values[i]);
        dims[i] = in.dim[i] * times.values[i];
    }
    QF_TRY(qf_import_shape(im, dims, (size_t)in.axes, &out));
    return repeat_to(im, &out);
}

/* ---- what is known of a shape; nothing ---- */

qf_status qf_import_shape_of(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0};
    qf_import_value *value;
    int64_t *dims;
    QF_TRY(need_input(im, &in));
    int64_t first = qf_import_int(im, "start", 0), end = qf_import_int(im, "end", in.axes);
    first += first < 0 ? in.axes : 0;
    end += end < 0 ? in.axes : 0;
    first = first < 0 ? 0 : first > in.axes ? in.axes : first;
    end = end < first ? first : end > in.axes ? in.axes : end;
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    QF_TRY(qf_import_make_integers(im, value, &(qf_shape){1, {(int)(end - first)}}, &dims));
    for (int i = 0; i < (int)(end - first); i++)
        dims[i] = in.dim[first + i];
    return QF_OK;
}

qf_status qf_import_size_of(qf_importer *im, int detail)
{
    (void)detail;
    qf_shape in = {0};
    qf_import_value *value;
    int64_t *count;
    QF_TRY(need_input(im, &in));
    QF_TRY(qf_import_new_value(im, im->node->output[0], &value));
    QF_TRY(qf_import_make_integers(im, value, &(qf_shape){0}, &count));
    *count = (int64_t)qf_shape_count(&in);
    return QF_OK;
}

qf_status qf_import_identity(qf_importer *im, int detail)
{
    (void)detail;
    qf_import_value *value = qf_import_input(im, 0);
    if (!value)
        return qf_import_damaged(im, "input 0 is missing");
    if (im->node->n_output > 1 && *im->node->output[1] &&
        qf_names_get(&im->readers_of, im->node->output[1]) > 0)
        return qf_import_refuse(im, "its second output has no equal");
    return qf_import_alias(im, 0, value);
}

/* Blobs are floats: types of floats are all one here, whole numbers stay what they are. */
qf_status qf_import_cast(qf_importer *im, int detail)
{
    (void)detail;
    const int64_t to = qf_import_int(im, "to", 0);
    const qf_import_value *value = qf_import_input(im, 0);
    const bool is_float =
        to == ONNX__TENSOR__DATA_TYPE__FLOAT || to == ONNX__TENSOR__DATA_TYPE__FLOAT16 ||
        to == ONNX__TENSOR__DATA_TYPE__DOUBLE || to == ONNX__TENSOR__DATA_TYPE__BFLOAT16;
    if (value && !is_float && !value->whole)
        return qf_import_refuse(im,
                                "it makes whole numbers of floats (type %lld); Caffe's blobs are "
                                "floats",
                                (long long)to);
    return qf_import_identity(im, 0);
}
