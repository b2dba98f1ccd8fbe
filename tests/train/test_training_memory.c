/* What training keeps between forward and backward: no value that the backward pass does not read,
 * and none that it makes again; and that what is made again is the same. */
#include "harness/training_run.h"
#include "net/schedule/plan.h"

#include <string.h>

enum { BLOCKS = 8, CHANNELS = 24 };

static void add_weights(qf_buffer *net, const char *name, const char *codes)
{
    qf_buffer_print(net,
                    "layer { name: '%s_w' type: 'WeightQAT' bottom: '%s' top: '%s_w' "
                    "param { name: '%s_codes' decay_mult: 0 } param { name: '%s_master' } "
                    "retrain_weight_quant_param { cout: %d cin: %d h: 3 w: 3 channel_wise: true } "
                    "}\n",
                    name, codes, name, name, name, CHANNELS, CHANNELS);
}

/* Convolution `name`, quantised or not, with BatchNorm and Scale. */
static void add_convolution(qf_buffer *net, const char *name, const char *from, bool quantised)
{
    char codes[16];
    snprintf(codes, sizeof codes, "%s_q", name);
    if (quantised) {
        qf_buffer_print(
            net,
            "layer { name: '%s' type: 'ActivationQAT' bottom: '%s' top: '%s' "
            "retrain_data_quant_param { clip_max: 1.5 clip_min: -0.5 ifmr_init: false } }\n",
            codes, from, codes);
        add_weights(net, name, codes);
    }
    qf_buffer_print(net, "layer { name: '%s' type: 'Convolution' bottom: '%s%s' top: '%s' ", name,
                    quantised ? name : from, quantised ? "_w" : "", name);
    if (quantised)
        qf_buffer_print(net, "param { name: '%s_codes' decay_mult: 0 } ", name);
    qf_buffer_print(
        net,
        "convolution_param { num_output: %d kernel_size: 3 pad: 1 bias_term: false "
        "weight_filler { type: 'msra' } } }\n"
        "layer { name: '%s_bn' type: 'BatchNorm' bottom: '%s' top: '%s' }\n"
        "layer { name: '%s_scale' type: 'Scale' bottom: '%s' top: '%s' scale_param { bias_term: "
        "true filler { type: 'uniform' min: 0.5 max: 1 } bias_filler { type: 'uniform' min: -1 "
        "max: 1 } } }\n",
        CHANNELS, name, name, name, name, name, name);
}

/* Another convolution of c2's codes: their gradient has two parts. */
static void add_twin(qf_buffer *net)
{
    add_weights(net, "twin", "c2_q");
    qf_buffer_print(net,
                    "layer { name: 'twin' type: 'Convolution' bottom: 'twin_w' top: 'twin' "
                    "param { name: 'twin_codes' decay_mult: 0 } convolution_param { num_output: %d "
                    "kernel_size: 3 bias_term: false } }\n"
                    "layer { name: 'twin_loss' type: 'Reduction' bottom: 'twin' top: 'twin_loss' "
                    "reduction_param { operation: SUMSQ } loss_weight: 1e-4 }\n",
                    CHANNELS);
}

/* A chain of residual sums. `shortcut`: the first one adds what a convolution made, else what
 * Pooling did, which no pass makes again. The last one adds a projection, has no ReLU, and nobody
 * reads it in backward. */
static char *residual_net(bool quantised, bool shortcut)
{
    qf_buffer net = {0};
    char name[16], from[16] = "start", sum[16];
    qf_buffer_print(&net,
                    "layer { name: 'in' type: 'DummyData' top: 'data' top: 'label' "
                    "dummy_data_param { shape { dim: 4 dim: 5 dim: 24 dim: 24 } shape { dim: 4 } "
                    "data_filler { type: 'gaussian' } data_filler { type: 'constant' value: 1 } } "
                    "}\n");
    add_convolution(&net, "start", "data", false);
    if (!shortcut) {
        qf_buffer_print(&net, "layer { name: 'pool' type: 'Pooling' bottom: 'start' top: 'pool' "
                              "pooling_param { pool: MAX kernel_size: 3 pad: 1 stride: 1 } }\n");
        strcpy(from, "pool");
    }
    for (int i = 0; i < BLOCKS; i++) {
        const bool last = i == BLOCKS - 1;
        const char *addend = last ? "projection" : from;
        snprintf(name, sizeof name, "c%d", i);
        snprintf(sum, sizeof sum, "sum%d", i);
        if (last)
            add_convolution(&net, addend, "data", false);
        add_convolution(&net, name, from, quantised);
        qf_buffer_print(
            &net, "layer { name: '%s' type: 'Eltwise' bottom: '%s' bottom: '%s' top: '%s' }\n", sum,
            i % 2 ? name : addend, i % 2 ? addend : name, sum);
        if (!last)
            qf_buffer_print(&net, "layer { name: '%s_relu' type: 'ReLU' bottom: '%s' top: '%s' }\n",
                            sum, sum, sum);
        strcpy(from, sum);
    }
    if (quantised && !shortcut)
        add_twin(&net);
    qf_buffer_print(&net,
                    "layer { name: 'mean' type: 'Pooling' bottom: '%s' top: 'mean' pooling_param { "
                    "pool: AVE kernel_size: 6 stride: 6 } }\n"
                    "layer { name: 'ip' type: 'InnerProduct' bottom: 'mean' top: 'ip' "
                    "inner_product_param { num_output: 4 weight_filler { type: 'xavier' } } }\n"
                    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' "
                    "top: 'loss' }\n",
                    from);
    assert_false(net.failed);
    return net.data;
}

