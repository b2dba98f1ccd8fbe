/* Planning: layers that run as one give what they give one by one, and blobs are dropped in time.
 */
#include "harness/training_run.h"
#include "net/schedule/plan.h"

#include <math.h>
#include <string.h>

#define DATA                                                                                       \
    "layer { name: 'in' type: 'DummyData' top: 'data' top: 'label' dummy_data_param { shape { "    \
    "dim: 3 dim: 5 dim: 11 dim: 9 } shape { dim: 3 } data_filler { type: 'gaussian' } "            \
    "data_filler { type: 'constant' value: 1 } } }\n"
#define CONVOLUTION(name, bottom, more)                                                            \
    "layer { name: '" name "' type: 'Convolution' bottom: '" bottom "' top: '" name "' " more      \
    " convolution_param { num_output: 24 kernel_size: 3 pad: 1 bias_term: false "                  \
    "weight_filler { type: 'msra' } } }\n"
#define NORM(name)                                                                                 \
    "layer { name: '" name "_bn' type: 'BatchNorm' bottom: '" name "' top: '" name "' }\n"         \
    "layer { name: '" name "_scale' type: 'Scale' bottom: '" name "' top: '" name                  \
    "' scale_param { bias_term: true filler { type: 'uniform' min: 0.5 max: 2 } "                  \
    "bias_filler { type: 'uniform' min: -1 max: 1 } } }\n"
#define RELU(name)                                                                                 \
    "layer { name: '" name "_relu' type: 'ReLU' bottom: '" name "' top: '" name "' }\n"
/* As preparing writes it: the multiplier of the codes only says that a gradient is wanted. */
#define CODES(name) "param { name: '" name "_codes' lr_mult: 1 decay_mult: 0 } "
#define QUANTISED(name, bottom)                                                                    \
    "layer { name: '" name "_q' type: 'ActivationQAT' bottom: '" bottom "' top: '" name "_q' "     \
    "retrain_data_quant_param { clip_max: 1.5 clip_min: -0.5 ifmr_init: false } }\n"               \
    "layer { name: '" name "_w' type: 'WeightQAT' bottom: '" name "_q' top: '" name                \
    "_w' " CODES(name) "param { name: '" name "_master' } "                                        \
                       "retrain_weight_quant_param { cout: 24 cin: 24 h: 3 w: 3 channel_wise: "    \
                       "true } }\n" CONVOLUTION(name, name "_w", CODES(name))
#define SUM(name, a, b)                                                                            \
    "layer { name: '" name "' type: 'Eltwise' bottom: '" a "' bottom: '" b "' top: '" name "' }\n"
#define LOSS(bottom)                                                                               \
    "layer { name: 'ip' type: 'InnerProduct' bottom: '" bottom "' top: 'ip' "                      \
    "inner_product_param { num_output: 4 weight_filler { type: 'gaussian' std: 0.02 } } }\n"       \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }\n"

/* A residual block, all of whose convolutions but the first are quantised, with everything that a
 * pass can hold: batch statistics, sums, a Split with a quantised reader, both ends of a clip
 * range. */
/* clang-format off */
static const char block[] =
    DATA
    CONVOLUTION("a", "data", "") NORM("a") RELU("a")
    QUANTISED("b", "a") NORM("b") RELU("b")
    QUANTISED("c", "b") NORM("c")
    SUM("sum", "a", "c") RELU("sum")
    QUANTISED("d", "sum")
    SUM("sum2", "d", "sum") RELU("sum2")
    LOSS("sum2");
/* clang-format on */

static void open_run(test_run *r, bool fusion, bool keep)
{
    test_run_open(r, block, fusion, keep);
}

static int fused_groups(const qf_net *net)
{
    int count = 0;
    for (int g = 0; g < net->plan->group_count; g++)
        count += net->plan->groups[g].ran;
    return count;
}

static bool all_fused(const qf_net *net, const char *type)
{
    for (int l = 0; l < net->layer_count; l++) {
        const int group = net->plan->group_of[l];
        if (strcmp(net->layers[l]->type->name, type) == 0 &&
            (group < 0 || !net->plan->groups[group].ran))
            return false;
    }
    return true;
}

static void assert_same_codes(test_run *a, test_run *b, const char *name)
{
    const uint8_t *x, *y;
    qf_tensor *first = qf_net_blob(a->net, name)->data, *second = qf_net_blob(b->net, name)->data;
    assert_ok(a->context, qf_tensor_read(a->context, first, QF_CODES, &x));
    assert_ok(b->context, qf_tensor_read(b->context, second, QF_CODES, &y));
    assert_memory_equal(x, y, qf_shape_count(&first->shape));
}

static void compare_fused(const char *text)
{
    for (int keep = 0; keep < 2; keep++) {
        test_run one, other;
        test_run_open(&one, text, false, true);
        test_run_open(&other, text, true, keep);
        for (int i = 0; i < 2; i++) {
            test_run_step(&one);
            test_run_step(&other);
            assert_true(one.loss == other.loss); /* forward: the same bits */
            test_run_same_gradients(&one, &other, 2e-5, 2e-5);
        }
        assert_int_equal(fused_groups(one.net), 0);
        assert_true(fused_groups(other.net) >= (keep ? 3 : 4));
        assert_true(keep || (all_fused(other.net, "ReLU") && all_fused(other.net, "ReLU6")));
        static const char *const quantised[] = {"b_q", "c_q", "d_q"};
        for (size_t i = 0; i < 3 && keep; i++)
            assert_same_codes(&one, &other, quantised[i]);
        test_run_close(&one);
        test_run_close(&other);
    }
}

