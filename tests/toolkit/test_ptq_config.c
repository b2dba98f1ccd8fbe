/* The configuration of calibration without retraining: what the recorded cases (golden_amct) do not
 * say. */
#include "harness/command.h"
#include "harness/harness.h"
#include "model/model.h"
#include "toolkit/config/json_file.h"
#include "toolkit/config/ptq_config.h"

#include <string.h>

#define LAYER(name, type, more)                                                                    \
    "layer { name: '" name "' type: '" type "' bottom: 'x' top: '" name "' " more " } "
#define BLOB(shape) "blobs { shape { " shape " } data: 1 data: 2 data: 3 } "
#define NET                                                                                        \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 " \
    "} } } " LAYER("c2", "Convolution",                                                            \
                   "convolution_param { num_output: 3 kernel_size: 1 bias_term: false }" BLOB(     \
                       "dim: 3 dim: 1 dim: 1 dim: 1"))                                             \
        LAYER("c1", "Convolution",                                                                 \
              "convolution_param { num_output: 3 kernel_size: 1 bias_term: false }" BLOB(          \
                  "dim: 3 dim: 1 dim: 1 dim: 1"))                                                  \
            LAYER("fc", "InnerProduct",                                                            \
                  "inner_product_param { num_output: 1 bias_term: false }" BLOB("dim: 1 dim: 3"))  \
                LAYER("pool", "Pooling", "pooling_param { pool: AVE global_pooling: true }")

static qf_context *context;
static Caffe__NetParameter *net;
static qf_buffer warnings;

static void keep(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user;
    (void)file;
    (void)line;
    if (level == QF_WARNING)
        qf_buffer_print(&warnings, "%s\n", text);
}

static void write_text(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0640));
}

static int setup(void **state)
{
    test_enter_folder(state);
    context = test_context();
    qf_context_set_log(context, keep, NULL, QF_WARNING);
    assert_ok(context, qf_text_parse(context, "net", NET, strlen(NET),
                                     &caffe__net_parameter__descriptor, &net));
    assert_ok(context, qf_wire_write(context, "net.caffemodel", net, 0640));
    write_text("net.prototxt", NET);
    return 0;
}

static int teardown(void **state)
{
    qf_message_free(net);
    qf_buffer_release(&warnings);
    qf_context_destroy(context);
    return test_leave_folder(state);
}

/* The defaults with this .cfg on top. */
static qf_status define(const char *text, qf_config *config)
{
    qf_buffer_release(&warnings);
    write_text("it.cfg", text);
    assert_ok(context, qf_ptq_defaults(context, net, net, config));
    qf_status status = qf_ptq_apply_definition(context, net, "it.cfg", config);
    return status == QF_OK ? qf_ptq_check(context, net, config) : status;
}

static void refuses(const char *text, const char *sentence)
{
    qf_config config;
    assert_int_not_equal(define(text, &config), QF_OK);
    assert_string_equal(qf_error_text(context), sentence);
    qf_config_release(&config);
}

static qf_status read_json(const char *text, qf_config *config)
{
    qf_buffer_release(&warnings);
    write_text("it.json", text);
    assert_ok(context, qf_ptq_defaults(context, net, net, config));
    return qf_ptq_read(context, net, "it.json", config);
}

static void refuses_json(const char *text, const char *sentence)
{
    qf_config config;
    assert_int_not_equal(read_json(text, &config), QF_OK);
    assert_string_equal(qf_error_text(context), sentence);
    qf_config_release(&config);
}

static qf_calibration calibration_of(const qf_config *config, const char *layer)
{
    const qf_layer_config *found = qf_config_find(config, layer);
    assert_non_null(found);
    return found->calibration;
}

/* A block's own, else common_config's where both measure alike, else activation_offset. */
static void where_asymmetric_comes_from(void **state)
{
    (void)state;
    qf_config config;
    assert_ok(
        context,
        define("activation_offset: false common_config { ifmr_quantize { asymmetric: true } } "
               "override_layer_configs { layer_name: 'c1' calibration_config { } } "
               "override_layer_configs { layer_name: 'c2' calibration_config { "
               "  ifmr_quantize { asymmetric: false } } } "
               "override_layer_types { layer_type: 'InnerProduct' calibration_config { "
               "  hfmg_quantize { } } }",
               &config));
    assert_int_equal(calibration_of(&config, "c1").asymmetric, QF_YES);
    assert_int_equal(calibration_of(&config, "c2").asymmetric, QF_NO);
    assert_int_equal(calibration_of(&config, "fc").asymmetric, QF_NO);
    qf_config_release(&config);
}

