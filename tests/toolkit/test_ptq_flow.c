/* Calibration without training, from the configuration to the models, on a net that has every
 * pattern of folding. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/ptq_net.h"
#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>

/* ---- the calibration model ---- */

static void only_what_may_be_folded_is(void **state)
{
    (void)state;
    static const char *const folded[] = {"c0_bn", "c0_sc", "c1_bn", "c1_sc", "c2_bn",
                                         "d_bn",  "d_sc",  "c4_bn", "ip_bn", "ip_sc"};
    static const char *const kept[] = {"c3_bn", "c3_sc", "c5_bn"};
    test_ptq_prepare("config.json");
    assert_true(test_file_has(context, "config.json", "\"aux\":{\n        \"quant_enable\":true"));
    Caffe__NetParameter *net = test_ptq_net("cal.prototxt", NULL);
    assert_false(test_ptq_has(net, "aux"));
    for (size_t i = 0; i < sizeof folded / sizeof *folded; i++)
        assert_false(test_ptq_has(net, folded[i]));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(test_ptq_has(net, kept[i]));
    assert_string_equal(test_ptq_layer(net, "c1")->bottom[0], "c0_bn");
    assert_string_equal(test_ptq_layer(net, "c0")->top[0], "c0_bn");
    assert_false(test_ptq_layer(net, "s1")->n_param); /* what it shares is in its own blobs */
    qf_message_free(net);
}

static void what_measures_stands_beside_its_layer(void **state)
{
    (void)state;
    static const char *const layers[] = {"c0", "c1", "c2", "c3", "d", "pool", "s1", "s2", "c5"};
    test_ptq_prepare("config.json");
    Caffe__NetParameter *net = test_ptq_net("cal.prototxt", NULL);
    assert_int_equal(net->layer[0]->n_include, 0);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int at = qf_graph_find(net, layers[i]);
        const Caffe__LayerParameter *layer = net->layer[at], *range = net->layer[at - 1],
                                    *search = net->layer[at + 1];
        char *name = test_format("%s_ifmr_layer", layers[i]);
        assert_string_equal(range->name, name);
        assert_string_equal(range->type, "IFMR");
        assert_string_equal(range->bottom[0], layer->bottom[0]);
        assert_int_equal(range->n_top, 0);
        assert_int_equal(range->ifmr_param->batch_num, 2);
        assert_true(range->ifmr_param->with_offset);
        assert_string_equal(range->ifmr_param->object_layer[0], layers[i]);
        assert_string_equal(range->ifmr_param->record_file_path, "record.txt");
        qf_free(name);
        if (strcmp(layers[i], "pool") == 0)
            continue;
        assert_string_equal(search->type, "SearchN");
        assert_string_equal(search->bottom[0], layer->top[0]);
        assert_int_equal(search->search_n_param->batch_num, 2);
    }
    assert_false(test_ptq_has(net, "pool_search_n_layer"));
    assert_false(test_ptq_has(net, "c4_ifmr_layer"));
    const Caffe__LayerParameter *range = test_ptq_layer(net, "ip_hfmg_layer");
    assert_string_equal(range->type, "HFMG");
    assert_int_equal(range->hfmg_param->num_of_bins, 1024);
    assert_true(test_ptq_has(net, "ip_search_n_layer"));
    qf_message_free(net);
}

/* As floats: within half a step of the folded ones; and each a whole number of steps. */
static void weights_lie_on_their_grid(void **state)
{
    (void)state;
    qf_record *record;
    test_ptq_prepare("config.json");
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    Caffe__NetParameter *net = test_ptq_net(NULL, "cal.caffemodel");
    assert_int_equal(record->n_record, 10);
    for (size_t i = 0; i < record->n_record; i++) {
        const qf_record_entry *entry = record->record[i]->value;
        const Caffe__LayerParameter *layer = test_ptq_layer(net, record->record[i]->key);
        assert_int_equal(entry->n_scale_w, entry->n_offset_w);
        assert_false(entry->has_scale_d || entry->n_shift_bit);
        if (strcmp(layer->name, "pool") == 0) {
            assert_int_equal(entry->n_scale_w, 1);
            assert_true(entry->scale_w[0] == 1);
            continue;
        }
        const bool transposed = strcmp(layer->name, "d") == 0;
        const size_t count = layer->blobs[0]->n_data;
        const size_t inner = transposed ? 4 : count / entry->n_scale_w;
        assert_int_equal(entry->n_scale_w, strcmp(layer->name, "ip") == 0 ? 1
                                           : layer->convolution_param
                                               ? layer->convolution_param->num_output
                                               : 0);
        for (size_t k = 0; k < count; k++) {
            const float steps =
                layer->blobs[0]->data[k] / entry->scale_w[k / inner % entry->n_scale_w];
            assert_true(fabsf(steps - roundf(steps)) < 1e-3f);
            assert_true(fabsf(steps) < 128.5f);
        }
    }
    qf_message_free(net);
    qf_message_free(record);
}

/* What the plan says beforehand is what happens. */
static void the_plan_is_kept(void **state)
{
    (void)state;
    qf_plan *plan;
    size_t quantised = 0, folded = 0;
    test_ptq_prepare("config.json");
    Caffe__NetParameter *net = test_ptq_net("cal.prototxt", NULL);
    assert_ok(context,
              qf_quant_plan(context, "net.prototxt", "net.caffemodel", "config.json", &plan));
    for (size_t i = 0; i < plan->rows; i++) {
        const qf_plan_row *row = plan->row[i];
        char *measured =
            test_format("%s_%s_layer", row->layer, strcmp(row->layer, "ip") == 0 ? "hfmg" : "ifmr");
        const bool is_quantised = strcmp(row->treatment, "quantised") == 0;
        const bool is_folded = strcmp(row->treatment, "folded") == 0;
        assert_true(test_ptq_has(net, measured) == is_quantised);
        assert_true(test_ptq_has(net, row->layer) == !is_folded);
        quantised += is_quantised;
        folded += is_folded;
        qf_free(measured);
    }
    assert_int_equal(quantised, 10);
    assert_int_equal(folded, 10);
    qf_plan_destroy(plan);
    qf_message_free(net);
}

