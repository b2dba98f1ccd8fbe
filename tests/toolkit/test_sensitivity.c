/* What each layer costs, against nets that really have only that layer quantised: made by the same
 * factors with the other one left float. */
#include "harness/command.h"
#include "harness/fixture.h"

#include <math.h>
#include <string.h>

enum { INPUT = 4 * 3 * 6 * 6, OUTPUT = 4 * 5, BATCHES = 2 };

static const char net[] =
    "layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 4 dim: 3 dim: 6 dim: "
    "6 "
    "} } } layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { "
    "num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 0.3 } } } layer { name: "
    "'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } layer { name: 'i\"p' type: 'InnerProduct' "
    "bottom: 'conv' top: 'ip' inner_product_param { num_output: 5 weight_filler { type: 'gaussian' "
    "std: 0.2 } } }";

static float inputs[BATCHES][INPUT];

static qf_data_options raw_data(void)
{
    qf_data_options data = {.size = sizeof data};
    qf_data_set_defaults(&data);
    data.source = "raw";
    return data;
}

static void quantise_both(void)
{
    qf_qat_result *result;
    const qf_data_options data = raw_data();
    qf_ptq_options options = {.size = sizeof options};
    qf_ptq_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.data = &data;
    options.save_path = "all/m";
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
}

/* By the same factors, with one layer left float. */
static void quantise_without(const char *skipped, const char *prefix)
{
    qf_quant_graph *graph;
    const qf_quant_options options = {.size = sizeof options,
                                      .skip_layers = &skipped,
                                      .skip_layer_count = 1,
                                      .batch_num = 1,
                                      .activation_offset = true};
    assert_ok(context, qf_create_quant_config(context, "one.json", "net.prototxt", "net.caffemodel",
                                              &options));
    assert_ok(context, qf_quant_open(context, "one.json", "net.prototxt", "net.caffemodel",
                                     "all/m_record.txt", &graph));
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_FAKE_QUANT, prefix));
    qf_quant_graph_destroy(graph);
}

static int set_up(void **state)
{
    qf_net *made;
    test_start_in_folder(state);
    qf_context_set_seed(context, 7);
    test_write_text(context, "net.prototxt", net);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &made));
    assert_ok(context, qf_net_save_weights(made, "net.caffemodel"));
    qf_net_destroy(made);
    for (int b = 0; b < BATCHES; b++) {
        char *path = test_format("raw/%d.bin", b);
        for (int i = 0; i < INPUT; i++)
            inputs[b][i] = (float)((i * 37 + b * 11) % 101 - 50) / 50;
        assert_ok(context, qf_file_write(context, path, inputs[b], sizeof inputs[b], 0644));
        qf_free(path);
    }
    quantise_both();
    quantise_without("i\"p", "conv/m");
    quantise_without("conv", "ip/m");
    return 0;
}

static void run(const char *model, const char *weights, float out[BATCHES][OUTPUT])
{
    qf_net *made;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &made));
    assert_ok(context, qf_net_load_weights(made, weights));
    for (int b = 0; b < BATCHES; b++) {
        float *to;
        const float *from;
        assert_ok(context, qf_blob_mutable_data(qf_net_blob(made, "data"), &to));
        memcpy(to, inputs[b], sizeof inputs[b]);
        assert_ok(context, qf_net_forward(made, NULL));
        assert_ok(context, qf_blob_data(qf_net_blob(made, "ip"), &from));
        memcpy(out[b], from, sizeof out[b]);
    }
    qf_net_destroy(made);
}

/* Per cent of noise in the outputs of a quantised net. */
static double loss_of(const char *prefix)
{
    float before[BATCHES][OUTPUT], after[BATCHES][OUTPUT];
    double signal = 0, noise = 0;
    char *model = test_format("%s_fake_quant_model.prototxt", prefix);
    char *weights = test_format("%s_fake_quant_weights.caffemodel", prefix);
    run("net.prototxt", "net.caffemodel", before);
    run(model, weights, after);
    for (int b = 0; b < BATCHES; b++)
        for (int i = 0; i < OUTPUT; i++) {
            signal += (double)before[b][i] * (double)before[b][i];
            noise += pow((double)before[b][i] - (double)after[b][i], 2);
        }
    qf_free(model);
    qf_free(weights);
    return 100 * noise / signal;
}

