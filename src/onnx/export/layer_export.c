/* What the functions of layers share: values, parameters, small nodes. */
#include "onnx/export/layer_export.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void qf_onnx_refuse(qf_onnx_export *e, const char *format, ...)
{
    char why[512];
    va_list arguments;
    if (e->maker->status != QF_OK)
        return;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    e->maker->status =
        qf_fail(e->context, QF_E_UNSUPPORTED, "layer %s of type %s cannot be exported to ONNX: %s",
                e->layer->name, e->layer->type->name, why);
}

const qf_onnx_row *qf_onnx_row_find(const char *type)
{
    for (const qf_onnx_row *row = qf_onnx_rows; row->type; row++)
        if (strcmp(row->type, type) == 0)
            return row;
    return NULL;
}

bool qf_onnx_is_dropped(const qf_onnx_row *row)
{
    return row && strcmp(row->nodes, "dropped") == 0;
}

/* ---- blobs ---- */

const char *qf_onnx_bottom(const qf_onnx_export *e, int index)
{
    const char *value = e->value[e->layer->bottom[index]->index];
    return value ? value : "";
}

const qf_shape *qf_onnx_bottom_shape(const qf_onnx_export *e, int index)
{
    return qf_blob_shape(e->layer->bottom[index]);
}

const qf_shape *qf_onnx_top_shape(const qf_onnx_export *e, int index)
{
    return qf_blob_shape(e->layer->top[index]);
}

static int64_t dim_of(const qf_onnx_export *e, const qf_blob *blob, int axis)
{
    return e->free_axes[blob->index] >> axis & 1 ? -1 : qf_blob_shape(blob)->dim[axis];
}

int64_t qf_onnx_bottom_dim(const qf_onnx_export *e, int index, int axis)
{
    return dim_of(e, e->layer->bottom[index], axis);
}

int64_t qf_onnx_top_dim(const qf_onnx_export *e, int index, int axis)
{
    return dim_of(e, e->layer->top[index], axis);
}

/* Only the last that writes to a name gives its value this name; and none where it is an input's.
 */
static bool is_name_taken(const qf_onnx_export *e, const char *blob)
{
    for (int l = 0; l < e->net->layer_count; l++) {
        const qf_layer *other = e->net->layers[l];
        const bool source = other->bottom_count == 0;
        for (int t = 0; t < other->top_count; t++)
            if ((l > e->index || (source && l < e->index)) &&
                strcmp(other->top[t]->name, blob) == 0)
                return true;
    }
    return false;
}

void qf_onnx_set_top(qf_onnx_export *e, int index, const char *value)
{
    const qf_blob *blob = e->layer->top[index];
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s", blob->name);
    if (is_name_taken(e, blob->name))
        qf_buffer_print(&name, ".%s", e->layer->name);
    if (e->maker->status == QF_OK)
        e->maker->status = qf_buffer_whole(e->context, &name);
    e->value[blob->index] = value;
    if (e->maker->status == QF_OK && qf_maker_rename(e->maker, value, name.data)) {
        /* The graph has the name now. */
        const Onnx__Graph *graph = e->maker->graph;
        for (size_t n = e->maker->first_node; n < graph->n_node; n++)
            for (size_t o = 0; o < graph->node[n]->n_output; o++)
                if (strcmp(graph->node[n]->output[o], name.data) == 0)
                    e->value[blob->index] = graph->node[n]->output[o];
    }
    qf_buffer_release(&name);
}

void qf_onnx_same(qf_onnx_export *e)
{
    for (int t = 0; t < e->layer->top_count; t++)
        e->value[e->layer->top[t]->index] = qf_onnx_bottom(e, 0);
}

/* ---- parameters ---- */

const float *qf_onnx_param(qf_onnx_export *e, int index)
{
    const float *values = NULL;
    if (e->maker->status == QF_OK)
        e->maker->status =
            qf_read(e->context, e->layer->params[index].blob->data, QF_PLAIN, &values);
    return e->maker->status == QF_OK ? values : NULL;
}

const char *qf_onnx_param_as(qf_onnx_export *e, int index, const char *what, const int64_t *dims,
                             int axes)
{
    const float *values = qf_onnx_param(e, index);
    return values ? qf_floats(e->maker, what, values, dims, axes) : "";
}

const char *qf_onnx_param_value(qf_onnx_export *e, int index, const char *what)
{
    const qf_shape *shape = qf_blob_shape(e->layer->params[index].blob);
    int64_t dims[QF_MAX_AXES];
    for (int i = 0; i < shape->axes; i++)
        dims[i] = shape->dim[i];
    return qf_onnx_param_as(e, index, what, dims, shape->axes);
}

/* ---- small nodes ---- */

