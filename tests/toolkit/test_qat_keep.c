/* qat run keeps the best state of training, its calibrated start among them; an interrupted run is
 * test_qat_resume.c's. */
#include "base/file.h"
#include "base/memory.h"
#include "harness/bars_net.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/hdf5_list.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what is kept ---- */

static void the_start_is_kept_where_training_spoils_it(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("misled.prototxt");
    o.validation_data = "more_lmdb";
    o.distil = QF_DISTIL_OFF; /* it would not be misled so far */
    o.patience = 1;           /* of two measures */
    qf_qat_result *result = test_bars_run(&o);
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
    result = test_bars_run(&o);
    assert_int_equal(result->kept_iteration, BARS_ITERATIONS);
    assert_true(result->fake_quant_score < result->calibrated_score - 0.2);
    assert_true(result->validation_last < result->validation_best);
    assert_non_null(strstr(result->remark, "Retraining ended below its calibrated start: acc"));
    qf_qat_result_destroy(result);

    o.keep = QF_KEEP_BEST;
    o.patience = 0;
    result = test_bars_run(&o);
    assert_int_equal(result->last_iteration, BARS_ITERATIONS);
    assert_int_equal(result->kept_iteration, 0);
    qf_qat_result_destroy(result);
}

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
        test_bars_expect_same(mine, other);
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
        BARS_DATA("TRAIN", "misled_lmdb", "shuffle: true") BARS_DATA("TEST", "test_lmdb", "")
            NORMALISED(
                "front",
                "data") "layer { name: 'conv' type: 'Convolution' bottom: 'front' top: 'conv' "
                        "convolution_param { "
                        "num_output: 6 kernel_size: 3 weight_filler { type: 'xavier' } } "
                        "} " NORMALISED(
                            "behind",
                            "conv") "layer { name: 'relu' type: 'ReLU' bottom: 'behind' top: "
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
        qf_qat_options o = test_bars_options(nets[i].model);
        o.weights = nets[i].weights;
        o.base_lr = 1e-12;
        o.iterations = 10;
        o.average = 0;           /* statistics of BatchNorm move all the same */
        o.batch_num = i ? 3 : 0; /* all that there are, which are fewer than 400 items */
        qf_qat_result *result = test_bars_run(&o);
        assert_int_equal(result->kept_iteration, 0);
        assert_true(result->fake_quant_score == result->calibrated_score);
        assert_true(result->deploy_score == result->calibrated_score);
        assert_string_equal(result->remark, "");
        qf_qat_result_destroy(result);
        expect_calibrated_only(nets[i].model, nets[i].weights, "misled_lmdb",
                               i ? 3 : BARS_ITEMS / BARS_BATCH);
        test_bars_expect_same("q/m_record.txt", "p/m_record.txt");
    }
}

/* A state that is better only as long as it computes in float is not exported. */
static void what_is_worse_as_integers_is_not_kept(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("misled.prototxt");
    qf_qat_result *result = test_bars_run(&o);
    const double start = result->validation_calibrated;
    const int best = result->kept_iteration;
    assert_true(best > 0);
    qf_qat_result_destroy(result);
    /* As if the start had been better than anything. */
    assert_int_equal(
        system("sed -i '/^start {/,/^}/ s/score: .*/score: 1.5/' q/m_progress.prototxt"), 0);
    o.resume = true;
    result = test_bars_run(&o);
    assert_int_equal(result->kept_iteration, 0);
    assert_true(start < 1 && result->validation_best == 1.5);
    char *reason =
        test_format("the best state, of iteration %d, is worse than it as integers", best);
    assert_non_null(strstr(result->kept_reason, reason));
    qf_free(reason);
    qf_qat_result_destroy(result);
    expect_calibrated_only("misled.prototxt", o.weights, "misled_lmdb", BARS_ITEMS / BARS_BATCH);
    result = test_bars_run(&o); /* and so it stays */
    assert_int_equal(result->kept_iteration, 0);
    assert_non_null(strstr(result->kept_reason, "is worse than it as integers"));
    qf_qat_result_destroy(result);
}

