/* qat run keeps the best state of training, its calibrated start among them, and an interrupted run
 * that goes on ends in the same bytes. */
#include "base/file.h"
#include "base/memory.h"
#include "data/stores/sample_store.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIDE = 6, CLASSES = 4, ITEMS = 256, BATCH = 16, ITERATIONS = 60 };

/* A bar in one of four places and noise; its label, or that of the place `misled` further on, or,
 * of so many out of ten, any. */
static void put_bars(const char *path, int count, uint64_t seed, int misled, uint32_t wrong)
{
    qf_sample_writer *writer;
    qf_random random;
    qf_random_seed(&random, seed);
    assert_ok(context, qf_sample_writer_create(context, path, QF_STORE_LMDB, &writer));
    for (int i = 0; i < count; i++) {
        Caffe__Datum datum = CAFFE__DATUM__INIT;
        uint8_t pixels[SIDE * SIDE];
        char key[16];
        const int label = i % CLASSES;
        for (int k = 0; k < SIDE * SIDE; k++)
            pixels[k] = (uint8_t)(qf_random_below(&random, 120) +
                                  (k % SIDE == label || k / SIDE == label ? 90 : 0));
        datum.has_channels = datum.has_height = datum.has_width = datum.has_label = true;
        datum.has_data = true;
        datum.channels = 1;
        datum.height = datum.width = SIDE;
        datum.label = qf_random_below(&random, 10) < wrong ? (int)qf_random_below(&random, CLASSES)
                                                           : (label + misled) % CLASSES;
        datum.data.data = pixels;
        datum.data.len = sizeof pixels;
        snprintf(key, sizeof key, "%08d", i);
        assert_ok(context, qf_sample_writer_put_message(context, writer, key, &datum.base));
    }
    assert_ok(context, qf_sample_writer_finish(context, writer, true));
}

#define DATA(phase, source, more)                                                                  \
    "layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: " phase " } "     \
    "data_param { source: '" source "' backend: LMDB batch_size: 16 " more " } "                   \
    "transform_param { scale: 0.0078125 mean_value: 100 } } "
#define BODY                                                                                       \
    "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { "     \
    "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } } } "                           \
    "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } "                              \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip' inner_product_param { "      \
    "num_output: 4 weight_filler { type: 'xavier' } } } "                                          \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' } "     \
    "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { "      \
    "phase: TEST } } "

static int set_up(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    put_bars("train_lmdb", ITEMS, 1, 0, 0);
    put_bars("misled_lmdb", ITEMS, 2, 1, 0);
    put_bars("test_lmdb", 100, 3, 0, 0);
    put_bars("more_lmdb", 90, 4, 0, 0);
    put_bars("unclear_lmdb", ITEMS, 5, 1, 4);
    test_write_text(context, "net.prototxt",
                    DATA("TRAIN", "train_lmdb", "shuffle: true") DATA("TEST", "test_lmdb", "")
                        BODY);
    test_write_text(context, "misled.prototxt",
                    DATA("TRAIN", "misled_lmdb", "") DATA("TEST", "test_lmdb", "") BODY);
    test_write_text(context, "unclear.prototxt",
                    DATA("TRAIN", "unclear_lmdb", "shuffle: true") DATA("TEST", "test_lmdb", "")
                        BODY);
    test_write_text(
        context, "both.prototxt",
        "layer { name: 'data' type: 'Data' top: 'data' top: 'label' data_param { source: "
        "'train_lmdb' backend: LMDB batch_size: 16 } transform_param { scale: 0.0078125 "
        "mean_value: 100 } } " BODY);
    test_write_text(
        context, "solver.prototxt",
        "net: 'net.prototxt' base_lr: 0.05 momentum: 0.9 lr_policy: 'fixed' max_iter: 200 "
        "test_iter: 4 test_interval: 200 test_initialization: false snapshot_prefix: "
        "'float' random_seed: 1");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    return 0;
}

