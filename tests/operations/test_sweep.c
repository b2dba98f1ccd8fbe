/* Rows of sweeps: forward to the bit in every combination of stages, and gradients, of which those
 * without a sum over rows are compared to the bit as well. */
#include "operations/sweep_rows.h"

#include <math.h>
#include <string.h>

/* ---- forward ---- */

typedef struct forward_way {
    bool writes_y, writes_codes, in_place, searches, special;
} forward_way;

/* What comes out: y and codes, whichever are wanted, and the search's errors. */
typedef struct forward_results {
    qf_tensor *y, *codes;
    qf_shift_errors *errors;
} forward_results;

static void run_forward(const qf_device *device, const sweep_operands *o, const float *deq,
                        qf_tensor *x, qf_tensor *addend, const forward_results *r)
{
    qf_sweep sweep = o->sweep;
    if (r->errors)
        assert_ok(context,
                  device->sweep->search_begin(context, deq, NULL, sweep.channels, &sweep.search));
    assert_ok(context, device->sweep->forward(context, &sweep, x, addend, r->y, r->codes));
    if (r->errors)
        device->sweep->search_end(sweep.search, r->errors);
}

static forward_results make_results(const sweep_operands *o, qf_tensor *x, forward_way way)
{
    return (forward_results){way.in_place   ? x
                             : way.writes_y ? rows_like(x)
                                            : NULL,
                             way.writes_codes && o->shape->codes ? rows_like(x) : NULL,
                             way.searches ? qf_alloc(o->sweep.channels, sizeof(qf_shift_errors))
                                          : NULL};
}

static void forward(const qf_device *device, const void *of, forward_way way)
{
    sweep_operands o = sweep_open(of, way.special);
    const size_t channels = o.sweep.channels;
    float *deq = qf_alloc(channels, sizeof *deq);
    for (size_t c = 0; c < channels; c++)
        deq[c] = qf_random_uniform(&context->random, 1e-4f, 1e-2f);
    qf_tensor *x = rows_copy(o.x), *addend = o.addend ? rows_copy(o.addend) : NULL;
    const forward_results expected = make_results(&o, o.x, way), found = make_results(&o, x, way);
    rows_expect_begin();
    run_forward(&qf_reference, &o, deq, o.x, o.addend, &expected);
    rows_expect_end();
    if (!way.in_place)
        rows_input(x);
    if (addend)
        rows_input(addend);
    if (found.y)
        rows_output(found.y, ROWS_FLOATS);
    if (found.codes)
        rows_output(found.codes, 1u << QF_CODES);
    run_forward(device, &o, deq, x, addend, &found);
    rows_check();
    if (found.y)
        sweep_compare_bits(found.y, expected.y, "y");
    if (found.codes)
        rows_compare_form(found.codes, expected.codes, QF_CODES, "codes");
    if (found.errors && memcmp(found.errors, expected.errors, channels * sizeof *found.errors) != 0)
        fail_msg("the search found other errors");
    qf_free(expected.errors);
    qf_free(found.errors);
    qf_free(deq);
}

static void both(const qf_device *device, const void *shape)
{
    forward(device, shape, (forward_way){.writes_y = true, .writes_codes = true});
}

static void codes_alone(const qf_device *device, const void *shape)
{
    forward(device, shape, (forward_way){.writes_codes = true});
}

static void in_place(const qf_device *device, const void *shape)
{
    forward(device, shape, (forward_way){.in_place = true, .writes_codes = true});
}

static void searched(const qf_device *device, const void *shape)
{
    forward(device, shape, (forward_way){.writes_y = true, .searches = true});
}

/* A search and no other stage: nobody wants values. */
static void search_alone(const qf_device *device, const void *shape)
{
    sweep_operands o = sweep_open(shape, false);
    o.sweep = (qf_sweep){.rows = o.sweep.rows, .channels = o.sweep.channels};
    const size_t channels = o.sweep.channels;
    float *deq = qf_alloc(channels, sizeof *deq);
    qf_shift_errors *errors[2];
    for (int i = 0; i < 2; i++)
        errors[i] = qf_alloc(channels, sizeof **errors);
    for (size_t c = 0; c < channels; c++)
        deq[c] = qf_random_uniform(&context->random, 1e-4f, 1e-2f);
    rows_expect_begin();
    run_forward(&qf_reference, &o, deq, o.x, NULL, &(forward_results){.errors = errors[0]});
    rows_expect_end();
    rows_input(o.x);
    run_forward(device, &o, deq, o.x, NULL, &(forward_results){.errors = errors[1]});
    rows_check();
    assert_memory_equal(errors[1], errors[0], channels * sizeof **errors);
    for (int i = 0; i < 2; i++)
        qf_free(errors[i]);
    qf_free(deq);
}

