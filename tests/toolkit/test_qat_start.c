/* qat run beside what it began with: a rate that is too large for a super-resolution net (ESPCN),
 * the rate that is then named, and training that makes a net worse than calibration left it. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/hdf5_list.h"
#include "model/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, HIGH = 2 * SIZE, PIXELS = SIZE * SIZE };

/* A smooth picture, and another for each number. */
static float pixel(int image, int y, int x)
{
    const double a = sin(image * 1.7) * 9 / HIGH, b = cos(image * 2.3) * 9 / HIGH;
    return (float)(0.5 + 0.3 * sin(a * x + b * y + image) + 0.2 * sin(b * x - a * y));
}

/* `count` pictures of half the size, and what is asked of the net: the four pixels of each of
 * theirs as channels; `inverted`: their negatives. */
static void write_pictures(const char *name, int first, int count, bool inverted)
{
    float *low = qf_alloc((size_t)count * PIXELS, sizeof *low);
    float *high = qf_alloc((size_t)count * 4 * PIXELS, sizeof *high);
    for (int i = 0; i < count * PIXELS; i++) {
        const int image = i / PIXELS, y = i / SIZE % SIZE, x = i % SIZE;
        for (int c = 0; c < 4; c++) {
            const float value = pixel(first + image, 2 * y + c / 2, 2 * x + c % 2);
            low[i] += value / 4;
            high[(image * 4 + c) * PIXELS + i % PIXELS] = inverted ? 1 - value : value;
        }
    }
    test_put_hdf5(name, (test_top[]){{"data", {count, 1, SIZE, SIZE}, 4, low},
                                     {"label", {count, 4, SIZE, SIZE}, 4, high},
                                     {0}});
    qf_free(low);
    qf_free(high);
}

#define SOURCE(phase, list)                                                                        \
    "layer { name: 'data' type: 'HDF5Data' top: 'data' top: 'label' include { phase: " phase       \
    " } hdf5_data_param { source: '" list "' batch_size: 8 } } "
#define ESPCN(train)                                                                               \
    SOURCE("TRAIN", train)                                                                         \
    SOURCE("TEST", "test.txt")                                                                     \
    "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1' convolution_param { "   \
    "num_output: 16 kernel_size: 5 pad: 2 weight_filler { type: 'gaussian' std: 0.1 } } } "        \
    "layer { name: 'relu1' type: 'ReLU' bottom: 'conv1' top: 'conv1' } "                           \
    "layer { name: 'conv2' type: 'Convolution' bottom: 'conv1' top: 'conv2' convolution_param { "  \
    "num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: 'gaussian' std: 0.1 } } } "         \
    "layer { name: 'relu2' type: 'ReLU' bottom: 'conv2' top: 'conv2' } "                           \
    "layer { name: 'conv3' type: 'Convolution' bottom: 'conv2' top: 'conv3' convolution_param { "  \
    "num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: 'gaussian' std: 0.1 } } } "         \
    "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'conv3' bottom: 'label' top: 'loss' } "

static int set_up(void **state)
{
    assert_int_equal(test_start_in_folder(state), 0);
    write_pictures("train", 0, 64, false);
    write_pictures("inverted", 0, 64, true);
    write_pictures("test", 64, 12, false);
    test_write_text(context, "espcn.prototxt", ESPCN("train.txt"));
    test_write_text(context, "misled.prototxt", ESPCN("inverted.txt"));
    test_write_text(context, "solver.prototxt",
                    "net: 'espcn.prototxt' base_lr: 0.0003 momentum: 0.9 lr_policy: 'fixed' "
                    "max_iter: 400 test_iter: 1 test_interval: 400 test_initialization: false "
                    "snapshot_prefix: 'float' random_seed: 1");
    test_command(0, "Optimization Done.", "", "train --solver solver.prototxt");
    return 0;
}

#define RUN "qat run --weights float_iter_400.caffemodel --iterations 60 --seed 1 --out q/m "

static void the_rate_that_is_named_works(void **state)
{
    (void)state;
    static const char *const rates[] = {"1", "0.1"};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        char *run =
            test_format(RUN "--on-divergence stop --model espcn.prototxt --base-lr %s", rates[i]);
        test_command(1, ": the training diverged: ", "", run);
        qf_free(run);
        assert_non_null(strstr(test_output, "qaffe qat run: iteration "));
        assert_non_null(strstr(test_output, "(the log is in q/m_run.log)"));
        assert_false(qf_file_exists("q/m_deploy_model.prototxt"));
        const char *named = strstr(test_output, "the learning rate is too large: try --base-lr ");
        assert_non_null(named);
        const double rate = strtod(strrchr(strtok(strstr(named, "try"), "\n"), ' '), NULL);
        run = test_format(RUN "--model espcn.prototxt --base-lr %g", rate);
        test_command(0, "Next: ", "", run);
        qf_free(run);
        assert_null(strstr(test_output, "below its calibrated start"));
        assert_int_equal(system("rm -r q"), 0);
    }
}

/* Where it is not told to stop, what is kept is exported: here the start. */
static void a_diverged_training_leaves_the_start(void **state)
{
    (void)state;
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_qat_set_defaults(&options);
    options.model = "espcn.prototxt";
    options.weights = "float_iter_400.caffemodel";
    options.iterations = 60;
    options.save_path = "q/m";
    options.base_lr = 1;
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    assert_int_equal(result->kept_iteration, 0);
    assert_true(result->fake_quant_score == result->calibrated_score);
    assert_non_null(strstr(result->kept_reason, "The calibrated start is exported, since the "
                                                "training diverged: iteration "));
    qf_qat_result_destroy(result);
    options.keep = QF_KEEP_LAST;
    assert_fails(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result), "diverged");
    qf_qat_result_destroy(result);
}

