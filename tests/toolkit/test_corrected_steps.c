/* Roundings and biases step by step: at the export of a calibrated net, and into one that is to be
 * trained. */
#include "base/file.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"
#include "model/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 8, PIXELS = 4 * 9 * 9, BATCHES = 2, BITS = 4, LARGEST = 7, ITERATIONS = 60 };

/* Layer b is folded with factors of both signs; c's scale is one for all. */
static const char net_text[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 8 dim: 4 dim: 9 dim: 9 } "
    "} } "
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { num_output: 8 "
    "kernel_size: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 'ra' type: 'ReLU' bottom: 'a' top: 'a' } "
    "layer { name: 'b' type: 'Convolution' bottom: 'a' top: 'b' convolution_param { num_output: 12 "
    "kernel_size: 3 bias_term: false weight_filler { type: 'xavier' } } } "
    "layer { name: 'n' type: 'BatchNorm' bottom: 'b' top: 'b' batch_norm_param { "
    "use_global_stats: true eps: 0.5 } } "
    "layer { name: 's' type: 'Scale' bottom: 'b' top: 'b' scale_param { bias_term: true filler { "
    "type: 'uniform' min: -2 max: 2 } } } "
    "layer { name: 'rb' type: 'ReLU' bottom: 'b' top: 'b' } "
    "layer { name: 'c' type: 'InnerProduct' bottom: 'b' top: 'y' inner_product_param { num_output: "
    "6 bias_term: false weight_filler { type: 'xavier' } } } ";

static float pixels[BATCHES][IMAGES * PIXELS];
static const qf_data_options data = {
    .size = sizeof data, .source = "raw", .data_type = "float32", .scale = 1};

static void quantise(const char *prefix)
{
    const qf_quant_options quantisation = {.size = sizeof quantisation,
                                           .config_definition = "bits.cfg"};
    qf_ptq_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_ptq_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "net.caffemodel";
    options.data = &data;
    options.quantisation = &quantisation;
    options.save_path = prefix;
    options.equalise = QF_EQUALISE_OFF;
    options.adaround = true;
    options.adaround_iterations = ITERATIONS;
    options.bias_correction = BATCHES;
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
}

static Caffe__NetParameter *read_weights(const char *file)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read_binary(context, file, &net));
    return net;
}

/* Statistics as of a net that was trained. */
static void give_statistics(void)
{
    Caffe__NetParameter *net = read_weights("net.caffemodel");
    Caffe__LayerParameter *norm = qf_find_layer(net, "n");
    for (size_t c = 0; c < norm->blobs[0]->n_data; c++) {
        norm->blobs[0]->data[c] = 0.1F * (float)c;
        norm->blobs[1]->data[c] = 0.5F + 0.2F * (float)c;
    }
    norm->blobs[2]->data[0] = 1;
    assert_ok(context, qf_wire_write(context, "net.caffemodel", net, 0644));
    qf_message_free(net);
}

static int set_up(void **state)
{
    if (test_start_in_folder(state))
        return -1;
    char *definition = test_format(
        "batch_num: %d common_config { arq_quantize { channel_wise: false num_bits: %d } } "
        "override_layer_types { layer_type: 'Convolution' calibration_config { arq_quantize { "
        "channel_wise: true num_bits: %d } } }",
        BATCHES, BITS, BITS);
    test_write_text(context, "bits.cfg", definition);
    qf_free(definition);
    test_write_images(context, "raw", pixels[0], BATCHES, IMAGES * PIXELS);
    test_write_net(context, net_text);
    give_statistics();
    quantise("whole/m");
    return 0;
}

/* ---- export ---- */