static void special_values(const qf_device *device, const void *shape)
{
    forward(device, shape, (forward_way){.writes_y = true, .writes_codes = true, .special = true});
}

/* ---- backward ---- */

/* What the device is given otherwise than the reference, which makes the value again, is asked for
 * all and writes to tensors of their own. */
typedef struct backward_way {
    bool from_y;           /* the value is there */
    bool without_d;        /* nobody asks for d */
    bool d_over, dx_over;  /* d or dx is dy[0] */
    bool rounded, special; /* dx in bf16 */
} backward_way;

static void zero_some(qf_tensor *gradient, bool all)
{
    if (all || rows_chance(0.15))
        qf_tensor_set_zero(gradient);
}

static void draw_gradients(const sweep_operands *o, bool special, qf_sweep_gradients *g)
{
    void (*const fill)(qf_tensor *) = special ? rows_fill_special : rows_fill;
    const bool silent = rows_chance(0.05);
    g->count = o->shape->readers;
    g->code_count = o->shape->codes ? o->shape->code_readers : 0;
    g->terms = o->terms;
    g->batch_statistics = o->shape->norm && o->shape->batch;
    for (int i = 0; i < g->count; i++) {
        fill(g->dy[i] = rows_like(o->x));
        zero_some(g->dy[i], silent);
    }
    for (int i = 0; i < g->code_count; i++) {
        fill(g->codes[i] = rows_like(o->x));
        zero_some(g->codes[i], silent);
    }
}

static bool writes_over(const qf_sweep_gradients *g, const backward_way *way)
{
    return (way->d_over || way->dx_over) && g->count > 0 && g->code_count == 0;
}

/* Copies for the device, with inputs and outputs guarded. */
static void guard_inputs(qf_sweep_gradients *g, const backward_way *way)
{
    const bool first_is_output = writes_over(g, way);
    qf_tensor **inputs[] = {&g->x,          &g->y,          &g->addend,
                            &g->above[0].x, &g->above[1].x, &g->above[2].x};
    for (size_t i = 0; i < ROWS_COUNT(inputs); i++)
        if (*inputs[i])
            rows_input(*inputs[i] = rows_copy(*inputs[i]));
    for (int i = 0; i < g->code_count; i++)
        rows_input(g->codes[i] = rows_copy(g->codes[i]));
    for (int i = 0; i < g->count; i++) {
        g->dy[i] = rows_copy(g->dy[i]);
        if (i > 0 || !first_is_output)
            rows_input(g->dy[i]);
    }
}

static void guard_outputs(qf_sweep_gradients *g, const backward_way *way, qf_tensor *like)
{
    const bool over = writes_over(g, way);
    g->d = way->without_d ? NULL : way->d_over && over ? g->dy[0] : rows_like(like);
    g->dx = way->dx_over && over ? g->dy[0] : rows_like(like);
    if (g->d)
        rows_output(g->d, ROWS_FLOATS);
    rows_output(g->dx, way->rounded ? 1u << QF_BF16 : ROWS_FLOATS);
}

/* Gradients are added to what is there. */
static qf_tensor *parameters(size_t channels)
{
    qf_tensor *tensor = sweep_channels(channels);
    float *values;
    assert_ok(context, qf_write(context, tensor, QF_PLAIN, &values));
    for (size_t c = 0; c < channels; c++)
        values[c] = (float)(c % 7) - 3;
    rows_output(tensor, ROWS_FLOATS);
    return tensor;
}

static void run_backward(const qf_device *device, const sweep_operands *o, qf_sweep_gradients *g)
{
    if (o->shape->factor)
        g->factor = parameters(o->sweep.channels);
    if (o->shape->summand)
        g->summand = parameters(o->sweep.channels);
    for (int i = 0; i < 2; i++)
        g->clip[i] = parameters(1);
    assert_ok(context, device->sweep->backward(context, &o->sweep, g));
}

