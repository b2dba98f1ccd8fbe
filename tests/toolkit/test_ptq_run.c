/* Quantisation without retraining in one call, on made digits: as exact as AMCT's promise, from
 * every kind of data, and what it says, and leaves behind, where it cannot go on. */
#include "harness/command.h"
#include "harness/fixture.h"
#include "net/net.h"
#include "toolkit/sources/data_layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEST_IMAGES = 1000, BATCH = 100 };

/* LeNet without data: what is deployed. */
static char *deploy_model(const char *lenet)
{
    const char *body = strstr(lenet, "layer {\n  name: \"conv1\"");
    const char *end = strstr(lenet, "layer { name: \"accuracy\"");
    assert_non_null(body);
    assert_non_null(end);
    return test_format("name: 'deploy' layer { name: 'in' type: 'Input' top: 'data' input_param { "
                       "shape { dim: %d dim: 1 dim: 28 dim: 28 } } } %.*s",
                       BATCH, (int)(end - body), body);
}

/* The first batches of the test set, as the net takes them. */
static void write_raw(int batches)
{
    qf_net *net;
    const float *values;
    assert_ok(context, qf_net_create(context, "lenet.prototxt", QF_TEST, 0, NULL, 0, &net));
    for (int i = 0; i < batches; i++) {
        char *path = test_format("raw/%d.bin", i);
        qf_blob *blob = qf_net_blob(net, "data");
        assert_ok(context, qf_net_forward(net, NULL));
        assert_ok(context, qf_blob_data(blob, &values));
        assert_ok(context,
                  qf_file_write(context, path, values, qf_blob_count(blob) * sizeof *values, 0644));
        qf_free(path);
    }
    qf_net_destroy(net);
}

static int set_up(void **state)
{
    qf_buffer lenet = {0};
    qf_solver *solver;
    test_start_in_folder(state);
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 3000, TEST_IMAGES, 1));
    assert_ok(context,
              qf_file_read(context, QAFFE_SOURCE_DIR "/examples/lenet/lenet_train_test.prototxt",
                           &lenet));
    test_write_text(context, "lenet.prototxt", qf_buffer_text(&lenet));
    char *deploy = deploy_model(qf_buffer_text(&lenet));
    test_write_text(context, "deploy.prototxt", deploy);
    test_write_text(context, "solver.prototxt",
                    "net: 'lenet.prototxt' test_iter: 1 test_interval: 1000 test_initialization: "
                    "false base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' max_iter: 150 "
                    "snapshot_prefix: 'float' random_seed: 3");
    assert_ok(context, qf_solver_create(context, "solver.prototxt", &solver));
    assert_ok(context, qf_solver_solve(solver));
    qf_solver_destroy(solver);
    write_raw(3);
    qf_free(deploy);
    qf_buffer_release(&lenet);
    return 0;
}

/* Calibration over two batches, to q/m. */
static const qf_quant_options over_two = {
    .size = sizeof over_two, .batch_num = 2, .activation_offset = true};

static qf_ptq_options options_of(const char *model, const qf_data_options *data)
{
    qf_ptq_options options = {.size = sizeof options};
    qf_ptq_set_defaults(&options);
    options.model = model;
    options.weights = "float_iter_150.caffemodel";
    options.quantisation = &over_two;
    options.data = data;
    options.save_path = "q/m";
    assert_int_equal(system("rm -rf q"), 0);
    return options;
}

static qf_data_options data_of(const char *source)
{
    qf_data_options data = {.size = sizeof data};
    qf_data_set_defaults(&data);
    data.source = source;
    return data;
}

static void check_models(const qf_qat_result *result)
{
    assert_int_equal(result->rows, 4);
    assert_string_equal(result->row[0]->name, "conv1");
    assert_int_equal(result->row[0]->offset_d, -128);
    assert_true(result->row[1]->activation_sqnr > 20 && result->row[1]->weight_sqnr > 20);
    assert_true(result->row[1]->shift_min >= 1 && result->row[1]->shift_max <= 16);
    assert_true(result->deploy_bytes < result->float_bytes / 3);
    assert_int_equal(result->verification->differing, 0);
    assert_true(result->verification->compared > 100000);
}

