/* Layers that only move values. */
#include "layers/shape/joint.h"
#include "onnx/export/export_layers.h"

#include <limits.h>

static const char *x_of(const qf_onnx_export *e)
{
    return qf_onnx_bottom(e, 0);
}

static int joint_axis(qf_onnx_export *e, int axis, bool has_dim, uint32_t dim, bool has_axis)
{
    int found = 0;
    if (e->maker->status == QF_OK)
        e->maker->status = qf_joint_axis(e->layer, axis, has_dim, dim, has_axis, &found);
    return found;
}

void qf_onnx_concat(qf_onnx_export *e)
{
    const Caffe__ConcatParameter *p = QF_LAYER_PARAM(e->layer, concat_param, CONCAT_, Concat);
    const int axis = joint_axis(e, p->axis, p->has_concat_dim, p->concat_dim, p->has_axis);
    enum { MOST = 4096 };
    const char *inputs[MOST];
    const int count = e->layer->bottom_count;
    if (count > MOST) {
        qf_onnx_refuse(e, "it has %d bottoms, more than %d", count, MOST);
        return;
    }
    for (int b = 0; b < count; b++)
        inputs[b] = qf_onnx_bottom(e, b);
    qf_onnx_set_top(
        e, 0,
        qf_node(e->maker, "Concat", inputs, (size_t)count, QF_ATTRIBUTES(QF_INT("axis", axis))));
}

/* A Slice node each: like Split, but the same in all operator sets. */
void qf_onnx_slice_layer(qf_onnx_export *e)
{
    const Caffe__SliceParameter *p = QF_LAYER_PARAM(e->layer, slice_param, SLICE_, Slice);
    const int axis = joint_axis(e, p->axis, p->has_slice_dim, p->slice_dim, p->has_axis);
    int64_t from = 0;
    if (qf_onnx_bottom_dim(e, 0, axis) < 0 && e->layer->top_count > 1) {
        qf_onnx_refuse(e, "it cuts the batch apart; give the model a fixed batch");
        return;
    }
    for (int t = 0; t < e->layer->top_count; t++) {
        const int64_t to = from + qf_onnx_top_shape(e, t)->dim[axis], along = axis;
        qf_onnx_set_top(e, t, qf_onnx_slice(e, x_of(e), &from, &to, &along, 1));
        from = to;
    }
}

void qf_onnx_crop(qf_onnx_export *e)
{
    const Caffe__CropParameter *p = QF_LAYER_PARAM(e->layer, crop_param, CROP_, Crop);
    const qf_shape *x = qf_onnx_bottom_shape(e, 0), *top = qf_onnx_top_shape(e, 0);
    const int first = qf_shape_axis(x, p->axis);
    int64_t starts[QF_MAX_AXES], ends[QF_MAX_AXES], axes[QF_MAX_AXES];
    int count = 0;
    for (int axis = first; axis < x->axes; axis++) {
        const int64_t offset =
            p->n_offset ? (int64_t)p->offset[p->n_offset == 1 ? 0 : axis - first] : 0;
        if (top->dim[axis] == x->dim[axis])
            continue;
        starts[count] = offset;
        ends[count] = offset + top->dim[axis];
        axes[count++] = axis;
    }
    if (count)
        qf_onnx_set_top(e, 0, qf_onnx_slice(e, x_of(e), starts, ends, axes, count));
    else
        qf_onnx_same(e);
}

void qf_onnx_permute(qf_onnx_export *e)
{
    const Caffe__PermuteParameter *p = QF_LAYER_PARAM(e->layer, permute_param, PERMUTE_, Permute);
    const int axes = qf_onnx_bottom_shape(e, 0)->axes;
    bool used[QF_MAX_AXES] = {false};
    int64_t order[QF_MAX_AXES];
    int count = 0;
    for (size_t i = 0; i < p->n_order; i++) {
        order[count++] = p->order[i];
        used[p->order[i]] = true;
    }
    for (int axis = 0; axis < axes; axis++)
        if (!used[axis])
            order[count++] = axis;
    qf_onnx_set_top(e, 0, qf_onnx_transpose(e, x_of(e), order, axes));
}

/* Every axis is named. */
void qf_onnx_transpose_layer(qf_onnx_export *e)
{
    const Caffe__TransposeParameter *p =
        QF_LAYER_PARAM(e->layer, transpose_param, TRANSPOSE_, Transpose);
    int64_t order[QF_MAX_AXES];
    for (size_t i = 0; i < p->n_dim; i++)
        order[i] = p->dim[i];
    qf_onnx_set_top(e, 0, qf_onnx_transpose(e, x_of(e), order, (int)p->n_dim));
}

void qf_onnx_reshape_layer(qf_onnx_export *e)
{
    qf_onnx_set_top(e, 0, qf_onnx_reshape_to_top(e, x_of(e), 0));
}

