/* Windows of a layer's input as rows of a matrix, and outputs beside them. */
#include "toolkit/run/layer_samples.h"

#include "base/memory.h"
#include "layers/convolution/convolution_base.h"

#include <string.h>

enum {
    POSITIONS = 16384, /* of a layer, at most */
    VALUES = 64 << 20, /* in all of them, at most */
    FEWEST = 64,       /* positions, even if these are more values */
};

/* ---- layers ---- */

static bool is_type(const qf_layer *layer, const char *name)
{
    return strcmp(layer->type->name, name) == 0;
}

static bool take_convolution(const qf_layer *layer, qf_layer_samples *out)
{
    const qf_convolution_state *s = layer->state;
    if (s->axis != 1 || s->spatial_axes != 2)
        return false;
    for (int i = 0; i < 2; i++) {
        out->kernel[i] = s->kernel[i];
        out->stride[i] = s->stride[i];
        out->pad[i] = s->pad[i];
        out->dilation[i] = s->dilation[i];
    }
    out->transposed = s->transposed;
    out->groups = (size_t)s->groups;
    out->outputs = (size_t)s->outputs / out->groups;
    out->inputs = (size_t)s->channels / out->groups * (size_t)(s->kernel[0] * s->kernel[1]);
    return true;
}

static bool take_product(const qf_layer *layer, qf_layer_samples *out)
{
    const Caffe__InnerProductParameter *p = layer->param->inner_product_param;
    const qf_blob *weights = layer->params[0].blob;
    if (p->transpose || p->normalize)
        return false;
    for (int i = 0; i < 2; i++)
        out->kernel[i] = out->stride[i] = out->dilation[i] = 1;
    out->groups = 1;
    out->outputs = (size_t)qf_blob_dimension(weights, 0);
    out->inputs = qf_blob_count(weights) / out->outputs;
    return true;
}

qf_status qf_layer_samples_open(qf_context *context, const qf_layer *layer, int batches, bool *fits,
                                qf_layer_samples *out)
{
    *out = (qf_layer_samples){0};
    *fits = is_type(layer, "InnerProduct") ? take_product(layer, out)
            : is_type(layer, "Convolution") || is_type(layer, "DepthwiseConvolution") ||
                    is_type(layer, "Deconvolution")
                ? take_convolution(layer, out)
                : false;
    if (!*fits)
        return QF_OK;
    const size_t values = out->groups * (out->inputs + out->outputs);
    size_t positions = VALUES / values < POSITIONS ? VALUES / values : POSITIONS;
    positions = positions < FEWEST ? FEWEST : positions;
    out->each = positions / (size_t)batches ? positions / (size_t)batches : 1;
    out->room = out->each * (size_t)batches;
    out->input = qf_alloc_raw(out->room * out->groups * out->inputs, sizeof *out->input);
    out->target = qf_alloc_raw(out->room * out->groups * out->outputs, sizeof *out->target);
    return out->input && out->target
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for %zu positions of layer %s", out->room,
                         layer->name);
}

size_t qf_layer_samples_place(const qf_layer_samples *s, size_t i)
{
    const size_t kernel = (size_t)(s->kernel[0] * s->kernel[1]), channels = s->inputs / kernel;
    const size_t in = i % s->inputs, out = i / s->inputs % s->outputs;
    const size_t group = i / s->inputs / s->outputs;
    return s->transposed
               ? ((group * channels + in / kernel) * s->outputs + out) * kernel + in % kernel
               : i;
}

void qf_layer_samples_close(qf_layer_samples *samples)
{
    qf_free(samples->input);
    qf_free(samples->target);
    *samples = (qf_layer_samples){0};
}

/* ---- batches ---- */

/* A batch of images; one pixel each in and out where rows are multiplied. */
typedef struct images {
    const float *in, *out;
    size_t count;
    int height, width;
    size_t out_height, out_width;
} images;