/* With the layers that calibrate taken out it computes what the float net does, but for what eight
 * bits lose of weights. */
static void it_computes_what_the_float_net_does(void **state)
{
    (void)state;
    test_ptq_prepare("config.json");
    test_ptq_without_measuring("cal.prototxt", "quiet.prototxt");
    test_ptq_is_close("quiet.prototxt", "cal.caffemodel", 0.05);
}

/* ---- the models ---- */

static void the_models_agree(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    assert_ok(context, test_ptq_init("config.json", "record.txt", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    test_ptq_fill_record("record.txt", true);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "out/m"));
    qf_quant_graph_destroy(graph);
    test_ptq_verify("out/m");
    test_ptq_is_close("out/m_deploy_model.prototxt", "out/m_deploy_weights.caffemodel", 0.05);
    assert_true(test_file_has(context, "out/m_quant.json",
                              "\"c1_bn\",\n                    \"c1_sc\",\n"
                              "                    \"c1\"\n"));
}

/* ---- few codes ---- */

static size_t different(const int8_t *codes, size_t count)
{
    bool seen[256] = {false};
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += !seen[codes[i] + 128];
        seen[codes[i] + 128] = true;
    }
    return found;
}

/* Layer c1 keeps 16 codes, the same ones in the calibration model and in the deploy model. */
static void few_codes_stay_few(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_record *record;
    test_write_text(context, "nuq.json",
                    "{\"version\":1, \"batch_num\":2, \"c3\":{\"quant_enable\":true}, "
                    "\"c1\":{\"quant_enable\":true, \"weight_quant_params\":{"
                    "\"wts_algo\":\"nuq_quantize\", \"num_steps\":16, "
                    "\"num_of_iteration\":1}}}");
    assert_ok(context, test_ptq_init("nuq.json", "record.txt", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    test_ptq_fill_record("record.txt", true);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "few/m"));
    qf_quant_graph_destroy(graph);
    test_ptq_verify("few/m");
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    Caffe__NetParameter *calibrated = test_ptq_net(NULL, "cal.caffemodel");
    Caffe__NetParameter *deployed = test_ptq_net(NULL, "few/m_deploy_weights.caffemodel");
    const Caffe__BlobProto *w = test_ptq_layer(calibrated, "c1")->blobs[0];
    const ProtobufCBinaryData bytes = test_ptq_layer(deployed, "c1")->blobs[0]->int8_data;
    const int8_t *codes = (const int8_t *)bytes.data;
    const qf_record_entry *entry = qf_record_find(record, "c1");
    assert_int_equal(bytes.len, w->n_data);
    assert_int_equal(different(codes, bytes.len), 16);
    for (size_t i = 0; i < w->n_data; i++)
        assert_true(w->data[i] ==
                    (float)codes[i] * entry->scale_w[i / (w->n_data / entry->n_scale_w)]);
    const ProtobufCBinaryData all = test_ptq_layer(deployed, "c3")->blobs[0]->int8_data;
    assert_true(different((const int8_t *)all.data, all.len) > 32);
    qf_message_free(calibrated);
    qf_message_free(deployed);
    qf_message_free(record);
}

/* ---- the whole of it ---- */

static void calibrate(int batches)
{
    qf_net *net;
    assert_ok(context, qf_net_create(context, "cal.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "cal.caffemodel"));
    for (int i = 0; i < batches; i++)
        assert_ok(context, qf_net_forward(net, NULL));
    qf_net_destroy(net);
}

static void calibration_finds_the_factors(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    qf_record *record;
    assert_ok(context, test_ptq_init("config.json", "record.txt", &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    calibrate(1); /* of two */
    assert_fails(context, qf_save_model(context, graph, QF_SAVE_BOTH, "early/m"),
                 "Cannot find scale_d of layer 'c0' in record file");
    assert_false(qf_file_exists("early/m_quant.json"));
    calibrate(3);
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    assert_int_equal(record->n_record, 10);
    for (size_t i = 0; i < record->n_record; i++) {
        const qf_record_entry *entry = record->record[i]->value;
        const bool pool = strcmp(record->record[i]->key, "pool") == 0;
        assert_true(entry->has_scale_d && entry->has_offset_d);
        assert_int_equal(entry->n_shift_bit, pool ? 0 : entry->n_scale_w);
        assert_int_equal(entry->n_offset_w, entry->n_scale_w);
    }
    qf_message_free(record);
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "out/calibrated"));
    qf_quant_graph_destroy(graph);
    test_ptq_verify("out/calibrated");
    test_ptq_is_close("out/calibrated_deploy_model.prototxt",
                      "out/calibrated_deploy_weights.caffemodel", 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_may_be_folded_is),
        cmocka_unit_test(what_measures_stands_beside_its_layer),
        cmocka_unit_test(weights_lie_on_their_grid),
        cmocka_unit_test(the_plan_is_kept),
        cmocka_unit_test(it_computes_what_the_float_net_does),
        cmocka_unit_test(the_models_agree),
        cmocka_unit_test(few_codes_stay_few),
        cmocka_unit_test(calibration_finds_the_factors),
    };
    return cmocka_run_group_tests(tests, test_ptq_start, test_stop_in_folder);
}
