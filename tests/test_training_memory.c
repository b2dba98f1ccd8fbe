/* What training keeps between forward and backward: no value that the backward pass does not read,
 * and none that it makes again; and that what is made again is the same. */
#include "harness/harness.h"
#include "net/schedule/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 8, CHANNELS = 24 };

static void add_weights(qf_buffer *net, const char *name, const char *codes)
{
    qf_buffer_print(net,
                    "layer { name: '%s_w' type: 'WeightQAT' bottom: '%s' top: '%s_w' "
                    "param { name: '%s_codes' lr_mult: 0 } param { name: '%s_master' } "
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
        qf_buffer_print(net, "param { name: '%s_codes' lr_mult: 0 } ", name);
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
                    "param { name: 'twin_codes' lr_mult: 0 } convolution_param { num_output: %d "
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

typedef struct run {
    qf_context *context;
    qf_net *net;
    float loss;
} run;

static void open_run(run *r, bool quantised, bool shortcut, bool fusion)
{
    Caffe__NetParameter *param;
    char *text = residual_net(quantised, shortcut);
    r->context = test_context();
    qf_context_set_seed(r->context, 7);
    setenv("QAFFE_FUSION", fusion ? "1" : "0", 1);
    assert_ok(r->context, qf_text_parse(r->context, "net", text, strlen(text),
                                        &caffe__net_parameter__descriptor, &param));
    qf_free(text);
    assert_ok(r->context, qf_message_new(r->context, &caffe__net_state__descriptor, &param->state));
    param->state->has_phase = true;
    param->state->phase = CAFFE__PHASE__TRAIN;
    assert_ok(r->context, qf_net_create_from_param(r->context, param, NULL, &r->net));
    qf_message_free(param);
    unsetenv("QAFFE_FUSION");
    qf_net_keep_blobs(r->net, false);
    for (int i = 0; i <= BLOCKS && quantised; i++) {
        float *w;
        char name[16];
        snprintf(name, sizeof name, i < BLOCKS ? "c%d_w" : "twin_w", i);
        if (!qf_net_find_layer(r->net, name))
            continue;
        qf_blob *master = qf_net_find_layer(r->net, name)->params[1].blob;
        assert_ok(r->context, qf_blob_mutable_data(master, &w));
        for (size_t k = 0; k < qf_blob_count(master); k++)
            w[k] = 0.1f * sinf((float)k * 1.7f + (float)i);
    }
}

static void close_run(run *r)
{
    qf_net_destroy(r->net);
    qf_context_destroy(r->context);
}

static void step(run *r)
{
    qf_net_clear_param_diffs(r->net);
    assert_ok(r->context, qf_net_forward(r->net, &r->loss));
    assert_ok(r->context, qf_net_backward(r->net));
}

static void assert_same_gradients(run *a, run *b)
{
    /* A clip range's gradient is a small difference of large sums, which differ in their order. */
    const double tolerance = 2e-5, of_ranges = 2e-4;
    for (int i = 0; i < a->net->learnable_count; i++) {
        const float *x, *y;
        double worst = 0, largest = 1e-8;
        const qf_learnable *learnable = &a->net->learnables[i];
        assert_ok(a->context, qf_blob_diff(learnable->blob, &x));
        assert_ok(b->context, qf_blob_diff(b->net->learnables[i].blob, &y));
        for (size_t k = 0; k < qf_blob_count(learnable->blob); k++) {
            worst = fmax(worst, fabs((double)x[k] - (double)y[k]));
            largest = fmax(largest, fabs((double)x[k]));
        }
        const bool range = qf_blob_count(learnable->blob) == 1;
        if (!(worst <= (range ? of_ranges : tolerance) * largest))
            fail_msg("gradient %d (layer %s) differs by %g of %g", i,
                     a->net->layers[learnable->layer]->name, worst, largest);
    }
}

static bool is_kept(run *r, const char *format, int number)
{
    char name[16];
    snprintf(name, sizeof name, format, number);
    return !qf_net_blob(r->net, name)->data->dropped;
}

static int sums_kept(run *r)
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
        run one, other;
        open_run(&one, true, shortcut, false);
        open_run(&other, true, shortcut, true);
        for (int i = 0; i < 2; i++) {
            step(&one);
            step(&other);
            assert_true(one.loss == other.loss);
            assert_same_gradients(&one, &other);
        }
        assert_ok(other.context, qf_net_forward(other.net, NULL));
        /* A chain of passes stands on a value that was kept. */
        assert_in_range(sums_kept(&other), 1, BLOCKS / (QF_SWEEP_CHAIN - 1));
        assert_int_equal(is_kept(&other, shortcut ? "start" : "pool", 0), !shortcut);
        close_run(&one);
        close_run(&other);
    }
}

/* The next convolution reads the floats: nothing to save, and nothing is computed again. */
static void floats_that_are_read_stay(void **state)
{
    (void)state;
    run one, other;
    open_run(&one, false, false, false);
    open_run(&other, false, false, true);
    step(&one);
    step(&other);
    assert_true(one.loss == other.loss);
    assert_same_gradients(&one, &other);
    assert_ok(other.context, qf_net_forward(other.net, NULL));
    assert_int_equal(sums_kept(&other), BLOCKS - 1);
    assert_false(is_kept(&other, "start", 0)); /* MAX pooling remembers places */
    assert_false(is_kept(&other, "sum%d", BLOCKS - 1));
    assert_false(is_kept(&other, "projection", 0));
    close_run(&one);
    close_run(&other);
}

/* A backward pass that starts inside a pass would need what is gone. */
static void a_part_needs_its_blobs(void **state)
{
    (void)state;
    run r;
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
    close_run(&r);
}

static size_t peak_of_step(bool quantised)
{
    run r;
    open_run(&r, quantised, true, true);
    step(&r);
    qf_pool_peak_reset(r.context);
    step(&r);
    const size_t peak = qf_pool_peak(r.context);
    close_run(&r);
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
