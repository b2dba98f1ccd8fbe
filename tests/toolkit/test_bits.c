/* Weights and activations of other than 8 bits: what configurations say, and what becomes of it. */
#include "harness/bits_net.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"
#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>

static qf_status configure(const char *definition)
{
    test_write_text(context, "quant.cfg", definition);
    return qf_create_quant_retrain_config(context, "config.json", "net.prototxt", "net.caffemodel",
                                          "quant.cfg");
}

#define OF_ALL(data, weights)                                                                      \
    "retrain_data_quant_config { ulq_quantize { " data " } } "                                     \
    "retrain_weight_quant_config { arq_retrain { " weights " } } "
#define OF_LAYER(name, data, weights)                                                              \
    "override_layer_configs { layer_name: '" name "' " OF_ALL(data, weights) "} "

static void bits_of_a_definition_reach_the_quantisers(void **state)
{
    (void)state;
    assert_ok(context, configure(OF_ALL("dst_type: INT4", "dst_type: INT4") OF_LAYER("c1", "", "")
                                     OF_LAYER("c3", "num_bits: 6", "num_bits: 6") OF_LAYER(
                                         "ip", "dst_type: INT16 num_bits: 16", "num_bits: 8")));
    assert_ok(context, test_bits_prepare());
    test_assert_bits("c1", 8, 8); /* an override begins anew */
    test_assert_bits("c2", 4, 4);
    test_assert_bits("c3", 6, 6);
    test_assert_bits("pool", 0, 4);
    test_assert_bits("ip", 8, 16);
    char *modified = test_bits_text("qat.prototxt");
    assert_non_null(strstr(modified, "c3_search_n"));
    assert_null(strstr(modified, "ip_search_n")); /* no accumulator to be shifted */
    qf_free(modified);
}

/* What the plan says of a layer begins with `text`. */
static void assert_planned(const qf_plan *plan, const char *layer, const char *text)
{
    for (size_t i = 0; i < plan->rows; i++)
        if (strcmp(plan->row[i]->layer, layer) == 0) {
            assert_memory_equal(plan->row[i]->detail, text, strlen(text));
            return;
        }
    fail_msg("the plan says nothing of %s", layer);
}

static void a_configuration_has_bits_for_all(void **state)
{
    (void)state;
    const qf_retrain_config_options options = {
        .size = sizeof options, .weight_bits = 4, .activation_bits = 6, .ranges = "lsq"};
    assert_ok(context, qf_create_retrain_config(context, "config.json", "net.prototxt",
                                                "net.caffemodel", &options));
    assert_ok(context, test_bits_prepare());
    test_assert_bits("c1", 8, 8); /* the first */
    test_assert_bits("c2", 4, 6);
    assert_ok(context, qf_create_retrain_config(context, "config.json", "net.prototxt",
                                                "net.caffemodel", NULL));
    char *plain = test_bits_text("config.json");
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "net.prototxt",
                                                      "net.caffemodel", NULL));
    char *amct = test_bits_text("config.json");
    assert_string_equal(plain, amct);
    qf_free(plain);
    qf_free(amct);
    const qf_retrain_config_options wrong = {.size = sizeof wrong, .weight_bits = 5};
    assert_fails(
        context,
        qf_create_retrain_config(context, "config.json", "net.prototxt", "net.caffemodel", &wrong),
        "weights of 5 bits are not possible");
}

static void the_plan_says_bits(void **state)
{
    (void)state;
    qf_plan *plan;
    assert_ok(context, configure(OF_ALL("dst_type: INT4", "dst_type: INT4") OF_LAYER("c1", "", "")
                                     OF_LAYER("ip", "num_bits: 16", "num_bits: 6")));
    assert_ok(context, qf_quant_retrain_plan(context, "net.prototxt", "net.caffemodel",
                                             "config.json", NULL, &plan));
    assert_planned(plan, "c1", "input measured on the first batch; weights per channel");
    assert_planned(plan, "c2",
                   "4-bit input measured on the first batch; 4-bit weights per channel");
    assert_planned(plan, "pool", "4-bit input measured on the first batch");
    assert_planned(plan, "ip",
                   "16-bit input measured on the first batch; 6-bit weights per tensor");
    qf_plan_destroy(plan);
}

