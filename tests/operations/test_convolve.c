/* Rows of convolutions and their transposes: all number formats, and with what follows. */
#include "base/memory.h"
#include "device/cpu/onednn.h"
#include "operations/convolve_rows.h"

#include <string.h>

/* ---- sums ---- */

typedef qf_status (*forward_function)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                      qf_tensor *bias, qf_tensor *y);

static forward_function floats_of(const qf_device *device, bool transposed)
{
    return transposed ? device->convolve->transposed : device->convolve->forward;
}

static forward_function integers_of(const qf_device *device, bool transposed)
{
    return transposed ? device->convolve->transposed_integer : device->convolve->forward_integer;
}

/* The reference's result, and with absolute values in place of all. */
static void expect(const convolve_operands *o, bool transposed, qf_tensor *x, qf_tensor *expected,
                   qf_tensor *magnitude)
{
    const forward_function run = floats_of(&qf_reference, transposed);
    rows_expect_begin();
    assert_ok(context, run(context, o->reference, x, o->w, o->bias, expected));
    assert_ok(context, run(context, o->reference, rows_absolute(x), rows_absolute(o->w),
                           rows_absolute(o->bias), magnitude));
    rows_expect_end();
}

/* Are sums of codes computed as integers, so that the result has the reference's bits? In three
 * axes oneDNN may have no way. */
static bool is_exact(const convolve_operands *o, bool transposed)
{
    double products = o->s.in_channels / o->s.groups;
    for (int i = 0; i < o->s.spatial_axes; i++)
        products *= o->s.kernel[i];
    return strcmp(rows_forced(), "onednn") != 0 && /* that one, of floats */
           context->compute != QF_COMPUTE_FLOAT && !transposed && o->s.spatial_axes < 3 &&
           (qf_onednn_has_exact_int8() || products * 255 * 128 <= 1 << 24);
}

static void check_forward(const qf_device *device, const void *of, bool transposed, bool codes)
{
    convolve_operands o = convolve_open(device, of, transposed);
    qf_tensor *x = transposed ? o.y : o.x, *y = transposed ? o.x : o.y;
    if (codes) {
        convolve_fill_codes(&o, x, transposed);
    } else {
        rows_fill(x);
        rows_fill(o.w);
    }
    if (o.bias)
        rows_fill(o.bias);
    qf_tensor *expected = rows_like(y), *magnitude = rows_like(y);
    qf_tensor *mine = rows_copy(x), *weights = rows_copy(o.w); /* no form is made for them */
    expect(&o, transposed, x, expected, magnitude);
    convolve_inputs(mine, weights, o.bias);
    rows_output(y, ROWS_FLOATS);
    assert_ok(context, floats_of(device, transposed)(context, o.mine, mine, weights, o.bias, y));
    rows_check();
    rows_compare(device, y, expected, codes && is_exact(&o, transposed) ? NULL : magnitude,
                 ROWS_ROUNDING, "result");
    convolve_close(&o);
}

static void check_integers(const qf_device *device, const void *of, bool transposed)
{
    convolve_operands o = convolve_open(device, of, transposed);
    qf_tensor *x = transposed ? o.y : o.x, *y = transposed ? o.x : o.y;
    convolve_fill_codes(&o, x, transposed);
    if (o.bias)
        rows_fill_integers(o.bias);
    qf_tensor *expected = rows_like(y);
    rows_expect_begin();
    assert_ok(context, integers_of(&qf_reference, transposed)(context, o.reference, x, o.w, o.bias,
                                                              expected));
    rows_expect_end();
    convolve_inputs(x, o.w, o.bias);
    rows_output(y, 1u << QF_INTEGERS);
    assert_ok(context, integers_of(device, transposed)(context, o.mine, x, o.w, o.bias, y));
    rows_check();
    rows_compare_form(y, expected, QF_INTEGERS, "sums");
    convolve_close(&o);
}

static void forward(const qf_device *device, const void *of)
{
    check_forward(device, of, false, false);
}

static void forward_codes(const qf_device *device, const void *of)
{
    check_forward(device, of, false, true);
}

static void forward_codes_int8(const qf_device *device, const void *of)
{
    context->compute = QF_COMPUTE_INT8;
    check_forward(device, of, false, true);
}

static void forward_codes_float(const qf_device *device, const void *of)
{
    context->compute = QF_COMPUTE_FLOAT;
    check_forward(device, of, false, true);
}

static void forward_integer(const qf_device *device, const void *of)
{
    check_integers(device, of, false);
}

static void transposed(const qf_device *device, const void *of)
{
    check_forward(device, of, true, false);
}

static void transposed_codes(const qf_device *device, const void *of)
{
    check_forward(device, of, true, true);
}

static void transposed_codes_int8(const qf_device *device, const void *of)
{
    context->compute = QF_COMPUTE_INT8;
    check_forward(device, of, true, true);
}