static void an_export_corrects_as_the_whole_flow_does(void **state)
{
    (void)state;
    const qf_correction_options options = {.size = sizeof options,
                                           .model = "net.prototxt",
                                           .weights = "net.caffemodel",
                                           .data = &data,
                                           .bias_correction = BATCHES,
                                           .adaround = true,
                                           .adaround_iterations = ITERATIONS};
    qf_quant_graph *graph;
    assert_ok(context, qf_quant_open(context, "whole/m_config.json", "net.prototxt",
                                     "net.caffemodel", "whole/m_record.txt", &graph));
    assert_ok(context, qf_save_corrected_model(context, graph, QF_SAVE_BOTH, "steps/m", &options,
                                               NULL, NULL, NULL));
    qf_quant_graph_destroy(graph);
    Caffe__NetParameter *whole = read_weights("whole/m_deploy_weights.caffemodel");
    Caffe__NetParameter *steps = read_weights("steps/m_deploy_weights.caffemodel");
    const size_t size = protobuf_c_message_get_packed_size(&whole->base);
    assert_int_equal(protobuf_c_message_get_packed_size(&steps->base), size);
    uint8_t *bytes[2] = {malloc(size), malloc(size)};
    protobuf_c_message_pack(&whole->base, bytes[0]);
    protobuf_c_message_pack(&steps->base, bytes[1]);
    assert_memory_equal(bytes[0], bytes[1], size);
    free(bytes[0]);
    free(bytes[1]);
    qf_message_free(whole);
    qf_message_free(steps);
}

static void corrections_without_their_net_are_refused(void **state)
{
    (void)state;
    qf_quant_graph *graph;
    const qf_correction_options nothing = {.size = sizeof nothing, .adaround = true};
    const qf_correction_options negative = {.size = sizeof negative,
                                            .model = "net.prototxt",
                                            .weights = "net.caffemodel",
                                            .bias_correction = -1};
    assert_ok(context, qf_quant_open(context, "whole/m_config.json", "net.prototxt",
                                     "net.caffemodel", "whole/m_record.txt", &graph));
    assert_fails(
        context,
        qf_save_corrected_model(context, graph, QF_SAVE_BOTH, "no/m", &nothing, NULL, NULL, NULL),
        "a model and its weights are needed");
    assert_fails(
        context,
        qf_save_corrected_model(context, graph, QF_SAVE_BOTH, "no/m", &negative, NULL, NULL, NULL),
        "must not be negative");
    qf_quant_graph_destroy(graph);
    assert_false(qf_file_exists("no/m_deploy_model.prototxt"));
}

/* ---- a net to train ---- */

static qf_status prepare(const char *record, int adaround, int bias_correction)
{
    const qf_retrain_config_options bits = {
        .size = sizeof bits, .weight_bits = BITS, .edge_bits = BITS};
    const qf_retrain_options options = {.size = sizeof options,
                                        .calibrated_record = record,
                                        .adaround = adaround,
                                        .bias_correction = bias_correction};
    assert_ok(context, qf_create_retrain_config(context, "config.json", "net.prototxt",
                                                "net.caffemodel", &bits));
    return qf_prepare_quant_retrain_model(context, "net.prototxt", "net.caffemodel", "config.json",
                                          "modified.prototxt", "modified.caffemodel", "record.txt",
                                          &options);
}

/* The master of a layer, and how its channels lie: one, or one for each output. */
static const Caffe__BlobProto *master_of(const Caffe__NetParameter *modified, const char *name)
{
    char *qat = test_format("%s_weight_qat", name);
    const Caffe__LayerParameter *layer = qf_find_layer(modified, qat);
    assert_non_null(layer);
    qf_free(qat);
    return layer->blobs[1];
}

/* What WeightQAT finds for a channel: one code more below 0 than above. */
static float scale_of(const float *w, size_t count)
{
    float limit = 0;
    for (size_t i = 0; i < count; i++)
        limit = fabsf(w[i]) > fabsf(limit) ? w[i] : limit;
    return limit > 0 ? limit / LARGEST : limit / -(LARGEST + 1);
}

/* Quantised as WeightQAT does, the master's codes are those of the fake-quant model. Channels that
 * were folded with a negative factor have another scale there; they are the float net's. */
static void assert_learned(const char *name, size_t channels, size_t *moved)
{
    Caffe__NetParameter *modified = read_weights("modified.caffemodel");
    Caffe__NetParameter *fake = read_weights("whole/m_fake_quant_weights.caffemodel");
    Caffe__NetParameter *plain = read_weights("net.caffemodel");
    const Caffe__BlobProto *w = master_of(modified, name);
    const float *learned = qf_find_layer(fake, name)->blobs[0]->data;
    const float *before = qf_find_layer(plain, name)->blobs[0]->data;
    const float *gamma = qf_find_layer(plain, "s")->blobs[0]->data;
    qf_record *record;
    assert_ok(context, qf_record_read(context, "whole/m_record.txt", &record));
    const qf_record_entry *entry = qf_record_find(record, name);
    const size_t each = w->n_data / channels;
    *moved = 0;
    for (size_t c = 0; c < channels; c++) {
        const bool turned = strcmp(name, "b") == 0 && gamma[c] < 0;
        const float scale = scale_of(w->data + c * each, each);
        for (size_t i = c * each; i < (c + 1) * each; i++) {
            if (turned)
                assert_true(w->data[i] == before[i]);
            else
                assert_int_equal(lrintf(fminf(w->data[i] / scale, LARGEST)),
                                 lrintf(learned[i] / entry->scale_w[c]));
            *moved += w->data[i] != before[i];
        }
    }
    qf_message_free(record);
    qf_message_free(modified);
    qf_message_free(fake);
    qf_message_free(plain);
}