/* A block replaces the one below it as a whole, and of two values the last counts. */
static void blocks_replace_each_other(void **state)
{
    (void)state;
    qf_config config;
    assert_ok(context, define("batch_num: 2 batch_num: 3 "
                              "common_config { ifmr_quantize { search_step: 0.02 } } "
                              "override_layer_configs { layer_name: 'c1' calibration_config { "
                              "  ifmr_quantize { search_step: 0.03 max_percentile: 0.9 } "
                              "  hfmg_quantize { num_of_bins: 2048 } "
                              "  ifmr_quantize { max_percentile: 0.8 } } }",
                              &config));
    assert_int_equal(config.batch_num, 3);
    const qf_calibration c1 = calibration_of(&config, "c1"), c2 = calibration_of(&config, "c2");
    assert_int_equal(c1.method, QF_IFMR);
    assert_true(c1.search_step == 0.01 && c1.max_percentile == 0.8);
    assert_true(c2.search_step == 0.02 && c2.max_percentile == 0.999999);
    qf_config_release(&config);
}

static void old_blocks(void **state)
{
    (void)state;
    qf_config config;
    assert_ok(context, define("conv_calibration_config { hfmg_quantize { } } "
                              "fc_calibration_config { ifmr_quantize { } }",
                              &config));
    assert_int_equal(calibration_of(&config, "c1").method, QF_HFMG);
    assert_int_equal(calibration_of(&config, "fc").method, QF_IFMR);
    assert_non_null(strstr(qf_buffer_text(&warnings),
                           "fc_calibration_config field has been deprecated, use common_config and "
                           "override_layer_types instead."));
    qf_config_release(&config);
    assert_ok(context,
              define("conv_calibration_config { hfmg_quantize { } } common_config { }", &config));
    assert_int_equal(calibration_of(&config, "c1").method, QF_IFMR);
    assert_non_null(strstr(qf_buffer_text(&warnings),
                           "conv_calibration_config field would be ignored when common_config or "
                           "override_layer_types exists"));
    qf_config_release(&config);
    refuses("fc_calibration_config { arq_quantize { channel_wise: true } }",
            "channel_wise can only be False for fc_calibration_config field");
}

static void refused_definitions(void **state)
{
    (void)state;
    refuses("skip_layer_types: 'Pooling' skip_layer_types: 'Pooling'",
            "Please delete repeated items in skip_layer_types, repeated items are ['Pooling'] ");
    refuses("override_layer_types { layer_type: 'Pooling' calibration_config { } } "
            "override_layer_types { layer_type: 'Pooling' calibration_config { } }",
            "Please delete repeated items in override_layer_types, repeated items are "
            "['Pooling'] ");
    refuses("skip_layers: 'c1' skip_layers: 'fc' skip_layers: 'c1' skip_layers: 'fc' skip_layers: "
            "'c1'",
            "Please delete repeated items in skip_layers, repeated items are ['c1', 'fc'] ");
    refuses("skip_layers: 'c1' skip_layers: 'c2' skip_layer_types: 'InnerProduct'",
            "Except skip_layers or skip_types, no layer need to quantize.");
    refuses("skip_fusion_layers: 'c1' skip_fusion_layers: 'c1'",
            "Please delete repeated items in skip_fusion_layers, repeated items are ['c1'] ");
    refuses("common_config { ifmr_quantize { search_range_end: inf } }",
            "search_range[1] must be finite in layer c2");
    refuses("common_config { ifmr_quantize { search_range_start: 1.3 } }",
            "search_range[0] must be less than search_range[1] in layer c2");
    refuses("common_config { ifmr_quantize { min_percentile: nan } }",
            "The min_percentile must be greater than 0.5 and less than or equal to 1.0 in layer "
            "c2");
    refuses("common_config { hfmg_quantize { num_of_bins: 4294967295 } }",
            "num_of_bins 2147483647 must be in [1024, 2048, 4096, 8192] in layer c2");
    refuses("batch_num: 4294967295", "The batch_num must be at most 1048576, but is 2147483647");
}

/* 1.2 - 0.8 is less than 0.4 in binary. */
static void steps_are_compared_as_decimals(void **state)
{
    (void)state;
    qf_config config;
    assert_ok(context, define("common_config { ifmr_quantize { search_range_start: 0.8 "
                              "search_range_end: 1.2 search_step: 0.4 } }",
                              &config));
    qf_config_release(&config);
    refuses("common_config { ifmr_quantize { search_range_start: 0.8 search_range_end: 1.2 "
            "search_step: 0.4000001 } }",
            "The search_step must be less than or equal to (search_range[1] - search_range[0]) in "
            "layer c2");
}

