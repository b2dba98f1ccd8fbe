/* Fields of Caffe's forks: those without effect are read, written again and mentioned once; others
 * are refused with the nearest name, or kept with a warning each where that is asked for. */
#include "harness/harness.h"
#include "model/model.h"
#include "net/net.h"
#include "train/solver.h"

#include <stdio.h>
#include <string.h>

/* What was logged, line by line. */
static void collect(void *user, qf_log_level level, const char *file, int line, const char *text)
{
    (void)level, (void)file, (void)line;
    qf_buffer_print(user, "%s\n", text);
}

static Caffe__NetParameter *parse(qf_context *context, const char *text)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_text_parse(context, "net", text, strlen(text),
                                     &caffe__net_parameter__descriptor, &net));
    return net;
}

static void expect_text(const void *message, const char *expected)
{
    qf_buffer text = {0};
    qf_text_print(message, &text);
    assert_string_equal(qf_buffer_text(&text), expected);
    qf_buffer_release(&text);
}

static const char forks[] =
    "name: \"n\" engine: 'MKLDNN' mem_param { optimize_train: true exclude: [\"a\", \"b\"] nested "
    "< x: -1.5e3 > }, default_forward_type: FLOAT16;\n"
    "layer { name: \"c\" engine: 'x' 'y' forward_type: FLOAT convolution_param { engine: MKL2017 "
    "conv_algos_override: \"1,2\" } }\n"
    "layer { name: \"d\" dropout_param { engine: CUDNN } transform_param { emit_constraint { "
    "emit_overlap: 1 } emit_constraint { emit_overlap: 2 } } }";
static const char forks_written[] =
    "name: \"n\"\n"
    "layer {\n  name: \"c\"\n  convolution_param {\n    engine: MKL2017\n"
    "    conv_algos_override: \"1,2\"\n  }\n  engine: 'x' 'y'\n  forward_type: FLOAT\n}\n"
    "layer {\n  name: \"d\"\n  transform_param {\n    emit_constraint {\n      emit_overlap: 1\n   "
    " }\n"
    "    emit_constraint { emit_overlap: 2 }\n  }\n  dropout_param {\n    engine: CUDNN\n  }\n}\n"
    "engine: 'MKLDNN'\n"
    "mem_param { optimize_train: true exclude: [ \"a\" , \"b\" ] nested < x: - 1.5e3 > }\n"
    "default_forward_type: FLOAT16\n";

static void fields_without_effect_are_kept_and_mentioned_once(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_buffer log = {0};
    qf_context_set_log(context, collect, &log, QF_WARNING);
    Caffe__NetParameter *net = parse(context, forks), *copy;
    expect_text(net, forks_written);
    assert_string_equal(qf_buffer_text(&log),
                        "net: fields of a fork of Caffe that change nothing here: engine (4), "
                        "mem_param, default_forward_type, forward_type, conv_algos_override, "
                        "emit_constraint\n");
    assert_ok(context, qf_message_copy(context, net, &copy));
    expect_text(copy, forks_written);
    qf_message_free(copy);
    qf_message_free(net);
    net = parse(context, forks_written); /* what was written reads the same */
    expect_text(net, forks_written);
    qf_message_free(net);
    qf_buffer_release(&log);
    net = parse(context, forks_written);
    assert_string_equal(qf_buffer_text(&log), "");
    qf_message_free(net);
    qf_context_destroy(context);
}

/* Nobody reads them there, and they come back as text. */
static void kept_fields_pass_through_binary_files(void **state)
{
    (void)state;
    qf_context *context = test_context();
    char *folder = test_make_directory(), *path = test_format("%s/net.bin", folder);
    Caffe__NetParameter *net = parse(context, forks), *again;
    assert_ok(context, qf_wire_write(context, path, net, 0644));
    assert_ok(context, qf_wire_read(context, path, &caffe__net_parameter__descriptor, &again));
    expect_text(again, forks_written);
    qf_message_free(net);
    qf_message_free(again);
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(path);
    qf_context_destroy(context);
}