static void quantisation_costs_next_to_nothing(void **state)
{
    (void)state;
    qf_qat_result *result;
    const qf_data_options data = data_of("train_lmdb");
    const qf_ptq_options options = options_of("lenet.prototxt", &data);
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    check_models(result);
    assert_string_equal(result->score_name, "accuracy");
    assert_int_equal(result->test_items, TEST_IMAGES);
    assert_true(result->float_score > 0.8);
    assert_true(result->deploy_score >= result->float_score - 0.003 - 1e-9);
    assert_true(result->fake_quant_score == result->deploy_score);
    assert_true(isnan(result->calibrated_score));
    assert_string_equal(result->remark, "");
    qf_qat_result_destroy(result);
}

/* The same ranges and so the same models, whether the pixels come from an LMDB or as they are. */
static void raw_batches_calibrate_alike(void **state)
{
    (void)state;
    qf_qat_result *from_raw, *from_images;
    const qf_data_options raw = data_of("raw");
    qf_data_options images = data_of("test_lmdb");
    images.scale = 0.00390625;
    qf_ptq_options options = options_of("deploy.prototxt", &raw);
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &from_raw));
    check_models(from_raw);
    assert_int_equal(from_raw->scores, 0);
    assert_string_equal(from_raw->score_name, "none");
    assert_non_null(strstr(from_raw->remark, "Nothing was tested"));
    assert_true(test_file_has(context, "q/m_deploy_model.prototxt", "\"Input\""));

    options = options_of("deploy.prototxt", &images);
    options.test_data = "test_lmdb";
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &from_images));
    for (int i = 0; i < 4; i++) {
        assert_true(from_raw->row[i]->scale_d == from_images->row[i]->scale_d);
        assert_int_equal(from_raw->row[i]->offset_d, from_images->row[i]->offset_d);
    }
    assert_string_equal(from_images->score_name, "accuracy");
    assert_true(from_images->deploy_score >= from_images->float_score - 0.003 - 1e-9);
    qf_qat_result_destroy(from_raw);
    qf_qat_result_destroy(from_images);
}

/* ---- what cannot be done ---- */

static void nothing_is_left(void)
{
    assert_false(qf_file_exists("q/m_config.json"));
    assert_false(qf_file_exists("q/m_calibration.prototxt"));
    assert_false(qf_file_exists("q/m_record.txt"));
    assert_false(qf_file_exists("q/m_deploy_model.prototxt"));
}

static void run_fails(const qf_ptq_options *options, const char *part)
{
    qf_qat_result *result;
    assert_fails(context, qf_ptq_run(context, options, NULL, NULL, NULL, &result), part);
    qf_qat_result_destroy(result);
}

static void data_that_do_not_suffice(void **state)
{
    (void)state;
    qf_data_options data = data_of("raw");
    qf_quant_options many = over_two;
    qf_ptq_options options = options_of("deploy.prototxt", &data);
    many.batch_num = 4;
    options.quantisation = &many;
    run_fails(&options,
              "The number of given data batches is not enough to run calibration with the "
              "given batch_num. Total batches found: 3, but trying to load: 4.");
    nothing_is_left();
    many.batch_num = TEST_IMAGES / BATCH + 1;
    data.source = "test_lmdb";
    run_fails(&options, "Total batches found: 10, but trying to load: 11.");
    nothing_is_left();
}

static void data_that_do_not_fit(void **state)
{
    (void)state;
    qf_data_options data = data_of("short");
    qf_ptq_options options = options_of("deploy.prototxt", &data);
    assert_ok(context, qf_file_write(context, "short/0.bin", "1234", 4, 0644));
    assert_ok(context, qf_file_write(context, "short/1.bin", "1234", 4, 0644));
    run_fails(&options, "short/0.bin has 4 bytes, but a batch of 78400 values");
    nothing_is_left();
    options.data = NULL;
    run_fails(&options, "has an Input layer and no data of its own");
    options.data = &data;
    options.config = "config.json";
    run_fails(&options, "exclude each other");
    options = options_of("lenet.prototxt", NULL);
    options.save_path = "lenet"; /* would write lenet_config.json, and no file of ours */
    options.config = "lenet_config.json";
    options.quantisation = NULL;
    run_fails(&options, "lenet_config.json");
}

