/* What the steps of calibration and convert_model say to bad input, in AMCT's words, and that they
 * leave nothing behind then. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <string.h>
#include <unistd.h>

#define CONVOLUTION(name, from, more)                                                              \
    "layer { name: '" name "' type: 'Convolution' bottom: '" from "' top: '" name "' " more        \
    " convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: 'msra' } } } "
#define SHARED "param { name: 'w' } param { name: 'b' } "
#define NET                                                                                        \
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 4 dim: 4 dim: 4 " \
    "} } } " CONVOLUTION(                                                                          \
        "c1", "x",                                                                                 \
        "") "layer { name: 'bn' type: 'BatchNorm' bottom: 'c1' top: 'c1' } " CONVOLUTION("s1",     \
                                                                                         "c1",     \
                                                                                         SHARED)   \
        CONVOLUTION("s2", "s1", SHARED) "layer { name: 'p' type: 'Pooling' bottom: 's2' top: 'p' " \
                                        "pooling_param { pool: AVE "                               \
                                        "kernel_size: 2 } } "

static qf_buffer warnings;

static void keep(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)user;
    (void)file;
    (void)line;
    if (level == QF_WARNING)
        qf_buffer_print(&warnings, "%s\n", text);
}

static void write_weights(const char *model, const char *weights, float variance)
{
    qf_net *net;
    float *values;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    for (int b = 0; b < 3; b++) {
        qf_blob *blob = qf_net_layer_param(net, 2, b);
        assert_ok(context, qf_blob_mutable_data(blob, &values));
        for (size_t i = 0; i < qf_blob_count(blob); i++)
            values[i] = b == 1 ? variance : 1;
    }
    assert_ok(context, qf_net_save_weights(net, weights));
    qf_net_destroy(net);
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    qf_context_set_log(context, keep, NULL, QF_WARNING);
    test_write_text(context, "net.prototxt", NET);
    write_weights("net.prototxt", "net.caffemodel", 1);
    assert_ok(context, qf_create_quant_config(context, "config.json", "net.prototxt",
                                              "net.caffemodel", NULL));
    return 0;
}

static int tear_down(void **state)
{
    qf_buffer_release(&warnings);
    return test_stop_in_folder(state);
}

static qf_status init(const char *config, const char *weights, qf_quant_graph **graph)
{
    qf_buffer_release(&warnings);
    return qf_quant_init(context, config, "net.prototxt", weights, "record.txt", graph);
}

/* The record of before is still there. */
static void refuses_to_begin(const char *config, qf_status expected, const char *sentence)
{
    qf_quant_graph *graph;
    test_write_text(context, "record.txt", "# of before");
    test_write_text(context, "it.json", config);
    assert_int_equal(init("it.json", "net.caffemodel", &graph), expected);
    assert_null(graph);
    assert_non_null(strstr(qf_error_text(context), sentence));
    assert_true(test_file_has(context, "record.txt", "# of before"));
}

#define GLOBALS                                                                                    \
    "\"version\": 1, \"batch_num\": 2, \"activation_offset\": true, \"do_fusion\": true, "
#define ON(name) "\"" name "\": {\"quant_enable\": true, \"activation_quant_params\": {}}"

static void configurations_that_cannot_be(void **state)
{
    (void)state;
    refuses_to_begin("{" GLOBALS "\"c1\": {\"quant_enable\": false}}", QF_E_MISMATCH,
                     "No quant enable layer in quant config file, please check the quant config "
                     "file.");
    refuses_to_begin("{" GLOBALS ON("nobody") "}", QF_E_VALUE,
                     "nobody is an invalid layer name or parameter.");
    refuses_to_begin("{" GLOBALS ON("bn") "}", QF_E_VALUE, "layer bn does not support quant.");
    refuses_to_begin("{\"version\": 2, " ON("c1") "}", QF_E_VALUE, "The version must be 1.");
    refuses_to_begin("{" GLOBALS ON("s1") "}", QF_E_ARGUMENT,
                     "layers s1 and s2 share weights, so they must be configured alike");
}