/* NVIDIA's and Intel's sources of images. */
static void fields_of_image_sources(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_context_set_log(context, NULL, NULL, QF_ERROR);
    Caffe__NetParameter *net =
        parse(context, "layer { image_data_param { batch_size: 2 cache: true precache: true "
                       "threads: 6 short_side: 0 } transform_param { use_gpu_transform: true "
                       "pad: 0 } }");
    expect_text(net, "layer {\n  transform_param {\n    use_gpu_transform: true\n"
                     "    pad: 0\n  }\n  image_data_param {\n"
                     "    batch_size: 2\n    cache: true\n    precache: true\n    threads: 6\n"
                     "    short_side: 0\n  }\n}\n");
    qf_message_free(net);
    qf_context_destroy(context);
}

static void other_fields_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"layer { nam: 'x' }", "net:1:12: LayerParameter has no field 'nam'; did you mean 'name'?"},
        {"layer { convolution_param { relu: true } }",
         "net:1:33: ConvolutionParameter.relu of Caffe's forks is read with the value false only: "
         "with another it changes what is computed, which is not done here; remove it "
         "(--unknown-fields keep, in Python qaffe.keep_unknown_fields(), reads on without it)"},
        {"layer { image_data_param { short_side: 256 } }", "keeps the ratio of their sides"},
        {"layer { dropout_param { engin: CUDNN } }", "has no field 'engin'"},
        {"layer { loss_param { normalization: FUL } }", "no value 'FUL'; did you mean 'FULL'?"},
        {"engine: ", "expected a value, but the file ends"},
        {"engine 'x'", "expected ':' or '{'"},
        {"mem_param { a: 1", "the '{' here is never closed"},
        {"mem_param: -", "but the file ends"},
        {"layers { type: \"Input\" }", "net:1:16: 'layers' is the old form"},
        {"layer { } layers { }", "net:1:18: 'layers' behind 'layer'"},
        {"layers { } layer { }", "net:1:18: 'layer' behind 'layers'"},
        {"layer { hotspot_param { } }", "no field 'hotspot_param'; is it of a layer type"},
        {"layer { pooling_param { pool: DEF_ALL } }", "no value 'DEF_ALL'; the nearest is '"},
        {"layer { type: RELU }", "net:1:15: the type of a 'layer' stands in quotes"},
        {"layer { loss_param { } loss_param { } }", "given twice"},
    };
    qf_context *context = test_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Caffe__NetParameter *net;
        assert_fails(context,
                     qf_text_parse(context, "net", cases[i][0], strlen(cases[i][0]),
                                   &caffe__net_parameter__descriptor, &net),
                     cases[i][1]);
    }
    qf_context_destroy(context);
}

/* Fields of solvers of forks that change the training: never read without a word. */
static void fields_that_change_training_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"larc: true", "larc of Caffe's forks is read with the value false only: with another it "
                       "gives each layer a learning rate"},
        {"larc_turbo: true", "LARC of NVIDIA's Caffe"},
        {"local_lr_auto: true", "LARS of Intel's Caffe"},
        {"momentum_policy: 'poly'", "with the value fixed only: with another it changes the mom"},
        {"weight_decay_policy: \"poly\"", "it changes the weight decay"},
        {"clip_weights: 0.01", "with the value -1 only: with another it cuts weights"},
        {"gan_solver: true", "in turns"},
        {"disabled_update: true", "leaves the weights"},
        {"warmup_ratio: 2", "SolverParameter has no field 'warmup_ratio'"},
    };
    static const char *const read[] = {
        "larc: false larc_eta: 0.001 larc_policy: 'clip'",
        "local_lr_auto: false local_gw_ratio: 0.001",
        "clip_weights: -1",
        "momentum_policy: 'fixed' max_momentum: 0.99 momentum_power: 1",
    };
    qf_context *context = test_context();
    Caffe__SolverParameter *solver;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(context,
                     qf_text_parse(context, "solver", cases[i][0], strlen(cases[i][0]),
                                   &caffe__solver_parameter__descriptor, &solver),
                     cases[i][1]);
        assert_non_null(strstr(qf_error_text(context), "--unknown-fields keep"));
    }
    for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
        assert_ok(context, qf_text_parse(context, "solver", read[i], strlen(read[i]),
                                         &caffe__solver_parameter__descriptor, &solver));
        qf_message_free(solver);
    }
    qf_context_destroy(context);
}