static qf_qat_options options(const char *model)
{
    qf_qat_options o = {.size = sizeof o};
    qf_qat_set_defaults(&o);
    o.model = model;
    o.weights = "float_iter_200.caffemodel";
    o.save_path = "q/m";
    o.iterations = ITERATIONS;
    o.base_lr = 0.01;
    o.distil = QF_DISTIL_OFF; /* labels alone teach */
    return o;
}

static qf_qat_result *run(const qf_qat_options *o)
{
    qf_qat_result *result;
    qf_context_set_seed(context, 5);
    assert_ok(context, qf_qat_run(context, o, NULL, NULL, NULL, &result));
    return result;
}

/* ---- what is kept ---- */

static void the_start_is_kept_where_training_spoils_it(void **state)
{
    (void)state;
    qf_qat_options o = options("misled.prototxt");
    o.validation_data = "more_lmdb";
    o.distil = QF_DISTIL_OFF; /* it would not be misled so far */
    o.patience = 1;           /* of two measures */
    qf_qat_result *result = run(&o);
    assert_string_equal(result->validation_name, "acc");
    assert_int_equal(result->validation_items, 90);
    assert_int_equal(result->kept_iteration, 0);
    assert_int_equal(result->last_iteration, 40);
    assert_true(result->validation_best == result->validation_calibrated);
    assert_true(result->validation_last < result->validation_calibrated - 0.2);
    assert_true(result->fake_quant_score > result->calibrated_score - 0.05);
    assert_true(result->fake_quant_score == result->deploy_score);
    assert_int_equal(result->verification->differing, 0);
    assert_non_null(strstr(result->kept_reason, "The calibrated start is exported: in "));
    assert_non_null(strstr(result->kept_reason, "since it no longer gained"));
    qf_qat_result_destroy(result);

    o.keep = QF_KEEP_LAST;
    result = run(&o);
    assert_int_equal(result->kept_iteration, ITERATIONS);
    assert_true(result->fake_quant_score < result->calibrated_score - 0.2);
    assert_true(result->validation_last < result->validation_best);
    assert_non_null(strstr(result->remark, "Retraining ended below its calibrated start: acc"));
    qf_qat_result_destroy(result);

    o.keep = QF_KEEP_BEST;
    o.patience = 0;
    result = run(&o);
    assert_int_equal(result->last_iteration, ITERATIONS);
    assert_int_equal(result->kept_iteration, 0);
    qf_qat_result_destroy(result);
}

static void expect_same(const char *first, const char *second)
{
    qf_buffer a = {0}, b = {0};
    assert_ok(context, qf_file_read(context, first, &a));
    assert_ok(context, qf_file_read(context, second, &b));
    if (a.size != b.size || memcmp(a.data, b.data, a.size) != 0)
        fail_msg("%s and %s differ", first, second);
    qf_buffer_release(&a);
    qf_buffer_release(&b);
}