static void a_record_that_is_there_is_emptied_with_a_warning(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_buffer record = {0};
    test_write_text(context, "record.txt", "# of before");
    assert_ok(context, init("config.json", "net.caffemodel", &graph));
    assert_non_null(
        strstr(qf_buffer_text(&warnings),
               "The file already exists at record.txt, and it will be overwritten by AMCT"));
    assert_ok(context, qf_file_read(context, "record.txt", &record));
    assert_int_equal(record.size, 0);
    qf_buffer_release(&record);

    assert_fails(context, qf_quantize_model(context, graph, "net.prototxt", "cal.caffemodel"),
                 "would be written over");
    assert_fails(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.prototxt"),
                 "two outputs have the same name");
    assert_false(qf_file_exists("cal.prototxt") || qf_file_exists("cal.caffemodel"));
    qf_quant_graph_destroy(graph);

    assert_fails(context,
                 qf_quant_init(context, "config.json", "net.prototxt", "net.caffemodel",
                               "net.caffemodel", &graph),
                 "would be written over");
}

/* Opened, not begun: the record stays. */
static void save_refuses(const char *record, const char *sentence)
{
    qf_quant_graph *graph;
    test_write_text(context, "record.txt", record);
    assert_ok(context, qf_quant_open(context, "config.json", "net.prototxt", "net.caffemodel",
                                     "record.txt", &graph));
    assert_true(test_file_has(context, "record.txt", record));
    assert_int_not_equal(qf_save_model(context, graph, QF_SAVE_BOTH, "m"), QF_OK);
    assert_string_equal(qf_error_text(context), sentence);
    qf_quant_graph_destroy(graph);
    assert_false(qf_file_exists("m_quant.json") || qf_file_exists("m_deploy_model.prototxt") ||
                 qf_file_exists("m_fake_quant_weights.caffemodel"));
}

#define ENTRY(layer, more) "record { key: '" layer "' value { " more " } } "
#define SCALES "scale_w: 0.01 offset_w: 0 "
#define RANGE "scale_d: 0.1 offset_d: 1 "
#define OTHERS                                                                                     \
    ENTRY("s1", RANGE SCALES "shift_bit: 1")                                                       \
    ENTRY("s2", RANGE SCALES "shift_bit: 1") ENTRY("p", RANGE "scale_w: 1 offset_w: 0")

static void records_that_are_not_complete(void **state)
{
    (void)state;
    save_refuses("", "record_file is empty, no layers to be quantized. Please ensure calibration "
                     "is finished by checking information!");
    save_refuses(OTHERS, "Cannot find scale_d of layer 'c1' in record file");
    save_refuses(ENTRY("c1", SCALES) OTHERS, "Cannot find scale_d of layer 'c1' in record file");
    save_refuses(ENTRY("c1", RANGE SCALES) OTHERS,
                 "cannot find shift_bit of layer c1 in record_file");
    save_refuses(ENTRY("c1", RANGE SCALES "shift_bit: 17") OTHERS,
                 "shift_bit's value shoule be in [1, 16] or all be 0 in layer c1");
    save_refuses(ENTRY("c1", RANGE SCALES "shift_bit: 1") OTHERS ENTRY("nobody", RANGE),
                 "find nobody failure in net.prototxt. Please match net.prototxt and record.txt.");
    save_refuses("record {", "the record_file{record.txt} cannot be parsered, please ensure it "
                             "matches with scale_offset_record.proto!");
}

static void kinds_of_models(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    test_write_text(context, "record.txt", ENTRY("c1", RANGE SCALES "shift_bit: 1") OTHERS);
    assert_ok(context, qf_quant_open(context, "config.json", "net.prototxt", "net.caffemodel",
                                     "record.txt", &graph));
    assert_fails(context, qf_save_model(context, graph, (qf_save_type)4, "m"), "save_type must be");
    assert_fails(context, qf_save_model(context, graph, QF_SAVE_BOTH, ""), "save_path");
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_DEPLOY, "deployed/"));
    assert_true(qf_file_exists("deployed/deploy_model.prototxt"));
    assert_false(qf_file_exists("deployed/fake_quant_model.prototxt"));
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_FAKE_QUANT, "deployed/"));
    assert_true(qf_file_exists("deployed/fake_quant_model.prototxt"));
    qf_quant_graph_destroy(graph);
}

