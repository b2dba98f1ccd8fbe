/* The flow on a net with everything the toolkit treats specially: BatchNorm and Scale to fold (also
 * with negative and vanishing factors), groups, Deconvolution, AVE pooling, a simplified
 * configuration, a net with Input. */
#include "harness/fixture.h"
#include "net/net.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char net_text[] =
    "name: 'mixed' layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 8 dim: "
    "1 dim: 28 dim: 28 } } }"
    "layer { name: 'c1' type: 'Convolution' bottom: 'data' top: 'c1' convolution_param { "
    "num_output: 8 kernel_size: 5 "
    "stride: 2 bias_term: false weight_filler { type: 'msra' } } }"
    "layer { name: 'b1' type: 'BatchNorm' bottom: 'c1' top: 'c1' }"
    "layer { name: 's1' type: 'Scale' bottom: 'c1' top: 'c1' scale_param { bias_term: true } }"
    "layer { name: 'r1' type: 'ReLU' bottom: 'c1' top: 'c1' }"
    "layer { name: 'pool' type: 'Pooling' bottom: 'c1' top: 'pool' pooling_param { pool: AVE "
    "kernel_size: 2 stride: 2 } }"
    "layer { name: 'c2' type: 'Convolution' bottom: 'pool' top: 'c2' convolution_param { "
    "num_output: 8 kernel_size: 3 "
    "group: 2 pad: 1 weight_filler { type: 'msra' } } }"
    "layer { name: 'b2' type: 'BatchNorm' bottom: 'c2' top: 'c2n' }"
    "layer { name: 'up' type: 'Deconvolution' bottom: 'c2n' top: 'up' convolution_param { "
    "num_output: 4 kernel_size: 2 "
    "stride: 2 weight_filler { type: 'msra' } } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'up' top: 'ip' inner_product_param { "
    "num_output: 10 weight_filler { "
    "type: 'xavier' } } }"
    "layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }";

/* What a simplified configuration must have, for the net and in each override. */
#define REQUIRED                                                                                   \
    "retrain_data_quant_config { ulq_quantize { } } "                                              \
    "retrain_weight_quant_config { arq_retrain { } } "

static void write_text(const char *name, const char *text)
{
    assert_ok(context, qf_file_write(context, name, text, strlen(text), 0640));
}

/* Weights with statistics: a few passes of training over noise. */
static void make_weights(void)
{
    qf_net *net;
    float *values;
    write_text("net.prototxt", net_text);
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    for (int pass = 0; pass < 4; pass++) {
        qf_blob *data = qf_net_blob(net, "data");
        assert_ok(context, qf_blob_mutable_data(data, &values));
        for (size_t i = 0; i < qf_blob_count(data); i++)
            values[i] = (float)((i * 7919 + (size_t)pass * 104729) % 256) / 256;
        assert_ok(context, qf_net_forward(net, NULL));
    }
    qf_layer *scale = qf_net_find_layer(net, "s1");
    assert_ok(context, qf_blob_mutable_data(scale->params[0].blob, &values));
    values[1] = -0.7f; /* the codes change their sign */
    values[2] = 1e-7f; /* all but switched off */
    values[3] = 0;
    assert_ok(context, qf_net_save_weights(net, "net.caffemodel"));
    qf_net_destroy(net);
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    qf_context_set_seed(context, 1);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 400, 96, 1));
    make_weights();
    return 0;
}

static qf_qat_options options(void)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_set_defaults(&o);
    o.model = "net.prototxt";
    o.weights = "net.caffemodel";
    o.train_data = "train_lmdb";
    o.test_data = "test_lmdb";
    o.scale = 1.0 / 256;
    o.iterations = 4;
    o.batch_size = 16;
    return o;
}

static const qf_qat_row *row_of(const qf_qat_result *result, const char *name)
{
    for (int i = 0; i < result->rows; i++)
        if (strcmp(result->row[i]->name, name) == 0)
            return result->row[i];
    return NULL;
}