static void nothing_new_is_written_of_8_bits(void **state)
{
    (void)state;
    assert_ok(context, configure(OF_ALL("", "")));
    char *plain = test_bits_text("config.json");
    assert_null(strstr(plain, "num_bits"));
    assert_ok(context, configure(OF_ALL("dst_type: INT8 num_bits: 8", "dst_type: INT8")));
    char *said = test_bits_text("config.json");
    assert_string_equal(plain, said);
    qf_free(plain);
    qf_free(said);
}

/* A layer of the configuration that was written, with other text in place of what it has. */
static void edit(const char *from, const char *to)
{
    char *text = test_bits_text("config.json"), *at = strstr(text, from);
    assert_non_null(at);
    char *edited = test_format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    test_write_text(context, "config.json", edited);
    qf_free(edited);
    qf_free(text);
}

static void a_json_may_say_bits_by_either_key(void **state)
{
    (void)state;
    assert_ok(context, configure(OF_ALL("", "")));
    edit("\"algo\":\"ulq_quantize\"", "\"algo\":\"ulq_quantize\",\"dst_type\":\"INT16\"");
    edit("\"channel_wise\":true", "\"channel_wise\":true,\"dst_type\":\"INT4\",\"num_bits\":4");
    assert_ok(context, test_bits_prepare());
    test_assert_bits("c1", 4, 16);
    test_assert_bits("c2", 8, 8);
}

static void other_numbers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *definition, *sentence;
    } rows[] = {
        {OF_ALL("", "num_bits: 3"),
         "quant.cfg: weights of 3 bits are not possible; expected 4, 6 or 8"},
        {OF_ALL("", "dst_type: INT16"),
         "quant.cfg: weights of 16 bits are not possible; expected 4, 6 or 8"},
        {OF_ALL("num_bits: 12", ""),
         "quant.cfg: activations of 12 bits are not possible; expected 4, 6, 8 or 16"},
        {OF_ALL("num_bits: 4000000000", ""), "activations of 4000000000 bits are not possible"},
        {OF_ALL("dst_type: INT4 num_bits: 6", ""), "dst_type INT4 and num_bits 6 do not agree"},
        {OF_ALL("", "") OF_LAYER("c2", "num_bits: 0", ""), "activations of 0 bits"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_fails(context, configure(rows[i].definition), rows[i].sentence);
}

static void other_values_of_a_json_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *value, *sentence;
    } rows[] = {
        {"\"num_bits\":3", "c1: weights of 3 bits are not possible"},
        {"\"num_bits\":\"4\"", "c1.num_bits should be an integer, found string"},
        {"\"num_bits\":-9223372036854775808", "c1: weights of -9223372036854775808 bits"},
        {"\"dst_type\":4", "c1.dst_type should be a string, found integer"},
        {"\"dst_type\":\"INT5\"", "dst_type \"INT5\" is not known"},
        {"\"dst_type\":\"INT8\",\"num_bits\":4", "INT8 and num_bits 4 do not agree"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(context, configure(OF_ALL("", "")));
        char *text = test_format("\"channel_wise\":true,%s", rows[i].value);
        edit("\"channel_wise\":true", text);
        qf_free(text);
        assert_fails(context, test_bits_prepare(), rows[i].sentence);
    }
}

/* ---- the flow ---- */

static qf_qat_result *run(int weights, int activations, int edge, const char *path)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_result *result;
    qf_qat_set_defaults(&o);
    o.model = "net.prototxt";
    o.weights = "net.caffemodel";
    o.train_data = "train_lmdb";
    o.test_data = "test_lmdb";
    o.scale = 1.0 / 256;
    o.iterations = 4;
    o.batch_size = 16;
    o.save_path = path;
    o.weight_bits = weights;
    o.activation_bits = activations;
    o.edge_bits = edge;
    assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
    return result;
}

