/* Conv and ConvTranspose: Convolution and Deconvolution. */
#include "onnx/import/operators.h"
#include "onnx/import/window.h"

#include <string.h>

typedef Caffe__ConvolutionParameter convolution_param;

/* ---- convolution_param ---- */

static bool all_equal(const int *sizes, int count)
{
    for (int i = 1; i < count; i++)
        if (sizes[i] != sizes[0])
            return false;
    return true;
}

/* Once for all axes, or once for each. */
static qf_status append_sizes(qf_importer *im, size_t *count, uint32_t **array, const int *sizes,
                              int axes)
{
    for (int i = 0; i < (all_equal(sizes, axes) ? 1 : axes); i++) {
        const uint32_t size = (uint32_t)sizes[i];
        QF_TRY(qf_append(im->context, count, array, &size, sizeof size));
    }
    return QF_OK;
}

static qf_status say_padding(qf_importer *im, const qf_import_window *w, convolution_param *p)
{
    if (!qf_import_is_symmetric(w)) {
        if (w->axes != 2)
            return qf_import_refuse(im,
                                    "its padding differs between the ends of an axis, which Caffe "
                                    "says for 2 spatial axes only; here are %d",
                                    w->axes);
        QF_SET(p, pad_t, w->begin[0]);
        QF_SET(p, pad_l, w->begin[1]);
        QF_SET(p, pad_b, w->end[0]);
        QF_SET(p, pad_r, w->end[1]);
        return QF_OK;
    }
    if (all_equal(w->begin, w->axes) && w->begin[0] == 0)
        return QF_OK;
    return append_sizes(im, &p->n_pad, &p->pad, w->begin, w->axes);
}

static qf_status say_window(qf_importer *im, const qf_import_window *w, convolution_param *p)
{
    QF_TRY(append_sizes(im, &p->n_kernel_size, &p->kernel_size, w->kernel, w->axes));
    if (!all_equal(w->stride, w->axes) || w->stride[0] != 1)
        QF_TRY(append_sizes(im, &p->n_stride, &p->stride, w->stride, w->axes));
    if (!all_equal(w->dilation, w->axes) || w->dilation[0] != 1)
        QF_TRY(append_sizes(im, &p->n_dilation, &p->dilation, w->dilation, w->axes));
    return say_padding(im, w, p);
}

/* ---- the nodes ---- */

typedef struct node { /* what both have */
    const char *type;
    const qf_import_value *weights;
    const float *kernels, *bias; /* bias NULL: none */
    qf_import_window window;
    qf_import_blob in;
    int group, outputs;
    int axis; /* of the weights, along which the outputs are */
} node;

/* The weights' dimensions, against the image's. */
static qf_status read_weights(qf_importer *im, node *n)
{
    const qf_import_value *image = qf_import_input(im, 0);
    const int64_t group = qf_import_int(im, "group", 1);
    QF_TRY(qf_import_floats(im, 1, 0, &n->kernels));
    n->weights = qf_import_input(im, 1);
    const qf_shape *shape = &n->weights->shape;
    if (!image || image->shape.axes < 3 || shape->axes != image->shape.axes)
        return qf_import_damaged(im, "weights of %d axes do not fit an input of %d", shape->axes,
                                 image ? image->shape.axes : 0);
    const int channels = image->shape.dim[1];
    if (group < 1 || group > channels || channels % (int)group)
        return qf_import_damaged(im, "group is %lld, the input has %d channels", (long long)group,
                                 channels);
    n->group = (int)group;
    const bool fits = n->axis == 0
                          ? shape->dim[1] == channels / n->group && shape->dim[0] % n->group == 0
                          : shape->dim[0] == channels;
    if (!fits || !qf_shape_count(shape))
        return qf_import_damaged(im, "its weights do not fit an input of %d channels in %d groups",
                                 channels, n->group);
    n->outputs = n->axis == 0 ? shape->dim[0] : shape->dim[1] * n->group;
    n->window.axes = shape->axes - 2;
    memcpy(n->window.kernel, shape->dim + 2, (size_t)n->window.axes * sizeof(int));
    if (qf_import_input(im, 2))
        QF_TRY(qf_import_floats(im, 2, (size_t)n->outputs, &n->bias));
    return qf_import_read_window(im, &image->shape, &n->window);
}