void qf_onnx_flatten(qf_onnx_export *e)
{
    const qf_shape *top = qf_onnx_top_shape(e, 0);
    if (qf_shape_equal(qf_onnx_bottom_shape(e, 0), top))
        qf_onnx_same(e);
    else if (top->axes == 2 && top->dim[0] == qf_onnx_bottom_shape(e, 0)->dim[0])
        qf_onnx_set_top(
            e, 0,
            qf_node(e->maker, "Flatten", QF_INPUTS(x_of(e)), QF_ATTRIBUTES(QF_INT("axis", 1))));
    else
        qf_onnx_reshape_layer(e);
}

void qf_onnx_tile(qf_onnx_export *e)
{
    const Caffe__TileParameter *p = QF_LAYER_PARAM(e->layer, tile_param, TILE_, Tile);
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    int64_t repeats[QF_MAX_AXES];
    for (int i = 0; i < x->axes; i++)
        repeats[i] = i == qf_shape_axis(x, p->axis) ? p->tiles : 1;
    qf_onnx_set_top(
        e, 0,
        qf_binary(e->maker, "Tile", x_of(e), qf_integers(e->maker, repeats, (size_t)x->axes)));
}

void qf_onnx_reverse(qf_onnx_export *e)
{
    const Caffe__ReverseParameter *p = QF_LAYER_PARAM(e->layer, reverse_param, REVERSE_, Reverse);
    qf_graph_maker *m = e->maker;
    int64_t starts[QF_MAX_AXES], ends[QF_MAX_AXES], axes[QF_MAX_AXES];
    int count = 0;
    for (size_t i = 0; i < p->n_axis && count < QF_MAX_AXES; i++, count++) {
        starts[count] = -1;
        ends[count] = INT64_MIN + 1;
        axes[count] = qf_shape_axis(qf_onnx_bottom_shape(e, 0), p->axis[i]);
    }
    if (count == 0) {
        qf_onnx_same(e);
        return;
    }
    const size_t n = (size_t)count;
    qf_onnx_set_top(e, 0,
                    qf_node(m, "Slice",
                            QF_INPUTS(x_of(e), qf_integers(m, starts, n), qf_integers(m, ends, n),
                                      qf_integers(m, axes, n), qf_integers(m, starts, n)),
                            QF_NO_ATTRIBUTES));
}

void qf_onnx_shuffle_channel(qf_onnx_export *e)
{
    const Caffe__ShuffleChannelParameter *p =
        QF_LAYER_PARAM(e->layer, shuffle_channel_param, SHUFFLE_CHANNEL_, ShuffleChannel);
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const int64_t inner = (int64_t)qf_shape_count_range(x, 2, x->axes);
    const int64_t dims[] = {0, p->group, x->dim[1] / (int64_t)p->group, inner};
    qf_onnx_rearrange(e, dims, (int64_t[]){0, 2, 1, 3}, 4);
}

/* Darknet's order: going down, the numbers are taken for those of an image stride times as large.
 */
void qf_onnx_reorg(qf_onnx_export *e)
{
    const Caffe__ReorgParameter *p = QF_LAYER_PARAM(e->layer, reorg_param, REORG_, Reorg);
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const int64_t s = p->stride, groups = x->dim[1] / (s * s), h = x->dim[2], w = x->dim[3];
    if (p->reverse)
        qf_onnx_rearrange(e, (int64_t[]){0, s, s, groups, h, w}, (int64_t[]){0, 3, 4, 1, 5, 2}, 6);
    else
        qf_onnx_rearrange(e, (int64_t[]){0, groups, h, s, w, s}, (int64_t[]){0, 3, 5, 1, 2, 4}, 6);
}

/* The pixels of a block become channels of one pixel, each pixel's channels side by side. */
void qf_onnx_pass_through(qf_onnx_export *e)
{
    const Caffe__PassThroughParameter *p =
        QF_LAYER_PARAM(e->layer, pass_through_param, PASS_THROUGH_, PassThrough);
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const int64_t height = p->block_height, width = p->block_width;
    const int64_t dims[] = {0, x->dim[1], x->dim[2] / height, height, x->dim[3] / width, width};
    qf_onnx_rearrange(e, dims, (int64_t[]){0, 3, 5, 1, 2, 4}, 6);
}

void qf_onnx_batch_reindex(qf_onnx_export *e)
{
    const char *index = qf_node(e->maker, "Cast", QF_INPUTS(qf_onnx_bottom(e, 1)),
                                QF_ATTRIBUTES(QF_INT("to", ONNX__TENSOR__DATA_TYPE__INT64)));
    qf_onnx_set_top(e, 0, qf_binary(e->maker, "Gather", x_of(e), index));
}