static void convert_refuses(const char *model, const char *weights, const char *record,
                            const char *sentence)
{
    test_write_text(context, "factors.txt", record);
    assert_int_equal(qf_convert_model(context, model, weights, "factors.txt", "m"), QF_E_MISMATCH);
    if (!strstr(qf_error_text(context), sentence))
        fail_msg("expected \"%s\" in: %s", sentence, qf_error_text(context));
    assert_false(qf_file_exists("m_quant.json") || qf_file_exists("m_deploy_model.prototxt") ||
                 qf_file_exists("m_fake_quant_weights.caffemodel"));
}

static void models_and_records_that_do_not_convert(void **state)
{
    (void)state;
    const char *good = ENTRY("c1", RANGE SCALES);
    convert_refuses("net.prototxt", "net.caffemodel", ENTRY("c1", RANGE SCALES "shift_bit: 1"),
                    "shift_bit is not support, please delete shift_bit of layer c1 in record_file");
    convert_refuses("net.prototxt", "net.caffemodel", ENTRY("c1", SCALES),
                    "cannot find scale_d of layer c1 in record_file, please check data calibration "
                    "process!");
    convert_refuses("net.prototxt", "net.caffemodel", ENTRY("bn", RANGE),
                    "layer bn cannot be quantized ");
    convert_refuses("net.prototxt", "net.caffemodel", ENTRY("c1", ""), "record_file is empty");

    test_write_text(context, "factors.txt", good);
    assert_ok(context, qf_convert_model(context, "net.prototxt", "net.caffemodel", "factors.txt",
                                        "ready/m"));
    convert_refuses("ready/m_deploy_model.prototxt", "ready/m_deploy_weights.caffemodel", good,
                    "so the model is quantised already; give the float model");
    convert_refuses("net.prototxt", "ready/m_deploy_weights.caffemodel", good,
                    "the weights of layer c1 are integers");
    char *text = test_replace(NET, "type: 'BatchNorm'",
                              "type: 'BatchNorm' batch_norm_param { use_global_stats: false }");
    test_write_text(context, "batch.prototxt", text);
    qf_free(text);
    convert_refuses("batch.prototxt", "net.caffemodel", good,
                    "layer bn: use_global_stats of BatchNorm must be true");
}