static qf_status add_layer(qf_importer *im, node *n, const qf_shape *top)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_import_chain(im, n->type, "", &n->in, top, &n->in, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__convolution_parameter__descriptor,
                          &layer->convolution_param));
    convolution_param *p = layer->convolution_param;
    QF_SET(p, num_output, (uint32_t)n->outputs);
    if (!n->bias)
        QF_SET(p, bias_term, false);
    QF_TRY(say_window(im, &n->window, p));
    if (n->group != 1)
        QF_SET(p, group, (uint32_t)n->group);
    QF_TRY(qf_import_give(im, layer, &n->weights->shape, n->kernels));
    if (n->bias)
        QF_TRY(qf_import_give(im, layer, &(qf_shape){1, {n->outputs}}, n->bias));
    QF_TRY(qf_import_note_ranges(im, layer, n->axis));
    return qf_import_define(im, 0, &n->in);
}

qf_status qf_import_convolution(qf_importer *im, int detail)
{
    (void)detail;
    node n = {.type = "Convolution", .axis = 0};
    QF_TRY(read_weights(im, &n));
    QF_TRY(qf_import_take_padding(im, 0, &n.window, &n.in));
    qf_shape top = n.in.shape;
    top.dim[1] = n.outputs;
    for (int i = 0; i < n.window.axes; i++) {
        const int64_t span = (int64_t)n.in.shape.dim[2 + i] + n.window.begin[i] + n.window.end[i] -
                             qf_import_extent(&n.window, i);
        if (span < 0)
            return qf_import_damaged(im, "its kernel is larger than the padded image along axis %d",
                                     2 + i);
        top.dim[2 + i] = (int)(span / n.window.stride[i]) + 1;
    }
    return add_layer(im, &n, &top);
}

/* The padding that gives outputs of the size that is asked for. */
static qf_status fit_output(qf_importer *im, node *n, const int *more)
{
    qf_import_window *w = &n->window;
    int wanted[QF_MAX_AXES];
    const bool given = qf_import_attribute(im, "output_shape");
    const bool upper = qf_import_says(im, "auto_pad", "SAME_UPPER");
    if (!given && !upper && !qf_import_says(im, "auto_pad", "SAME_LOWER"))
        return QF_OK;
    QF_TRY(qf_import_sizes(im, "output_shape", w->axes, 1, 1, wanted));
    for (int i = 0; i < w->axes; i++) {
        const int64_t in = n->in.shape.dim[2 + i];
        const int64_t out = given ? wanted[i] : in * w->stride[i];
        const int64_t total = w->stride[i] * (in - 1) + more[i] + qf_import_extent(w, i) - out;
        if (total < 0 || total > 1 << 20)
            return qf_import_refuse(im, "an output of %lld along axis %d does not follow from %lld",
                                    (long long)out, 2 + i, (long long)in);
        w->begin[i] = (int)(upper ? total / 2 : total - total / 2);
        w->end[i] = (int)total - w->begin[i];
    }
    return QF_OK;
}

qf_status qf_import_transposed_convolution(qf_importer *im, int detail)
{
    (void)detail;
    node n = {.type = "Deconvolution", .axis = 1};
    int more[QF_MAX_AXES];
    QF_TRY(read_weights(im, &n));
    QF_TRY(qf_import_sizes(im, "output_padding", n.window.axes, 0, 0, more));
    QF_TRY(qf_import_blob_input(im, 0, &n.in));
    QF_TRY(fit_output(im, &n, more));
    qf_shape top = n.in.shape;
    top.dim[1] = n.outputs;
    for (int i = 0; i < n.window.axes; i++) {
        n.window.end[i] -= more[i]; /* below 0: so many outputs more */
        if (n.window.end[i] <= -n.window.stride[i])
            return qf_import_refuse(im, "output_padding %d is not below the stride %d", more[i],
                                    n.window.stride[i]);
        const int64_t out = (int64_t)n.window.stride[i] * (n.in.shape.dim[2 + i] - 1) +
                            qf_import_extent(&n.window, i) - n.window.begin[i] - n.window.end[i];
        if (out < 1 || out > INT32_MAX)
            return qf_import_damaged(im, "its output would have %lld pixels along axis %d",
                                     (long long)out, 2 + i);
        top.dim[2 + i] = (int)out;
    }
    return add_layer(im, &n, &top);
}