static void a_mixed_net_agrees_in_every_integer(void **state)
{
    (void)state;
    static const char *const expected[] = {"c1", "pool", "c2", "up", "ip"};
    qf_qat_options o = options();
    qf_qat_result *result;
    o.save_path = "mixed/m";
    o.mean_values = "12";
    assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
    assert_int_equal(result->rows, 5);
    for (size_t i = 0; i < 5; i++)
        assert_non_null(row_of(result, expected[i]));
    assert_int_equal(result->verification->differing, 0);
    assert_int_equal(result->verification->layers, 10);
    assert_true(result->fake_quant_score == result->deploy_score);
    qf_qat_result_destroy(result);
}

static void the_definition_is_followed(void **state)
{
    (void)state;
    qf_qat_options o = options();
    qf_qat_result *result;
    o.save_path = "cfg/m";
    o.config_definition = "quant.cfg";
    write_text("quant.cfg", REQUIRED "batch_num: 2 skip_layers: 'up' skip_layer_types: 'Pooling' "
                                     "override_layer_types { layer_type: "
                                     "'Convolution' retrain_data_quant_config { ulq_quantize { } } "
                                     "retrain_weight_quant_config { arq_retrain { "
                                     "channel_wise: false } } } override_layer_configs { "
                                     "layer_name: 'c2' retrain_data_quant_config { "
                                     "ulq_quantize { clip_max_min { clip_max: 4 clip_min: -4 } } } "
                                     "retrain_weight_quant_config { arq_retrain { "
                                     "} } }");
    assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
    assert_int_equal(result->rows, 3);
    assert_null(row_of(result, "up"));
    assert_null(row_of(result, "pool"));
    assert_true(fabs((double)row_of(result, "c2")->scale_d - 8.0 / 255) < 1e-3);
    assert_int_equal(result->verification->differing, 0);
    qf_qat_result_destroy(result);
}

static void definition_fails(const char *text, const char *part)
{
    write_text("bad.cfg", text);
    assert_fails(context,
                 qf_create_quant_retrain_config(context, "bad.json", "net.prototxt",
                                                "net.caffemodel", "bad.cfg"),
                 part);
    assert_false(qf_file_exists("bad.json"));
}

static void bad_definitions(void **state)
{
    (void)state;
    definition_fails(REQUIRED "skip_layers: 'nobody'", "nobody");
    definition_fails(REQUIRED "skip_layer_types: 'Softmax'", "Softmax");
    definition_fails(REQUIRED "batch_num: 0", "batch_num");
    definition_fails(REQUIRED "override_layer_configs { layer_name: 'r1' " REQUIRED "}", "r1");
    definition_fails(REQUIRED "override_layer_types { layer_type: 'ReLU' " REQUIRED "}", "ReLU");
    definition_fails(REQUIRED "skip_layer_types: 'Convolution' skip_layer_types: 'Deconvolution' "
                              "skip_layer_types: 'InnerProduct' "
                              "skip_layer_types: 'Pooling'",
                     "No layer retrain enabled");
    definition_fails("skip_layer: 'c1'", "skip_layers");
}

static void run_fails(const qf_qat_options *o, const char *part)
{
    qf_qat_result *result;
    assert_fails(context, qf_qat_run(context, o, NULL, NULL, NULL, &result), part);
    qf_qat_result_destroy(result);
}

static void bad_runs(void **state)
{
    (void)state;
    qf_qat_options o = options();
    o.test_data = NULL;
    run_fails(&o, "--test-data");
    o = options();
    o.mean_values = "1,x";
    run_fails(&o, "mean values");
    o = options();
    o.train_data = "no_lmdb";
    run_fails(&o, "no_lmdb");
    o = options();
    o.iterations = -1;
    run_fails(&o, "iterations");
    qf_verification *found;
    assert_fails(context, qf_verify(context, "nothing/here", NULL, 1, NULL, NULL, NULL, &found),
                 "nothing/here");
    qf_verification_destroy(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mixed_net_agrees_in_every_integer),
        cmocka_unit_test(the_definition_is_followed),
        cmocka_unit_test(bad_definitions),
        cmocka_unit_test(bad_runs),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