static void transposed_integer(const qf_device *device, const void *of)
{
    check_integers(device, of, true);
}

/* ---- with what follows ---- */

/* Rounding of the sum goes through ReLU undiminished, with a slope that is not above 1. */
static void forward_fused(const qf_device *device, const void *of)
{
    convolve_operands o = convolve_open(device, of, false);
    const qf_epilogue e = {rows_chance(0.5), rows_chance(0.7), rows_chance(0.5) ? 0 : 0.1f, 0};
    qf_epilogue epilogue = e;
    if (epilogue.relu && epilogue.relu_slope == 0 && rows_chance(0.5))
        epilogue.relu_limit = 6;
    rows_fill(o.x);
    rows_fill(o.w);
    if (o.bias)
        rows_fill(o.bias);
    rows_fill(o.y);
    qf_tensor *expected = rows_copy(o.y), *magnitude = rows_absolute(o.y);
    const qf_epilogue adding = {.sum = e.sum};
    rows_expect_begin();
    assert_ok(context, qf_reference.convolve->forward_fused(context, o.reference, o.x, o.w, o.bias,
                                                            &epilogue, expected));
    assert_ok(context, qf_reference.convolve->forward_fused(
                           context, o.reference, rows_absolute(o.x), rows_absolute(o.w),
                           rows_absolute(o.bias), &adding, magnitude));
    rows_expect_end();
    convolve_inputs(o.x, o.w, o.bias);
    rows_output(o.y, ROWS_FLOATS);
    assert_ok(context,
              device->convolve->forward_fused(context, o.mine, o.x, o.w, o.bias, &epilogue, o.y));
    rows_check();
    rows_compare(device, o.y, expected, magnitude, ROWS_ROUNDING, "result");
    convolve_close(&o);
}

static qf_requantisation draw_requantisation(int channels)
{
    qf_requantisation r = {.channels = (size_t)channels,
                           .deq = rows_tensor(1, &channels),
                           .shift = rows_tensor(1, &channels),
                           .shifted = rows_chance(0.5),
                           .regular = true,
                           .relu = rows_chance(0.6),
                           .relu_slope = rows_chance(0.7) ? 0 : 0.1f,
                           .scale = 0.07f,
                           .offset_d = rows_between(-128, 127)};
    float *deq;
    int32_t *shift;
    if (r.relu && r.relu_slope == 0 && rows_chance(0.5))
        r.relu_limit = 6;
    assert_ok(context, qf_write(context, r.deq, QF_PLAIN, &deq));
    assert_ok(context, qf_tensor_write(context, r.shift, QF_INTEGERS, &shift));
    for (int c = 0; c < channels; c++) {
        deq[c] = qf_random_uniform(&context->random, 1e-5f, 1e-3f);
        shift[c] = r.shifted ? rows_between(0, QF_SHIFT_MAX) : 0;
    }
    return r;
}

static void forward_requantised(const qf_device *device, const void *of)
{
    convolve_operands o = convolve_open(device, of, false);
    const bool adds = rows_chance(0.5), values = rows_chance(0.5),
               codes = !values || rows_chance(0.8);
    const qf_requantisation r = draw_requantisation(o.s.out_channels);
    convolve_fill_codes(&o, o.x, false);
    if (o.bias)
        rows_fill_integers(o.bias);
    qf_tensor *addend = adds ? rows_like(o.y) : NULL;
    qf_tensor *y[2] = {values ? o.y : NULL, values ? rows_like(o.y) : NULL};
    qf_tensor *c[2] = {codes ? rows_like(o.y) : NULL, codes ? rows_like(o.y) : NULL};
    if (adds)
        rows_fill(addend);
    rows_expect_begin();
    assert_ok(context, qf_reference.convolve->forward_requantised(context, o.reference, o.x, o.w,
                                                                  o.bias, &r, addend, y[1], c[1]));
    rows_expect_end();
    convolve_inputs(o.x, o.w, o.bias);
    if (adds)
        rows_input(addend);
    if (values)
        rows_output(y[0], ROWS_FLOATS);
    if (codes)
        rows_output(c[0], 1u << QF_CODES);
    assert_ok(context, device->convolve->forward_requantised(context, o.mine, o.x, o.w, o.bias, &r,
                                                             addend, y[0], c[0]));
    rows_check();
    if (values)
        rows_compare(device, y[0], y[1], NULL, 0, "values");
    if (codes)
        rows_compare_form(c[0], c[1], QF_CODES, "codes");
    convolve_close(&o);
}

/* ---- with a sweep behind ---- */

/* What looks at values, and what it finds. */
typedef struct lookers {
    qf_shift_tail *tails; /* of each channel */
    qf_ifmr_data data;
} lookers;

