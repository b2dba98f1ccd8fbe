/* Rows of convolutions' gradients: from floats, from codes, in bf16. */
#include "device/cpu/onednn.h"
#include "operations/convolve_rows.h"
#include "tensor/convert.h"

/* What is left of dy when it was multiplied by the weights' scales and rounded to bf16. */
static void round_gradient(qf_tensor *dy, const qf_tensor *w)
{
    const size_t count = qf_shape_count(&dy->shape), channels = (size_t)dy->shape.dim[1];
    float *values, *scale = qf_alloc(channels, sizeof *scale);
    uint16_t *rounded = qf_alloc(count, sizeof *rounded);
    for (size_t o = 0; o < channels; o++)
        scale[o] = w->weight_scale[o % (size_t)w->weight_scale_count];
    assert_ok(context, qf_update(context, dy, QF_NHWC, &values));
    qf_rows_to_bf16(values, scale, rounded, count / channels, channels);
    qf_rows_from_bf16(rounded, scale, values, count / channels, channels);
    qf_free(rounded);
    qf_free(scale);
}

typedef enum which { BOTH, DATA, WEIGHTS } which;

static qf_status differentiate(const qf_device *device, qf_convolution *c, which of, qf_tensor *x,
                               qf_tensor *w, qf_tensor *dy, qf_tensor *dw, qf_tensor *dx)
{
    const qf_convolve_family *f = device->convolve;
    return of == BOTH   ? f->backward(context, c, x, w, dy, dw, dx)
           : of == DATA ? f->backward_data(context, c, dy, w, dx)
                        : f->backward_weights(context, c, x, dy, dw);
}

/* Some window lies in the image's columns: bf16 has no excuse. */
static bool fits_image(const qf_convolution_shape *s)
{
    const int axis = s->spatial_axes - 1;
    return s->stride[axis] == 1 && s->in[axis] > s->dilation[axis] * (s->kernel[axis] - 1);
}

/* dw is zero at first, then added to. */
static void check_backward(const qf_device *device, const void *of, which part, bool codes,
                           bool bf16)
{
    convolve_operands o = convolve_open(device, of, false);
    qf_tensor *dy = o.y, *dw = part == DATA ? NULL : rows_like(o.w),
              *dx = part == WEIGHTS ? NULL : rows_like(o.x);
    qf_tensor *expected_w = rows_like(o.w), *expected_x = rows_like(o.x);
    qf_tensor *magnitude_w = rows_like(o.w), *magnitude_x = rows_like(o.x);
    rows_fill(dy);
    if (codes) {
        convolve_fill_codes(&o, o.x, false);
    } else {
        rows_fill(o.x);
        rows_fill(o.w);
    }
    context->backward = bf16 ? QF_BACKWARD_BF16 : QF_BACKWARD_F32;
    const bool rounds = device->convolve->takes_bf16(context, o.mine, o.x, o.w);
    assert_false(rounds && !(bf16 && codes));
    if (device == &qf_cpu && !*rows_forced() && bf16 && qf_onednn_has_bf16() && o.s.groups == 1 &&
        o.s.batch > 0 && fits_image(&o.s))
        assert_true(rounds);
    qf_tensor *gradient = rows_copy(dy), *x = rows_copy(o.x), *w = rows_copy(o.w);
    if (rounds)
        round_gradient(gradient, o.w);
    for (int pass = 1; pass <= 2; pass++) {
        rows_expect_begin();
        assert_ok(context, differentiate(&qf_reference, o.reference, BOTH, o.x, o.w, gradient,
                                         expected_w, expected_x));
        assert_ok(context, differentiate(&qf_reference, o.reference, BOTH, rows_absolute(o.x),
                                         rows_absolute(o.w), rows_absolute(gradient), magnitude_w,
                                         magnitude_x));
        rows_expect_end();
        convolve_inputs(x, w, dy);
        if (dw)
            rows_output(dw, 1u << QF_PLAIN);
        if (dx)
            rows_output(dx, ROWS_FLOATS);
        assert_ok(context, differentiate(device, o.mine, part, x, w, dy, dw, dx));
        rows_check();
        if (dx)
            rows_compare(device, dx, expected_x, magnitude_x, ROWS_ROUNDING, "data gradient");
        if (dw)
            rows_compare(device, dw, expected_w, magnitude_w, ROWS_ROUNDING,
                         "gradient of the weights");
    }
    convolve_close(&o);
}

static void backward(const qf_device *device, const void *of)
{
    check_backward(device, of, BOTH, false, false);
}

static void backward_codes(const qf_device *device, const void *of)
{
    check_backward(device, of, BOTH, true, false);
}

static void backward_bf16(const qf_device *device, const void *of)
{
    check_backward(device, of, BOTH, true, true);
}

static void backward_data(const qf_device *device, const void *of)
{
    check_backward(device, of, DATA, rows_chance(0.5), false);
}

static void backward_weights(const qf_device *device, const void *of)
{
    check_backward(device, of, WEIGHTS, rows_chance(0.5), false);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"both", "convolve:backward", backward},
        {"codes", "convolve:backward", backward_codes},
        {"bf16", "convolve:backward", backward_bf16},
        {"data", "convolve:backward_data", backward_data},
        {"weights", "convolve:backward_weights", backward_weights},
    };
    const rows_family family = {
        "convolve-backward",     operations,           ROWS_COUNT(operations), convolve_shapes,
        sizeof *convolve_shapes, convolve_shape_count, convolve_draw,          24};
    return rows_run(&family, argc, argv);
}