/* 1 / √(0 + eps), times a weight, is a number; what comes of a variance below zero is none. */
static void what_is_not_finite_is_not_folded(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    write_weights("net.prototxt", "odd.caffemodel", -1);
    assert_ok(context, init("config.json", "odd.caffemodel", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    assert_non_null(strstr(qf_buffer_text(&warnings),
                           "fusion for c1 skipped because data is abnormal after fusion."));
    assert_true(test_file_has(context, "cal.prototxt", "BatchNorm"));
    qf_quant_graph_destroy(graph);

    qf_buffer_release(&warnings);
    test_write_text(context, "factors.txt", ENTRY("c1", RANGE SCALES));
    assert_ok(context,
              qf_convert_model(context, "net.prototxt", "odd.caffemodel", "factors.txt", "odd/m"));
    assert_non_null(strstr(qf_buffer_text(&warnings), "skipped because data is abnormal"));
    assert_true(test_file_has(context, "odd/m_deploy_model.prototxt", "BatchNorm"));
}

/* The record of a net that was calibrated with BatchNorm folded, taken for one without. */
static void factors_of_another_configuration_are_told(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_buffer config = {0}, record = {0};
    write_weights("net.prototxt", "scaled.caffemodel", 9); /* folding divides weights by 3 */
    assert_ok(context, init("config.json", "scaled.caffemodel", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_file_read(context, "record.txt", &record));
    assert_ok(context, qf_file_read(context, "config.json", &config));
    qf_buffer_append(&record, "", 1);
    qf_buffer_append(&config, "", 1);
    char *unfolded = test_replace(config.data, "\"do_fusion\":true", "\"do_fusion\":false");
    char *complete = test_replace(record.data, "offset_w: 0\n",
                                  "offset_w: 0 shift_bit: 1 scale_d: 0.1 offset_d: 0\n");
    test_write_text(context, "record.txt", complete);
    test_write_text(context, "unfolded.json", unfolded);
    for (int other = 0; other < 2; other++) {
        assert_ok(context,
                  qf_quant_open(context, other ? "unfolded.json" : "config.json", "net.prototxt",
                                "scaled.caffemodel", "record.txt", &graph));
        qf_buffer_release(&warnings);
        assert_ok(context, qf_save_model(context, graph, QF_SAVE_DEPLOY, "told/m"));
        const char *said = qf_buffer_text(&warnings);
        assert_true(!strstr(said, "Layer c1: scale_w of the record is not what its weights give") ==
                    !other);
        assert_null(strstr(said, "Layer s1: scale_w"));
        qf_quant_graph_destroy(graph);
    }
    qf_free(unfolded);
    qf_free(complete);
    qf_buffer_release(&config);
    qf_buffer_release(&record);
}

static void channels_without_weights_are_told_of_once(void **state)
{
    (void)state;
    qf_net *net;
    float *weights, *bias;
    assert_ok(context, qf_net_create(context, "net.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "net.caffemodel"));
    assert_ok(context, qf_blob_mutable_data(qf_net_layer_param(net, 1, 0), &weights));
    assert_ok(context, qf_blob_mutable_data(qf_net_layer_param(net, 1, 1), &bias));
    for (int c = 1; c < 4; c += 2) {
        memset(weights + 4 * c, 0, 4 * sizeof *weights);
        bias[c] = 3;
    }
    assert_ok(context, qf_net_save_weights(net, "dead.caffemodel"));
    qf_net_destroy(net);
    test_write_text(context, "factors.txt",
                    ENTRY("c1", RANGE SCALES "scale_w: 0.01 scale_w: 0.01 scale_w: 0.01 "
                                             "offset_w: 0 offset_w: 0 offset_w: 0"));
    qf_buffer_release(&warnings);
    assert_ok(context, qf_convert_model(context, "net.prototxt", "dead.caffemodel", "factors.txt",
                                        "dead/m"));
    const char *said =
        strstr(qf_buffer_text(&warnings), "Layer c1: 2 of 4 channels, the first is 1");
    assert_non_null(said);
    assert_null(strstr(said + 1, "Layer c1"));
}

#define INPUTS "--model net.prototxt --weights net.caffemodel "

static void on_the_command_line(void **state)
{
    (void)state;
    test_write_text(context, "record.txt", ENTRY("c1", RANGE SCALES "shift_bit: 1") OTHERS);
    test_write_text(context, "factors.txt", ENTRY("c1", RANGE SCALES));
    test_command(0, "Next: qaffe ptq calibrate", "",
                 "ptq prepare " INPUTS "--config config.json --out-model cmd.prototxt "
                 "--out-weights cmd.caffemodel --record cmd.txt");
    assert_true(test_file_has(context, "cmd.prototxt", "record_file_path: \"cmd.txt\""));
    test_command(0, "The file already exists at cmd.txt, and it will be overwritten by AMCT", "",
                 "ptq prepare " INPUTS "--config config.json --out-model cmd.prototxt "
                 "--out-weights cmd.caffemodel --record cmd.txt");
    test_command(1, "Cannot find scale_d of layer 'c1' in record file", "",
                 "ptq export " INPUTS "--config config.json --record cmd.txt --out cmd/m");
    assert_false(qf_file_exists("cmd/m_quant.json"));
    test_command(0, "The model_file is saved in", "",
                 "ptq export " INPUTS "--config config.json --record record.txt --out cmd/m");
    assert_true(qf_file_exists("cmd/m_quant.json"));
    test_command(0, "The model_file is saved in", "",
                 "ptq convert " INPUTS "--record factors.txt --out cmd/c");
    test_command(1, "No quant enable layer", "echo '{\"version\": 1}' > off.json;",
                 "ptq prepare " INPUTS "--config off.json --out-model off.prototxt "
                 "--out-weights off.caffemodel --record off.txt");
    assert_false(qf_file_exists("off.prototxt") || qf_file_exists("off.txt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_that_cannot_be),
        cmocka_unit_test(a_record_that_is_there_is_emptied_with_a_warning),
        cmocka_unit_test(records_that_are_not_complete),
        cmocka_unit_test(kinds_of_models),
        cmocka_unit_test(models_and_records_that_do_not_convert),
        cmocka_unit_test(what_is_not_finite_is_not_folded),
        cmocka_unit_test(factors_of_another_configuration_are_told),
        cmocka_unit_test(channels_without_weights_are_told_of_once),
        cmocka_unit_test(on_the_command_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
