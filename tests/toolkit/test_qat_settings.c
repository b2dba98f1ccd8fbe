/* What qat run trains with where nobody says: rates found by a test, rates of the float solver,
 * iterations by epochs; and that looking for a rate leaves no trace in the training. */
#include "base/file.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/hdf5_list.h"
#include "train/rate_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 96, TEST_ITEMS = 20, CHANNELS = 2, SIDE = 6, PIXELS = CHANNELS * SIDE * SIDE };

/* Pictures, and how much of two patterns is in each; `odd`: one label that is no number. */
static void write_items(const char *name, int first, int count, bool odd)
{
    float *data = qf_alloc((size_t)count * PIXELS, sizeof *data);
    float *label = qf_alloc((size_t)count * 2, sizeof *label);
    for (int i = 0; i < count; i++) {
        const double a = sin((first + i) * 1.7), b = cos((first + i) * 2.9);
        for (int p = 0; p < PIXELS; p++)
            data[i * PIXELS + p] = (float)(a * sin(p * 0.7) + b * cos(p * 1.3) + 0.1 * sin(i * p));
        label[2 * i] = (float)a;
        label[2 * i + 1] = odd && i == count - 1 ? NAN : (float)b;
    }
    test_put_hdf5(name, (test_top[]){{"data", {count, CHANNELS, SIDE, SIDE}, 4, data},
                                     {"label", {count, 2}, 2, label},
                                     {0}});
    qf_free(data);
    qf_free(label);
}

#define SOURCE(phase, list)                                                                        \
    "layer { name: 'data' type: 'HDF5Data' top: 'data' top: 'label' include { phase: " phase       \
    " } hdf5_data_param { source: '" list "' batch_size: 8 shuffle: true } } "
/* The rate that it bears falls with the square of `scale`. */
#define NET(train, scale) SOURCE("TRAIN", train) SOURCE("TEST", "test.txt") BODY(scale)
#define BODY(scale)                                                                                \
    "layer { name: 'scaled' type: 'Power' bottom: 'data' top: 'scaled' power_param { "             \
    "scale: " scale " } } "                                                                        \
    "layer { name: 'conv' type: 'Convolution' bottom: 'scaled' top: 'conv' convolution_param { "   \
    "num_output: 8 kernel_size: 3 weight_filler { type: 'xavier' } } } "                           \
    "layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' } "                              \
    "layer { name: 'drop' type: 'Dropout' bottom: 'conv' top: 'conv' dropout_param { "             \
    "dropout_ratio: 0.1 } } "                                                                      \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip' inner_product_param { "      \
    "num_output: 2 weight_filler { type: 'xavier' } } } "                                          \
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'ip' bottom: 'label' top: 'loss' } "
#define SOLVER                                                                                     \
    "net: 'net.prototxt' base_lr: 0.002 momentum: 0.85 weight_decay: 0.002 lr_policy: 'fixed' "    \
    "max_iter: 300 test_iter: 1 test_interval: 300 test_initialization: false "                    \
    "snapshot_prefix: 'float' random_seed: 1 "

static int set_up(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    write_items("train", 0, ITEMS, false);
    write_items("odd", 0, ITEMS, true);
    write_items("test", ITEMS, TEST_ITEMS, false);
    test_write_text(context, "net.prototxt", NET("train.txt", "3"));
    test_write_text(context, "explosive.prototxt", NET("train.txt", "1000"));
    test_write_text(context, "constant.prototxt",
                    SOURCE("TRAIN", "train.txt") "layer { name: 'data' type: 'DummyData' top: "
                                                 "'data' top: 'label' include { "
                                                 "phase: TEST } dummy_data_param { shape { dim: 4 "
                                                 "dim: 2 dim: 6 dim: 6 } shape "
                                                 "{ dim: 4 dim: 2 } } } " BODY("3"));
    test_write_text(context, "odd.prototxt", NET("odd.txt", "3"));
    test_write_text(context, "solver.prototxt", SOLVER);
    test_write_text(context, "summing.prototxt", SOLVER "iter_size: 4 type: 'Nesterov' ");
    test_write_text(context, "still.prototxt", "net: 'net.prototxt' base_lr: 0 lr_policy: 'fixed'");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    return 0;
}