/* Do all codes of the layer's weights lie in those of so many bits, at an end at least? */
static void assert_weight_codes(const char *weights_file, const char *layer, int bits)
{
    Caffe__NetParameter *net;
    const int half = 1 << (bits - 1);
    int lowest = 0, highest = 0;
    assert_ok(context, qf_net_param_read_binary(context, weights_file, &net));
    const Caffe__BlobProto *w = qf_find_layer(net, layer)->blobs[0];
    assert_true(w->int8_data.len > 0);
    for (size_t i = 0; i < w->int8_data.len; i++) {
        const int code = (int8_t)w->int8_data.data[i];
        lowest = code < lowest ? code : lowest;
        highest = code > highest ? code : highest;
    }
    assert_true(lowest >= -half && highest < half);
    assert_true(lowest == -half || highest == half - 1);
    qf_message_free(net);
}

/* The Quant layer in front of a layer. */
static void assert_quant(const char *model, const char *layer, bool says_bits, uint32_t bits)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read(context, model, &net));
    const int at = qf_graph_find(net, layer),
              quant = qf_graph_producer(net, net->layer[at]->bottom[0], at);
    assert_int_equal(net->layer[quant]->quant_param->has_num_bits, says_bits);
    assert_int_equal(net->layer[quant]->quant_param->num_bits, bits);
    qf_message_free(net);
}

/* As ONNX, with all that it means: the codes are the model's. */
static void assert_onnx_agrees(const char *model, const char *weights)
{
    const qf_data_options data = {.size = sizeof data, .source = "test_lmdb", .scale = 1.0 / 256};
    qf_onnx_options options = {.size = sizeof options};
    qf_onnx_result *found;
    qf_onnx_set_defaults(&options);
    options.keep_shift = true;
    options.verify_batches = 1;
    options.data = &data;
    assert_ok(context, qf_export_onnx(context, model, weights, "model.onnx", &options, NULL, NULL,
                                      NULL, &found));
    assert_true(found->codes > 0);
    if (found->differing_codes * 1000 > found->codes)
        fail_msg("%llu of %llu codes of %s", (unsigned long long)found->differing_codes,
                 (unsigned long long)found->codes, model);
    qf_onnx_result_destroy(found);
}

/* What an inspection says of layer c3, whose input has both signs, so that every model says bits.
 */
static void assert_inspected(const char *prefix, const char *model, const char *weights,
                             int of_weights, int of_input)
{
    qf_inspection *net;
    char *model_file = test_format("%s_%s", prefix, model);
    char *weights_file = test_format("%s_%s", prefix, weights);
    int found = 0;
    assert_ok(context,
              qf_inspect(context, model_file, weights_file, NULL, QF_TEST, 0, NULL, 0, &net));
    for (size_t i = 0; i < net->layers; i++) {
        const qf_inspected_layer *layer = net->layer[i];
        if (strcmp(layer->name, "c3") == 0) {
            assert_int_equal(layer->weight_bits, of_weights);
            assert_int_equal(layer->activation_bits, of_input);
            assert_string_equal(layer->treatment, "quantised");
            found++;
        } else if (strstr(layer->name, "quant") || strstr(layer->name, "qat")) {
            assert_string_equal(layer->treatment, ""); /* no layer that could be quantised */
        }
    }
    assert_int_equal(found, 1);
    qf_inspection_destroy(net);
    qf_free(model_file);
    qf_free(weights_file);
}

static void assert_bits_are_shown(const qf_qat_result *r, const char *prefix, int of_weights,
                                  int of_input)
{
    for (int i = 0; i < r->rows; i++)
        if (strcmp(r->row[i]->name, "c3") == 0) {
            assert_int_equal(r->row[i]->weight_bits, of_weights);
            assert_int_equal(r->row[i]->activation_bits, of_input);
        } else if (strcmp(r->row[i]->type, "Pooling") == 0) {
            assert_int_equal(r->row[i]->weight_bits, 0);
        }
    assert_inspected(prefix, "modified.prototxt", "modified.caffemodel", of_weights, of_input);
    assert_inspected(prefix, "fake_quant_model.prototxt", "fake_quant_weights.caffemodel",
                     of_weights, of_input);
    assert_inspected(prefix, "deploy_model.prototxt", "deploy_weights.caffemodel", of_weights,
                     of_input);
}

