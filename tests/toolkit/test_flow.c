/* The whole flow on a small data set: train, resume exactly, configure, prepare, retrain, export,
 * verify; and what each step says to bad input. Everything is made in one temporary folder. */
#include "harness/fixture.h"
#include "net/net.h"
#include "toolkit/export/retrained.h"

#include <string.h>
#include <unistd.h>

static void write_text(const char *name, const char *text)
{
    assert_ok(context, qf_file_write(context, name, text, strlen(text), 0640));
}

static void write_lenet(const char *name)
{
    qf_buffer file = {0}, text = {0};
    assert_ok(
        context,
        qf_file_read(context, QAFFE_SOURCE_DIR "/examples/lenet/lenet_train_test.prototxt", &file));
    qf_buffer_print(&text, "%s", qf_buffer_text(&file));
    write_text(name, qf_buffer_text(&text));
    qf_buffer_release(&file);
    qf_buffer_release(&text);
}

static void write_solver(const char *name, const char *net, int iterations, int snapshot,
                         const char *prefix, const char *more)
{
    char *text = test_format(
        "net: '%s' test_iter: 4 test_interval: %d test_initialization: false base_lr: 0.01 "
        "momentum: 0.9 weight_decay: 0.0005 lr_policy: 'fixed' max_iter: %d snapshot: %d "
        "snapshot_prefix: '%s' random_seed: 3 %s",
        net, iterations, iterations, snapshot, prefix, more);
    write_text(name, text);
    qf_free(text);
}

static void train(const char *solver_file, const char *weights, const char *state)
{
    qf_solver *solver;
    assert_ok(context, qf_solver_create(context, solver_file, &solver));
    if (weights)
        assert_ok(context, qf_solver_load_weights(solver, weights));
    if (state)
        assert_ok(context, qf_solver_restore(solver, state));
    assert_ok(context, qf_solver_solve(solver));
    qf_solver_destroy(solver);
}

static void assert_same_files(const char *first, const char *second)
{
    qf_buffer a = {0}, b = {0};
    assert_ok(context, qf_file_read(context, first, &a));
    assert_ok(context, qf_file_read(context, second, &b));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    qf_buffer_release(&a);
    qf_buffer_release(&b);
}

static int set_up(void **state)
{
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 1500, 400, 1));
    write_lenet("lenet.prototxt");
    write_solver("solver.prototxt", "lenet.prototxt", 60, 60, "float", "");
    train("solver.prototxt", NULL, NULL);
    return 0;
}

/* Stopped after 6 iterations and resumed, or not stopped: the same weights, bit for bit. Random
 * crops and mirroring come from the data's own generator, dropout from the run's. */
static void check_resuming(const char *data_param)
{
    char *net = test_format(
        "layer { name: 'd' type: 'Data' top: 'x' top: 'label' transform_param { crop_size: 24 "
        "mirror: true } data_param { source: 'train_lmdb' backend: LMDB %s } }"
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "
        "num_output: 10 "
        "weight_filler { type: 'gaussian' std: 0.001 } } }"
        "layer { name: 'drop' type: 'Dropout' bottom: 'ip' top: 'ip' }"
        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }",
        data_param);
    const char *solver =
        "net: 'crop.prototxt' base_lr: 0.0001 momentum: 0.9 lr_policy: 'fixed' max_iter: 12 "
        "snapshot: 6 random_seed: 5 snapshot_prefix: '%s'";
    char *whole = test_format(solver, "whole"), *rest = test_format(solver, "rest");
    write_text("crop.prototxt", net);
    write_text("whole.prototxt", whole);
    write_text("rest.prototxt", rest);
    train("whole.prototxt", NULL, NULL);
    train("rest.prototxt", NULL, "whole_iter_6.solverstate");
    assert_same_files("whole_iter_12.caffemodel", "rest_iter_12.caffemodel");
    qf_free(net);
    qf_free(whole);
    qf_free(rest);
}

static void resuming_is_exact(void **state)
{
    (void)state;
    check_resuming("batch_size: 32");
    check_resuming("batch_size: 150 shuffle: true"); /* into the second epoch of 1500 */
}