static void what_is_better_is_kept(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("misled.prototxt");
    o.average = 0;
    qf_qat_result *result = test_bars_run(&o); /* on what it is trained on it becomes better */
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
    qf_qat_options o = test_bars_options("misled.prototxt");
    o.hold_back = 0.25;
    o.iterations = 4;
    o.base_lr = 1e-3;
    o.average = 0;
    o.keep = QF_KEEP_LAST;
    qf_qat_result *result = test_bars_run(&o);
    assert_int_equal(result->kept_iteration, 4);
    assert_false(result->kept_average);
    assert_true(isnan(result->validation_average));
    qf_qat_result_destroy(result);
    assert_int_equal(system("rm -rf plain; mv q plain"), 0);

    o.average = 1;
    o.keep = QF_KEEP_BEST;
    result = test_bars_run(&o);
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
    const qf_qat_options o = test_bars_options("both.prototxt");
    qf_qat_result *result = test_bars_run(&o);
    assert_int_equal(result->test_items, BARS_ITEMS);
    assert_int_equal(result->validation_items, 32);
    qf_qat_result_destroy(result);
}

/* Training goes on where its own snapshot leads, with the same items left out. */
static void training_by_hand_leaves_out_the_same(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("net.prototxt");
    o.keep = QF_KEEP_LAST;
    o.hold_back = 0.25;
    qf_qat_result *result = test_bars_run(&o);
    assert_int_equal(result->validation_items, 64);
    qf_qat_result_destroy(result);
    test_command(0, "Optimization Done.",
                 "sed -i 's/max_iter: 60/max_iter: 70/' q/m_solver.prototxt;",
                 "train --solver q/m_solver.prototxt --snapshot q/m_retrained_iter_60.solverstate");
}