#define OP(flag, names)                                                                            \
    "{\"name\":\"o\",\"attr\":[{\"key\":\"_fe_weight_compress\",\"value\":{\"b\":" flag            \
    "}},{\"key\":\"_datadump_original_op_names\",\"value\":{\"list\":{\"s\":[" names "]}}}]}"
#define MAPPED "nuq_config { mapping_file: 'om.json' "

/* Which layers are quantised non-uniformly, what is written of it, and what is wrong with it. */
static void mapping_files_mark_layers(void **state)
{
    (void)state;
    qf_config config;
    qf_buffer file = {0};
    write_text("om.json",
               "{\"graph\":[{\"op\":[{\"name\":\"x\"}," OP(
                   "true", "\"c1\",\"c1_dequant_layer\",\"c2_0_quant_layer\",\"pool\",\"gone\","
                           "3") "," OP("false", "\"c2\"") "," OP("true", "\"fc\"") "]}]}");
    assert_ok(context,
              define(MAPPED "nuq_quantize : { num_steps : 16 num_of_iteration : 0 } }", &config));
    assert_int_equal(qf_config_find(&config, "c1")->weight_method, QF_NUQ);
    assert_int_equal(qf_config_find(&config, "c2")->weight_method, QF_ARQ);
    assert_int_equal(qf_config_find(&config, "fc")->weight_method, QF_NUQ);
    assert_ok(context, qf_ptq_write(context, &config, "a.json"));
    qf_config_release(&config);
    assert_ok(context, qf_file_read(context, "a.json", &file));
    assert_non_null(strstr(file.data, "\"weight_quant_params\":{\n"
                                      "            \"wts_algo\":\"nuq_quantize\",\n"
                                      "            \"num_steps\":16,\n"
                                      "            \"num_of_iteration\":0\n        }"));
    assert_ok(context, read_json(file.data, &config));
    assert_int_equal(qf_config_find(&config, "c1")->weight_method, QF_NUQ);
    assert_int_equal(qf_config_find(&config, "c1")->nuq_steps, 16);
    assert_true(qf_config_find(&config, "c1")->channel_wise);
    assert_int_equal(qf_config_find(&config, "fc")->nuq_iterations, 0);
    assert_false(qf_config_find(&config, "fc")->channel_wise);
    qf_config_release(&config);
    qf_buffer_release(&file);
    refuses(MAPPED "nuq_quantize { num_steps: 8 } }",
            "num_steps 8 must be in [16, 32] in layer c2");
    refuses("nuq_config { mapping_file: 'nobody.json' }",
            "cannot open nobody.json: No such file or directory");
    write_text("om.json", "{\"op\":[]}");
    refuses(MAPPED "}",
            "mapping_file om.json: the JSON of an om model is expected, which has a list 'graph'");
    write_text("om.json", "{\"graph\":[3,{\"op\":[" OP("true", "\"gone\"") ",{\"attr\":3}]}]}");
    assert_ok(context, define(MAPPED "}", &config));
    assert_non_null(strstr(qf_buffer_text(&warnings), "om.json marks no layer of this model"));
    qf_config_release(&config);
}

static void global_pooling_may_be_skipped(void **state)
{
    (void)state;
    qf_config config;
    assert_ok(context, define("skip_layers: 'pool'", &config));
    assert_int_equal(config.count, 3);
    qf_config_release(&config);
}