/* A prefix of any depth, and one that names a folder to come: Caffe's rule for folders. */
static void snapshots_make_their_folders(void **state)
{
    (void)state;
    write_solver("deep.prototxt", "lenet.prototxt", 1, 1, "a/b/c/deep", "");
    train("deep.prototxt", NULL, NULL);
    assert_true(qf_file_exists("a/b/c/deep_iter_1.solverstate"));
    write_solver("deep.prototxt", "lenet.prototxt", 1, 1, "e/f/g/", "");
    train("deep.prototxt", NULL, NULL);
    assert_true(qf_file_exists("e/f/g/deep_iter_1.caffemodel"));
}

static void prepare(void)
{
    assert_ok(context, qf_create_quant_retrain_config(context, "config.json", "lenet.prototxt",
                                                      "float_iter_60.caffemodel", NULL));
    assert_ok(context, qf_create_quant_retrain_model(
                           context, "lenet.prototxt", "float_iter_60.caffemodel", "config.json",
                           "modified.prototxt", "modified.caffemodel", "record.txt"));
}

static void retrain(void)
{
    prepare();
    write_solver("qat_solver.prototxt", "modified.prototxt", 20, 20, "qat", "");
    train("qat_solver.prototxt", "modified.caffemodel", NULL);
}

static double accuracy(const char *model, const char *weights)
{
    qf_net *net;
    qf_scores *scores;
    assert_ok(context, qf_net_create(context, model, QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, weights));
    assert_ok(context, qf_net_test(net, 4, NULL, NULL, NULL, &scores));
    const double result = qf_scores_main(scores, NULL);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    return result;
}

static void models_agree_after_the_flow(void **state)
{
    (void)state;
    qf_verification *found;
    retrain();
    assert_ok(context,
              qf_save_quant_retrain_model(context, "modified.prototxt", "qat_iter_20.caffemodel",
                                          QF_SAVE_BOTH, "results/m", "record.txt", "config.json"));
    assert_ok(context, qf_verify(context, "results/m", NULL, 4, NULL, NULL, NULL, &found));
    assert_int_equal(found->differing, 0);
    assert_int_equal(found->layers, 8);
    qf_verification_destroy(found);
    const double plain = accuracy("lenet.prototxt", "float_iter_60.caffemodel");
    const double fake =
        accuracy("results/m_fake_quant_model.prototxt", "results/m_fake_quant_weights.caffemodel");
    const double deploy =
        accuracy("results/m_deploy_model.prototxt", "results/m_deploy_weights.caffemodel");
    assert_true(plain > 0.6);
    assert_true(fake > plain - 0.05);
    assert_true(fake == deploy);
}

/* LeNet with a channel of conv1 that has no weight (bias 0.11) and one with next to none, whose
 * bias would need more integers than there are. */