static void fused_equals_separate(void **state)
{
    (void)state;
    compare_fused(block);
}

/* ReLU6 for ReLU, with values that it cuts off, inside the clip range and out of it. */
static void relu6_is_fused(void **state)
{
    (void)state;
    char *limited = test_replace(block, "type: 'ReLU'", "type: 'ReLU6'");
    char *larger = test_replace(limited, "min: 0.5 max: 2", "min: 2 max: 7");
    char *wider = test_replace(larger, "clip_max: 1.5", "clip_max: 8");
    compare_fused(larger);
    compare_fused(wider);
    qf_free(wider);
    qf_free(larger);
    qf_free(limited);
}

/* A backward pass that starts inside a group finds its layers as if they had test_run one by one.
 */
static void groups_come_apart(void **state)
{
    (void)state;
    test_run whole, parts;
    open_run(&whole, true, true);
    open_run(&parts, true, true);
    test_run_step(&whole);
    assert_ok(parts.context, qf_net_forward(parts.net, NULL));
    const int last = parts.net->layer_count - 1;
    int middle = 0;
    while (strcmp(parts.net->layers[middle]->name, "b_scale") != 0)
        middle++;
    assert_ok(parts.context, qf_net_backward_range(parts.net, last, middle));
    assert_ok(parts.context, qf_net_backward_range(parts.net, middle - 1, 0));
    test_run_same_gradients(&whole, &parts, 2e-5, 2e-5);
    test_run_close(&whole);
    test_run_close(&parts);
}

static void blobs_are_dropped(void **state)
{
    (void)state;
    test_run r;
    const float *values;
    open_run(&r, true, false);
    test_run_step(&r);
    assert_fails(r.context, qf_blob_data(qf_net_blob(r.net, "sum"), &values), "was dropped");
    assert_ok(r.context, qf_blob_data(qf_net_blob(r.net, "loss"), &values));
    qf_pool_peak_reset(r.context);
    test_run_step(&r);
    const size_t steady = qf_pool_peak(r.context);
    qf_net_keep_blobs(r.net, true);
    test_run_step(&r);
    qf_pool_peak_reset(r.context);
    test_run_step(&r);
    assert_true(steady < qf_pool_peak(r.context));
    test_run_close(&r);
}

/* docs/numerics.md, "Integers": what the kernels of codes are made of changes no code. */
static void kernels_agree(void **state)
{
    (void)state;
    test_run ways[3];
    static const qf_compute compute[] = {QF_COMPUTE_AUTO, QF_COMPUTE_INT8, QF_COMPUTE_FLOAT};
    for (int i = 0; i < 3; i++) {
        open_run(&ways[i], true, true);
        qf_context_set_compute(ways[i].context, compute[i], QF_BACKWARD_F32);
        test_run_step(&ways[i]);
    }
    assert_true(ways[0].loss == ways[1].loss);
    assert_true(fabsf(ways[0].loss - ways[2].loss) <= 1e-5f * fabsf(ways[0].loss));
    for (int i = 1; i < 3; i++) {
        assert_same_codes(&ways[0], &ways[i], "b_q");
        assert_same_codes(&ways[0], &ways[i], "c_q");
        assert_same_codes(&ways[0], &ways[i], "d_q");
        /* Where a value lies between two codes the last bit decides about the range's gradient. */
        test_run_same_gradients(&ways[0], &ways[i], 1e-4, 5e-3);
    }
    /* bf16 has 8 bits; the range's gradient is a small difference of large sums. */
    test_run rounded;
    open_run(&rounded, true, true);
    qf_context_set_compute(rounded.context, QF_COMPUTE_AUTO, QF_BACKWARD_BF16);
    test_run_step(&rounded);
    assert_true(rounded.loss == ways[0].loss);
    test_run_same_gradients(&ways[0], &rounded, 1e-2, 0.09);
    test_run_close(&rounded);
    for (int i = 0; i < 3; i++)
        test_run_close(&ways[i]);
}

/* Arrays are cut, joined again and used again. */
static void a_pool_reuses(void **state)
{
    (void)state;
    qf_context *context = test_context();
    enum { COUNT = 8, SIZE = 1 << 17 };
    qf_array *arrays[COUNT];
    for (int i = 0; i < COUNT; i++) {
        arrays[i] = qf_array_take(context, SIZE);
        assert_non_null(arrays[i]);
        assert_int_equal((uintptr_t)arrays[i]->bytes % 64, 0);
        memset(arrays[i]->bytes, i, SIZE);
    }
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < SIZE; k += 4093)
            assert_int_equal(((unsigned char *)arrays[i]->bytes)[k], i);
    assert_true(qf_pool_used(context) >= (size_t)COUNT * SIZE);
    for (int i = 0; i < COUNT; i += 2)
        qf_array_release(arrays[i]);
    for (int i = 1; i < COUNT; i += 2)
        qf_array_release(arrays[i]);
    assert_int_equal(qf_pool_used(context), 0);
    qf_array *large = qf_array_take(context, COUNT * SIZE); /* fits where the small ones were */
    assert_non_null(large);
    memset(large->bytes, 1, COUNT * SIZE);
    qf_array_release(large);
    assert_null(qf_array_take(context, SIZE_MAX - 100));
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_equals_separate), cmocka_unit_test(relu6_is_fused),
        cmocka_unit_test(groups_come_apart),     cmocka_unit_test(blobs_are_dropped),
        cmocka_unit_test(kernels_agree),         cmocka_unit_test(a_pool_reuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