static void refused_files(void **state)
{
    (void)state;
#define C1(block) "{\"version\":1,\"c1\":{\"quant_enable\":true," block "}}"
    refuses_json("{\"c1\":3}",
                 "Type of c1 should be <class 'dict'>, but is <class 'int'> in layer c1");
    refuses_json("{\"batch_num\":true}",
                 "Type of batch_num should be <class 'int'>, but is <class 'bool'>");
    refuses_json("{\"batch_num\":2.0}",
                 "Type of batch_num should be <class 'int'>, but is <class 'float'>");
    refuses_json("{\"batch_num\":9999999999}", "batch_num 9999999999 is out of range");
    refuses_json("{\"skip_fusion_layers\":[3]}",
                 "Type of skip_fusion_layers should be <class 'str'>, but is <class 'int'>");
    refuses_json("{\"pool\":{}}", "layer pool does not support quant.");
    refuses_json(C1("\"activation_quant_params\":{\"search_range\":[1]}"),
                 "The search_range must have two floating-point number in layer c1");
    refuses_json(C1("\"activation_quant_params\":{\"max_percentile\":\"x\"}"),
                 "could not convert string to float: 'x' in layer c1");
    refuses_json(C1("\"activation_quant_params\":{\"num_bits\":5}"),
                 "c1: activations of 5 bits are not possible; expected 4, 6, 8 or 16");
    refuses_json(C1("\"weight_quant_params\":{\"num_steps\":16}"),
                 "num_steps is not valid param of quantize arq_quantize in layer c1");
    refuses_json(C1("\"weight_quant_params\":{\"steps\":16,\"wts_algo\":\"nuq_quantize\"}"),
                 "steps is not valid param of quantize nuq_quantize in layer c1");
    refuses_json(C1("\"weight_quant_params\":{\"num_steps\":64,\"wts_algo\":\"nuq_quantize\"}"),
                 "num_steps 64 must be in [16, 32] in layer c1");
    refuses_json(C1("\"weight_quant_params\":{\"wts_algo\":\"nuq_quantize\","
                    "\"num_of_iteration\":6}"),
                 "num_of_iteration 6 must be in [0, 1, 2, 3, 4, 5] in layer c1");
    refuses_json(C1("\"weight_quant_params\":{\"wts_algo\":\"snq_quantize\"}"),
                 "wts_algo must be arq_quantize or nuq_quantize in layer c1");
    refuses_json("{\"a\\\"b\":1,\"a\\\"b\":2}",
                 "Please delete repeated items in it.json, repeated items are ['a\\\"b'] ");
    refuses_json("{\"version\":1,\"c1\":{\"retrain_enable\":true}}",
                 "it.json is a quantisation configuration (.json), but a configuration of "
                 "quantisation after training (.json) is expected; `qaffe ptq config` makes one "
                 "for calibration without retraining");
}

static void files_as_people_edit_them(void **state)
{
    (void)state;
    qf_config config;
    assert_ok(context, read_json("{\"c1\":{\"quant_enable\":true,\"activation_quant_params\":{"
                                 "\"num_bits\":8,\"max_percentile\":\"0.9\",\"act_algo\":\"hfmg\","
                                 "\"search_step\":0.02}},\"c2\":{}}",
                                 &config));
    assert_true(qf_config_find(&config, "c1")->enabled);
    assert_false(qf_config_find(&config, "c2")->enabled); /* absent means false, */
    assert_false(qf_config_find(&config, "fc")->enabled); /* and so does a layer not named */
    const qf_calibration c1 = calibration_of(&config, "c1");
    assert_int_equal(c1.method, QF_HFMG);
    assert_true(c1.max_percentile == 0.9 && c1.bins == 4096);
    assert_non_null(strstr(qf_buffer_text(&warnings),
                           "search_step of layer c1 has no effect with this act_algo"));
    qf_config_release(&config);
}

/* What is written is read as the same, and the numbers are those that people would write. */
static void written_and_read(void **state)
{
    (void)state;
    qf_config config, again;
    qf_buffer first = {0}, second = {0};
    assert_ok(context, define("common_config { ifmr_quantize { search_range_start: 0.12345 "
                              "search_step: 1e-05 } } skip_fusion_layers: 'c1' "
                              "override_layer_types { layer_type: 'InnerProduct' "
                              "calibration_config { hfmg_quantize { num_of_bins: 8192 } } }",
                              &config));
    assert_ok(context, qf_ptq_write(context, &config, "a.json"));
    assert_ok(context, qf_ptq_defaults(context, net, net, &again));
    assert_ok(context, qf_ptq_read(context, net, "a.json", &again));
    assert_ok(context, qf_ptq_write(context, &again, "b.json"));
    assert_ok(context, qf_file_read(context, "a.json", &first));
    assert_ok(context, qf_file_read(context, "b.json", &second));
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data, "                0.12345,\n                1.3\n"));
    assert_non_null(strstr(first.data, "\"search_step\":1e-5,"));
    assert_non_null(strstr(first.data, "    \"skip_fusion_layers\":[\n        \"c1\"\n    ],\n"));
    assert_true(strstr(first.data, "\"c1\":{") < strstr(first.data, "\"c2\":{"));
    qf_buffer_release(&first);
    qf_buffer_release(&second);
    qf_config_release(&config);
    qf_config_release(&again);
}

static void numbers_have_few_digits(void **state)
{
    (void)state;
    static const float numbers[] = {0.01f, 0.999999f, 1.3f, 1, 0.3333333f, 1e-30f, 16777216};
    static const double expected[] = {0.01, 0.999999, 1.3, 1, 0.3333333, 1e-30, 16777216};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(qf_shortest_decimal(numbers[i]) == expected[i]);
}