static void compare_backward(const qf_device *device, const sweep_operands *o,
                             const qf_sweep_gradients *found, const qf_sweep_gradients *expected,
                             const backward_way *way)
{
    const bool sums = expected->batch_statistics;
    if (found->d)
        sweep_compare_bits(found->d, expected->d, "d");
    if (!sums && way->rounded)
        rows_compare_form(found->dx, expected->dx, QF_BF16, "dx");
    else if (!sums)
        sweep_compare_bits(found->dx, expected->dx, "dx");
    if (way->special) /* sums of infinities have no rounding */
        return;
    const sweep_magnitudes m = sweep_measure(o, expected);
    /* A rounding of bf16 that falls to the other side is 2⁻⁸ of the value, or 2⁻⁷ beside a power
     * of two. */
    if (sums)
        rows_compare(device, found->dx, expected->dx, m.dx, way->rounded ? 0x1p-7 : ROWS_ROUNDING,
                     "dx");
    if (expected->factor)
        rows_compare(device, found->factor, expected->factor, m.factor, ROWS_ROUNDING,
                     "gradient of the factor");
    if (expected->summand)
        rows_compare(device, found->summand, expected->summand, m.summand, ROWS_ROUNDING,
                     "gradient of the summand");
    for (int i = 0; i < 2; i++)
        rows_compare(device, found->clip[i], expected->clip[i], m.clip, ROWS_ROUNDING,
                     i ? "gradient of clip_min" : "gradient of clip_max");
}

static void backward(const qf_device *device, const void *of, backward_way way)
{
    sweep_operands o = sweep_open(of, way.special);
    const size_t channels = o.sweep.channels;
    qf_sweep_gradients expected = {0};
    qf_tensor *weights = sweep_channels(channels);
    rows_fill_weights(weights, (int)channels, 0);
    draw_gradients(&o, way.special, &expected);
    sweep_list_values(&o, &expected);
    expected.dx_weights = way.rounded ? weights : NULL;
    qf_sweep_gradients found = expected;
    rows_expect_begin();
    if (way.from_y)
        found.y = sweep_value(&o);
    expected.d = rows_like(o.x);
    expected.dx = rows_like(o.x);
    run_backward(&qf_reference, &o, &expected);
    rows_expect_end();
    guard_inputs(&found, &way);
    guard_outputs(&found, &way, o.x);
    run_backward(device, &o, &found);
    rows_check();
    compare_backward(device, &o, &found, &expected, &way);
}

static void made_again(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){0});
}

static void from_value(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){.from_y = true});
}

static void dx_alone(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){.without_d = true});
}

static void d_over_dy(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){.d_over = true});
}

static void dx_over_dy(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){.dx_over = true, .without_d = true});
}

static void in_bf16(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){.rounded = true, .without_d = rows_chance(0.5)});
}

static void special_gradients(const qf_device *device, const void *shape)
{
    backward(device, shape, (backward_way){.special = true, .without_d = rows_chance(0.5)});
}

int main(int argc, char **argv)
{
    static const rows_operation operations[] = {
        {"forward", NULL, both},
        {"forward-codes-alone", NULL, codes_alone},
        {"forward-in-place", NULL, in_place},
        {"forward-searched", "sweep:search", searched},
        {"search-alone", "sweep:search", search_alone},
        {"forward-special-values", NULL, special_values},
        {"backward", NULL, made_again},
        {"backward-from-value", NULL, from_value},
        {"backward-dx-alone", NULL, dx_alone},
        {"backward-d-over-dy", NULL, d_over_dy},
        {"backward-dx-over-dy", NULL, dx_over_dy},
        {"backward-bf16", NULL, in_bf16},
        {"backward-special-values", NULL, special_gradients},
    };
    const rows_family family = {"sweep",
                                operations,
                                ROWS_COUNT(operations),
                                sweep_shapes,
                                sizeof *sweep_shapes,
                                sweep_shape_count,
                                sweep_draw,
                                40};
    return rows_run(&family, argc, argv);
}