const char *qf_onnx_reshape(qf_onnx_export *e, const char *x, const int64_t *dims, int axes)
{
    return qf_binary(e->maker, "Reshape", x, qf_integers(e->maker, dims, (size_t)axes));
}

const char *qf_onnx_reshape_to_top(qf_onnx_export *e, const char *x, int top)
{
    const int axes = qf_onnx_top_shape(e, top)->axes;
    int64_t dims[QF_MAX_AXES];
    int open = 0;
    for (int i = 0; i < axes; i++) {
        dims[i] = qf_onnx_top_dim(e, top, i);
        open += dims[i] < 0;
    }
    if (open > 1)
        qf_onnx_refuse(e, "the batch decides %d axes of its top; give the model a fixed batch",
                       open);
    return qf_onnx_reshape(e, x, dims, axes);
}

const char *qf_onnx_times(qf_onnx_export *e, const char *x, float factor)
{
    return factor == 1 ? x : qf_binary(e->maker, "Mul", x, qf_scalar(e->maker, factor));
}

const char *qf_onnx_plus(qf_onnx_export *e, const char *x, float summand)
{
    return summand == 0 ? x : qf_binary(e->maker, "Add", x, qf_scalar(e->maker, summand));
}

const char *qf_onnx_trailing_axes(qf_onnx_export *e, const char *x, int axes, int count)
{
    int64_t added[QF_MAX_AXES];
    for (int i = 0; i < count; i++)
        added[i] = axes + i;
    return count <= 0
               ? x
               : qf_binary(e->maker, "Unsqueeze", x, qf_integers(e->maker, added, (size_t)count));
}

const char *qf_onnx_slice(qf_onnx_export *e, const char *x, const int64_t *starts,
                          const int64_t *ends, const int64_t *axes, int count)
{
    qf_graph_maker *m = e->maker;
    return count == 0 ? x
                      : qf_node(m, "Slice",
                                QF_INPUTS(x, qf_integers(m, starts, (size_t)count),
                                          qf_integers(m, ends, (size_t)count),
                                          qf_integers(m, axes, (size_t)count)),
                                QF_NO_ATTRIBUTES);
}

/* The axes are an input since opset 13 for ReduceSum, since 18 for the others. */
const char *qf_onnx_reduce(qf_onnx_export *e, const char *op_type, const char *x, int first,
                           int end, bool keep)
{
    const bool as_input = e->maker->opset >= 18 || strcmp(op_type, "ReduceSum") == 0;
    const size_t count = (size_t)(end - first);
    int64_t axes[QF_MAX_AXES];
    for (int i = first; i < end; i++)
        axes[i - first] = i;
    return as_input
               ? qf_node(e->maker, op_type, QF_INPUTS(x, qf_integers(e->maker, axes, count)),
                         QF_ATTRIBUTES(QF_INT("keepdims", keep)))
               : qf_node(e->maker, op_type, QF_INPUTS(x),
                         QF_ATTRIBUTES(QF_INTS("axes", axes, count), QF_INT("keepdims", keep)));
}

const char *qf_onnx_transpose(qf_onnx_export *e, const char *x, const int64_t *order, int axes)
{
    return qf_node(e->maker, "Transpose", QF_INPUTS(x),
                   QF_ATTRIBUTES(QF_INTS("perm", order, (size_t)axes)));
}

void qf_onnx_rearrange(qf_onnx_export *e, const int64_t *dims, const int64_t *order, int axes)
{
    const char *apart = qf_onnx_reshape(e, qf_onnx_bottom(e, 0), dims, axes);
    qf_onnx_set_top(e, 0, qf_onnx_reshape_to_top(e, qf_onnx_transpose(e, apart, order, axes), 0));
}

/* Sizes are given, not factors: a factor's last bit could take a pixel away. The batch is x's. */
const char *qf_onnx_resize(qf_onnx_export *e, const char *x, int height, int width,
                           const char *mode, const char *coordinates, const char *nearest)
{
    qf_graph_maker *m = e->maker;
    const char *shape = qf_unary(m, "Shape", x);
    const char *front = qf_onnx_slice(e, shape, (int64_t[]){0}, (int64_t[]){2}, (int64_t[]){0}, 1);
    const char *size = qf_integers(m, (int64_t[]){height, width}, 2);
    const char *sizes =
        qf_node(m, "Concat", QF_INPUTS(front, size), QF_ATTRIBUTES(QF_INT("axis", 0)));
    return qf_node(m, "Resize", QF_INPUTS(x, "", "", sizes),
                   QF_ATTRIBUTES(QF_STRING("mode", mode),
                                 QF_STRING("coordinate_transformation_mode", coordinates),
                                 QF_STRING("nearest_mode", nearest)));
}
