/* The shapes of convolutions in rows, and what each row needs. */
#include "operations/convolve_rows.h"

#include <string.h>

const convolve_shape convolve_shapes[] = {
    /* axes, batch, in, out, groups, sizes, -, kernel, stride, dilation, pad, pad behind */
    {"3x3", {2, 1, 3, 8, 1, {9, 9}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 128},
    {"3x3-stride2", {2, 2, 8, 24, 1, {12, 9}, {0}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}}, 140},
    {"3x3-dilated", {2, 3, 20, 17, 1, {12, 12}, {0}, {3, 3}, {1, 1}, {2, 3}, {2, 3}, {2, 3}}, 131},
    {"3x3-deep", {2, 1, 512, 32, 1, {3, 3}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 64},
    {"3x3-images", {2, 4, 8, 20, 1, {27, 26}, {0}, {3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 9},
    {"3x3-vectors", {2, 2, 16, 24, 1, {6, 5}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 1},
    {"3x3-uneven", {2, 2, 5, 7, 1, {6, 5}, {0}, {3, 3}, {2, 2}, {1, 1}, {0, 1}, {2, 0}}, 50},
    {"3x3-same", {2, 2, 3, 16, 1, {12, 10}, {0}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}}, 254},
    {"1x1", {2, 2, 64, 70, 1, {5, 4}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 0},
    {"1x1-single", {2, 1, 1, 1, 1, {1, 1}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 128},
    {"1x1-over-images", {2, 5, 4, 130, 1, {3, 5}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 77},
    {"1x1-stride", {2, 1, 5, 3, 1, {4, 6}, {0}, {1, 1}, {2, 3}, {1, 1}, {0, 0}, {0, 0}}, 255},
    {"1x1-stride-rest", {2, 2, 6, 9, 1, {7, 8}, {0}, {1, 1}, {2, 3}, {1, 1}, {0, 0}, {0, 0}}, 3},
    {"1x1-channels", {2, 2, 36, 257, 1, {1, 1}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 31},
    {"1x1-weights", {2, 1, 64, 48, 1, {2, 2}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 99},
    {"1x1-beside", {2, 1, 16, 20, 1, {5, 6}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 1}, {2, 0}}, 77},
    {"1x1-padded", {2, 2, 8, 4, 1, {4, 5}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 1}, {1, 0}}, 100},
    {"1x3-long-rows",
     {2, 1, 600, 7, 1, {2, 300}, {0}, {1, 3}, {1, 1}, {1, 2}, {0, 2}, {0, 2}},
     100},
    {"7x7-image", {2, 2, 3, 33, 1, {40, 37}, {0}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}}, 200},
    {"7x7-small", {2, 3, 3, 16, 1, {15, 13}, {0}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}}, 128},
    {"7x5-uneven", {2, 2, 3, 33, 1, {20, 17}, {0}, {7, 5}, {2, 2}, {1, 1}, {2, 1}, {3, 4}}, 200},
    {"5x5-lenet", {2, 1, 1, 20, 1, {9, 12}, {0}, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 0},
    {"5x5-grey", {2, 2, 1, 6, 1, {9, 7}, {0}, {5, 5}, {1, 1}, {1, 1}, {2, 2}, {2, 2}}, 3},
    {"grey-dilated", {2, 2, 1, 5, 1, {11, 12}, {0}, {3, 4}, {2, 1}, {1, 3}, {1, 4}, {0, 5}}, 90},
    {"grey-far-padding", {2, 1, 1, 3, 1, {4, 3}, {0}, {3, 5}, {1, 1}, {1, 2}, {2, 6}, {3, 7}}, 8},
    {"4x4-border", {2, 3, 2, 64, 1, {2, 2}, {0}, {4, 4}, {1, 1}, {1, 1}, {2, 2}, {2, 2}}, 128},
    {"gaps-in-rows", {2, 2, 4, 3, 1, {11, 6}, {0}, {3, 2}, {3, 2}, {2, 1}, {2, 0}, {2, 0}}, 8},
    {"gaps-in-columns", {2, 2, 3, 5, 1, {6, 6}, {0}, {3, 3}, {1, 1}, {1, 2}, {0, 0}, {0, 0}}, 8},
    {"unread-pixels", {2, 2, 2, 3, 1, {5, 5}, {0}, {2, 2}, {3, 3}, {1, 1}, {0, 0}, {0, 0}}, 17},
    {"far-padding", {2, 1, 5, 9, 1, {3, 4}, {0}, {2, 3}, {2, 1}, {1, 1}, {3, 5}, {4, 3}}, 8},
    {"1x1-odd", {2, 1, 19, 33, 1, {6, 10}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 100},
    {"column", {2, 2, 51, 45, 1, {9, 1}, {0}, {5, 2}, {1, 3}, {1, 1}, {0, 0}, {0, 1}}, 100},
    {"pixel", {2, 3, 40, 24, 1, {1, 1}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 100},
    {"pixel-column", {2, 2, 16, 24, 1, {5, 1}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 100},
    {"pixel-row", {2, 2, 16, 24, 1, {1, 6}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 100},
    {"two-columns", {2, 2, 16, 24, 1, {6, 2}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 100},
    {"two-columns-5", {2, 2, 16, 24, 1, {6, 2}, {0}, {5, 5}, {1, 1}, {1, 1}, {2, 2}, {2, 2}}, 100},
    {"two-columns-2", {2, 2, 16, 24, 1, {6, 2}, {0}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}}, 100},
    {"groups", {2, 2, 16, 24, 4, {8, 7}, {0}, {3, 2}, {2, 1}, {1, 1}, {1, 0}, {1, 0}}, 255},
    {"groups-5x4", {2, 2, 6, 8, 2, {17, 16}, {0}, {5, 4}, {3, 2}, {1, 1}, {1, 1}, {1, 1}}, 200},
    {"groups-3x3", {2, 1, 6, 8, 2, {5, 5}, {0}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}}, 128},
    {"groups-uneven", {2, 1, 6, 8, 2, {9, 8}, {0}, {3, 3}, {1, 1}, {2, 1}, {0, 2}, {3, 0}}, 9},
    {"groups-behind", {2, 1, 6, 8, 2, {5, 5}, {0}, {3, 3}, {1, 1}, {1, 1}, {2, 1}, {0, 2}}, 9},
    {"depthwise", {2, 3, 72, 72, 72, {29, 30}, {0}, {3, 3}, {2, 1}, {1, 1}, {1, 1}, {1, 1}}, 140},
    {"depthwise-5x3", {2, 1, 12, 12, 12, {11, 11}, {0}, {5, 3}, {1, 2}, {1, 1}, {2, 1}, {2, 1}}, 7},
    {"depthwise-2x2",
     {2, 2, 128, 128, 128, {9, 8}, {0}, {2, 2}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
     3},
    {"depthwise-dilated",
     {2, 1, 16, 16, 16, {12, 10}, {0}, {4, 5}, {1, 1}, {2, 1}, {3, 2}, {3, 2}},
     250},
    {"depthwise-upsampling",
     {2, 1, 21, 21, 21, {32, 30}, {0}, {4, 4}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
     9},
    {"depthwise-4x2", {2, 2, 32, 32, 32, {4, 6}, {0}, {4, 2}, {3, 1}, {1, 1}, {0, 0}, {0, 0}}, 9},
    {"depthwise-uneven",
     {2, 2, 40, 40, 40, {9, 8}, {0}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}},
     131},
    {"one-axis", {1, 3, 4, 5, 1, {9}, {0}, {3}, {2}, {1}, {1}, {1}}, 60},
    {"one-axis-1", {1, 3, 4, 5, 1, {9}, {0}, {1}, {4}, {1}, {0}, {0}}, 60},
    {"three-axes",
     {3, 1, 3, 6, 1, {5, 4, 6}, {0}, {3, 2, 3}, {1, 2, 1}, {1, 1, 2}, {1, 0, 2}, {1, 0, 2}},
     90},
    {"three-axes-1",
     {3, 1, 3, 2, 1, {3, 4, 5}, {0}, {1, 1, 1}, {2, 1, 2}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
     90},
    {"no-images", {2, 0, 3, 4, 1, {5, 4}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, 9},
    {"no-images-1x1", {2, 0, 3, 4, 1, {5, 4}, {0}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, 9},
    {"no-images-depthwise",
     {2, 0, 3, 3, 3, {5, 4}, {0}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
     9},
    /* Deconvolution's: pixels at the end that no window meets */
    {"transposed-rest", {2, 2, 6, 5, 1, {7, 7}, {0}, {3, 2}, {2, 3}, {1, 1}, {1, 0}, {-1, -2}}, 77},
};

const size_t convolve_shape_count = ROWS_COUNT(convolve_shapes);

static int reach(const qf_convolution_shape *s, int axis)
{
    return s->dilation[axis] * (s->kernel[axis] - 1) + 1;
}

static qf_convolution_shape complete(const void *of)
{
    qf_convolution_shape s = ((const convolve_shape *)of)->s;
    for (int i = 0; i < s.spatial_axes; i++)
        s.out[i] = (s.in[i] + s.pad[i] + s.pad_end[i] - reach(&s, i)) / s.stride[i] + 1;
    return s;
}

void convolve_draw(void *to)
{
    convolve_shape *drawn = to;
    qf_convolution_shape *s = &drawn->s;
    memset(s, 0, sizeof *s);
    drawn->zero = rows_between(0, 255);
    s->spatial_axes = rows_chance(0.8) ? 2 : rows_chance(0.5) ? 1 : 3;
    s->batch = rows_between(1, 3);
    s->groups = rows_chance(0.6) ? 1 : rows_between(2, 40);
    const int most = 70 / s->groups;
    s->in_channels = s->groups * rows_between(1, s->groups > 8 ? 1 : most);
    s->out_channels =
        rows_chance(0.5) && s->groups > 1 ? s->in_channels : s->groups * rows_between(1, most);
    for (int i = 0; i < s->spatial_axes; i++) {
        s->kernel[i] = rows_chance(0.3) ? 1 : rows_between(1, 5);
        s->stride[i] = rows_chance(0.5) ? 1 : rows_between(1, 3);
        s->dilation[i] = rows_chance(0.7) ? 1 : rows_between(1, 3);
        s->pad[i] = rows_chance(0.4) ? 0 : rows_between(0, reach(s, i) - 1);
        s->pad_end[i] = rows_chance(0.7) ? s->pad[i] : rows_between(0, reach(s, i) - 1);
        const int least = reach(s, i) - s->pad[i] - s->pad_end[i];
        s->in[i] = (least > 1 ? least : 1) + rows_between(0, s->spatial_axes > 2 ? 4 : 10);
    }
}

static qf_tensor *tensor_of(const qf_convolution_shape *s, int first, int second, const int *rest)
{
    int dimensions[2 + QF_MAX_SPATIAL] = {first, second};
    memcpy(dimensions + 2, rest, (size_t)s->spatial_axes * sizeof *rest);
    return rows_tensor(2 + s->spatial_axes, dimensions);
}

convolve_operands convolve_open(const qf_device *device, const void *of, bool transposed)
{
    convolve_operands o = {
        .device = device, .s = complete(of), .zero = ((const convolve_shape *)of)->zero};
    const qf_convolution_shape *s = &o.s;
    o.x = tensor_of(s, s->batch, s->in_channels, s->in);
    o.y = tensor_of(s, s->batch, s->out_channels, s->out);
    o.w = tensor_of(s, s->out_channels, s->in_channels / s->groups, s->kernel);
    o.bias =
        rows_chance(0.7) ? rows_tensor(1, transposed ? &s->in_channels : &s->out_channels) : NULL;
    assert_ok(context, device->convolve->create(context, s, &o.mine));
    assert_ok(context, qf_reference.convolve->create(context, s, &o.reference));
    return o;
}

void convolve_close(convolve_operands *o)
{
    o->device->convolve->destroy(o->mine);
    qf_reference.convolve->destroy(o->reference);
}

void convolve_fill_codes(const convolve_operands *o, qf_tensor *x, bool transposed)
{
    const int part = o->s.in_channels / o->s.groups;
    rows_fill_codes(x, o->zero);
    if (rows_chance(0.3))
        rows_fill_weights(o->w, 1, 0);
    else
        rows_fill_weights(o->w, transposed ? part : o->s.out_channels, transposed);
}

void convolve_inputs(qf_tensor *x, qf_tensor *w, qf_tensor *bias)
{
    rows_input(x);
    rows_input(w);
    if (bias)
        rows_input(bias);
}