static void write_dead_channels(const char *name)
{
    qf_net *net;
    float *w, *b;
    assert_ok(context, qf_net_create(context, "lenet.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "float_iter_60.caffemodel"));
    const qf_layer *conv = qf_net_find_layer(net, "conv1");
    assert_ok(context, qf_blob_mutable_data(conv->params[0].blob, &w));
    assert_ok(context, qf_blob_mutable_data(conv->params[1].blob, &b));
    for (size_t i = 0; i < 25; i++) {
        w[3 * 25 + i] = 0;
        w[7 * 25 + i] = i ? 0 : 1.6e-5f;
    }
    b[3] = 0.11f;
    b[7] = 2.5f;
    assert_ok(context, qf_net_save_weights_binary(net, name, false));
    qf_net_destroy(net);
}

static void dead_channels_export_their_bias(void **state)
{
    (void)state;
    qf_verification *found;
    qf_net *net;
    const float *y;
    write_dead_channels("dead.caffemodel");
    assert_ok(context, qf_create_quant_retrain_config(context, "dead.json", "lenet.prototxt",
                                                      "dead.caffemodel", NULL));
    assert_ok(context, qf_create_quant_retrain_model(context, "lenet.prototxt", "dead.caffemodel",
                                                     "dead.json", "dead.prototxt",
                                                     "dead_modified.caffemodel", "dead.txt"));
    write_text("dead_solver.prototxt",
               "net: 'dead.prototxt' test_iter: 4 test_interval: 1 base_lr: 0 lr_policy: 'fixed' "
               "max_iter: 1 snapshot: 1 snapshot_prefix: 'dead'");
    train("dead_solver.prototxt", "dead_modified.caffemodel", NULL);
    assert_ok(context,
              qf_save_quant_retrain_model(context, "dead.prototxt", "dead_iter_1.caffemodel",
                                          QF_SAVE_BOTH, "dead/m", "dead.txt", "dead.json"));
    assert_ok(context, qf_verify(context, "dead/m", NULL, 2, NULL, NULL, NULL, &found));
    qf_verification_destroy(found);
    assert_ok(context,
              qf_net_create(context, "dead/m_deploy_model.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_load_weights(net, "dead/m_deploy_weights.caffemodel"));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "conv1"), &y));
    for (size_t i = 0; i < 24 * 24; i++) {
        assert_true(y[3 * 24 * 24 + i] > 0.1099f && y[3 * 24 * 24 + i] < 0.1101f);
        assert_true(y[7 * 24 * 24 + i] > 2.499f && y[7 * 24 * 24 + i] < 2.501f);
    }
    qf_net_destroy(net);
}

static void write_part(const char *from, const char *to, size_t numerator, size_t denominator,
                       bool flip)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, from, &file));
    size_t size = flip ? file.size : file.size * numerator / denominator;
    if (flip)
        file.data[file.size * numerator / denominator] ^= 0x10;
    assert_ok(context, qf_file_write(context, to, file.data, size, 0640));
    qf_buffer_release(&file);
}

/* One bit of the deploy model's weights flipped: verification names the layer. */
static void verification_finds_a_flipped_bit(void **state)
{
    (void)state;
    qf_verification *found;
    retrain();
    assert_ok(context,
              qf_save_quant_retrain_model(context, "modified.prototxt", "qat_iter_20.caffemodel",
                                          QF_SAVE_BOTH, "flip/m", "record.txt", NULL));
    write_part("flip/m_deploy_weights.caffemodel", "flip/m_deploy_weights.caffemodel", 1, 2, true);
    assert_fails(context, qf_verify(context, "flip/m", NULL, 1, NULL, NULL, NULL, &found),
                 "in layer ip1_dequant_layer, batch 0");
    assert_true(found->differing > 0);
    qf_verification_destroy(found);
    qf_data_options data = {.size = sizeof data, .source = "no_lmdb"};
    assert_fails(context, qf_verify(context, "flip/m", &data, 1, NULL, NULL, NULL, &found),
                 "no_lmdb");
    qf_verification_destroy(found);
}

/* ---- sources that deliver something else each time they are opened ---- */

static void write_hdf5(void)
{
    qf_net *net;
    write_text("writer.prototxt",
               "layer { name: 'noise' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"
               " shape { dim: 64 dim: 1 dim: 28 dim: 28 } shape { dim: 64 }"
               " data_filler { type: 'uniform' min: 0 max: 1 } data_filler { value: 3 } } }"
               "layer { name: 'out' type: 'HDF5Output' bottom: 'data' bottom: 'label' "
               "hdf5_output_param { file_name: 'noise.h5' } }");
    assert_ok(context, qf_net_create(context, "writer.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_ok(context, qf_net_forward(net, NULL));
    qf_net_destroy(net);
    write_text("noise.txt", "noise.h5\n");
}

/* The model with another source of data: what stands in front of its second layer is replaced. */
static void replace_source(const char *from, const char *to, const char *source)
{
    qf_buffer file = {0}, text = {0};
    assert_ok(context, qf_file_read(context, from, &file));
    const char *first = strstr(qf_buffer_text(&file), "layer {");
    const char *rest = first ? strstr(first + 1, "\nlayer {") : NULL;
    assert_non_null(rest);
    qf_buffer_print(&text, "%s%s", source, rest);
    write_text(to, qf_buffer_text(&text));
    qf_buffer_release(&file);
    qf_buffer_release(&text);
}

/* The clip range of conv2 as an unlucky last update would leave it: TEST went back to the last
 * valid one, which the record has. */
static void a_range_the_wrong_way_round_is_exported(void **state)
{
    (void)state;
    Caffe__NetParameter *weights;
    qf_record *record;
    qf_quantised_net retrained;
    retrain();
    assert_ok(context, qf_net_param_read_binary(context, "qat_iter_20.caffemodel", &weights));
    for (size_t i = 0; i < weights->n_layer; i++)
        if (strcmp(weights->layer[i]->name, "conv2_activation_qat") == 0) {
            weights->layer[i]->blobs[0]->data[0] = -0.5f;
            weights->layer[i]->blobs[1]->data[0] = 1e-6f;
        }
    assert_ok(context, qf_wire_write(context, "reversed.caffemodel", weights, 0644));
    qf_message_free(weights);
    assert_ok(context, qf_retrained_read(context, "modified.prototxt", "reversed.caffemodel",
                                         "record.txt", &retrained));
    assert_ok(context, qf_record_read(context, "record.txt", &record));
    const qf_record_entry *entry = qf_record_find(record, "conv2");
    bool found = false;
    for (size_t i = 0; i < retrained.count; i++)
        if (strcmp(retrained.layers[i].name, "conv2") == 0) {
            found = true;
            assert_true(retrained.layers[i].scale_d == entry->scale_d);
            assert_int_equal(retrained.layers[i].offset_d, entry->offset_d);
        }
    assert_true(found);
    qf_message_free(record);
    qf_quantised_net_release(&retrained);
}

static void verification_feeds_both_the_same_batch(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "layer { name: 'd' type: 'Data' top: 'data' top: 'label' transform_param { mirror: true "
        "scale: 0.00390625 } data_param { source: 'test_lmdb' batch_size: 20 backend: LMDB } }",
        "layer { name: 'd' type: 'Data' top: 'data' top: 'label' transform_param { scale: "
        "0.00390625 } data_param { source: 'test_lmdb' batch_size: 20 backend: LMDB rand_skip: "
        "200 } }",
        "layer { name: 'd' type: 'HDF5Data' top: 'data' top: 'label' hdf5_data_param { source: "
        "'noise.txt' batch_size: 20 shuffle: true } }",
        "layer { name: 'd' type: 'DummyData' top: 'data' dummy_data_param { shape { dim: 20 dim: 1 "
        "dim: 28 dim: 28 } data_filler { type: 'uniform' min: 0 max: 1 } } }"
        "layer { name: 'l' type: 'DummyData' top: 'label' dummy_data_param { shape { dim: 20 } "
        "data_filler { value: 3 } } }",
        /* and a layer inside that draws, in both models alike */
        "layer { name: 'd' type: 'Data' top: 'x' top: 'label' transform_param { scale: 0.00390625 "
        "} data_param { source: 'test_lmdb' batch_size: 20 backend: LMDB } }"
        "layer { name: 'n' type: 'DummyData' top: 'n' dummy_data_param { shape { dim: 20 dim: 1 "
        "dim: 28 dim: 28 } data_filler { type: 'gaussian' std: 0.1 } } }"
        "layer { name: 's' type: 'Eltwise' bottom: 'x' bottom: 'n' top: 'data' }",
    };
    qf_verification *found;
    write_hdf5();
    retrain();
    assert_ok(context,
              qf_save_quant_retrain_model(context, "modified.prototxt", "qat_iter_20.caffemodel",
                                          QF_SAVE_BOTH, "same/m", "record.txt", NULL));
    write_part("same/m_deploy_weights.caffemodel", "same/r_deploy_weights.caffemodel", 1, 1, false);
    write_part("same/m_fake_quant_weights.caffemodel", "same/r_fake_quant_weights.caffemodel", 1, 1,
               false);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        replace_source("same/m_fake_quant_model.prototxt", "same/r_fake_quant_model.prototxt",
                       sources[i]);
        replace_source("same/m_deploy_model.prototxt", "same/r_deploy_model.prototxt", sources[i]);
        assert_ok(context, qf_verify(context, "same/r", NULL, 3, NULL, NULL, NULL, &found));
        assert_int_equal(found->differing, 0);
        assert_true(found->compared > 1000);
        qf_verification_destroy(found);
    }
}

static void one_command_does_it_all(void **state)
{
    (void)state;
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_qat_set_defaults(&options);
    options.model = "lenet.prototxt";
    options.weights = "float_iter_60.caffemodel";
    options.iterations = 10;
    options.save_path = "run/all";
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    assert_int_equal(result->rows, 4);
    assert_string_equal(result->row[0]->name, "conv1");
    assert_true(result->fake_quant_score == result->deploy_score);
    assert_true(result->deploy_bytes < result->float_bytes / 3);
    assert_int_equal(result->verification->differing, 0);
    qf_qat_result_destroy(result);
}

static void the_plan_names_every_layer(void **state)
{
    (void)state;
    qf_plan *plan;
    prepare();
    assert_ok(context, qf_quant_retrain_plan(context, "lenet.prototxt", "float_iter_60.caffemodel",
                                             "config.json", NULL, &plan));
    assert_int_equal(plan->rows, 7);
    assert_string_equal(plan->row[0]->treatment, "quantised");
    assert_string_equal(plan->row[1]->treatment, "float");
    assert_string_equal(plan->row[1]->detail, "it is not AVE pooling");
    qf_plan_destroy(plan);
}

/* ---- bad input ---- */

static void net_fails(const char *text, const char *part)
{
    qf_net *net;
    write_text("bad.prototxt", text);
    assert_fails(context, qf_net_create(context, "bad.prototxt", QF_TRAIN, 0, NULL, 0, &net), part);
    assert_null(net);
}

static void bad_nets(void **state)
{
    (void)state;
    net_fails("layer { nane: 'x' }", "name");
    net_fails("layer { name: 'x' type: 'DumyData' top: 'b' }", "DummyData");
    net_fails("layer { name: 'x' type: 'ReLU' bottom: 'a' top: 'b' }", "'a'");
    net_fails("layer { name: 'd' type: 'Data' top: 'x' data_param { source: 'no_lmdb' batch_size: "
              "1 backend: LMDB } }",
              "no_lmdb");
    net_fails("layer { name: 'x'", "bad.prototxt:1");
}

static void bad_weights(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context, qf_net_create(context, "lenet.prototxt", QF_TEST, 0, NULL, 0, &net));
    for (size_t i = 0; i < 16; i++) {
        write_part("float_iter_60.caffemodel", "bad.caffemodel", i, 16, false);
        if (i)
            assert_fails(context, qf_net_load_weights(net, "bad.caffemodel"), "bad.caffemodel");
    }
    for (size_t i = 0; i < 64; i++) { /* a flipped bit may be a weight; it must never crash */
        write_part("float_iter_60.caffemodel", "bad.caffemodel", i, 64, true);
        qf_net_load_weights(net, "bad.caffemodel");
    }
    qf_net_destroy(net);
    write_text("other.prototxt", "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { "
                                 "dim: 1 dim: 1 dim: 28 dim: 28 } } }"
                                 "layer { name: 'conv1' type: 'Convolution' bottom: 'x' top: 'y' "
                                 "convolution_param { num_output: 7 "
                                 "kernel_size: 5 } }");
    assert_ok(context, qf_net_create(context, "other.prototxt", QF_TEST, 0, NULL, 0, &net));
    assert_fails(context, qf_net_load_weights(net, "float_iter_60.caffemodel"), "20");
    assert_non_null(strstr(qf_error_text(context), "7"));
    qf_net_destroy(net);
}