static void models_agree_in_every_integer(void **state)
{
    (void)state;
    static const struct {
        int weights, activations, edge;
    } rows[] = {{4, 8, 8}, {4, 4, 8}, {4, 4, 4}, {6, 6, 6}, {8, 4, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *path = test_format("w%da%d_%d/m", rows[i].weights, rows[i].activations, rows[i].edge);
        char *deploy = test_format("%s_deploy_model.prototxt", path);
        char *fake = test_format("%s_fake_quant_model.prototxt", path);
        char *weights = test_format("%s_deploy_weights.caffemodel", path);
        qf_qat_result *result = run(rows[i].weights, rows[i].activations, rows[i].edge, path);
        assert_int_equal(result->verification->differing, 0);
        assert_true(result->verification->compared > 0);
        assert_true(result->fake_quant_score == result->deploy_score);
        assert_weight_codes(weights, "c2", rows[i].weights);
        assert_bits_are_shown(result, path, rows[i].weights, rows[i].activations);
        const bool fewer = rows[i].activations < 8;
        const uint32_t bits = (uint32_t)rows[i].activations;
        assert_quant(fake, "c2", fewer, bits);
        assert_quant(deploy, "c2", false, 8);    /* behind a ReLU: AMCT's format says it */
        assert_quant(deploy, "c3", fewer, bits); /* of both signs: it does not */
        if (rows[i].edge == 8) /* pixels of 4 bits may lie on ties, which ONNX rounds to even */
            assert_onnx_agrees(deploy, weights);
        qf_qat_result_destroy(result);
        qf_free(path);
        qf_free(deploy);
        qf_free(fake);
        qf_free(weights);
    }
}

static double noise_of(const qf_qat_result *result, const char *layer)
{
    for (int i = 0; i < result->rows; i++)
        if (strcmp(result->row[i]->name, layer) == 0)
            return result->row[i]->activation_sqnr;
    fail_msg("no row for %s", layer);
    return 0;
}

/* A bit more is a ratio of signal to noise 6 dB higher, 8 more are 48 dB; a range is not the same
 * share of values in each layer. */
static void assert_noise_of_16_bits(const qf_qat_result *result)
{
    const double edge = noise_of(result, "ip");
    static const char *const wide[] = {"c2", "c3"};
    assert_true(edge > 25 && edge < 55);
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (!(noise_of(result, wide[i]) > 75))
            fail_msg("%s: %g dB", wide[i], noise_of(result, wide[i]));
}

static void inputs_of_16_bits_have_no_deploy_model(void **state)
{
    (void)state;
    qf_qat_result *result = run(8, 16, 8, "w8a16/m");
    assert_int_equal(result->verification->compared, 0);
    assert_int_equal(result->deploy_bytes, 0);
    assert_true(isnan(result->deploy_score));
    assert_noise_of_16_bits(result);
    assert_false(qf_file_exists("w8a16/m_deploy_model.prototxt"));
    assert_quant("w8a16/m_fake_quant_model.prototxt", "c3", true, 16);
    qf_qat_result_destroy(result);
    assert_fails(context,
                 qf_save_quant_retrain_model(context, "w8a16/m_modified.prototxt",
                                             "w8a16/m_retrained_iter_4.caffemodel", QF_SAVE_BOTH,
                                             "w8a16/again", "w8a16/m_record.txt", NULL),
                 "layer c2 has an input of 16 bits, which no deploy model can have");
    assert_ok(context,
              qf_save_quant_retrain_model(context, "w8a16/m_modified.prototxt",
                                          "w8a16/m_retrained_iter_4.caffemodel", QF_SAVE_FAKE_QUANT,
                                          "w8a16/again", "w8a16/m_record.txt", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_of_a_definition_reach_the_quantisers),
        cmocka_unit_test(a_configuration_has_bits_for_all),
        cmocka_unit_test(the_plan_says_bits),
        cmocka_unit_test(nothing_new_is_written_of_8_bits),
        cmocka_unit_test(a_json_may_say_bits_by_either_key),
        cmocka_unit_test(other_numbers_are_refused),
        cmocka_unit_test(other_values_of_a_json_are_refused),
        cmocka_unit_test(models_agree_in_every_integer),
        cmocka_unit_test(inputs_of_16_bits_have_no_deploy_model),
    };
    return cmocka_run_group_tests(tests, test_bits_start, test_stop_in_folder);
}