/* What calibration alone makes of the model, of all training data. */
static void expect_calibrated_only(const char *model, const char *weights, const char *data,
                                   int batches)
{
    static const char *const files[] = {"deploy_model.prototxt", "deploy_weights.caffemodel",
                                        "fake_quant_model.prototxt",
                                        "fake_quant_weights.caffemodel"};
    qf_quant_options quantisation = {.size = sizeof quantisation};
    const qf_data_options source = {.size = sizeof source, .source = data, .scale = 1};
    qf_ptq_options o = {.size = sizeof o};
    qf_qat_result *result;
    qf_quant_set_defaults(&quantisation);
    qf_ptq_set_defaults(&o);
    quantisation.batch_num = batches;
    o.model = model;
    o.weights = weights;
    o.data = &source;
    o.quantisation = &quantisation;
    o.save_path = "p/m";
    assert_ok(context, qf_ptq_run(context, &o, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *mine = test_format("q/m_%s", files[i]), *other = test_format("p/m_%s", files[i]);
        expect_same(mine, other);
        qf_free(mine);
        qf_free(other);
    }
}

/* A start that is kept is what `ptq run` exports, to the byte: of nets with BatchNorm in front of a
 * convolution and behind one, too, in whose training nets they stay. */
static void a_kept_start_is_what_calibration_alone_makes(void **state)
{
    (void)state;
#define NORMALISED(name, bottom)                                                                   \
    "layer { name: '" name "' type: 'BatchNorm' bottom: '" bottom "' top: '" name "' } "           \
    "layer { name: '" name "_scale' type: 'Scale' bottom: '" name "' top: '" name                  \
    "' scale_param { bias_term: true filler { value: -1.5 } } } "
    test_write_text(
        context, "normalised.prototxt",
        DATA("TRAIN", "misled_lmdb", "shuffle: true") DATA("TEST", "test_lmdb", "") NORMALISED(
            "front",
            "data") "layer { name: 'conv' type: 'Convolution' bottom: 'front' top: 'conv' "
                    "convolution_param { "
                    "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } } } " NORMALISED(
                        "behind", "conv") "layer { name: 'relu' type: 'ReLU' bottom: 'behind' top: "
                                          "'behind' } "
                                          "layer { name: 'ip' type: 'InnerProduct' bottom: "
                                          "'behind' top: 'ip' inner_product_param { "
                                          "num_output: 4 weight_filler { type: 'xavier' } } } "
                                          "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: "
                                          "'ip' bottom: 'label' top: 'loss' } "
                                          "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' "
                                          "bottom: 'label' top: 'acc' include { "
                                          "phase: TEST } } ");
    qf_net *net;
    assert_ok(context, qf_net_create(context, "normalised.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    for (int i = 0; i < 20; i++)
        assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_net_save_weights(net, "normalised.caffemodel"));
    qf_net_destroy(net);
    const struct {
        const char *model, *weights;
    } nets[] = {{"misled.prototxt", "float_iter_200.caffemodel"},
                {"normalised.prototxt", "normalised.caffemodel"}};
    for (size_t i = 0; i < 2; i++) {
        qf_qat_options o = options(nets[i].model);
        o.weights = nets[i].weights;
        o.base_lr = 1e-12;
        o.iterations = 10;
        o.average = 0; /* statistics of BatchNorm move all the same */
        o.batch_num = i ? 3 : 0; /* all that there are, which are fewer than 400 items */
        qf_qat_result *result = run(&o);
        assert_int_equal(result->kept_iteration, 0);
        assert_true(result->fake_quant_score == result->calibrated_score);
        assert_true(result->deploy_score == result->calibrated_score);
        assert_string_equal(result->remark, "");
        qf_qat_result_destroy(result);
        expect_calibrated_only(nets[i].model, nets[i].weights, "misled_lmdb",
                               i ? 3 : ITEMS / BATCH);
        expect_same("q/m_record.txt", "p/m_record.txt");
    }
}

/* A state that is better only as long as it computes in float is not exported. */
static void what_is_worse_as_integers_is_not_kept(void **state)
{
    (void)state;
    qf_qat_options o = options("misled.prototxt");
    qf_qat_result *result = run(&o);
    const double start = result->validation_calibrated;
    const int best = result->kept_iteration;
    assert_true(best > 0);
    qf_qat_result_destroy(result);
    /* As if the start had been better than anything. */
    assert_int_equal(
        system("sed -i '/^start {/,/^}/ s/score: .*/score: 1.5/' q/m_progress.prototxt"), 0);
    o.resume = true;
    result = run(&o);
    assert_int_equal(result->kept_iteration, 0);
    assert_true(start < 1 && result->validation_best == 1.5);
    char *reason =
        test_format("the best state, of iteration %d, is worse than it as integers", best);
    assert_non_null(strstr(result->kept_reason, reason));
    qf_free(reason);
    qf_qat_result_destroy(result);
    expect_calibrated_only("misled.prototxt", o.weights, "misled_lmdb", ITEMS / BATCH);
    result = run(&o); /* and so it stays */
    assert_int_equal(result->kept_iteration, 0);
    assert_non_null(strstr(result->kept_reason, "is worse than it as integers"));
    qf_qat_result_destroy(result);
}

static void what_is_better_is_kept(void **state)
{
    (void)state;
    qf_qat_options o = options("misled.prototxt");
    o.average = 0;
    qf_qat_result *result = run(&o); /* on what it is trained on it becomes better */
    assert_string_equal(result->validation_name, "acc");
    assert_int_equal(result->validation_items, 32);
    assert_true(result->kept_iteration > 0);
    assert_true(result->validation_best > result->validation_calibrated + 0.2);
    assert_non_null(strstr(result->kept_reason, "is exported, the best on the 32 items"));
    assert_non_null(
        strstr(result->remark, "on the 32 items that it was measured on it was better"));
    qf_qat_result_destroy(result);
    assert_true(test_file_has(context, "q/m_modified.prototxt", "hold_back_param"));

    test_command(0, "is exported, the best on the ", "",
                 "qat run --model misled.prototxt --weights float_iter_200.caffemodel --iterations "
                 "60 --base-lr 0.01 --seed 5 --average off --out q/m --report q/report.json");
    assert_non_null(strstr(test_output, "\ncalibrated "));
    assert_non_null(strstr(test_output, "neither trained nor tested on"));
    assert_true(test_file_has(context, "q/m_run.log", "on the 32 items that are not trained on"));
    assert_true(test_file_has(context, "q/report.json",
                              "\"On 32 items that are neither trained nor tested on"));
}

/* Blobs of one layer in two files of weights. */
static Caffe__LayerParameter *layer_of(Caffe__NetParameter *net, const char *name)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (strcmp(net->layer[i]->name, name) == 0 && net->layer[i]->n_blobs)
            return net->layer[i];
    fail_msg("no layer %s", name);
    return NULL;
}

/* The start and, of four iterations, the fourth: their mean is what is exported. A WeightQAT layer
 * has the quantised weights, then the float ones that learn. */
enum { MASTER = 1 };
static void averages_of_states_are_exported(void **state)
{
    (void)state;
    qf_qat_options o = options("misled.prototxt");
    o.hold_back = 0.25;
    o.iterations = 4;
    o.base_lr = 1e-3;
    o.average = 0;
    o.keep = QF_KEEP_LAST;
    qf_qat_result *result = run(&o);
    assert_int_equal(result->kept_iteration, 4);
    assert_false(result->kept_average);
    assert_true(isnan(result->validation_average));
    qf_qat_result_destroy(result);
    assert_int_equal(system("rm -rf plain; mv q plain"), 0);

    o.average = 1;
    o.keep = QF_KEEP_BEST;
    result = run(&o);
    assert_int_equal(result->kept_iteration, 4);
    assert_true(result->kept_average);
    assert_true(isfinite(result->validation_average));
    assert_non_null(strstr(result->kept_reason, "The average of the states up to iteration 4 of 4 "
                                                "is exported: on the 64 items its loss is "));
    qf_qat_result_destroy(result);
    assert_false(qf_file_exists("q/m_retrained_iter_4.average.caffemodel"));

    Caffe__NetParameter *net[3];
    static const char *const files[] = {"q/m_retrained_iter_0.caffemodel",
                                        "plain/m_retrained_iter_4.caffemodel",
                                        "q/m_retrained_iter_4.caffemodel"};
    for (int i = 0; i < 3; i++)
        assert_ok(context, qf_net_param_read_binary(context, files[i], &net[i]));
    const Caffe__BlobProto *start = layer_of(net[0], "ip_weight_qat")->blobs[MASTER],
                           *last = layer_of(net[1], "ip_weight_qat")->blobs[MASTER],
                           *kept = layer_of(net[2], "ip_weight_qat")->blobs[MASTER];
    double moved = 0;
    assert_true(start->n_data > 0 && start->n_data == kept->n_data);
    for (size_t i = 0; i < start->n_data; i++) {
        const double from = (double)start->data[i], to = (double)last->data[i];
        assert_true(fabs((double)kept->data[i] - (from + to) / 2) < 1e-6 * (fabs(from) + 1));
        moved += fabs(to - from);
    }
    assert_true(moved > 1e-4);
    for (int i = 0; i < 3; i++)
        qf_message_free(net[i]);
}

static void a_layer_of_both_phases_is_split(void **state)
{
    (void)state;
    const qf_qat_options o = options("both.prototxt");
    qf_qat_result *result = run(&o);
    assert_int_equal(result->test_items, ITEMS);
    assert_int_equal(result->validation_items, 32);
    qf_qat_result_destroy(result);
}

/* Training goes on where its own snapshot leads, with the same items left out. */
static void training_by_hand_leaves_out_the_same(void **state)
{
    (void)state;
    qf_qat_options o = options("net.prototxt");
    o.keep = QF_KEEP_LAST;
    o.hold_back = 0.25;
    qf_qat_result *result = run(&o);
    assert_int_equal(result->validation_items, 64);
    qf_qat_result_destroy(result);
    test_command(0, "Optimization Done.",
                 "sed -i 's/max_iter: 60/max_iter: 70/' q/m_solver.prototxt;",
                 "train --solver q/m_solver.prototxt --snapshot q/m_retrained_iter_60.solverstate");
}

static void what_cannot_be_measured_is_said(void **state)
{
    (void)state;
    qf_qat_options o = options("net.prototxt");
    o.hold_back = 0;
    qf_qat_result *result = run(&o);
    assert_string_equal(result->validation_name, "");
    assert_int_equal(result->kept_iteration, ITERATIONS);
    assert_string_equal(result->kept_reason, "The last state of training is exported: nothing was "
                                             "measured, no training data were held back.");
    qf_qat_result_destroy(result);
    assert_false(test_file_has(context, "q/m_modified.prototxt", "hold_back_param"));

    test_write_text(context, "dummy.prototxt",
                    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' "
                    "dummy_data_param { shape { dim: 4 dim: 1 dim: 6 dim: 6 } shape { dim: 4 } "
                    "data_filler { type: 'gaussian' } data_filler { } } } " BODY);
    o = options("dummy.prototxt");
    o.iterations = 3;
    o.test_iterations = 2;
    result = run(&o);
    assert_non_null(strstr(result->kept_reason, "layer data (DummyData) cannot leave out items"));
    qf_qat_result_destroy(result);
}

#define SCORES_ONLY(phase)                                                                         \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip' inner_product_param { "      \
    "num_output: 4 weight_filler { type: 'xavier' } } } "                                          \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' "       \
    "include { phase: TRAIN } } "                                                                  \
    "layer { name: 'none' type: 'Silence' bottom: 'label' include { phase: " phase " } } "

/* Where TEST puts out scores only, the loss that is trained on is measured. */
static void without_a_loss_in_test_that_of_training_counts(void **state)
{
    (void)state;
    test_write_text(context, "scores.prototxt",
                    DATA("TRAIN", "train_lmdb", "shuffle: true") DATA("TEST", "test_lmdb", "")
                        SCORES_ONLY("TEST"));
    qf_net *net;
    assert_ok(context, qf_net_create(context, "scores.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "scores.caffemodel"));
    qf_net_destroy(net);
    qf_qat_options o = options("scores.prototxt");
    o.weights = "scores.caffemodel";
    qf_qat_result *result = run(&o);
    assert_string_equal(result->validation_name, "training loss");
    assert_int_equal(result->validation_better, -1);
    assert_int_equal(result->validation_items, 32);
    assert_true(isnan(result->validation_float));
    assert_true(result->kept_iteration > 0); /* it had not learned anything before */
    assert_true(result->validation_best < result->validation_calibrated);
    const double best = result->validation_best;
    qf_qat_result_destroy(result);
    o.resume = true;
    result = run(&o);
    assert_true(result->validation_best == best);
    qf_qat_result_destroy(result);
}

/* So it is where labels mean nothing and the float net teaches. */
static void without_labels_the_loss_of_the_teacher_counts(void **state)
{
    (void)state;
    qf_qat_options o = options("misled.prototxt");
    o.no_labels = 1;
    o.distil = QF_DISTIL_AUTO;
    o.weight_bits = 4;
    qf_qat_result *result = run(&o);
    assert_string_equal(result->validation_name, "training loss");
    assert_true(isfinite(result->validation_calibrated));
    assert_true(result->validation_best <= result->validation_calibrated);
    assert_true(result->fake_quant_score > 0.8); /* whatever the labels say */
    qf_qat_result_destroy(result);
}

static void refuse(const qf_qat_options *o, const char *part)
{
    qf_qat_result *result;
    assert_fails(context, qf_qat_run(context, o, NULL, NULL, NULL, &result), part);
    qf_qat_result_destroy(result);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    qf_qat_options o = options("net.prototxt");
    o.hold_back = 0.7;
    refuse(&o, "hold_back is a share of the training data, at most 0.5");
    o.hold_back = (double)NAN;
    refuse(&o, "hold_back is a share of the training data, at most 0.5");
    o.hold_back = 0.1;
    o.validation_data = "more_lmdb";
    refuse(&o, "give validation_data or hold_back");
    o.hold_back = -1;
    o.validation_data = "none_lmdb";
    refuse(&o, "none_lmdb");
    o = options("net.prototxt");
    o.batch_num = ITEMS / BATCH + 1;
    refuse(&o, "batch_num is 17, but the training data have 16 whole batches of phase TEST");
    o.batch_num = -1;
    refuse(&o, "batch_num is -1");
}

/* ---- going on ---- */

static const char *const exported[] = {
    "m_deploy_model.prototxt",
    "m_deploy_weights.caffemodel",
    "m_fake_quant_model.prototxt",
    "m_record.txt",
    "m_fake_quant_weights.caffemodel",
    "m_retrained_iter_0.caffemodel",
    "m_progress.prototxt",
    "m_retrained_iter_60.caffemodel",
};

static void expect_same_files(const char *when)
{
    print_message("%s\n", when);
    for (size_t i = 0; i < sizeof exported / sizeof *exported; i++) {
        char *from = test_format("whole/%s", exported[i]), *to = test_format("q/%s", exported[i]);
        expect_same(from, to);
        qf_free(from);
        qf_free(to);
    }
}

/* What lies on the disk at some moment is all that is left when a process is killed then. */
typedef struct moments {
    int calls, at; /* of the progress function */
} moments;

static void copy_files(void *user, const qf_progress *now)
{
    moments *m = user;
    (void)now;
    if (m->calls++ == m->at)
        assert_int_equal(system("rm -rf killed; cp -r q killed"), 0);
}

static qf_qat_options resumable(void)
{
    qf_qat_options o = options("unclear.prototxt");
    o.weight_bits = 4;
    o.base_lr = 0.2;
    o.patience = 0;
    return o;
}

static int count_calls(const qf_qat_options *o)
{
    moments m = {.at = -1};
    qf_qat_result *result;
    qf_context_set_seed(context, 5);
    assert_int_equal(system("rm -rf q whole"), 0);
    assert_ok(context, qf_qat_run(context, o, NULL, copy_files, &m, &result));
    assert_true(result->kept_iteration > 0 && result->last_iteration == ITERATIONS);
    qf_qat_result_destroy(result);
    assert_int_equal(rename("q", "whole"), 0);
    return m.calls;
}

static void kill_and_resume(qf_qat_options o, int parts)
{
    const int calls = count_calls(&o);
    assert_true(calls > ITERATIONS);
    assert_int_equal(system("test -z \"$(ls whole | grep average)\""), 0); /* only on the way */
    for (int part = 1; part < parts; part++) {
        moments m = {.at = calls * part / parts};
        qf_qat_result *result;
        char *when = test_format("killed at %d of %d", m.at, calls);
        qf_context_set_seed(context, 5);
        assert_ok(context, qf_qat_run(context, &o, NULL, copy_files, &m, &result));
        qf_qat_result_destroy(result);
        assert_int_equal(system("rm -r q; mv killed q"), 0);
        const bool begun = qf_file_exists("q/m_progress.prototxt");
        o.resume = true;
        qf_context_set_seed(context, begun ? 77 : 5); /* what lies there says how to go on */
        assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
        qf_qat_result_destroy(result);
        o.resume = false;
        expect_same_files(when);
        qf_free(when);
    }
}

static void a_killed_run_ends_in_the_same_bytes(void **state)
{
    (void)state;
    kill_and_resume(resumable(), 8);
}

/* With a teacher, dropout, and a range whose lower end learns from zero. */
static void so_does_one_with_a_teacher(void **state)
{
    (void)state;
    test_write_text(context, "dropout.prototxt",
                    DATA("TRAIN", "unclear_lmdb", "shuffle: true") DATA(
                        "TEST", "test_lmdb",
                        "") "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' "
                            "convolution_param { "
                            "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } } } "
                            "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } "
                            "layer { name: 'drop' type: 'Dropout' bottom: 'conv' top: 'conv' } "
                            "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip' "
                            "inner_product_param { "
                            "num_output: 4 weight_filler { type: 'xavier' } } } "
                            "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: "
                            "'label' top: 'loss' } "
                            "layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' "
                            "top: 'acc' include { "
                            "phase: TEST } } ");
    qf_qat_options o = options("dropout.prototxt");
    o.distil = QF_DISTIL_ON;
    o.base_lr = 0.1;
    o.keep = QF_KEEP_LAST;
    o.hold_back = 0.125;
    kill_and_resume(o, 5);
}

typedef struct patience {
    int left;
} patience;

static qf_action stop_later(void *user)
{
    patience *p = user;
    return p->left-- > 0 ? QF_CONTINUE : QF_STOP;
}

static void a_stopped_run_goes_on(void **state)
{
    (void)state;
    qf_qat_options o = resumable();
    qf_qat_result *result;
    o.patience = 0;
    count_calls(&o);
    qf_status status = QF_E_STOPPED;
    qf_context_set_seed(context, 5);
    int runs = 0;
    for (; status == QF_E_STOPPED && runs < 40; runs++) { /* each a little further */
        patience p = {.left = 90};
        o.resume = runs > 0;
        status = qf_qat_run(context, &o, stop_later, NULL, &p, &result);
        qf_qat_result_destroy(result);
        if (status != QF_OK && qf_file_exists("q/m_progress.prototxt"))
            qf_context_set_seed(context, 70 + runs);
    }
    assert_ok(context, status);
    assert_true(runs > 1);
    expect_same_files("stopped again and again");

    o.resume = true; /* of a run that is through: the same again */
    assert_ok(context, qf_qat_run(context, &o, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
    expect_same_files("resumed at its end");

    o.base_lr = 0.03;
    refuse(&o, "was begun with base_lr 0.2, not with base_lr 0.03");
    test_write_text(context, "q/m_progress.prototxt", "iteration: -3");
    refuse(&o, "q/m_progress.prototxt does not say how far a run has come");
    test_write_text(context, "q/m_progress.prototxt", "iteration 3 {");
    refuse(&o, "q/m_progress.prototxt:1");
    test_command(
        1, "q/m_progress.prototxt", "",
        "qat run --resume --model unclear.prototxt --weights float_iter_200.caffemodel --out "
        "q/m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_is_kept_where_training_spoils_it),
        cmocka_unit_test(a_kept_start_is_what_calibration_alone_makes),
        cmocka_unit_test(what_is_worse_as_integers_is_not_kept),
        cmocka_unit_test(what_is_better_is_kept),
        cmocka_unit_test(averages_of_states_are_exported),
        cmocka_unit_test(a_layer_of_both_phases_is_split),
        cmocka_unit_test(training_by_hand_leaves_out_the_same),
        cmocka_unit_test(what_cannot_be_measured_is_said),
        cmocka_unit_test(without_a_loss_in_test_that_of_training_counts),
        cmocka_unit_test(without_labels_the_loss_of_the_teacher_counts),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_killed_run_ends_in_the_same_bytes),
        cmocka_unit_test(so_does_one_with_a_teacher),
        cmocka_unit_test(a_stopped_run_goes_on),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