static void unknown_fields_are_kept_if_asked_for(void **state)
{
    (void)state;
    qf_context *context = test_context();
    qf_buffer log = {0};
    qf_context_set_log(context, collect, &log, QF_WARNING);
    qf_context_keep_unknown_fields(context, true);
    Caffe__NetParameter *net =
        parse(context, "layer { name: \"a\"\n my_param { x: 1 }\n my_scale: 3 } other: TRUE");
    expect_text(net,
                "layer {\n  name: \"a\"\n  my_param { x: 1 }\n  my_scale: 3\n}\nother: TRUE\n");
    assert_string_equal(qf_buffer_text(&log),
                        "net:2:2: LayerParameter has no field 'my_param': kept, without effect\n"
                        "net:3:2: LayerParameter has no field 'my_scale': kept, without effect\n"
                        "net:3:16: NetParameter has no field 'other': kept, without effect\n");
    qf_message_free(net);
    qf_buffer_release(&log);
    qf_context_destroy(context);
}

/* Old nets become new ones with them, wherever in a layer they stood. */
static void kept_fields_survive_upgrades(void **state)
{
    (void)state;
    static const char *const nets[] = {
        "layers { name: 'a' type: POOLING my_scale: 3 pooling_param { pool: MAX my_pad: 2 } }",
        "layers { layer { name: 'a' type: 'pool' pool: MAX my_scale: 3 } my_pad: 2 } my_net: 1",
        "layer { name: 'a' type: 'BN' bottom: 'x' top: 'y' my_scale: 3 include { my_pad: 2 } }",
        "layer { name: 'a' type: 'BatchNorm' bottom: 'x' top: 'y' my_scale: 3 batch_norm_param { "
        "scale_bias: true my_pad: 2 } }",
        "layers { layer { name: 'a' type: 'conv' num_output: 1 kernelsize: 1 weight_filler { type: "
        "'xavier' my_pad: 2 } my_scale: 3 } }",
    };
    qf_context *context = test_context();
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    qf_context_set_log(context, NULL, NULL, QF_ERROR);
    qf_context_keep_unknown_fields(context, true);
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        Caffe__NetParameter *net;
        qf_buffer text = {0};
        assert_ok(context, qf_file_write(context, path, nets[i], strlen(nets[i]), 0644));
        assert_ok(context, qf_net_param_read(context, path, &net));
        assert_int_equal(net->n_layers, 0);
        qf_text_print(net, &text);
        const char *found = strstr(text.data, "my_scale: 3");
        assert_non_null(found);
        assert_null(strstr(found + 1, "my_scale: 3")); /* once, where two layers are made of one */
        assert_non_null(strstr(text.data, "my_pad: 2"));
        assert_true(!strstr(nets[i], "my_net") || strstr(text.data, "my_net: 1"));
        qf_buffer_release(&text);
        qf_message_free(net);
    }
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(path);
    qf_context_destroy(context);
}

/* Of a binary file, where there is no place to name. */
static void mixed_generations_name_a_layer(void **state)
{
    (void)state;
    static const uint8_t binary[] = "\x12\5\x22\3old\xa2\6";
    qf_context *context = test_context();
    Caffe__NetParameter *net;
    assert_fails(context, qf_net_param_parse_binary(context, "net", binary, sizeof binary, &net),
                 "'old'");
    qf_context_destroy(context);
}