static void it_can_be_told_to_go_on(void **state)
{
    (void)state;
    test_command(0, "W", "", RUN "--model espcn.prototxt --base-lr 0.1 --on-divergence warn");
    assert_non_null(strstr(test_output, "] Iteration "));
    test_command(2, "on-divergence", "", RUN "--model espcn.prototxt --on-divergence sometimes");
}

static void a_net_that_became_worse_is_told(void **state)
{
    (void)state;
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_qat_set_defaults(&options);
    options.model = "misled.prototxt";
    options.weights = "float_iter_400.caffemodel";
    options.iterations = 60;
    options.save_path = "q/misled";
    options.base_lr = 3e-4;
    options.keep = QF_KEEP_LAST;
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    assert_string_equal(result->score_name, "loss");
    assert_int_equal(result->score[0]->better, -1);
    assert_true(result->calibrated_score == result->score[0]->calibrated_score);
    assert_true(result->calibrated_score < 2 * result->float_score);
    assert_true(result->fake_quant_score > 2 * result->calibrated_score);
    assert_non_null(strstr(result->remark, "Retraining ended below its calibrated start: loss "));
    assert_non_null(
        strstr(result->remark,
               "(lower is better). Try --base-lr 3e-05 or more --iterations, or --keep best"));
    qf_qat_result_destroy(result);

    test_command(0, "\nRetraining ended below its calibrated start: loss ", "",
                 RUN "--model misled.prototxt --base-lr 3e-4");
    assert_non_null(strstr(test_output, "\ncalibrated "));
    assert_true(test_file_has(context, "q/m_run.log", "] Retraining ended below its calibrated"));

    /* The start, which is kept where nothing moves. */
    options.keep = QF_KEEP_BEST;
    options.base_lr = 1e-12;
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    assert_true(result->fake_quant_score < 1.1 * result->calibrated_score);
    assert_int_equal(result->kept_iteration, 0);
    assert_null(strstr(result->remark, "Retraining ended below"));
    qf_qat_result_destroy(result);
}

/* ---- from a record ---- */

static const qf_record_entry *entry_of(const qf_record *record, const char *layer)
{
    const qf_record_entry *entry = qf_record_find(record, layer);
    assert_non_null(entry);
    return entry;
}

/* Training that moves nothing leaves the ranges that it began with. */
static void ranges_begin_where_the_record_says(void **state)
{
    (void)state;
    static const char *const layers[] = {"conv1", "conv2", "conv3"};
    static const char given[] =
        "record { key: 'conv1' value { scale_d: 0.0123 offset_d: -100 scale_w: 1 offset_w: 0 } } "
        "record { key: 'conv2' value { scale_d: 0.05 offset_d: -128 scale_w: 1 offset_w: 0 } } "
        "record { key: 'conv3' value { } }";
    qf_record *from, *to;
    test_write_text(context, "given.txt", given);
    test_command(0, "input -0.3444 ... 2.7921 (calibrated)", "",
                 RUN "--model espcn.prototxt --from-ptq given.txt --base-lr 1e-12 --iterations 2");
    assert_non_null(strstr(test_output, "The range of layer conv3 is measured on the first batch: "
                                        "the record has none"));
    assert_true(test_file_has(context, "q/m_modified.prototxt", "ifmr_init: false"));
    assert_ok(context, qf_record_read(context, "given.txt", &from));
    assert_ok(context, qf_record_read(context, "q/m_record.txt", &to));
    for (size_t i = 0; i < 2; i++) {
        const qf_record_entry *mine = entry_of(to, layers[i]), *wanted = entry_of(from, layers[i]);
        assert_true(fabs(mine->scale_d / wanted->scale_d - 1) < 1e-5);
        assert_int_equal(mine->offset_d, wanted->offset_d);
    }
    assert_true(entry_of(to, "conv3")->scale_d > 0);
    qf_message_free(from);
    qf_message_free(to);
}

static void records_of_other_nets_are_refused(void **state)
{
    (void)state;
    test_write_text(
        context, "other.txt",
        "record { key: 'fc9' value { scale_d: 1 offset_d: 0 scale_w: 1 offset_w: 0 } }");
    test_write_text(context, "wide.txt",
                    "record { key: 'conv1' value { scale_d: 1 offset_d: 0 scale_w: 1 scale_w: 1 "
                    "offset_w: 0 offset_w: 0 } }");
    test_write_text(context, "empty.txt", "");
    test_command(1, "find fc9 failure in ", "rm -rf q;",
                 RUN "--model espcn.prototxt --from-ptq other.txt");
    test_command(1, "should be equal to the 16 when channel_wise be True", "",
                 RUN "--model espcn.prototxt --from-ptq wide.txt");
    test_command(1, "record_file is empty", "", RUN "--model espcn.prototxt --from-ptq empty.txt");
    test_command(1, "no_record.txt", "", RUN "--model espcn.prototxt --from-ptq no_record.txt");
    assert_false(qf_file_exists("q/m_modified.prototxt"));
    test_command(1, "q/m_record.txt", "mkdir -p q; cp other.txt q/m_record.txt;",
                 RUN "--model espcn.prototxt --from-ptq q/m_record.txt");
    assert_true(test_file_has(context, "q/m_record.txt", "fc9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_that_is_named_works),
        cmocka_unit_test(a_diverged_training_leaves_the_start),
        cmocka_unit_test(it_can_be_told_to_go_on),
        cmocka_unit_test(a_net_that_became_worse_is_told),
        cmocka_unit_test(ranges_begin_where_the_record_says),
        cmocka_unit_test(records_of_other_nets_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
