/* What is put right behind calibration and training: means of channels, in biases, and statistics
 * of BatchNorm. */
#include "harness/calibrated.h"
#include "harness/command.h"
#include "harness/fixture.h"
#include "harness/one_layer.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 2, PIXELS = 4 * 8 * 8, BATCHES = 2, OUTPUTS = 6 };

/* One layer has a bias, two have none, and Pooling has no weights. */
static const char net_text[] =
    "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 4 dim: 8 dim: 8 } "
    "} } "
    "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { num_output: 8 "
    "kernel_size: 3 bias_term: false weight_filler { type: 'xavier' } } } "
    "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' } "
    "layer { name: 'p' type: 'Pooling' bottom: 'a' top: 'p' pooling_param { pool: AVE kernel_size: "
    "2 stride: 1 } } "
    "layer { name: 'b' type: 'Convolution' bottom: 'p' top: 'b' convolution_param { num_output: 8 "
    "kernel_size: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 's' type: 'ReLU' bottom: 'b' top: 'b' } "
    "layer { name: 'c' type: 'InnerProduct' bottom: 'b' top: 'y' inner_product_param { num_output: "
    "6 bias_term: false weight_filler { type: 'xavier' } } } ";

static float pixels[BATCHES][IMAGES * PIXELS];

static void add_errors(void *user, const float *plain, const float *fake, size_t count)
{
    double *error = user;
    for (size_t i = 0; i < count; i++)
        error[i % OUTPUTS] += (double)plain[i] - (double)fake[i];
}

/* The largest mean error of a channel of y over all batches. */
static double mean_error(const char *prefix)
{
    double error[OUTPUTS] = {0}, largest = 0;
    test_compare_outputs(prefix, "y", pixels[0], BATCHES, IMAGES * PIXELS, add_errors, error);
    for (int c = 0; c < OUTPUTS; c++)
        largest = fmax(largest, fabs(error[c]) / (IMAGES * BATCHES));
    return largest;
}

static double quantised(int bias_correction, const char *prefix)
{
    const qf_quant_options quantisation = {
        .size = sizeof quantisation, .batch_num = BATCHES, .activation_offset = true};
    qf_ptq_options options = test_calibration(prefix);
    options.quantisation = &quantisation;
    options.bias_correction = bias_correction;
    test_calibrate(&options);
    return mean_error(prefix);
}

static void corrected_biases_take_mean_errors_away(void **state)
{
    (void)state;
    test_write_images(context, "raw", pixels[0], BATCHES, IMAGES * PIXELS);
    test_write_net(context, net_text);
    const double before = quantised(0, "plain/m"), after = quantised(BATCHES, "corrected/m");
    if (!(after < before / 3))
        fail_msg("a mean is off by %g, corrected by %g", before, after);
}

/* ---- statistics ---- */

static const char digits_text[] =
    "layer { name: 'd' type: 'Data' top: 'x' top: 'label' transform_param { scale: 0.004 } "
    "data_param { source: 'train_lmdb' batch_size: 20 backend: LMDB } } "
    "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: 4 "
    "kernel_size: 5 stride: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 'n' type: 'BatchNorm' bottom: 'c' top: 'c' } "
    "layer { name: 's' type: 'Scale' bottom: 'c' top: 'c' scale_param { bias_term: true } } "
    "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' } "
    "layer { name: 'p' type: 'InnerProduct' bottom: 'c' top: 'p' inner_product_param { num_output: "
    "10 weight_filler { type: 'xavier' } } } "
    "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'p' bottom: 'label' top: 'l' } "
    "layer { name: 'a' type: 'Accuracy' bottom: 'p' bottom: 'label' top: 'a' include { phase: TEST "
    "} } ";

/* Blob 2 of BatchNorm says over how many batches the others are sums. */
static float batches_of(const char *file)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read_binary(context, file, &net));
    const float batches = qf_find_layer(net, "n")->blobs[2]->data[0];
    qf_message_free(net);
    return batches;
}

static void retrain(int batches, qf_batch_norm batch_norm)
{
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_qat_set_defaults(&options);
    options.model = "digits.prototxt";
    options.weights = "digits.caffemodel";
    options.iterations = 3;
    options.keep = QF_KEEP_LAST;
    options.batch_norm = batch_norm;
    options.save_path = "qat/m";
    options.re_estimate_batch_norm = batches;
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    assert_int_equal(result->verification->differing, 0);
    qf_qat_result_destroy(result);
}

static void statistics_are_taken_anew(void **state)
{
    (void)state;
    qf_net *net;
    assert_ok(context, qf_make_digits(context, "train_lmdb", "test_lmdb", 200, 20, 1));
    test_write_text(context, "digits.prototxt", digits_text);
    assert_ok(context, qf_net_create(context, "digits.prototxt", QF_TRAIN, 0, NULL, 0, &net));
    assert_ok(context, qf_net_forward(net, NULL));
    assert_ok(context, qf_net_save_weights(net, "digits.caffemodel"));
    qf_net_destroy(net);
    retrain(0, QF_BATCH_NORM_AS_MODEL);
    assert_true(batches_of("qat/m_retrained_iter_3.caffemodel") < 4);
    retrain(7, QF_BATCH_NORM_AS_MODEL);
    assert_true(batches_of("qat/m_retrained_iter_3.caffemodel") == 7);
    /* Frozen ones are nobody's to change. */
    retrain(7, QF_BATCH_NORM_FROZEN);
    assert_true(batches_of("qat/m_retrained_iter_3.caffemodel") == 1);
}

/* As of many batches that were nothing like these. */
static void spoil_statistics(void)
{
    Caffe__NetParameter *net;
    assert_ok(context, qf_net_param_read_binary(context, "digits.caffemodel", &net));
    Caffe__LayerParameter *norm = qf_find_layer(net, "n");
    for (size_t c = 0; c < norm->blobs[0]->n_data; c++) {
        norm->blobs[0]->data[c] = 1000;
        norm->blobs[1]->data[c] = 1000;
    }
    norm->blobs[2]->data[0] = 1000;
    assert_ok(context, qf_wire_write(context, "spoilt.caffemodel", net, 0644));
    qf_message_free(net);
}

/* The deploy model's accuracy after a training that normalises by its batches. */
static double accuracy_with(int batches)
{
    qf_qat_options options = {.size = sizeof options};
    qf_qat_result *result;
    qf_qat_set_defaults(&options);
    options.model = "digits.prototxt";
    options.weights = "spoilt.caffemodel";
    options.iterations = 100;
    options.base_lr = 0.05;
    options.distil = QF_DISTIL_OFF; /* the float net knows nothing */
    options.keep = QF_KEEP_LAST;
    options.batch_norm = QF_BATCH_NORM_TRAIN;
    options.save_path = "spoilt/m";
    options.re_estimate_batch_norm = batches;
    assert_ok(context, qf_qat_run(context, &options, NULL, NULL, NULL, &result));
    assert_string_equal(result->score_name, "a");
    const double accuracy = result->deploy_score;
    qf_qat_result_destroy(result);
    return accuracy;
}

/* The moving average still remembers what the net began with; a mean over batches does not. */
static void statistics_anew_make_a_net_better(void **state)
{
    (void)state;
    spoil_statistics();
    const double before = accuracy_with(0), after = accuracy_with(10);
    if (!(after >= before + 0.2 && after >= 0.5))
        fail_msg("accuracy %g, with statistics over 10 batches %g", before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corrected_biases_take_mean_errors_away),
        cmocka_unit_test(statistics_are_taken_anew),
        cmocka_unit_test(statistics_anew_make_a_net_better),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