static void what_cannot_be_measured_is_said(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("net.prototxt");
    o.hold_back = 0;
    qf_qat_result *result = test_bars_run(&o);
    assert_string_equal(result->validation_name, "");
    assert_int_equal(result->kept_iteration, BARS_ITERATIONS);
    assert_string_equal(result->kept_reason, "The last state of training is exported: nothing was "
                                             "measured, no training data were held back.");
    qf_qat_result_destroy(result);
    assert_false(test_file_has(context, "q/m_modified.prototxt", "hold_back_param"));

    test_write_text(context, "dummy.prototxt",
                    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' "
                    "dummy_data_param { shape { dim: 4 dim: 1 dim: 6 dim: 6 } shape { dim: 4 } "
                    "data_filler { type: 'gaussian' } data_filler { } } } " BARS_BODY);
    o = test_bars_options("dummy.prototxt");
    o.iterations = 3;
    o.test_iterations = 2;
    result = test_bars_run(&o);
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
                    BARS_DATA("TRAIN", "train_lmdb", "shuffle: true")
                        BARS_DATA("TEST", "test_lmdb", "") SCORES_ONLY("TEST"));
    qf_net *net;
    assert_ok(context, qf_net_create(context, "scores.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_save_weights(net, "scores.caffemodel"));
    qf_net_destroy(net);
    qf_qat_options o = test_bars_options("scores.prototxt");
    o.weights = "scores.caffemodel";
    qf_qat_result *result = test_bars_run(&o);
    assert_string_equal(result->validation_name, "training loss");
    assert_int_equal(result->validation_better, -1);
    assert_int_equal(result->validation_items, 32);
    assert_true(isnan(result->validation_float));
    assert_true(result->kept_iteration > 0); /* it had not learned anything before */
    assert_true(result->validation_best < result->validation_calibrated);
    const double best = result->validation_best;
    qf_qat_result_destroy(result);
    o.resume = true;
    result = test_bars_run(&o);
    assert_true(result->validation_best == best);
    qf_qat_result_destroy(result);
}

/* So it is where labels mean nothing and the float net teaches. */
static void without_labels_the_loss_of_the_teacher_counts(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("misled.prototxt");
    o.no_labels = 1;
    o.distil = QF_DISTIL_AUTO;
    o.weight_bits = 4;
    qf_qat_result *result = test_bars_run(&o);
    assert_string_equal(result->validation_name, "training loss");
    assert_true(isfinite(result->validation_calibrated));
    assert_true(result->validation_best <= result->validation_calibrated);
    assert_true(result->fake_quant_score > 0.8); /* whatever the labels say */
    qf_qat_result_destroy(result);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    qf_qat_options o = test_bars_options("net.prototxt");
    o.hold_back = 0.7;
    test_bars_refuse(&o, "hold_back is a share of the training data, at most 0.5");
    o.hold_back = (double)NAN;
    test_bars_refuse(&o, "hold_back is a share of the training data, at most 0.5");
    o.hold_back = 0.1;
    o.validation_data = "more_lmdb";
    test_bars_refuse(&o, "give validation_data or hold_back");
    o.hold_back = -1;
    o.validation_data = "none_lmdb";
    test_bars_refuse(&o, "none_lmdb");
    o = test_bars_options("net.prototxt");
    o.batch_num = BARS_ITEMS / BARS_BATCH + 1;
    test_bars_refuse(&o,
                     "batch_num is 17, but the training data have 16 whole batches of phase TEST");
    o.batch_num = -1;
    test_bars_refuse(&o, "batch_num is -1");
}

/* ---- what diverges late ---- */

enum { LATE_ITEMS = 4096, LATE_BATCH = 128 };

/* Bars as in test_put_bars(), and what their scores are to be compared with: in the 20th batch
 * there is something that no net comes near. */
static void put_bars_that_end(const char *name)
{
    enum { PIXELS = BARS_SIDE * BARS_SIDE };
    qf_random random;
    float *data = qf_alloc(LATE_ITEMS * PIXELS, sizeof *data);
    float *label = qf_alloc(LATE_ITEMS, sizeof *label);
    float *wanted = qf_alloc(LATE_ITEMS * BARS_CLASSES, sizeof *wanted);
    qf_random_seed(&random, 7);
    for (int i = 0; i < LATE_ITEMS * PIXELS; i++) {
        const int class = i / PIXELS % BARS_CLASSES, k = i % PIXELS;
        const int bar = k % BARS_SIDE == class || k / BARS_SIDE == class ? 90 : 0;
        data[i] = ((float)qf_random_below(&random, 120) + (float)bar - 100) * 0.0078125F;
        label[i / PIXELS] = (float)class;
    }
    wanted[(19 * LATE_BATCH + 5) * BARS_CLASSES] = 1e30F;
    test_put_hdf5(name, (test_top[]){{"data", {LATE_ITEMS, 1, BARS_SIDE, BARS_SIDE}, 4, data},
                                     {"label", {LATE_ITEMS}, 1, label},
                                     {"wanted", {LATE_ITEMS, BARS_CLASSES}, 2, wanted},
                                     {0}});
    qf_free(data);
    qf_free(label);
    qf_free(wanted);
}

/* What a run goes on from is older: an average that is kept stays in memory until a snapshot. */
static void an_average_outlives_what_diverges_later(void **state)
{
    (void)state;
    put_bars_that_end("late");
    test_write_text(context, "late.prototxt",
                    "layer { name: 'data' type: 'HDF5Data' top: 'data' top: 'label' top: 'wanted' "
                    "include { phase: TRAIN } hdf5_data_param { source: 'late.txt' batch_size: 128 "
                    "} } " BARS_DATA("TEST", "test_lmdb", "") BARS_BODY
                    "layer { name: 'far' type: 'EuclideanLoss' bottom: 'ip' bottom: 'wanted' top: "
                    "'far' loss_weight: 1e-9 include { phase: TRAIN } } ");
    qf_qat_options o = test_bars_early("late.prototxt", 2e-3F);
    for (int resumed = 0; resumed < 2; resumed++) {
        o.resume = resumed;
        qf_qat_result *result = test_bars_run(&o);
        assert_non_null(strstr(result->kept_reason, "since the training diverged: iteration 19: "));
        assert_true(result->kept_average);
        assert_int_equal(result->kept_iteration, 18);
        qf_qat_result_destroy(result);
        assert_true(qf_file_exists("q/m_retrained_iter_18.caffemodel"));
        assert_int_equal(system("test -z \"$(ls q | grep average)\""), 0); /* only on the way */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_is_kept_where_training_spoils_it),
        cmocka_unit_test(a_kept_start_is_what_calibration_alone_makes),
        cmocka_unit_test(what_is_worse_as_integers_is_not_kept),
        cmocka_unit_test(what_is_better_is_kept),
        cmocka_unit_test(averages_of_states_are_exported),
        cmocka_unit_test(an_average_outlives_what_diverges_later),
        cmocka_unit_test(a_layer_of_both_phases_is_split),
        cmocka_unit_test(training_by_hand_leaves_out_the_same),
        cmocka_unit_test(what_cannot_be_measured_is_said),
        cmocka_unit_test(without_a_loss_in_test_that_of_training_counts),
        cmocka_unit_test(without_labels_the_loss_of_the_teacher_counts),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, test_bars_start, test_stop_in_folder);
}