static const qf_sensitive_layer *find(const qf_sensitivity_result *result, const char *name)
{
    for (size_t i = 0; i < result->layers; i++)
        if (strcmp(result->layer[i]->name, name) == 0)
            return result->layer[i];
    fail_msg("the result has no layer %s", name);
    return NULL;
}

static void assert_near(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-3 * fabs(expected) + 1e-9))
        fail_msg("%g, expected %g", found, expected);
}

static qf_status measure(double max_loss, int alone_only, qf_sensitivity_result **result)
{
    const qf_data_options data = raw_data();
    qf_sensitivity_options options = {.size = sizeof options};
    qf_sensitivity_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.prefix = "all/m";
    options.data = &data;
    options.batches = BATCHES;
    options.max_loss = max_loss;
    options.alone_only = alone_only;
    return qf_measure_sensitivity(context, &options, NULL, NULL, NULL, result);
}

static void trials_are_nets_with_one_layer_quantised(void **state)
{
    (void)state;
    qf_sensitivity_result *result;
    const double all = loss_of("all/m"), conv = loss_of("conv/m"), ip = loss_of("ip/m");
    assert_true(all > 0 && conv > 0 && ip > 0 && fabs(conv - ip) > 1e-6);
    assert_ok(context, measure(1e9, 0, &result));
    assert_string_equal(result->score_name, "noise of outputs");
    assert_int_equal(result->layers, 2);
    assert_near(result->quantised_loss, all);
    assert_near(find(result, "conv")->alone_loss, conv);
    assert_near(find(result, "i\"p")->alone_loss, ip);
    assert_near(find(result, "conv")->float_gain, all - ip);
    assert_near(find(result, "i\"p")->float_gain, all - conv);
    assert_true(result->layer[0]->alone_loss >= result->layer[1]->alone_loss);
    assert_int_equal(result->skipped, 0);
    qf_sensitivity_result_destroy(result);
}

static void what_is_skipped_can_be_given_on(void **state)
{
    (void)state;
    qf_sensitivity_result *result;
    qf_plan *plan;
    assert_ok(context, measure(0, 1, &result)); /* nothing may be lost */
    assert_int_equal(result->skipped, 2);
    assert_true(isnan(result->layer[0]->float_gain));
    result->layer[0]->skip = strcmp(result->layer[0]->name, "conv") != 0; /* so that one is left */
    result->layer[1]->skip = strcmp(result->layer[1]->name, "conv") != 0;
    assert_ok(context, qf_sensitivity_write_skip_layers(context, result, "skip.json"));
    assert_true(test_file_has(context, "skip.json", "{\"skip_layers\": [\"i\\\"p\"]}"));
    assert_ok(context, qf_sensitivity_write_skip_layers(context, result, "skip.cfg"));
    const qf_quant_options options = {.size = sizeof options, .config_definition = "skip.cfg"};
    assert_ok(context, qf_create_quant_config(context, "config.json", "net.prototxt",
                                              "net.caffemodel", &options));
    assert_ok(context,
              qf_quant_plan(context, "net.prototxt", "net.caffemodel", "config.json", &plan));
    for (size_t i = 0; i < plan->rows; i++)
        assert_string_equal(plan->row[i]->treatment,
                            strcmp(plan->row[i]->layer, "conv") == 0 ? "quantised" : "float");
    qf_plan_destroy(plan);
    qf_sensitivity_result_destroy(result);
}

static void what_cannot_be_measured(void **state)
{
    (void)state;
    qf_sensitivity_result *result;
    qf_sensitivity_options options = {.size = sizeof options};
    qf_sensitivity_set_defaults(&options);
    assert_fails(context, qf_measure_sensitivity(context, &options, NULL, NULL, NULL, &result),
                 "the prefix of the quantised models are needed");
    assert_fails(context, measure(-1, 0, &result), "max_loss not negative");
    assert_null(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trials_are_nets_with_one_layer_quantised),
        cmocka_unit_test(what_is_skipped_can_be_given_on),
        cmocka_unit_test(what_cannot_be_measured),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