static qf_status prepare_with(const char *json)
{
    write_text("bad.json", json);
    return qf_create_quant_retrain_model(context, "lenet.prototxt", "float_iter_60.caffemodel",
                                         "bad.json", "out/bad.prototxt", "out/bad.caffemodel",
                                         "out/bad.txt");
}

static void bad_configurations(void **state)
{
    (void)state;
    assert_fails(context, prepare_with("{\"version\":1,"), "bad.json");
    assert_fails(context, prepare_with("{\"version\":1,\"conv1\":{},\"conv1\":{}}"), "conv1");
    assert_fails(context, prepare_with("{\"version\":1,\"conv1\":{\"retrain_enable\":3}}"),
                 "retrain_enable");
    assert_fails(context, prepare_with("{\"version\":1,\"conv9\":{\"retrain_enable\":true}}"),
                 "conv9");
    assert_fails(
        context,
        prepare_with("{\"version\":1,\"conv1\":{\"retrain_enable\":true,\"retrain_data_config\":{"
                     "\"algo\":\"ulq_quantize\",\"clip_max\":1.0,\"clip_min\":2.0}}}"),
        "clip_m");
    assert_fails(context, prepare_with("[1]"), "bad.json");
    assert_fails(context, prepare_with("{\"conv1\":{\"retrain_enable\":true}}"), "version");
    assert_fails(context, prepare_with("{\"version\":2,\"conv1\":{\"retrain_enable\":true}}"),
                 "version");
    assert_fails(context, prepare_with("{\"version\":1,\"relu1\":{\"retrain_enable\":true}}"),
                 "relu1");
    assert_fails(context, prepare_with("{\"version\":1,\"batch_num\":-1}"), "batch_num");
    assert_fails(context, prepare_with("{\"version\":1,\"conv1\":7}"), "conv1");
    assert_fails(context,
                 prepare_with("{\"version\":1,\"conv1\":{\"retrain_enable\":true,"
                              "\"retrain_data_config\":{\"algo\":\"magic\"}}}"),
                 "algo");
    assert_fails(context,
                 prepare_with("{\"version\":1,\"conv1\":{\"retrain_enable\":true,"
                              "\"retrain_weight_config\":{\"algo\":\"arq_retrain\","
                              "\"channel_wise\":1}}}"),
                 "channel_wise");
    assert_fails(context,
                 prepare_with("{\"version\":1,\"ip1\":{\"retrain_enable\":true,"
                              "\"retrain_weight_config\":{\"algo\":\"arq_retrain\","
                              "\"channel_wise\":true}}}"),
                 "ip1");
    assert_fails(context, prepare_with("{\"version\":1,\"conv1\":{\"retrain_enable\":false}}"),
                 "No layer retrain enabled");
    assert_false(qf_file_exists("out/bad.prototxt")); /* nothing was written */
    assert_false(qf_file_exists("out/bad.caffemodel"));
}