static qf_qat_options begin(void)
{
    qf_qat_options options = {.size = sizeof options};
    qf_qat_set_defaults(&options);
    options.model = "net.prototxt";
    options.weights = "float_iter_300.caffemodel";
    options.save_path = "q/m";
    options.keep = QF_KEEP_LAST; /* on all items */
    return options;
}

/* ---- what a test of rates says ---- */

/* Steps whose loss rises from `harm` on by as much as there was, above noise of a twentieth. */
static qf_rate_test steps(double harm, int a_decade)
{
    qf_rate_test test = {.a_decade = a_decade, .mean = 2, .rise = 0.2};
    for (int i = 0; i < QF_RATE_DECADES * a_decade + 1; i++) {
        qf_rate_step *step = &test.step[i];
        step->rate = 1e-6 * pow(10, (double)i / a_decade);
        step->start_loss = 2 + sin(i * 1.3);
        step->loss = step->start_loss + 0.1 * sin(i * 2.1) + (step->rate > 0.99 * harm ? 2 : 0);
        test.count = i + 1;
        if (qf_rate_test_rises(&test))
            break;
    }
    qf_rate_test_choose(&test, 100);
    return test;
}

static void a_hundredth_of_what_harms(void **state)
{
    (void)state;
    for (int a_decade = 4; a_decade <= QF_RATE_A_DECADE; a_decade++) {
        const qf_rate_test test = steps(0.1, a_decade);
        assert_true(test.harm > 0.1 / 3.2 && test.harm < 0.101);
        assert_true(test.rate == 2e-4 || test.rate == 5e-4 || test.rate == 1e-3);
    }
    const qf_rate_test none = steps(10, 8), all = steps(1e-7, 8);
    assert_true(none.harm == 0 && fabs(none.rate / 0.01 - 1) < 1e-9);
    assert_true(fabs(all.harm / 1e-6 - 1) < 1e-9 && fabs(all.rate / 1e-8 - 1) < 1e-9);
    assert_true(all.count <= 8); /* it does not go on when it knows */
}

static void one_odd_batch_is_no_rise(void **state)
{
    (void)state;
    qf_rate_test test = steps(10, 8);
    for (test.count = 1; test.count < 20; test.count++)
        assert_false(qf_rate_test_rises(&test));
    test.step[19].loss += 0.5;
    test.count = 20;
    assert_false(qf_rate_test_rises(&test));
    test.step[20].loss = NAN; /* that is one */
    test.count = 21;
    assert_true(qf_rate_test_rises(&test));
    assert_true(fabs(test.harm / test.step[17].rate - 1) < 1e-9);
}

/* With few bits each step turns codes: losses go to and fro by as much as the rise that is looked
 * for.
 */
static void noise_is_no_rise(void **state)
{
    (void)state;
    qf_rate_test test = {.a_decade = 8, .mean = 0.4, .rise = 0.04};
    for (int i = 0; i < QF_RATE_STEPS && !(test.harm > 0); i++) {
        const bool harms = i >= 40; /* from 0.1 on */
        test.step[i].rate = 1e-6 * pow(10, i / 8.0);
        test.step[i].start_loss = 0.4;
        test.step[i].loss = 0.4 + (i % 11 < 4 ? 0.07 : -0.04) + (harms ? 0.4 : 0);
        test.count = i + 1;
        qf_rate_test_rises(&test);
    }
    assert_true(test.harm > 0.01 && test.harm < 0.11);
    qf_rate_test_choose(&test, 50);
    assert_true(test.rate > 1e-4 && test.rate < 3e-3);
}