static lookers open_lookers(size_t channels)
{
    lookers l = {.tails = qf_alloc(channels, sizeof *l.tails)};
    assert_non_null(l.tails);
    assert_ok(context, qf_ifmr_data_need_bins(context, &l.data));
    return l;
}

static void close_lookers(lookers *l)
{
    qf_free(l->tails);
    qf_ifmr_data_release(&l->data);
}

/* Few integers: no order of their sums rounds. */
static void fill_exact(qf_tensor *tensor)
{
    float *values;
    if (!tensor)
        return;
    assert_ok(context, qf_write(context, tensor, rows_chance(0.5) ? QF_PLAIN : QF_NHWC, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = (float)rows_between(-3, 3);
}

static void run_swept(const qf_device *device, qf_convolution *operation,
                      const convolve_operands *o, qf_sweep sweep, lookers *l, qf_tensor *addend,
                      qf_tensor *y)
{
    const qf_convolved convolved = {device->convolve, operation, o->x, o->w, o->bias};
    assert_ok(context,
              device->sweep->search_begin(context, NULL, l->tails, sweep.channels, &sweep.search));
    assert_ok(context, device->sweep->count_begin(context, &l->data, &sweep.count));
    assert_ok(context, device->sweep->forward_convolved(context, &convolved, &sweep, addend, y));
    device->sweep->search_end(sweep.search, NULL);
    assert_true(device->sweep->count_end(sweep.count));
}

static void forward_swept(const qf_device *device, const void *of)
{
    convolve_operands o = convolve_open(device, of, false);
    const qf_extent e = qf_tensor_extent(&o.y->shape);
    const bool adds = rows_chance(0.6), over = adds && rows_chance(0.5);
    const qf_sweep sweep = {.rows = e.batch * e.inner,
                            .channels = e.channels,
                            .relu = rows_chance(0.7),
                            .relu_slope = rows_chance(0.5) ? 0 : 0.5f};
    lookers mine = open_lookers(e.channels), expected = open_lookers(e.channels);
    fill_exact(o.x);
    fill_exact(o.w);
    fill_exact(o.bias);
    fill_exact(over ? o.y : NULL);
    qf_tensor *y = rows_copy(o.y), *addend = adds && !over ? rows_like(o.y) : over ? o.y : NULL;
    fill_exact(over ? NULL : addend);
    rows_expect_begin();
    run_swept(&qf_reference, o.reference, &o, sweep, &expected, over ? y : addend, y);
    rows_expect_end();
    convolve_inputs(o.x, o.w, o.bias);
    if (addend && !over)
        rows_input(addend);
    rows_output(o.y, ROWS_FLOATS);
    run_swept(device, o.mine, &o, sweep, &mine, addend, o.y);
    rows_check();
    rows_compare(device, o.y, y, NULL, 0, "values");
    assert_memory_equal(mine.tails, expected.tails, e.channels * sizeof *mine.tails);
    assert_int_equal(mine.data.count, sweep.rows * sweep.channels);
    assert_int_equal(mine.data.grid.exponent, expected.data.grid.exponent);
    assert_memory_equal(mine.data.bins, expected.data.bins, QF_IFMR_DATA_BINS * sizeof(uint64_t));
    assert_int_equal(mine.data.top.count, expected.data.top.count);
    for (size_t i = 0; i < mine.data.top.count; i++) /* 0 may have either sign */
        assert_true(mine.data.top.value[i] == expected.data.top.value[i]);
    close_lookers(&mine);
    close_lookers(&expected);
    convolve_close(&o);
}

/* In a net a batch of no images is not swept. */
static void forward_swept_images(const qf_device *device, const void *of)
{
    if (((const convolve_shape *)of)->s.batch)
        forward_swept(device, of);
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"forward", "convolve:forward", forward},
        {"forward-codes", "convolve:forward", forward_codes},
        {"forward-codes-int8", "convolve:forward", forward_codes_int8},
        {"forward-codes-float", "convolve:forward", forward_codes_float},
        {"forward-integer", "convolve:forward_integer", forward_integer},
        {"forward-fused", "convolve:forward_fused", forward_fused},
        {"forward-swept", "convolve:forward_swept", forward_swept_images},
        {"forward-requantised", "convolve:forward_requantised", forward_requantised},
        {"transposed", "convolve:transposed", transposed},
        {"transposed-codes", "convolve:transposed", transposed_codes},
        {"transposed-codes-int8", "convolve:transposed", transposed_codes_int8},
        {"transposed-integer", "convolve:transposed_integer", transposed_integer},
    };
    const rows_family family = {"convolve",
                                operations,
                                ROWS_COUNT(operations),
                                convolve_shapes,
                                sizeof *convolve_shapes,
                                convolve_shape_count,
                                convolve_draw,
                                24};
    return rows_run(&family, argc, argv);
}
