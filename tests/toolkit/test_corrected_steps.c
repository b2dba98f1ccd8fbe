/* Roundings and biases step by step: at the export of a calibrated net, and into one that is to be
 * trained. */
#include "base/file.h"
#include "harness/calibrated.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "harness/ptq_net.h"
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

static void quantise(const char *prefix, qf_equalise equalise)
{
    qf_ptq_options options = test_calibration_by_bits(prefix, BATCHES, BITS);
    options.equalise = equalise;
    options.adaround = true;
    options.adaround_iterations = ITERATIONS;
    options.bias_correction = BATCHES;
    test_calibrate(&options);
}

/* Statistics as of a net that was trained. */
static void give_statistics(void)
{
    Caffe__NetParameter *net = test_ptq_net(NULL, "net.caffemodel");
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
    test_write_images(context, "raw", pixels[0], BATCHES, IMAGES * PIXELS);
    test_write_net(context, net_text);
    give_statistics();
    quantise("whole/m", QF_EQUALISE_OFF);
    return 0;
}

/* ---- export ---- */

static const qf_correction_options corrections = {.size = sizeof corrections,
                                                  .model = "net.prototxt",
                                                  .weights = "net.caffemodel",
                                                  .data = &test_raw_data,
                                                  .bias_correction = BATCHES,
                                                  .adaround = true,
                                                  .adaround_iterations = ITERATIONS};

static void export(const char *record, qf_equalise equalise, const char *prefix)
{
    qf_quant_graph *graph;
    assert_ok(context, qf_quant_open_equalised(context, "whole/m_config.json", "net.prototxt",
                                               "net.caffemodel", record, equalise, &graph));
    assert_ok(context, qf_save_corrected_model(context, graph, QF_SAVE_BOTH, prefix, &corrections,
                                               NULL, NULL, NULL));
    qf_quant_graph_destroy(graph);
}

static void an_export_corrects_as_the_whole_flow_does(void **state)
{
    (void)state;
    export("whole/m_record.txt", QF_EQUALISE_OFF, "steps/m");
    test_assert_same_files("whole/m_deploy_weights.caffemodel",
                           "steps/m_deploy_weights.caffemodel");
    assert_false(qf_file_exists("steps/m_equalised.caffemodel"));
}

/* ---- equalised ---- */

static void prepare_and_calibrate(qf_equalise equalise, const char *record)
{
    qf_quant_graph *graph;
    assert_ok(context, qf_quant_open_equalised(context, "whole/m_config.json", "net.prototxt",
                                               "net.caffemodel", record, equalise, &graph));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    qf_quant_graph_destroy(graph);
    assert_ok(context, qf_calibrate(context, "cal.prototxt", "cal.caffemodel", &test_raw_data, 0,
                                    NULL, NULL, NULL));
}

static void equalised_steps_are_the_whole_flow(void **state)
{
    (void)state;
    quantise("level/m", QF_EQUALISE_ON);
    prepare_and_calibrate(QF_EQUALISE_ON, "by_steps/m_record.txt");
    test_assert_same_files("level/m_record.txt", "by_steps/m_record.txt");
    test_assert_same_files("level/m_equalised.caffemodel", "by_steps/m_equalised.caffemodel");
    export("by_steps/m_record.txt", QF_EQUALISE_ON, "elsewhere/m");
    test_assert_same_files("level/m_deploy_weights.caffemodel",
                           "elsewhere/m_deploy_weights.caffemodel");
    test_assert_same_files("level/m_equalised.caffemodel", "elsewhere/m_equalised.caffemodel");
}

/* An earlier run's: it would be taken for the float net that the models are to agree with. */
static void equalised_weights_of_an_earlier_run_go(void **state)
{
    (void)state;
    quantise("earlier/m", QF_EQUALISE_ON);
    export("whole/m_record.txt", QF_EQUALISE_OFF, "earlier/m");
    test_assert_same_files("whole/m_deploy_weights.caffemodel",
                           "earlier/m_deploy_weights.caffemodel");
    assert_false(qf_file_exists("earlier/m_equalised.caffemodel"));
    quantise("earlier/m", QF_EQUALISE_ON);
    prepare_and_calibrate(QF_EQUALISE_OFF, "earlier/m_record.txt");
    assert_false(qf_file_exists("earlier/m_equalised.caffemodel"));
    test_assert_same_files("whole/m_record.txt", "earlier/m_record.txt");
}

static void what_was_read_stays(void **state)
{
    (void)state;
    quantise("own/m", QF_EQUALISE_ON);
    qf_quant_graph *graph;
    assert_ok(context, qf_quant_open(context, "own/m_config.json", "net.prototxt",
                                     "own/m_equalised.caffemodel", "own/m_record.txt", &graph));
    assert_ok(context, qf_save_model(context, graph, QF_SAVE_BOTH, "own/m"));
    assert_ok(context, qf_quantize_model(context, graph, "cal.prototxt", "cal.caffemodel"));
    qf_quant_graph_destroy(graph);
    assert_true(qf_file_exists("own/m_equalised.caffemodel"));
    assert_ok(context, qf_quant_open_equalised(context, "own/m_config.json", "net.prototxt",
                                               "own/m_equalised.caffemodel", "whole/m_record.txt",
                                               QF_EQUALISE_ON, &graph));
    assert_fails(context, qf_save_model(context, graph, QF_SAVE_BOTH, "own/m"),
                 "m_equalised.caffemodel' is read and would be written over");
    qf_quant_graph_destroy(graph);
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
    Caffe__NetParameter *modified = test_ptq_net(NULL, "modified.caffemodel");
    Caffe__NetParameter *fake = test_ptq_net(NULL, "whole/m_fake_quant_weights.caffemodel");
    Caffe__NetParameter *plain = test_ptq_net(NULL, "net.caffemodel");
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
    Caffe__NetParameter *modified = test_ptq_net(NULL, "modified.caffemodel");
    Caffe__NetParameter *plain = test_ptq_net(NULL, "net.caffemodel");
    const Caffe__BlobProto *w = master_of(modified, "b");
    assert_memory_equal(w->data, qf_find_layer(plain, "b")->blobs[0]->data,
                        w->n_data * sizeof *w->data);
    qf_message_free(modified);
    qf_message_free(plain);
}

/* By how much the bias that a blob is differs from the float net's, at most. */
static float moved_by(const char *layer)
{
    Caffe__NetParameter *modified = test_ptq_net(NULL, "modified.caffemodel");
    Caffe__NetParameter *plain = test_ptq_net(NULL, "net.caffemodel");
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
    Caffe__NetParameter *modified = test_ptq_net(NULL, "modified.caffemodel");
    Caffe__NetParameter *fake = test_ptq_net(NULL, "whole/m_fake_quant_weights.caffemodel");
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
        cmocka_unit_test(equalised_steps_are_the_whole_flow),
        cmocka_unit_test(equalised_weights_of_an_earlier_run_go),
        cmocka_unit_test(what_was_read_stays),
        cmocka_unit_test(corrections_without_their_net_are_refused),
        cmocka_unit_test(training_begins_with_learned_roundings),
        cmocka_unit_test(training_begins_with_corrected_biases),
        cmocka_unit_test(what_cannot_be_taken_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