static void short_trainings_have_short_tests(void **state)
{
    (void)state;
    assert_int_equal(qf_rate_test_steps(1), 4);
    assert_int_equal(qf_rate_test_steps(200), 4);
    assert_int_equal(qf_rate_test_steps(1000), 8);
}

/* ---- in a run ---- */

typedef struct seen {
    int calls, iterations, batch;
    uint64_t items;
    double rate, momentum, weight_decay;
    size_t steps;
    char type[32], reason[512];
} seen;

static seen shown;

static void see(void *user, const qf_qat_training *t)
{
    (void)user;
    shown = (seen){shown.calls + 1, t->iterations,   t->batch_size, t->items, t->base_lr,
                   t->momentum,     t->weight_decay, t->steps,      "",       ""};
    snprintf(shown.type, sizeof shown.type, "%s", t->type);
    snprintf(shown.reason, sizeof shown.reason, "%s", t->reason);
}

static void run(qf_qat_options *options)
{
    qf_qat_result *result;
    shown = (seen){0};
    options->show_training = see;
    qf_context_set_seed(context, 7);
    assert_ok(context, qf_qat_run(context, options, NULL, NULL, NULL, &result));
    assert_int_equal(shown.calls, 1);
    assert_int_equal(result->iterations, shown.iterations);
    assert_true(result->base_lr == shown.rate);
    assert_true(isfinite(result->fake_quant_score));
    qf_qat_result_destroy(result);
}

/* The same rate twice, and the weights that the same rate gives when nobody looks for it: the test
 * leaves weights, ranges, random numbers and the place of the data alone. */
static void looking_for_a_rate_leaves_no_trace(void **state)
{
    (void)state;
    qf_qat_options options = begin();
    options.iterations = 60;
    run(&options);
    const double rate = shown.rate;
    assert_true(rate >= 5e-6 && rate <= 0.005);
    assert_true(shown.steps > 5);
    assert_non_null(strstr(shown.reason, "a two-hundredth of "));
    assert_non_null(strstr(shown.reason, "from which on the loss of training rose"));
    assert_int_equal(system("mv q first"), 0);
    run(&options);
    assert_true(shown.rate == rate);
    assert_int_equal(system("cmp q/m_retrained_iter_60.caffemodel "
                            "first/m_retrained_iter_60.caffemodel"),
                     0);
    assert_int_equal(system("mv q second"), 0);
    options.base_lr = rate;
    run(&options);
    assert_true(shown.steps == 0 && !*shown.reason);
    assert_int_equal(system("cmp q/m_retrained_iter_60.caffemodel "
                            "first/m_retrained_iter_60.caffemodel && rm -r first second q"),
                     0);
}

static void a_net_that_explodes_gets_a_small_rate(void **state)
{
    (void)state;
    qf_qat_options options = begin();
    options.iterations = 60;
    run(&options);
    const double ordinary = shown.rate;
    options.model = "explosive.prototxt";
    run(&options);
    assert_true(shown.rate <= ordinary / 100);
    assert_true(shown.steps < 25);
}

static void a_loss_that_is_no_number_is_said(void **state)
{
    (void)state;
    test_command(
        1, "is not a number before anything was trained, so no learning rate can be found", "",
        "qat run --model odd.prototxt --weights float_iter_300.caffemodel --keep last --out q/odd");
    assert_false(qf_file_exists("q/odd_solver.prototxt"));
}