static void training_begins_with_learned_roundings(void **state)
{
    (void)state;
    size_t a, b, c;
    assert_ok(context, prepare("whole/m_record.txt", 1, 0));
    assert_learned("a", 8, &a);
    assert_learned("b", 12, &b);
    assert_learned("c", 1, &c);
    assert_true(a > 0 && b > 0);
    assert_ok(context, prepare("whole/m_record.txt", 0, 0)); /* none was asked for */
    Caffe__NetParameter *modified = read_weights("modified.caffemodel");
    Caffe__NetParameter *plain = read_weights("net.caffemodel");
    const Caffe__BlobProto *w = master_of(modified, "b");
    assert_memory_equal(w->data, qf_find_layer(plain, "b")->blobs[0]->data,
                        w->n_data * sizeof *w->data);
    qf_message_free(modified);
    qf_message_free(plain);
}

/* By how much the bias that a blob is differs from the float net's, at most. */
static float moved_by(const char *layer)
{
    Caffe__NetParameter *modified = read_weights("modified.caffemodel");
    Caffe__NetParameter *plain = read_weights("net.caffemodel");
    const Caffe__BlobProto *after = qf_find_layer(modified, layer)->blobs[1];
    const Caffe__BlobProto *before = qf_find_layer(plain, layer)->blobs[1];
    float most = 0;
    for (size_t i = 0; i < after->n_data; i++)
        most = fmaxf(most, fabsf(after->data[i] - before->data[i]));
    qf_message_free(modified);
    qf_message_free(plain);
    return most;
}

static void training_begins_with_corrected_biases(void **state)
{
    (void)state;
    assert_ok(context, prepare("whole/m_record.txt", 0, 1));
    Caffe__NetParameter *modified = read_weights("modified.caffemodel");
    Caffe__NetParameter *fake = read_weights("whole/m_fake_quant_weights.caffemodel");
    const Caffe__BlobProto *a = qf_find_layer(modified, "a")->blobs[1];
    const Caffe__BlobProto *corrected = qf_find_layer(fake, "a")->blobs[1];
    for (size_t i = 0; i < a->n_data; i++) /* nothing is folded into it */
        assert_true(fabsf(a->data[i] - corrected->data[i]) < 1e-5F);
    qf_message_free(modified);
    qf_message_free(fake);
    assert_true(moved_by("a") > 1e-3F);
    assert_true(moved_by("s") > 1e-3F); /* Scale has b's, behind fixed statistics */
}

static void what_cannot_be_taken_is_refused(void **state)
{
    (void)state;
    assert_fails(context, prepare(NULL, 1, 0),
                 "roundings are learned and biases corrected from "
                 "data, by `qaffe ptq run");
    qf_buffer record = {0};
    assert_ok(context, qf_file_read(context, "whole/m_record.txt", &record));
    assert_ok(context, qf_file_write(context, "alone_record.txt", record.data, record.size, 0644));
    assert_ok(context, qf_file_write(context, "factors.txt", record.data, record.size, 0644));
    qf_buffer_release(&record);
    assert_fails(context, prepare("alone_record.txt", 1, 0),
                 "alone_fake_quant_weights.caffemodel is not there");
    assert_fails(context, prepare("factors.txt", 0, 1), "factors.txt is no PREFIX_record.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_export_corrects_as_the_whole_flow_does),
        cmocka_unit_test(corrections_without_their_net_are_refused),
        cmocka_unit_test(training_begins_with_learned_roundings),
        cmocka_unit_test(training_begins_with_corrected_biases),
        cmocka_unit_test(what_cannot_be_taken_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