/* Which row or column of the input a tap of the kernel reads for an output; below 0: none. */
static int tap(const qf_layer_samples *s, int axis, size_t output, int index)
{
    if (!s->transposed)
        return (int)output * s->stride[axis] - s->pad[axis] + index * s->dilation[axis];
    const int from = (int)output + s->pad[axis] - index * s->dilation[axis];
    return from >= 0 && from % s->stride[axis] == 0 ? from / s->stride[axis] : -1;
}

/* The window of channels first … of an image; 0 where it reaches beyond. */
static void copy_window(const images *m, const qf_layer_samples *s, const float *image, size_t y,
                        size_t x, float *row)
{
    const size_t channels = s->inputs / (size_t)(s->kernel[0] * s->kernel[1]);
    for (size_t c = 0; c < channels; c++, image += m->height * m->width)
        for (int i = 0; i < s->kernel[0]; i++)
            for (int j = 0; j < s->kernel[1]; j++) {
                const int v = tap(s, 0, y, i), u = tap(s, 1, x, j);
                const bool inside = v >= 0 && v < m->height && u >= 0 && u < m->width;
                *row++ = inside ? image[v * m->width + u] : 0;
            }
}

static void copy_position(const images *m, size_t position, qf_layer_samples *s)
{
    const size_t pixels = m->out_height * m->out_width, outputs = s->groups * s->outputs;
    const size_t image = position / pixels, pixel = position % pixels;
    const size_t channels = s->inputs / (size_t)(s->kernel[0] * s->kernel[1]);
    const size_t plane = (size_t)m->height * (size_t)m->width;
    for (size_t g = 0; g < s->groups; g++)
        copy_window(m, s, m->in + (image * s->groups + g) * channels * plane, pixel / m->out_width,
                    pixel % m->out_width, s->input + (g * s->room + s->count) * s->inputs);
    for (size_t c = 0; c < outputs; c++)
        s->target[s->count * outputs + c] = m->out[(image * outputs + c) * pixels + pixel];
    s->count++;
}

static qf_status read_images(const qf_net_pair *pair, const qf_pair_unit *unit,
                             const qf_layer_samples *s, images *out)
{
    const qf_layer *object = pair->fake->layers[unit->object];
    qf_tensor *in = object->bottom[0]->data, *to = qf_pair_plain_output(pair, unit);
    const bool product = is_type(object, "InnerProduct");
    *out = (images){NULL, NULL, 0, 1, 1, 1, 1};
    if (!product && in->shape.axes == 4 && to->shape.axes == 4) {
        out->height = in->shape.dim[2];
        out->width = in->shape.dim[3];
        out->out_height = (size_t)to->shape.dim[2];
        out->out_width = (size_t)to->shape.dim[3];
    }
    const size_t outputs = s->groups * s->outputs * out->out_height * out->out_width;
    const size_t kernel = (size_t)(s->kernel[0] * s->kernel[1]);
    const size_t inputs =
        s->groups * (s->inputs / kernel) * (size_t)out->height * (size_t)out->width;
    out->count = outputs ? qf_shape_count(&to->shape) / outputs : 0;
    if (!out->count || out->count * outputs != qf_shape_count(&to->shape) ||
        out->count * inputs != qf_shape_count(&in->shape))
        return qf_fail(pair->context, QF_E_MISMATCH, "the models are not of one net");
    QF_TRY(qf_read(pair->context, in, QF_PLAIN, &out->in));
    return qf_read(pair->context, to, QF_PLAIN, &out->out);
}

qf_status qf_layer_samples_add(const qf_net_pair *pair, const qf_pair_unit *unit, qf_random *random,
                               qf_layer_samples *samples)
{
    images m;
    QF_TRY(read_images(pair, unit, samples, &m));
    const size_t positions = m.count * m.out_height * m.out_width;
    const size_t room = samples->room - samples->count;
    size_t wanted = positions < samples->each ? positions : samples->each;
    wanted = wanted < room ? wanted : room;
    for (size_t i = 0; i < wanted; i++) { /* one of each of so many equal parts */
        const size_t first = i * positions / wanted, end = (i + 1) * positions / wanted;
        copy_position(&m, first + qf_random_below(random, (uint32_t)(end - first)), samples);
    }
    return QF_OK;
}