static void open_run(test_run *r, bool quantised, bool shortcut, bool fusion)
{
    char *text = residual_net(quantised, shortcut);
    test_run_open(r, text, fusion, false);
    qf_free(text);
}

/* A clip range's gradient is a small difference of large sums, which differ in their order. */
static void assert_same_gradients(test_run *a, test_run *b)
{
    test_run_same_gradients(a, b, 2e-5, 2e-4);
}

static bool is_kept(test_run *r, const char *format, int number)
{
    char name[16];
    snprintf(name, sizeof name, format, number);
    return !qf_net_blob(r->net, name)->data->dropped;
}

static int sums_kept(test_run *r)
{
    int kept = 0;
    for (int i = 0; i < BLOCKS; i++)
        kept += is_kept(r, "sum%d", i);
    return kept;
}

/* Sums that were dropped are made again: the same gradients as without fusion. */
static void dropped_sums_are_made_again(void **state)
{
    (void)state;
    for (int shortcut = 0; shortcut < 2; shortcut++) {
        test_run one, other;
        open_run(&one, true, shortcut, false);
        open_run(&other, true, shortcut, true);
        for (int i = 0; i < 2; i++) {
            test_run_step(&one);
            test_run_step(&other);
            assert_true(one.loss == other.loss);
            assert_same_gradients(&one, &other);
        }
        assert_ok(other.context, qf_net_forward(other.net, NULL));
        /* A chain of passes stands on a value that was kept. */
        assert_in_range(sums_kept(&other), 1, BLOCKS / (QF_SWEEP_CHAIN - 1));
        assert_int_equal(is_kept(&other, shortcut ? "start" : "pool", 0), !shortcut);
        test_run_close(&one);
        test_run_close(&other);
    }
}

/* The next convolution reads the floats: nothing to save, and nothing is computed again. */
static void floats_that_are_read_stay(void **state)
{
    (void)state;
    test_run one, other;
    open_run(&one, false, false, false);
    open_run(&other, false, false, true);
    test_run_step(&one);
    test_run_step(&other);
    assert_true(one.loss == other.loss);
    assert_same_gradients(&one, &other);
    assert_ok(other.context, qf_net_forward(other.net, NULL));
    assert_int_equal(sums_kept(&other), BLOCKS - 1);
    assert_false(is_kept(&other, "start", 0)); /* MAX pooling remembers places */
    assert_false(is_kept(&other, "sum%d", BLOCKS - 1));
    assert_false(is_kept(&other, "projection", 0));
    test_run_close(&one);
    test_run_close(&other);
}

/* A backward pass that starts inside a pass would need what is gone. */
static void a_part_needs_its_blobs(void **state)
{
    (void)state;
    test_run r;
    open_run(&r, true, true, true);
    const int last = r.net->layer_count - 1;
    int middle = 0;
    while (strcmp(r.net->layers[middle]->name, "c1_scale") != 0)
        middle++;
    assert_ok(r.context, qf_net_forward(r.net, NULL));
    assert_fails(r.context, qf_net_backward_range(r.net, last, middle), "was dropped");
    qf_net_keep_blobs(r.net, true);
    assert_ok(r.context, qf_net_forward(r.net, NULL));
    assert_ok(r.context, qf_net_backward_range(r.net, last, middle));
    assert_ok(r.context, qf_net_backward_range(r.net, middle - 1, 0));
    test_run_close(&r);
}

static size_t peak_of_step(bool quantised)
{
    test_run r;
    open_run(&r, quantised, true, true);
    test_run_step(&r);
    qf_pool_peak_reset(r.context);
    test_run_step(&r);
    const size_t peak = qf_pool_peak(r.context);
    test_run_close(&r);
    return peak;
}

/* Codes take the place of floats: BatchNorm's inputs (4 bytes), codes (1) and some of the sums (4)
 * against all of BatchNorm's inputs and sums. */
static void quantised_training_needs_less(void **state)
{
    test_needs_the_host();
    (void)state;
    const double quantised = (double)peak_of_step(true), plain = (double)peak_of_step(false);
    if (!(quantised <= 0.95 * plain))
        fail_msg("%.0f bytes quantised, %.0f in float", quantised, plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_sums_are_made_again),
        cmocka_unit_test(floats_that_are_read_stay),
        cmocka_unit_test(a_part_needs_its_blobs),
        cmocka_unit_test(quantised_training_needs_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
