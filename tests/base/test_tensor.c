/* Tensors: forms, conversions, reshaping, sharing. */
#include "harness/fixture.h"
#include "tensor/view.h"

#include <string.h>

static qf_tensor *tensor_of(int axes, const int *dimensions)
{
    qf_tensor *tensor;
    qf_shape shape = qf_shape_make(axes, dimensions);
    assert_ok(context, qf_tensor_create(context, &tensor));
    assert_ok(context, qf_tensor_reshape(context, tensor, &shape));
    return tensor;
}

static void count_up(qf_tensor *tensor)
{
    float *values;
    assert_ok(context, qf_write(context, tensor, QF_PLAIN, &values));
    for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
        values[i] = (float)i;
}

static void test_orders(void **state)
{
    (void)state;
    static const int shapes[][4] = {
        {2, 3, 4, 5}, {1, 70, 9, 65}, {3, 1, 4, 4}, {2, 5, 1, 1}, {1, 130, 33, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int *d = shapes[s];
        qf_tensor *tensor = tensor_of(4, d);
        count_up(tensor);
        const float *last;
        assert_ok(context, qf_read(context, tensor, QF_NHWC, &last));
        for (int n = 0; n < d[0]; n++)
            for (int c = 0; c < d[1]; c++)
                for (int p = 0; p < d[2] * d[3]; p++)
                    assert_float_equal(last[(n * d[2] * d[3] + p) * d[1] + c],
                                       (n * d[1] + c) * d[2] * d[3] + p, 0);
        /* Back again, from channels last only. */
        float *changed;
        assert_ok(context, qf_update(context, tensor, QF_NHWC, &changed));
        const float *plain;
        assert_ok(context, qf_read(context, tensor, QF_PLAIN, &plain));
        for (size_t i = 0; i < qf_shape_count(&tensor->shape); i++)
            assert_float_equal(plain[i], (float)i, 0);
        qf_tensor_release(tensor);
    }
}

static void test_codes_are_read_as_values(void **state)
{
    (void)state;
    qf_tensor *tensor = tensor_of(4, (int[]){1, 2, 1, 2});
    uint8_t *codes;
    assert_ok(context, qf_tensor_write(context, tensor, QF_CODES, &codes));
    memcpy(codes, (uint8_t[]){0, 255, 64, 65}, 4); /* position 0: channels 0, 1; position 1 */
    tensor->code_scale = 0.5f;
    tensor->code_zero = 64;
    const float *plain;
    assert_ok(context, qf_read(context, tensor, QF_PLAIN, &plain));
    assert_float_equal(plain[0], -32, 0);
    assert_float_equal(plain[1], 0, 0);
    assert_float_equal(plain[2], 95.5, 0);
    assert_float_equal(plain[3], 0.5, 0);
    assert_true(qf_tensor_has(tensor, QF_CODES));
    /* A write of floats takes the codes away; integers are never made from floats. */
    count_up(tensor);
    assert_false(qf_tensor_has(tensor, QF_CODES));
    const void *missing;
    assert_fails(context, qf_tensor_read(context, tensor, QF_CODES, &missing), "8-bit codes");
    qf_tensor_release(tensor);
}

static void test_weight_codes_have_a_scale_for_each_channel(void **state)
{
    (void)state;
    static const struct {
        int axis, count;
        float expected[8];
    } cases[] = {
        {0, 2, {1, 2, 3, 4, 50, 60, 70, 80}},
        {1, 2, {1, 2, 30, 40, 5, 6, 70, 80}},
        {0, 1, {1, 2, 3, 4, 5, 6, 7, 8}},
        {0, 0, {1, 2, 3, 4, 5, 6, 7, 8}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        qf_tensor *tensor = tensor_of(4, (int[]){2, 2, 1, 2});
        int8_t *codes;
        assert_ok(context, qf_tensor_write(context, tensor, QF_WEIGHT_CODES, &codes));
        for (int i = 0; i < 8; i++)
            codes[i] = (int8_t)(i + 1);
        assert_ok(context, qf_tensor_set_weight_scale(context, tensor, (float[]){1, 10},
                                                      cases[c].count, cases[c].axis));
        const float *plain;
        assert_ok(context, qf_read(context, tensor, QF_PLAIN, &plain));
        for (int i = 0; i < 8; i++)
            assert_float_equal(plain[i], cases[c].expected[i], 0);
        qf_tensor *copy = tensor_of(0, NULL);
        assert_ok(context, qf_tensor_copy(context, copy, tensor));
        assert_true(qf_tensor_has(copy, QF_WEIGHT_CODES));
        assert_ok(context, qf_read(context, copy, QF_PLAIN, &plain));
        for (int i = 0; i < 8; i++)
            assert_float_equal(plain[i], cases[c].expected[i], 0);
        qf_tensor_release(copy);
        qf_tensor_release(tensor);
    }
}

static void test_zero_until_written(void **state)
{
    (void)state;
    qf_tensor *tensor = tensor_of(2, (int[]){3, 4});
    assert_true(qf_tensor_is_zero(tensor));
    const float *values;
    assert_ok(context, qf_read(context, tensor, QF_NHWC, &values));
    for (int i = 0; i < 12; i++)
        assert_float_equal(values[i], 0, 0);
    uint64_t version = tensor->version;
    count_up(tensor);
    assert_true(tensor->version > version);
    qf_tensor_set_zero(tensor);
    assert_true(qf_tensor_is_zero(tensor));
    qf_tensor_release(tensor);
}

static void test_reshape_keeps_elements_in_c_order(void **state)
{
    (void)state;
    qf_tensor *tensor = tensor_of(4, (int[]){2, 3, 2, 2});
    count_up(tensor);
    float *changed;
    assert_ok(context,
              qf_update(context, tensor, QF_NHWC, &changed)); /* only channels last is left */
    qf_shape flat = qf_shape_make(2, (int[]){2, 12});
    assert_ok(context, qf_tensor_reshape(context, tensor, &flat));
    const float *values;
    assert_ok(context, qf_read(context, tensor, QF_PLAIN, &values));
    for (int i = 0; i < 24; i++)
        assert_float_equal(values[i], i, 0);
    qf_shape other = qf_shape_make(1, (int[]){5});
    assert_ok(context, qf_tensor_reshape(context, tensor, &other));
    assert_true(qf_tensor_is_zero(tensor));
    qf_tensor_release(tensor);
}

static void test_impossible_shapes(void **state)
{
    (void)state;
    qf_tensor *tensor = tensor_of(1, (int[]){1});
    qf_shape huge = qf_shape_make(4, (int[]){65536, 65536, 65536, 65536});
    assert_fails(context, qf_tensor_reshape(context, tensor, &huge), "more than");
    qf_shape negative = qf_shape_make(2, (int[]){2, -1});
    assert_fails(context, qf_tensor_reshape(context, tensor, &negative), "size -1");
    qf_shape empty = qf_shape_make(4, (int[]){0, 3, 2, 2});
    assert_ok(context, qf_tensor_reshape(context, tensor, &empty));
    const float *values;
    assert_ok(context, qf_read(context, tensor, QF_NHWC, &values));
    qf_tensor_release(tensor);
}

static void test_swap_leaves_references_alone(void **state)
{
    (void)state;
    qf_tensor *a = tensor_of(1, (int[]){2}), *b = tensor_of(1, (int[]){2});
    qf_tensor_retain(a);
    count_up(a);
    assert_ok(context, qf_tensor_swap(context, a, b));
    assert_true(qf_tensor_is_zero(a));
    assert_false(qf_tensor_is_zero(b));
    assert_int_equal(a->references, 2);
    assert_int_equal(b->references, 1);
    qf_tensor_release(a);
    qf_tensor_release(a);
    qf_tensor_release(b);
}

/* A view stays in its place and in step, whatever happens to the tensor. */
static void test_views(void **state)
{
    (void)state;
    qf_tensor *a = tensor_of(4, (int[]){2, 3, 4, 5}), *b = tensor_of(4, (int[]){2, 3, 4, 5});
    qf_view *view;
    float *held, *values;
    const float *read;
    count_up(a);
    assert_ok(context, qf_view_create(context, a, &view, &held));
    assert_float_equal(held[7], 7, 0);
    /* Written by its holder: seen in every form after take. */
    held[0] = 42;
    assert_ok(context, qf_views_take(context));
    assert_ok(context, qf_read(context, a, QF_NHWC, &read));
    assert_float_equal(read[0], 42, 0);
    /* Written in another form: seen by its holder after show. */
    assert_ok(context, qf_write(context, a, QF_NHWC, &values));
    for (size_t i = 0; i < 120; i++)
        values[i] = (float)i;
    assert_ok(context, qf_views_show(context));
    assert_float_equal(held[1], 3, 0); /* one step in the row: three channels on */
    /* Not touched: codes survive a round. */
    assert_ok(context, qf_views_take(context));
    assert_true(qf_tensor_has(a, QF_NHWC));
    /* Contents exchanged: the array stays the view's. */
    assert_ok(context, qf_tensor_swap(context, a, b));
    assert_ok(context, qf_views_show(context));
    assert_float_equal(held[1], 0, 0);
    assert_ok(context, qf_read(context, b, QF_PLAIN, &read));
    assert_float_equal(read[1], 3, 0);
    assert_ptr_not_equal(read, held);
    /* Grown: the old array is left to the view. */
    qf_shape larger = qf_shape_make(1, (int[]){1000});
    assert_ok(context, qf_tensor_reshape(context, a, &larger));
    assert_ok(context, qf_write(context, a, QF_PLAIN, &values));
    assert_ptr_not_equal(values, held);
    held[0] = 1;
    assert_ok(context, qf_views_take(context));
    qf_tensor_release(a);
    held[1] = 2; /* still there */
    qf_view_release(view);
    qf_tensor_release(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_codes_are_read_as_values),
        cmocka_unit_test(test_weight_codes_have_a_scale_for_each_channel),
        cmocka_unit_test(test_zero_until_written),
        cmocka_unit_test(test_reshape_keeps_elements_in_c_order),
        cmocka_unit_test(test_impossible_shapes),
        cmocka_unit_test(test_swap_leaves_references_alone),
    };
    return cmocka_run_group_tests(tests, test_start, test_stop);
}