/* The stages of MobileNet-YOLO's sgd_solver.cpp: up to and with stageiter. */
static void stages_have_rates_of_their_own(void **state)
{
    (void)state;
    static const char settings[] =
        "lr_policy: 'multifixed' stagelr: 0.1 stagelr: 0.5 stagelr: 0.25 "
        "stageiter: 2 stageiter: 4 stageiter: 6 eval_type: \"detection\" "
        "ap_version: \"11point\" show_per_class_result: true";
    static const float expected[] = {0.1f, 0.1f, 0.1f, 0.5f, 0.5f, 0.25f, 0.25f, 0.25f, 0.25f};
    qf_context *context = test_context();
    Caffe__SolverParameter *solver;
    assert_ok(context, qf_text_parse(context, "solver", settings, strlen(settings),
                                     &caffe__solver_parameter__descriptor, &solver));
    assert_ok(context, qf_learning_rate_check(context, solver));
    int step = 0;
    for (int i = 0; i < 9; i++)
        assert_true(qf_learning_rate_at(solver, i, &step) == expected[i]);
    solver->n_stageiter = 2;
    assert_fails(context, qf_learning_rate_check(context, solver), "there are 3 and 2");
    solver->n_stageiter = 3;
    qf_message_free(solver);
    qf_context_destroy(context);
}

static Caffe__SolverParameter *parse_solver(qf_context *context, const char *text)
{
    Caffe__SolverParameter *solver;
    assert_ok(context, qf_text_parse(context, "solver", text, strlen(text),
                                     &caffe__solver_parameter__descriptor, &solver));
    return solver;
}

/* yjxiong's fork names the devices of several processes, of which this is one. */
static void solvers_may_name_several_devices(void **state)
{
    (void)state;
    static const char *const lists[] = {"device_id: [0, 1]", "device_id: [0]", "device_id: []",
                                        "device_id: 0 device_id: 1"};
    qf_context *context = test_context();
    qf_buffer log = {0};
    qf_context_set_log(context, collect, &log, QF_WARNING);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        Caffe__SolverParameter *solver = parse_solver(context, lists[i]), *again;
        qf_buffer text = {0}, second = {0};
        qf_text_print(solver, &text);
        assert_non_null(strstr(qf_buffer_text(&text), "device_id: "));
        again = parse_solver(context, qf_buffer_text(&text));
        qf_text_print(again, &second);
        assert_string_equal(qf_buffer_text(&second), qf_buffer_text(&text));
        qf_buffer_release(&text);
        qf_buffer_release(&second);
        qf_message_free(solver);
        qf_message_free(again);
    }
    assert_non_null(strstr(qf_buffer_text(&log), "that change nothing here: device_id\n"));
    /* Lists of what has one value in every fork, and of what is read, are refused as before. */
    Caffe__SolverParameter *solver;
    static const char one[] = "max_iter: [1, 2]";
    assert_fails(context,
                 qf_text_parse(context, "solver", one, sizeof one - 1,
                               &caffe__solver_parameter__descriptor, &solver),
                 "solver:1:11: ");
    Caffe__NetParameter *net;
    static const char emit[] =
        "layer { transform_param { emit_constraint [{ emit_overlap: 1 }, { emit_overlap: 2 }] } }";
    assert_fails(context,
                 qf_text_parse(context, "net", emit, sizeof emit - 1,
                               &caffe__net_parameter__descriptor, &net),
                 "net:1:43: ");
    qf_buffer_release(&log);
    qf_context_destroy(context);
}

