/* Layers that pass codes on as codes give what they give for the dequantised values. */
#include "harness/harness.h"
#include "net/net.h"

#include <string.h>

static const char net_text[] =
    "layer { name: 'a' type: 'Input' top: 'a' input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } "
    "} }"
    "layer { name: 'b' type: 'Input' top: 'b' input_param { shape { dim: 2 dim: 6 dim: 4 dim: 5 } "
    "} }"
    "layer { name: 'joined' type: 'Concat' bottom: 'a' bottom: 'b' top: 'joined' }"
    "layer { name: 'pooled' type: 'Pooling' bottom: 'joined' top: 'pooled'"
    "  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }";

enum { A = 2 * 3 * 4 * 5, B = 2 * 6 * 4 * 5, POOLED = 2 * 9 * 2 * 2 };

/* 0.25 · (code − zero), as codes or as floats. */
static void fill(qf_context *context, qf_net *net, const char *name, const uint8_t *codes, int zero,
                 bool as_codes)
{
    qf_tensor *tensor = qf_net_blob(net, name)->data;
    const size_t n = qf_shape_count(&tensor->shape);
    uint8_t *bytes;
    float *values;
    if (as_codes) {
        assert_ok(context, qf_tensor_write(context, tensor, QF_CODES, &bytes));
        memcpy(bytes, codes, n);
        tensor->code_scale = 0.25f;
        tensor->code_zero = zero;
        return;
    }
    assert_ok(context, qf_write(context, tensor, QF_NHWC, &values));
    for (size_t i = 0; i < n; i++)
        values[i] = 0.25f * (float)(codes[i] - zero);
}

/* `zero_b` differs from 100: the codes cannot be joined. */
static void check(int zero_b)
{
    qf_context *context = test_context();
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    uint8_t a[A], b[B];
    float found[2][POOLED];
    qf_net *net;
    assert_ok(context, qf_file_write(context, path, net_text, strlen(net_text), 0644));
    assert_ok(context, qf_net_create(context, path, QF_TEST, 0, NULL, 0, &net));
    for (int i = 0; i < A; i++)
        a[i] = (uint8_t)qf_random_below(&context->random, 256);
    for (int i = 0; i < B; i++)
        b[i] = (uint8_t)qf_random_below(&context->random, 256);
    for (int as_codes = 0; as_codes < 2; as_codes++) {
        const float *values;
        qf_tensor *pooled = qf_net_blob(net, "pooled")->data;
        fill(context, net, "a", a, 100, as_codes);
        fill(context, net, "b", b, zero_b, as_codes);
        assert_ok(context, qf_net_forward(net, NULL));
        assert_int_equal(qf_tensor_has(pooled, QF_CODES), as_codes && zero_b == 100);
        assert_int_equal(qf_tensor_has(pooled, QF_NHWC), !as_codes || zero_b != 100);
        assert_ok(context, qf_read(context, pooled, QF_NHWC, &values));
        memcpy(found[as_codes], values, sizeof found[0]);
    }
    assert_memory_equal(found[0], found[1], sizeof found[0]);
    qf_net_destroy(net);
    test_remove_directory(folder);
    qf_free(path);
    qf_free(folder);
    qf_context_destroy(context);
}

static void codes_of_one_scale_stay_codes(void **state)
{
    (void)state;
    check(100);
}

static void codes_of_two_scales_become_floats(void **state)
{
    (void)state;
    check(90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_of_one_scale_stay_codes),
        cmocka_unit_test(codes_of_two_scales_become_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