static void bad_exports(void **state)
{
    (void)state;
    prepare(); /* no TEST phase has run: the record is empty */
    assert_fails(context,
                 qf_save_quant_retrain_model(context, "modified.prototxt", "modified.caffemodel",
                                             QF_SAVE_BOTH, "none/m", "record.txt", NULL),
                 "Cannot find scale_d of layer 'conv1' in record file");
    assert_false(qf_file_exists("none/m_deploy_model.prototxt"));
    write_text("record.txt", "record { key: 'conv7' value { scale_d: 1 offset_d: 0 } }");
    assert_fails(context,
                 qf_save_quant_retrain_model(context, "modified.prototxt", "modified.caffemodel",
                                             QF_SAVE_BOTH, "none/m", "record.txt", NULL),
                 "conv7");
    assert_fails(context,
                 qf_save_quant_retrain_model(context, "lenet.prototxt", "float_iter_60.caffemodel",
                                             QF_SAVE_BOTH, "none/m", "record.txt", NULL),
                 "ActivationQAT");
    assert_fails(context,
                 qf_create_quant_retrain_config(context, "/proc/no/config.json", "lenet.prototxt",
                                                "float_iter_60.caffemodel", NULL),
                 "/proc/no");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resuming_is_exact),
        cmocka_unit_test(snapshots_make_their_folders),
        cmocka_unit_test(models_agree_after_the_flow),
        cmocka_unit_test(dead_channels_export_their_bias),
        cmocka_unit_test(verification_finds_a_flipped_bit),
        cmocka_unit_test(a_range_the_wrong_way_round_is_exported),
        cmocka_unit_test(verification_feeds_both_the_same_batch),
        cmocka_unit_test(one_command_does_it_all),
        cmocka_unit_test(the_plan_names_every_layer),
        cmocka_unit_test(bad_nets),
        cmocka_unit_test(bad_weights),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(bad_exports),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