static void the_float_solver_decides(void **state)
{
    (void)state;
    qf_qat_options options = begin();
    options.float_solver = "solver.prototxt";
    options.iterations = 5;
    run(&options);
    assert_true(fabs(shown.rate / 2e-5 - 1) < 1e-6);
    assert_true(fabs(shown.momentum - 0.85) < 1e-6 && fabs(shown.weight_decay - 0.002) < 1e-6);
    assert_true(shown.steps == 0);
    assert_true(test_file_has(context, "q/m_solver.prototxt", "momentum: 0.85"));

    options.float_solver = "summing.prototxt";
    run(&options);
    assert_true(fabs(shown.rate / 5e-6 - 1) < 1e-6);
    assert_string_equal(shown.type, "Nesterov");
    assert_non_null(strstr(shown.reason, "divided by its iter_size 4"));
    assert_true(test_file_has(context, "q/m_solver.prototxt", "type: \"Nesterov\""));

    options.base_lr = 3e-4; /* what is given wins */
    options.momentum = 0.5;
    run(&options);
    assert_true(shown.rate == 3e-4 && shown.momentum == 0.5 && !*shown.reason);

    qf_qat_result *result;
    options.base_lr = 0;
    options.float_solver = "still.prototxt";
    assert_int_equal(qf_qat_run(context, &options, NULL, NULL, NULL, &result), QF_E_VALUE);
    assert_non_null(strstr(qf_error_text(context), "no base_lr above 0"));
    qf_qat_result_destroy(result);
}

static void iterations_follow_from_epochs(void **state)
{
    (void)state;
    qf_qat_options options = begin();
    qf_qat_result *result;
    options.base_lr = 1e-4;
    options.epochs = 3;
    run(&options);
    assert_int_equal(shown.iterations, 3 * ITEMS / 8);
    assert_int_equal(shown.items, ITEMS);
    assert_int_equal(shown.batch, 8);
    options.epochs = 0;
    run(&options);
    assert_int_equal(shown.iterations, 200); /* ten epochs are 120 */
    options.epochs = options.iterations = 1;
    assert_int_equal(qf_qat_run(context, &options, NULL, NULL, NULL, &result), QF_E_ARGUMENT);
    assert_non_null(strstr(qf_error_text(context), "give one of them"));
    qf_qat_result_destroy(result);
}

/* What the command shows; and few images for a range are warned of, where these set it: not where
 * many batches of training data do. */
static void it_is_shown(void **state)
{
    (void)state;
#define RUN "qat run --weights float_iter_300.caffemodel --seed 1 --keep last --out q/m "
    test_command(0, "learning rate    loss  without training", "",
                 RUN "--model net.prototxt --epochs 2");
    assert_non_null(strstr(test_output, "Training: 24 iterations of 8 images (2 times all 96)"));
    assert_non_null(strstr(test_output, "Learning rate: "));
    assert_null(strstr(test_output, "too few to know"));
    assert_true(test_file_has(context, "q/m_run.log", "] Rate 1.00e-06, loss = "));
    test_command(0, "N over 12 batches",
                 "sed 's/batch_size: 8/batch_size: 4/' net.prototxt > small.prototxt;",
                 RUN "--model small.prototxt --epochs 1 --base-lr 1e-4");
    assert_null(strstr(test_output, "without training"));
    assert_null(strstr(test_output, "too few to know"));
    assert_true(qf_file_exists("q/m_calibration_record.txt"));
    test_command(0, "which is 4 images: too few to know",
                 "sed 's/batch_size: 8/batch_size: 4/' constant.prototxt > small.prototxt;",
                 RUN "--model small.prototxt --epochs 1 --base-lr 1e-4 --test-iterations 1");
    assert_non_null(strstr(test_output,
                           "since the net was not calibrated: layer data (DummyData) of "
                           "phase TEST cannot read what phase TRAIN does"));
    assert_false(qf_file_exists("q/m_calibration_record.txt")); /* of the run before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundredth_of_what_harms),
        cmocka_unit_test(one_odd_batch_is_no_rise),
        cmocka_unit_test(noise_is_no_rise),
        cmocka_unit_test(short_trainings_have_short_tests),
        cmocka_unit_test(looking_for_a_rate_leaves_no_trace),
        cmocka_unit_test(a_net_that_explodes_gets_a_small_rate),
        cmocka_unit_test(a_loss_that_is_no_number_is_said),
        cmocka_unit_test(the_float_solver_decides),
        cmocka_unit_test(iterations_follow_from_epochs),
        cmocka_unit_test(it_is_shown),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