/* Intel's warmup_iter is a line, NVIDIA's rampup_interval a parabola; poly ends at min_lr. */
static void rates_begin_and_end_as_in_forks(void **state)
{
    (void)state;
    static const struct {
        const char *settings;
        float rates[6];
    } cases[] = {
        {"lr_policy: 'fixed' base_lr: 1 warmup_iter: 4 warmup_start_lr: 0.5",
         {0.5f, 0.625f, 0.75f, 0.875f, 1, 1}},
        {"lr_policy: 'fixed' base_lr: 1 rampup_interval: 4", {0, 0.0625f, 0.25f, 0.5625f, 1, 1}},
        {"lr_policy: 'poly' power: 1 max_iter: 4 base_lr: 1 min_lr: 0.5",
         {1, 0.875f, 0.75f, 0.625f, 0.5f, 0.5f}},
        {"lr_policy: 'step' gamma: 0.5 stepsize: 1 base_lr: 1 min_lr: 0.25",
         {1, 0.5f, 0.25f, 0.25f, 0.25f, 0.25f}},
    };
    qf_context *context = test_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Caffe__SolverParameter *solver = parse_solver(context, cases[i].settings);
        assert_ok(context, qf_learning_rate_check(context, solver));
        int step = 0;
        for (int at = 0; at < 6; at++)
            assert_true(qf_learning_rate_at(solver, at, &step) == cases[i].rates[at]);
        qf_message_free(solver);
    }
    Caffe__SolverParameter *solver = parse_solver(context, "lr_policy: 'stepp' base_lr: 1");
    assert_fails(context, qf_learning_rate_check(context, solver),
                 "unknown lr_policy 'stepp'; the nearest are step, ");
    qf_message_free(solver);
    solver = parse_solver(context, "lr_policy: 'plateau' plateau_winsize: 500 base_lr: 1");
    assert_fails(context, qf_learning_rate_check(context, solver), "which is not done here");
    qf_message_free(solver);
    qf_context_destroy(context);
}

/* R-FCN: the sum of all losses by a number of its own; here both labels cost ln 2. */
static void losses_are_divided_by_a_fixed_number(void **state)
{
    (void)state;
    static const char text[] =
        "layer { name: 'x' type: 'DummyData' top: 'x' top: 'label' dummy_data_param { shape { dim: "
        "2 "
        "dim: 2 } shape { dim: 2 } } } layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'x' "
        "bottom: 'label' top: 'l' loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 8 } "
        "}";
    qf_context *context = test_context();
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    assert_ok(context, qf_file_write(context, path, text, sizeof text - 1, 0644));
    qf_net *net;
    const float *values;
    assert_ok(context, qf_net_create(context, path, QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "l"), &values));
    assert_float_equal(values[0], 2 * 0.6931472f / 8, 1e-6f);
    qf_net_destroy(net);
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(path);
    qf_context_destroy(context);
}

/* Bayesian SegNet: two passes in TEST differ, each value is dropped or doubled. */
static void dropout_samples_in_tests_if_asked_for(void **state)
{
    (void)state;
    static const char text[] =
        "layer { name: 'data' type: 'DummyData' top: 'data' dummy_data_param { shape { dim: 400 } "
        "data_filler { value: 1 } } } layer { name: 'd' type: 'Dropout' bottom: 'data' top: 'd' "
        "dropout_param { sample_weights_test: true } }";
    qf_context *context = test_context();
    char *folder = test_make_directory(), *path = test_format("%s/net.prototxt", folder);
    assert_ok(context, qf_file_write(context, path, text, sizeof text - 1, 0644));
    qf_net *net;
    assert_ok(context, qf_net_create(context, path, QF_TEST, 0, NULL, 0, &net));
    const float *values;
    int dropped = 0;
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_blob_data(qf_net_blob(net, "d"), &values));
    for (int i = 0; i < 400; i++) {
        assert_true(values[i] == 0 || values[i] == 2);
        dropped += values[i] == 0;
    }
    assert_in_range(dropped, 100, 300);
    qf_net_destroy(net);
    test_remove_directory(folder);
    qf_free(folder);
    qf_free(path);
    qf_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_without_effect_are_kept_and_mentioned_once),
        cmocka_unit_test(kept_fields_pass_through_binary_files),
        cmocka_unit_test(fields_of_image_sources),
        cmocka_unit_test(other_fields_are_refused),
        cmocka_unit_test(fields_that_change_training_are_refused),
        cmocka_unit_test(unknown_fields_are_kept_if_asked_for),
        cmocka_unit_test(kept_fields_survive_upgrades),
        cmocka_unit_test(mixed_generations_name_a_layer),
        cmocka_unit_test(stages_have_rates_of_their_own),
        cmocka_unit_test(solvers_may_name_several_devices),
        cmocka_unit_test(rates_begin_and_end_as_in_forks),
        cmocka_unit_test(losses_are_divided_by_a_fixed_number),
        cmocka_unit_test(dropout_samples_in_tests_if_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