static void on_the_command_line(void **state)
{
    (void)state;
#define FILES "ptq config --model net.prototxt --weights net.caffemodel --out c.json "
    test_command(0, "Create quant config file c.json success.", "", FILES "--batch-num 3");
    assert_true(test_file_has(context, "c.json", "\"batch_num\":3"));
    test_command(0, "", "", FILES "--skip-layers c1,fc --activation-offset false");
    assert_true(test_file_has(context, "c.json", "\"activation_offset\":false"));
    assert_true(test_file_has(context, "c.json", "\"fc\":{\n        \"quant_enable\":false"));
    test_command(1, "Layer nobody does not exist in the graph.", "", FILES "--skip-layers nobody");
    test_command(2, "batch-num", "", FILES "--batch-num 0");
}

#define PLAN "ptq plan --model plan.prototxt --weights plan.caffemodel --config c.json"

/* Folded, in both directions and behind InnerProduct, unless the file says no. */
static void plans(void **state)
{
    (void)state;
#define NORM(from, name, to)                                                                       \
    "layer { name: '" name "' type: 'BatchNorm' bottom: '" from "' top: '" to                      \
    "' " BLOB("dim: 3") "} "
#define SCALE(from, name, to)                                                                      \
    "layer { name: '" name "' type: 'Scale' bottom: '" from "' top: '" to "' " BLOB("dim: 3") "} "
    static const char text[] =
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 3 dim: 4 dim: "
        "4 } } } " NORM("x", "b0", "b0") SCALE(
            "b0", "s0",
            "s0") "layer { name: 'c' type: 'Convolution' bottom: 's0' top: 'c' convolution_param { "
                  "num_output: 1 kernel_size: 1 bias_term: false } " BLOB(
                      "dim: 1 dim: 3 dim: 1 dim: 1") "} "
                                                     "layer { name: 'r' type: 'ReLU' bottom: 'c' "
                                                     "top: 'c' } "
                                                     "layer { name: 'fc' type: 'InnerProduct' "
                                                     "bottom: 'c' top: 'fc' inner_product_param { "
                                                     "num_output: 3 bias_term: false } " BLOB(
                                                         "dim: 3 dim: 1") "} " NORM("fc", "b1",
                                                                                    "fc")
                                                         SCALE("fc", "s1", "fc");
    Caffe__NetParameter *plan;
    assert_ok(context, qf_text_parse(context, "plan", text, sizeof text - 1,
                                     &caffe__net_parameter__descriptor, &plan));
    assert_ok(context, qf_wire_write(context, "plan.caffemodel", plan, 0640));
    qf_message_free(plan);
    write_text("plan.prototxt", text);
    write_text("c.json", "{\"batch_num\":8,\"c\":{\"quant_enable\":true},\"fc\":{"
                         "\"quant_enable\":true,\"activation_quant_params\":{\"num_of_bins\":1024,"
                         "\"asymmetric\":false}}}");
    test_command(0, "quantised  input by IFMR; weights per channel; over 8 batches", "", PLAN);
    assert_non_null(strstr(test_output, "quantised  input by HFMG, 1024 bins, symmetric; weights "
                                        "per tensor; over 8 batches"));
    static const char *const folded[] = {"b0", "s0", "b1", "s1"};
    for (int i = 0; i < 4; i++) {
        const char *line = strstr(test_output, folded[i]);
        assert_non_null(line);
        assert_non_null(strstr(line, i < 2 ? "into c\n" : "into fc\n"));
    }
    write_text("c.json", "{\"skip_fusion_layers\":[\"fc\"],\"c\":{\"quant_enable\":true}}");
    test_command(0, "into c\n", "", PLAN);
    assert_null(strstr(test_output, "into fc"));
    assert_non_null(strstr(test_output, "switched off in the configuration"));
    write_text("c.json", "{\"do_fusion\":false,\"c\":{\"quant_enable\":true}}");
    test_command(0, "quantised", "", PLAN);
    assert_null(strstr(test_output, "into"));
    write_text("c.json", "{\"c\":{\"quant_enable\":false}}");
    test_command(1,
                 "No quant enable layer in quant config file, please check the quant config file.",
                 "", PLAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_asymmetric_comes_from),
        cmocka_unit_test(blocks_replace_each_other),
        cmocka_unit_test(old_blocks),
        cmocka_unit_test(refused_definitions),
        cmocka_unit_test(steps_are_compared_as_decimals),
        cmocka_unit_test(mapping_files_mark_layers),
        cmocka_unit_test(global_pooling_may_be_skipped),
        cmocka_unit_test(refused_files),
        cmocka_unit_test(files_as_people_edit_them),
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(numbers_have_few_digits),
        cmocka_unit_test(on_the_command_line),
        cmocka_unit_test(plans),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