static void no_numbers_in_the_data(void **state)
{
    (void)state;
    enum { VALUES = BATCH * 28 * 28 };
    float *values = qf_alloc(VALUES, sizeof *values);
    const qf_data_options data = data_of("odd");
    const qf_ptq_options options = options_of("deploy.prototxt", &data);
    for (int i = 0; i < 2; i++) {
        char *path = test_format("odd/%d.bin", i);
        values[77] = i ? NAN : 1;
        assert_ok(context, qf_file_write(context, path, values, VALUES * sizeof *values, 0644));
        qf_free(path);
    }
    qf_free(values);
    run_fails(&options, "NaN");
    assert_false(qf_file_exists("q/m_deploy_model.prototxt"));
}

static qf_action stop(void *user)
{
    (void)user;
    return QF_STOP;
}

/* What is there is whole, and the flow can begin again. */
static void it_can_be_stopped(void **state)
{
    (void)state;
    qf_qat_result *result;
    const qf_data_options data = data_of("raw");
    const qf_ptq_options options = options_of("deploy.prototxt", &data);
    assert_int_equal(qf_ptq_run(context, &options, stop, NULL, NULL, &result), QF_E_STOPPED);
    assert_string_equal(qf_error_text(context), "stopped after 1 of 2 batches of calibration");
    assert_int_equal(result->rows, 0);
    qf_qat_result_destroy(result);
    assert_false(qf_file_exists("q/m_deploy_model.prototxt"));
    assert_int_equal(system("ls -A q | grep -q '^\\.'"), 256);
    assert_ok(context, qf_ptq_run(context, &options, NULL, NULL, NULL, &result));
    qf_qat_result_destroy(result);
}

/* ---- the command ---- */

static void the_command_shows_it(void **state)
{
    (void)state;
    assert_int_equal(system("rm -rf q"), 0);
    test_command(0, "differ", "",
                 "ptq run --model deploy.prototxt --weights float_iter_150.caffemodel --data raw "
                 "--batch-num 3 --out q/m");
    assert_non_null(strstr(test_output, "input by IFMR; weights per channel; over 3 batches"));
    assert_non_null(strstr(test_output, "Nothing was tested"));
    assert_null(strstr(test_output, "calibrated "));
    assert_true(test_file_has(context, "q/m_run.log", "Plan: conv1 (Convolution) quantised"));
    test_command(0, "0 differ", "", "verify --model q/m --data raw --iterations 3");
    test_command(1, "name some with --data", "", "verify --model q/m");
    test_command(2, "give one or", "",
                 "ptq run --model deploy.prototxt --weights float_iter_150.caffemodel --data raw "
                 "--batch-num 3 --config q/m_config.json");
    test_command(0, "0 differ", "",
                 "ptq run --model deploy.prototxt --weights float_iter_150.caffemodel --data raw "
                 "--config q/m_config.json --out again/m");
    /* and retraining goes on from there */
    test_command(0, "(calibrated)", "",
                 "qat run --model lenet.prototxt --weights float_iter_150.caffemodel --from-ptq "
                 "q/m_record.txt --iterations 2 --test-iterations 1 --out r/m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantisation_costs_next_to_nothing),
        cmocka_unit_test(raw_batches_calibrate_alike),
        cmocka_unit_test(data_that_do_not_suffice),
        cmocka_unit_test(data_that_do_not_fit),
        cmocka_unit_test(no_numbers_in_the_data),
        cmocka_unit_test(it_can_be_stopped),
        cmocka_unit_test(the_command_shows_it),
    };
    return cmocka_run_group_tests(tests, set_up, test_stop_in_folder);
}
